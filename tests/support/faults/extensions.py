"""Faults for `planted_faults.py`, in holds that are extended, and in what a life reaches."""

HOLDING = "billing_core/charging/holds.py"
CHARGING = "billing_core/charging/charges.py"
LIMITS = "billing_core/charging/limits.py"
AUDIT = "billing_core/audit/auditor.py"

RUNNING = "billing_core/runs/handlers.py"
FUNDING = "billing_core/runs/funding.py"

REACHES = "tests/unit/charging/test_hold_windows.py::test_"
EXTENDED = "tests/unit/charging/test_hold_extended.py::test_"

Planted = tuple[str, str, str, str, tuple[str, ...]]

IN_EXTENSIONS: list[Planted] = [
    (
        "an extension is not quoted anew",
        HOLDING,
        "added += max(0, _within_64_bits(quoted) - hold.reserved)",
        "pass",
        (EXTENDED + "a_price_rise_within_the_longer_life_is_added_to_the_hold",),
    ),
    (
        "an extension adds its whole quote to what is held",
        HOLDING,
        "added += max(0, _within_64_bits(quoted) - hold.reserved)",
        "added += _within_64_bits(quoted)",
        (EXTENDED + "a_price_rise_within_the_longer_life_is_added_to_the_hold",),
    ),
    (
        "an extension's quote swallows what the caller adds",
        HOLDING,
        "added += max(0, _within_64_bits(quoted) - hold.reserved)",
        "added = max(added, _within_64_bits(quoted) - hold.reserved)",
        (EXTENDED + "what_is_added_by_the_caller_comes_on_top",),
    ),
    (
        "an extension is quoted for the life that the hold has",
        HOLDING,
        "    quoted = _quoted_anew(ledger, hold, until)\n",
        "    quoted = _quoted_anew(ledger, hold, hold.expires_at)\n",
        (EXTENDED + "a_price_rise_within_the_longer_life_is_added_to_the_hold",),
    ),
    (
        "what was settled in parts is held again",
        HOLDING,
        "settled = {} if hold.used is None else dict(hold.used.quantities)",
        "settled: dict[str, int] = {}",
        (EXTENDED + "what_was_settled_in_parts_is_not_held_again",),
    ),
    (
        "what another resource used of a hold counts as its own",
        CHARGING,
        "lines = metered.lines if usage.resource == hold.resource else ()",
        "lines = metered.lines",
        (EXTENDED + "what_another_resource_used_of_a_hold_leaves_all_of_its_own_to_come",),
    ),
    (
        "the audit counts what another resource used of a hold as its own",
        AUDIT,
        " and used(entry).resource == hold.resource:",
        ":",
        (EXTENDED + "what_another_resource_used_of_a_hold_leaves_all_of_its_own_to_come",),
    ),
    (
        "a hold is in its own way when it is extended",
        CHARGING,
        "            counter.let_go(held)",
        "            pass",
        (EXTENDED + "a_hold_is_not_in_its_own_way_and_announces_what_is_left",),
    ),
    (
        "an extension does not announce what it may use in the next period",
        HOLDING,
        "        _announce_anew(ledger, hold, counts, at)\n",
        "",
        (EXTENDED + "others_reckon_with_a_hold_in_the_period_that_it_was_extended_into",),
    ),
    (
        "the journal does not say what an extension announced",
        HOLDING,
        "        if hold.counted != before:\n",
        "        if False:\n",
        (EXTENDED + "a_period_that_the_longer_life_reaches_begins_at_nothing",),
    ),
    (
        "the audit does not follow what an extension announced",
        AUDIT,
        '            self.announce(hold, effects["counted"])\n',
        "            pass\n",
        (EXTENDED + "a_period_that_the_longer_life_reaches_begins_at_nothing",),
    ),
    (
        "an extension announces what the version before cannot follow",
        HOLDING,
        "    if ledger.terms.level < QUOTES_ANEW:\n",
        "    if False:\n",
        (EXTENDED + "where_the_version_before_may_still_run_a_hold_keeps_its_amount",),
    ),
    (
        "a quota binds in a life's first period alone",
        LIMITS,
        "of_each(over, ledger.periods(use.at, use.until))",
        "of_each(over, ledger.periods(use.at))",
        (EXTENDED + "a_life_must_have_room_in_the_quota_of_each_period_that_it_reaches",),
    ),
    (
        "what a hold has announced already is counted against its quota again",
        LIMITS,
        "more = {name: quantity - counted.get(name, 0) for name, quantity in use.billed}",
        "more = {name: quantity for name, quantity in use.billed}",
        (EXTENDED + "an_extension_that_adds_nothing_to_a_period_passes_its_quota",),
    ),
    (
        "a limit binds in a life's first day alone",
        LIMITS,
        "grain, _reached(ledger, use, grain)):\n",
        "grain, [_window(ledger, grain, use.at)]):\n",
        (REACHES + "a_hold_must_have_room_in_the_limit_of_each_day_that_it_reaches",),
    ),
    (
        "a run is announced in its first period alone",
        RUNNING,
        "zip(ledger.periods(*span), by_period, strict=True)",
        "[next(zip(ledger.periods(*span), by_period))]",
        (REACHES + "a_run_is_announced_in_each_period_that_it_is_funded_into",),
    ),
    (
        "a run's quota binds in its first period alone",
        FUNDING,
        "        ledger.periods(use.at, use.until),\n    )\n    if",
        "        ledger.periods(use.at),\n    )\n    if",
        (REACHES + "a_run_that_is_funded_into_a_period_leaves_others_less_of_its_quota",),
    ),
    (
        "an extension goes by a clock of the period before",
        "billing_core/charging/holds.py",
        '        at = max(at, ledger.state.entries[f"hold:{hold.key}"].at)\n',
        "",
        (
            "tests/unit/charging/test_hold_extended.py::test_an_extension_by_a_clock_of_the_period_before"
            "_is_paid_from_this_period_s_allowance",
        ),
    ),
    (
        "what is added to a hold comes from the allowance of the clock's period",
        "billing_core/charging/holds.py",
        "ledger.reserve(replaced + added, hold.resource, at)",
        "ledger.reserve(replaced + added, hold.resource, decision.at)",
        (
            "tests/unit/charging/test_hold_extended.py::test_an_extension_by_a_clock_of_the_period_before"
            "_is_paid_from_this_period_s_allowance",
        ),
    ),
]
