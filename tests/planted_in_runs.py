"""Faults for `planted_faults.py`, in how sandbox runs and storage are funded and charged."""

RUNNING = "billing_core/running.py"
FUNDING = "billing_core/funding.py"
SPANS = "billing_core/spans.py"
STORING = "billing_core/storing.py"
RUNTIME = "billing_core/runtime.py"
METERING = "billing_core/metering.py"
ROWS = "adapters/billing_adapters/sqlite/rows.py"

R = "tests/test_runs.py::test_"
S = "tests/test_storage.py::test_"
DAY = "tests/test_a_day.py::test_a_day_in_the_life"
STORE = "tests/test_sqlite_store.py::TestSqliteStore::test_"
PROPERTY = R + "any_grouping_and_order_costs_what_one_settlement_costs"

Planted = tuple[str, str, str, str, tuple[str, ...]]

RUNS: list[Planted] = [
    (
        "suspended time is billed",
        RUNTIME,
        "return Measure(last - window.start - suspended, suspended)",
        "return Measure(last - window.start, suspended)",
        (R + "suspended_time_is_not_billed_unless_a_price_says_so", PROPERTY),
    ),
    (
        "a heartbeat's time is settled again by the next",
        RUNNING,
        "            run.settled_to = to\n",
        "            pass\n",
        (R + "a_run_is_held_ahead_and_charged_what_it_ran", PROPERTY),
    ),
    (
        "a late suspension gives nothing back",
        RUNNING,
        "        change.post(span, lambda each: measure(each, suspended, FOREVER), FOREVER)\n"
        "    run.state = state",
        "        pass\n    run.state = state",
        (R + "a_suspension_told_late_gives_back_what_was_settled", PROPERTY),
    ),
    (
        "a stop before what was settled gives nothing back",
        RUNNING,
        "        if end < run.settled_to:",
        "        if end < 0:",
        (R + "clocks_of_two_services_minutes_apart_bill_no_second_twice", PROPERTY),
    ),
    (
        "an ended run is extended by any heartbeat",
        RUNNING,
        'elif run.swept and run.state == "settled" and seen',
        'elif run.state == "settled" and seen',
        (R + "a_stop_before_a_late_heartbeat_settles_all_of_it",),
    ),
    (
        "what arrives after a sweep is dropped",
        RUNNING,
        'elif run.swept and run.state == "settled" and seen',
        "elif False and seen",
        (R + "of_a_run_swept_closed_the_real_usage_that_arrives_later_is_billed",),
    ),
    (
        "a sweep closes what is alive",
        RUNNING,
        'if not run.open or run.seen_at >= micros("since", command.since):',
        "if not run.open:",
        (R + "a_sweep_is_refused_where_there_was_a_sign_of_life",),
    ),
    (
        "a sweep bills up to its own time",
        RUNNING,
        "    change.end_at(run.seen_at, swept=True)\n    change.settle(run.seen_at)\n",
        "    change.settle(ask.time)\n    change.end_at(ask.time, swept=True)\n",
        (R + "a_run_that_is_never_closed_is_swept_at_its_last_sign_of_life",),
    ),
    (
        "a deadline moves back",
        RUNNING,
        "if found.until <= max(run.until, run.settled_to):",
        "if found.until == run.until:",
        (R + "a_deadline_once_given_stays_though_a_limit_comes_later",),
    ),
    (
        "a deadline moves to where nothing is funded",
        RUNNING,
        "if found.until <= max(run.until, run.settled_to):",
        "if found.until <= run.until:",
        (R + "above_hold_and_balance_it_is_billed_in_full",),
    ),
    (
        "a deadline goes beyond what prices are known",
        RUNNING,
        "if asked <= known else (known,",
        "if True else (known,",
        (R + "a_deadline_reaches_no_further_than_prices_are_known",),
    ),
    (
        "a lot counts beyond its end",
        FUNDING,
        "lot.expires_at < edges[index]",
        "lot.expires_at < 0",
        (R + "of_a_hold_whose_lot_expired_it_is_billed_in_full",),
    ),
    (
        "an allowance counts beyond its period",
        FUNDING,
        "if self.ledger.may_pay(lot, self.use.resource, edges[index - 1]):",
        "if self.ledger.may_pay(lot, self.use.resource, edges[0]):",
        (R + "an_allowance_funds_no_further_than_its_period",),
    ),
    (
        "only the price of now is asked for",
        FUNDING,
        "times = [span.start, *catalogue.changes(",
        "times = [span.start] or [*catalogue.changes(",
        (R + "it_is_funded_at_the_dearest_price_that_is_published",),
    ),
    (
        "limits do not bind a deadline",
        FUNDING,
        "    if limit is not None:\n        left",
        "    if limit is None:\n        left",
        (R + "limits_and_quotas_bind_a_deadline",),
    ),
    (
        "a span is not cut",
        SPANS,
        "edges = [start, *sorted(cuts), end]",
        "edges = [start, end]",
        (DAY, R + "it_is_funded_at_the_dearest_price_that_is_published"),
    ),
    (
        "what was forgiven is given back again",
        SPANS,
        "    absorbed = amount - given\n",
        "    absorbed = 0\n",
        (R + "what_was_forgiven_is_not_given_back_again_by_a_late_suspension",),
    ),
    (
        "a correction does not move the counter back",
        SPANS,
        "    advance(ledger, correction, piece.occurred, metered)\n",
        "",
        (R + "a_suspension_told_late_gives_back_what_was_settled", PROPERTY),
    ),
    (
        "an item's billed quantity never falls",
        METERING,
        "        more = min(0, now_billed - billed)\n",
        "        more = 0\n",
        (PROPERTY, S + "a_size_that_comes_late_corrects_what_was_billed"),
    ),
    (
        "a late size corrects beyond the next one",
        STORING,
        "        end = min(end, steps[index][0])\n",
        "        pass\n",
        (S + "byte_microseconds_are_the_integral_by_brute_force",),
    ),
    (
        "a size of the same time is added to it",
        STORING,
        "index = bisect_right(steps, at,",
        "index = bisect_right(steps, at - 1,",
        (S + "byte_microseconds_are_the_integral_by_brute_force",),
    ),
    (
        "storage is billed from the start each time",
        STORING,
        "    span = Window(storage.billed_to, until)\n",
        "    span = Window(steps[0][0], until)\n",
        (S + "however_often_and_by_however_many_it_is_billed_it_costs_the_same",),
    ),
    (
        "SQLite forgets how a story grows",
        ROWS,
        "    amount = excluded.amount, unpaid",
        "    unpaid",
        (DAY, STORE + "rows_replace_those_of_the_same_key"),
    ),
]
