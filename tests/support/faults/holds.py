"""Faults for `planted_faults.py`, in holds whose keys are used again."""

REPLAY = "billing_core/ledger/replay.py"
DECIDE = "billing_core/decide.py"
CHARGING = "billing_core/charging/charges.py"
RECORDS = "billing_core/records/ledger.py"
VERIFY = "billing_core/audit/verify.py"
PROBLEMS = "adapters/billing_adapters/http/problems.py"
ROUTES = "adapters/billing_adapters/http/internal.py"
PG_TABLES = "adapters/billing_adapters/postgres/statements.py"
SQLITE_INSERTS = "adapters/billing_adapters/sqlite/inserts.py"

METERING = "billing_core/pricing/rating.py"
HOLDING = "billing_core/charging/holds.py"
CATALOGUE = "billing_core/pricing/catalogue.py"
PRICING = "billing_core/pricing/functions.py"

ENDED = "tests/unit/charging/test_hold_ended.py::test_"
LIFE = "tests/unit/charging/test_hold_life.py::test_"

Planted = tuple[str, str, str, str, tuple[str, ...]]

IN_HOLDS: list[Planted] = [
    (
        "a hold's key used again after its end answers as if held",
        DECIDE,
        "        check_stands(ledger, command, known, at)\n",
        "",
        (ENDED + "the_key_of_a_released_hold_reserves_nothing",),
    ),
    (
        "a hold that nobody has swept counts as held",
        REPLAY,
        'if hold.state == "open" and time < hold.expires_at:',
        'if hold.state == "open":',
        (ENDED + "the_key_of_an_expired_hold_reserves_nothing_swept_or_not",),
    ),
    (
        "a hold stands by its command's own time, long ago",
        REPLAY,
        "max(at, ledger.account.watermark, ledger.terms.now)",
        "max(at, ledger.account.watermark)",
        (ENDED + "a_hold_has_expired_by_the_clock_whatever_time_the_command_bears",),
    ),
    (
        "a settled hold's key may be tried again",
        REPLAY,
        'retryable=ended != "settled" and used is not None and not used.amount,',
        "retryable=used is not None and not used.amount,",
        (ENDED + "a_settled_hold_s_key_says_what_was_charged_and_is_not_to_be_tried_again",),
    ),
    (
        "a hold that was used in part may be tried again",
        REPLAY,
        'retryable=ended != "settled" and used is not None and not used.amount,',
        'retryable=ended != "settled" and used is not None,',
        (ENDED + "a_hold_that_was_used_in_part_is_not_to_be_tried_again",),
    ),
    (
        "what is not known of a hold counts as nothing",
        REPLAY,
        'retryable=ended != "settled" and used is not None and not used.amount,',
        'retryable=ended != "settled" and not (used and used.amount),',
        (ENDED + "what_an_earlier_version_did_with_a_hold_is_not_known",),
    ),
    (
        "an extension's key used again after the hold's end answers as if it lived",
        REPLAY,
        "    if isinstance(command, (Hold, Extend)):",
        "    if isinstance(command, Hold):",
        (ENDED + "an_extension_of_a_hold_that_has_ended_is_none",),
    ),
    (
        "a deduct reversed in full answers as paid",
        REPLAY,
        "story is not None and story.amount <= story.reversed and",
        "False and",
        (ENDED + "a_deduct_that_was_reversed_in_full_is_not_paid",),
    ),
    (
        "a deduct reversed in part answers as taken back",
        REPLAY,
        "story is not None and story.amount <= story.reversed and",
        "story is not None and story.reversed > 0 and",
        (ENDED + "a_deduct_that_was_reversed_in_full_is_not_paid",),
    ),
    (
        "a reversed deduct is not looked up",
        REPLAY,
        'elif op == "deduct" and entry.seq not in state.subjects:',
        "elif False:",
        (ENDED + "a_deduct_that_was_reversed_in_full_is_not_paid",),
    ),
    (
        "the key of a run that has stopped starts it again",
        REPLAY,
        '    if run.ended_at is None and hold.state == "open":\n        return',
        "    return",
        (ENDED + "the_key_of_a_run_that_has_stopped_starts_nothing",),
    ),
    (
        "a stream forgets its first charge",
        RECORDS,
        "charges = (*self.charges, seq)[-_CHARGES:]",
        "charges = (seq,)",
        (ENDED + "a_hold_that_was_used_in_part_is_not_to_be_tried_again",),
    ),
    (
        "a hold's row grows with every part of a stream",
        RECORDS,
        "charges = (*self.charges, seq)[-_CHARGES:]",
        "charges = (*self.charges, seq)",
        (ENDED + "a_stream_of_very_many_parts_names_its_latest",),
    ),
    (
        "what a version that does not keep it did with a hold is overlooked",
        RECORDS,
        "if (state, left) == (self.state, self.reserved):",
        "if state:",
        (ENDED + "what_is_kept_of_a_hold_is_not_believed_once_another_version_has_changed_it",),
    ),
    (
        "an edit of what an ended hold was used for is not found",
        VERIFY,
        "    if ended.used is None or tables.ended.used is None:\n",
        "    if True:\n",
        (ENDED + "an_edit_of_what_a_hold_was_used_for_is_found",),
    ),
    (
        "PostgreSQL does not update what a hold was used for",
        PG_TABLES,
        "put or _replaced(table.changing)",
        "put or _replaced(name for name in table.changing if name != 'used')",
        (ENDED + "a_settled_hold_s_key_says_what_was_charged_and_is_not_to_be_tried_again",),
    ),
    (
        "SQLite does not update what a hold was used for",
        SQLITE_INSERTS,
        "for name in table.changing if name in names)",
        "for name in table.changing if name != 'used')",
        (ENDED + "a_settled_hold_s_key_says_what_was_charged_and_is_not_to_be_tried_again",),
    ),
    (
        "over HTTP a hold that has ended is any conflict",
        PROBLEMS,
        "        case HoldEnded():\n            return _ended(error)\n",
        "",
        (ENDED + "over_http_a_key_of_a_hold_that_has_ended_is_409_hold_ended",),
    ),
    (
        "over HTTP a replay looks like the first answer",
        ROUTES,
        "        replayed=made.replayed,\n",
        "        replayed=False,\n",
        (ENDED + "over_http_what_was_settled_is_not_retryable_and_names_its_charges",),
    ),
    (
        "a hold is quoted for its first moment alone",
        HOLDING,
        "        quoted = quote_usage(ledger, cost, decision.at, expires_at)\n        if",
        "        quoted = quote_usage(ledger, cost, decision.at)\n        if",
        (LIFE + "a_price_rise_that_is_published_is_held_from_before",),
    ),
    (
        "a price that takes effect as a hold ends is held too",
        CATALOGUE,
        "return sorted(at for at in found if start < at < end)",
        "return sorted(at for at in found if start < at)",
        (LIFE + "a_price_fall_is_not_believed_before_it_comes",),
    ),
    (
        "a change of plan that is dated ahead is overlooked",
        CHARGING,
        "    turns.update(time for time in since if at < time < until)\n",
        "",
        (LIFE + "a_plan_that_is_known_to_change_is_reckoned_with",),
    ),
    (
        "a billing period that begins within a hold's life is overlooked",
        CHARGING,
        "for period in ledger.periods(at, until) if period.start > at)",
        "for period in ledger.periods(at) if period.start > at)",
        (LIFE + "a_billing_period_that_begins_within_its_life_begins_at_nothing",),
    ),
    (
        "a hold is announced in its first period alone",
        HOLDING,
        "[(each, counts) for each in ledger.periods(decision.at, expires_at)]",
        "[(each, counts) for each in ledger.periods(decision.at)]",
        (LIFE + "what_other_holds_may_use_of_the_next_period_counts",),
    ),
    (
        "a stream over a period's end is held as if it were one use",
        METERING,
        "amount=max(top.amount, most)",
        "amount=top.amount",
        (LIFE + "a_stream_that_goes_on_in_another_period_stays_within_its_hold",),
    ),
    (
        "a flat price is held once for each billing period",
        METERING,
        "most = min(sum(line.amount for line in under), most)",
        "most = sum(line.amount for line in under)",
        (LIFE + "a_price_rise_that_is_published_is_held_from_before",),
    ),
    (
        "a rate that is not reached makes a hold dearer",
        PRICING,
        "reached = floor < stop and (tier.up_to is None or tier.up_to > start)",
        "reached = True",
        (LIFE + "what_is_used_in_parts_costs_no_more_than_the_dearest_rate_reached",),
    ),
]
