"""Faults for `planted_faults.py`: those that mutants found and that no test noticed."""

FOUND = "tests/test_found_by_mutants.py::test_"

Planted = tuple[str, str, str, str, tuple[str, ...]]

BY_MUTANTS: list[Planted] = [
    (
        "all clawbacks come back where one is undone",
        "billing_core/clawback.py",
        "            undone.append([number, part])\n            amount -= part\n",
        "            undone.append([number, part])\n",
        (FOUND + "of_two_clawbacks_of_a_payment_only_the_one_undone_comes_back",),
    ),
    (
        "an attempt that was dropped stays open",
        "billing_core/topup.py",
        "    if auto.open == topup.topup and not topup.in_flight:",
        '    if auto.open == topup.topup and not topup.in_flight and after != "dropped":',
        (FOUND + "an_attempt_that_was_dropped_leaves_room_for_the_next",),
    ),
    (
        "a quarantined payment stops nothing",
        "billing_core/topup.py",
        '        stopped(auto, "quarantined")\n    elif',
        "        pass\n    elif",
        (FOUND + "a_quarantined_payment_stops_automatic_top_ups",),
    ),
    (
        "a part that was forgiven is forgiven for good",
        "billing_core/running.py",
        "not any(tab.forgiven for tab in run.tabs)",
        "any(tab.forgiven for tab in run.tabs)",
        (FOUND + "a_part_that_was_forgiven_of_a_run_can_be_charged_again",),
    ),
    (
        "an alert waits for a hundredth more",
        "billing_core/limits.py",
        "amount * percent <= (spend.amount + more) * 100:",
        "amount * percent <= (spend.amount + more) * 99:",
        (FOUND + "an_alert_is_raised_by_the_nano_that_reaches_its_mark",),
    ),
    (
        "undoing looks at no debt",
        "billing_core/running.py",
        "    ledger.check_room(used=sum(tab.forgiven for tab in run.tabs))\n",
        "",
        (FOUND + "undoing_what_was_forgiven_is_refused_where_the_debt_would_leave_64_bits",),
    ),
    (
        "an allowance takes no notice of 64 bits",
        "billing_core/lapsing.py",
        "    return max(0, min(_included(plan) - had, room))",
        "    return max(0, _included(plan) - had)",
        (FOUND + "an_allowance_beside_almost_64_bits_of_credit_is_what_fits",),
    ),
    (
        "another org's keys are found in a large batch",
        "adapters/billing_adapters/sqlite/loading.py",
        '    f" WHERE org_id = ? AND key IN',
        '    f" WHERE org_id = ? OR key IN',
        (FOUND + "many_keys_at_once_are_those_of_their_own_org",),
    ),
    (
        "an org that its batch has opened is asked for again and again",
        "billing_core/limits.py",
        "    if not ledger.new and not windows <= ledger.state.windows:",
        "    if not windows <= ledger.state.windows:",
        (
            "tests/test_regressions.py::test_an_account_can_be_opened_limited_and_charged_in_one_batch",
        ),
    ),
]
