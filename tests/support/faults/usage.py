"""Faults for `planted_faults.py`, in what is forgiven, reversed as not used, and reported."""

REVERSAL = "billing_core/charging/reversals.py"
METERING = "billing_core/pricing/rating.py"
LATE = "billing_core/charging/unpriced_usage.py"
AUDIT_USAGE = "billing_core/audit/usage.py"
SQLITE = "adapters/billing_adapters/sqlite/loader.py"
POSTGRES = "adapters/billing_adapters/postgres/lookups.py"
RUNNING = "billing_core/runs/handlers.py"
SPANS = "billing_core/charging/time_charges.py"

ALL_TIME = "tests/unit/reports/test_all_time.py::test_"
ITEMS = "tests/unit/charging/test_item_requests.py::test_"
UNDO = "tests/unit/charging/test_undo_usage.py::test_"
LATEST = "::test_the_latest_charges_of_a_wanted_counter"
TOKENS = "billing_core/values/tokens.py"
OVER_HTTP = "adapters/billing_adapters/http/internal.py"
SPLIT = "tests/unit/values/test_tokens.py::test_"
TOLD = "tests/http/test_http_usage.py::test_"
READING = "adapters/billing_adapters/answers/reported.py"
SHAPES = "adapters/billing_adapters/answers/shapes.py"
WHOLE = "tests/unit/answers/test_usage_of.py::test_"
STREAMED = "tests/unit/answers/test_answer_streams.py::test_"
REPORTED = "tests/unit/engine/test_reported_answers.py::test_"
FORGIVEN = "tests/unit/runs/test_runs_forgiven.py::test_"

Planted = tuple[str, str, str, str, tuple[str, ...]]

