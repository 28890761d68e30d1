"""Faults for `planted_faults.py`, in what is forgiven, reversed as not used, and reported."""

RUNNING = "billing_core/running.py"
SPANS = "billing_core/spans.py"

FORGIVEN = "tests/test_runs_forgiven.py::test_"

Planted = tuple[str, str, str, str, tuple[str, ...]]

IN_USAGE: list[Planted] = [
    (
        "a forgiven run is charged for what is told late",
        SPANS,
        'isinstance(owner, Run) and owner.state == "forgiven"',
        "False",
        (FORGIVEN + "a_forgiven_run_is_charged_nothing_for_a_suspension_told_late",),
    ),
    (
        "what is told late of a forgiven run is forgiven as no time",
        SPANS,
        "        tab.forgiven_us += piece.us\n        if amount or piece.us:",
        "        if amount or piece.us:",
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
]
