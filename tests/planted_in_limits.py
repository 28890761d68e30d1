"""Faults for `planted_faults.py`, in limits, names and what a closing ends."""

LIMITS = "billing_core/limits.py"
SPANS = "billing_core/spans.py"

PLANS = "tests/test_plans.py::test_"
RUNS = "tests/test_runs.py::test_"

Planted = tuple[str, str, str, str, tuple[str, ...]]

IN_LIMITS: list[Planted] = [
    (
        "limits begin at the time of what is on record already",
        LIMITS,
        "max(time, account.recorded_at, ledger.terms.now) + 1",
        "max(time, account.recorded_at, ledger.terms.now)",
        (PLANS + "a_charge_of_the_very_time_at_which_limits_begin_makes_no_room",),
    ),
    (
        "the first limit is recorded at the time of what came before it",
        LIMITS,
        "account.limited_since = account.recorded_at = since",
        "account.limited_since = since",
        (PLANS + "a_charge_right_after_its_limit_in_the_batch_counts_and_makes_room",),
    ),
    (
        "a forgiven run makes room that its project had not used",
        SPANS,
        "    return had_counted(ledger.account, first)",
        "    return True",
        (RUNS + "what_had_not_counted_of_a_project_makes_no_room_when_its_run_is_forgiven",),
    ),
    (
        "a forgiven run makes its project no room",
        SPANS,
        "    return had_counted(ledger.account, first)",
        "    return False",
        (RUNS + "what_counted_of_a_project_makes_room_when_its_run_is_forgiven",),
    ),
]