IN_USAGE: list[Planted] = [
    (
        "what a provider reports and nobody knows is dropped",
        READING,
        "rest = found | _unknown(numbers, shape)",
        "rest = found",
        (WHOLE + "what_nobody_knows_is_a_component_of_its_own",),
    ),
    (
        "what a total has beyond its parts is dropped",
        READING,
        "if beyond > 0 and",
        "if beyond < 0 and",
        (WHOLE + "what_nobody_knows_is_a_component_of_its_own",),
    ),
    (
        "reasoning that the output does not count is taken out of it",
        READING,
        "return total != given + made",
        "return False",
        (WHOLE + "reasoning_is_taken_as_the_total_counts_it",),
    ),
    (
        "Anthropic's input is taken to count what was cached",
        SHAPES,
        "cached_apart=True,",
        "cached_apart=False,",
        (WHOLE + "each_token_is_counted_once",),
    ),
    (
        "shortening the context is free",
        SHAPES,
        'return f"{path} + {_COMPACTED}{path}"',
        "return path",
        (WHOLE + "shortening_the_context_is_in_no_other_number",),
    ),
    (
        "the tier that was asked for is charged",
        READING,
        "known = {**(asked or {}), **served}",
        "known = {**served, **(asked or {})}",
        (WHOLE + "the_tier_that_served_it_stands_in_place_of_the_one_that_was_asked",),
    ),
    (
        "a batch is charged as any other request",
        READING,
        'known["service_tier"] = "batch"',
        "pass",
        (WHOLE + "no_provider_tells_of_a_batch_in_the_answer",),
    ),
    (
        "a zero at a stream's end takes back what was reported",
        READING,
        "if count or path not in self.numbers",
        "if True",
        (STREAMED + "a_zero_takes_nothing_back",),
    ),
    (
        "an estimate is not said to be one",
        "adapters/billing_adapters/answers/stream.py",
        ', "estimated": "yes"}',
        "}",
        (STREAMED + "where_nothing_was_reported_the_estimate_stands_and_says_so",),
    ),
    (
        "an answer is charged as the model that it names",
        "billing_core/engine/hold_handles.py",
        'model=name if kind == "model" else None,',
        "model=None,",
        (REPORTED + "an_answer_is_charged_as_the_model_that_was_held",),
    ),
    (
        "the platform pays what the customer's own key did",
        "billing_core/engine/hold_handles.py",
        "payer=payers.pop() if payers else PLATFORM,",
        "payer=PLATFORM,",
        (REPORTED + "what_is_known_of_the_request_is_what_was_held",),
    ),
    (
        "cached audio counts as input too, where only the audio is said to be in it",
        TOKENS,
        "reached = parts.union(*[counted[part] for part in parts if part in counted])",
        "reached = set(parts)",
        (SPLIT + "what_a_number_counts_it_counts_with_all_that_this_counts",),
    ),
    (
        "nobody is asked what counts what",
        TOKENS,
        "matters = whole in used or question in _ALWAYS_ASKED",
        "matters = False",
        (SPLIT + "a_question_says_what_there_is",),
    ),
    (
        "parts that are more than the whole make it less than nothing",
        TOKENS,
        "if taken > total:",
        "if False:",
        (SPLIT + "parts_above_the_whole_are_refused",),
    ),
    (
        "cached tokens count in the input, whatever is said",
        TOKENS,
        "return _rest(whole, kind, total, part) if answer else total",
        "return total",
        (SPLIT + "whatever_counts_what_each_token_is_where_it_belongs",),
    ),
    (
        "what a service knows of a request is lost on the way",
        OVER_HTTP,
        "return Usage.of(resource, used, facts=asked.facts)",
        "return Usage.of(resource, used)",
        (TOLD + "facts_go_with_whatever_was_used",),
    ),
    (
        "after its first part is undone a call counts no request again",
        "billing_core/charging/charges.py",
        "if item is not None and UNCOUNTED not in item.components else 1",
        "if item is not None else 1",
        (ITEMS + "once_its_first_part_is_undone_the_next_part_is_the_call",),
    ),
    (
        "after its first part is undone each part of a call is a request",
        "billing_core/charging/charges.py",
        "if item.components.pop(UNCOUNTED, None) is not None:",
        "if item.components.get(UNCOUNTED, None) is not None:",
        (ITEMS + "once_its_first_part_is_undone_the_next_part_is_the_call",),
    ),
    (
        "all time ends before what is dated ahead",
        "billing_core/engine/billing.py",
        "reached = span._replace(end=max(ends, default=now))",
        "pass",
        (
            ALL_TIME + "all_time_has_what_is_of_this_moment_and_dated_ahead",
            ALL_TIME + "all_time_has_what_a_clock_that_stepped_back_has_not_come_to",
        ),
    ),
    (
        "all time ends with the period of the clock",
        "billing_core/engine/billing.py",
        "billing_period(account.anchor, now).start, 2**62)",
        "billing_period(account.anchor, now).start, now)",
        (ALL_TIME + "all_time_has_what_a_clock_that_stepped_back_has_not_come_to",),
    ),
    (
        "all time by day ends before what is dated ahead",
        "billing_core/engine/billing.py",
        "account, _, span, only = self._asked_for(org, period, member)",
        "account, span, _, only = self._asked_for(org, period, member)",
        (ALL_TIME + "all_time_has_what_is_of_this_moment_and_dated_ahead",),
    ),
    (
        "a forgiven run is charged for what is told late",
        SPANS,
        'if not isinstance(owner, Run) or owner.state != "forgiven" or',
        "if True or",
        (FORGIVEN + "a_forgiven_run_is_charged_nothing_for_a_suspension_told_late",),
    ),
    (
        "what is told late of a forgiven run is forgiven as no time",
        SPANS,
        "    _change(tab, day, 0, amount)\n    tab.forgiven_us += us\n",
        "    _change(tab, day, 0, amount)\n",
        (FORGIVEN + "a_swept_and_forgiven_run_that_lived_longer_is_forgiven_that_too",),
    ),
    (
        "a forgiven run that was swept did not live longer",
        RUNNING,
        "    elif run.swept and seen > (run.ended_at or 0):",
        '    elif run.swept and run.state == "settled" and seen > (run.ended_at or 0):',
        (FORGIVEN + "undoing_charges_what_the_same_reports_cost_without_forgiveness",),
    ),
    (
        "a forgiven run that was swept has no real end",
        RUNNING,
        "    elif run.swept:\n        change.settle(end)",
        '    elif run.swept and run.state == "settled":\n        change.settle(end)',
        (FORGIVEN + "a_swept_and_forgiven_run_that_lived_longer_is_forgiven_that_too",),
    ),
    (
        "usage is undone again",
        "billing_core/charging/reversals.py",
        'want.keys.add(f"undone:{command.charge}")',
        "pass",
        (UNDO + "usage_is_undone_once_and_whole",),
    ),
    (
        "what was reversed before is given back again",
        REVERSAL,
        "before = sum(part.story.reversed for part in parts)",
        "before = 0",
        (UNDO + "what_was_given_back_before_is_not_given_back_again",),
    ),
    (
        "what others pay less is not given back",
        REVERSAL,
        "parts += _newest(ledger, usage, lines, parts)",
        "parts += []",
        (UNDO + "what_a_free_call_that_failed_made_others_pay_comes_back_from_the_latest",),
    ),
    (
        "what others pay less counts as theirs reversed",
        REVERSAL,
        "    part.story.amount -= amount\n    part.story.reversed -= amount\n",
        "",
        (UNDO + "what_stays_charged_is_what_the_rest_costs",),
    ),
    (
        "undone usage stays a request",
        REVERSAL,
        "requests=-usage.requests",
        "requests=0",
        (UNDO + "requests_and_quantities_leave_the_reports",),
    ),
    (
        "undone usage stays in its counter",
        METERING,
        "        counters[component] = Count(at, carry, carry_of, held)\n    amount = sum(",
        "    amount = sum(",
        (UNDO + "a_quota_gets_back_what_a_failed_call_took",),
    ),
    (
        "an item loses its minimum with a part of it",
        METERING,
        "        if item is not None:\n            pieces, items[component], others = _by_item(\n"
        "                -sum",
        "        if item is not None:\n            _, items[component], others = _by_item(\n"
        "                -sum",
        (UNDO + "an_items_minimum_stays_while_anything_of_it_is_left",),
    ),
    (
        "undone usage is priced",
        LATE,
        'if f"undone:{subject.seq}" in ledger.state.entries:',
        "if False:",
        (UNDO + "usage_that_was_undone_is_not_priced_and_its_price_goes_with_it",),
    ),
    (
        "undone usage leaves what priced it later",
        REVERSAL,
        "    if story.priced is not None:",
        "    if False:",
        (UNDO + "usage_that_was_undone_is_not_priced_and_its_price_goes_with_it",),
    ),
    (
        "usage is undone while the version before runs",
        REVERSAL,
        'check_level("undo_usage", 2, ledger.terms)',
        'check_level("undo_usage", 1, ledger.terms)',
        (UNDO + "it_is_refused_while_the_version_before_may_run",),
    ),
    (
        "verify believes any undone usage",
        AUDIT_USAGE,
        "    if undone != same:",
        "    if False:",
        (UNDO + "verify_finds_undone_usage_that_was_altered",),
    ),
    (
        "SQLite looks for the oldest charges of a counter",
        SQLITE,
        "= ? ORDER BY seq DESC LIMIT ?",
        "= ? ORDER BY seq LIMIT ?",
        ("tests/stores/test_sqlite_store.py::TestSqliteStore" + LATEST,),
    ),
    (
        "PostgreSQL looks for the charges of any period",
        POSTGRES,
        "AND occurred_at >= $3 AND occurred_at < $4",
        "AND occurred_at >= $3 AND $4::bigint > 0",
        ("tests/stores/test_postgres_store.py::TestPostgresStore" + LATEST,),
    ),
    (
        "all time begins with the opening",
        "billing_core/engine/billing.py",
        'if period == "all_time":\n            # Usage',
        "if False:\n            # Usage",
        (
            "tests/unit/reports/test_rules_8_usage.py::test_8_2_all_time_has_what_was_used_before_the_opening",
        ),
    ),
]
