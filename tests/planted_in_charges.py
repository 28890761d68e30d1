"""Faults for `planted_faults.py`, in what belongs to a charge: its later price, its windows, what
became of it."""

LATE = "billing_core/late_pricing.py"
SPANS = "billing_core/spans.py"
OWING = "billing_core/owing.py"
AUDIT_TIME = "billing_core/audit_time.py"

PRICED_LATE = "tests/test_runs_priced_late.py::test_"

Planted = tuple[str, str, str, str, tuple[str, ...]]

IN_CHARGES: list[Planted] = [
    (
        "a later price of a run's time is a charge by itself",
        LATE,
        "    if whose is None:",
        "    if True:",
        (
            PRICED_LATE + "what_a_run_was_priced_at_later_is_forgiven_with_it",
            PRICED_LATE + "what_a_forgiven_run_is_priced_at_later_is_forgiven_too",
        ),
    ),
    (
        "a later price of a run's time is reversed by itself",
        OWING,
        '        return "story" in json.loads(charge.effects)\n',
        "        return False\n",
        (PRICED_LATE + "a_later_price_of_a_runs_time_is_not_reversed_by_itself",),
    ),
    (
        "a run's time is priced later while the version before runs",
        LATE,
        'or of storage later", 2, ledger',
        'or of storage later", 1, ledger',
        (PRICED_LATE + "time_is_priced_later_once_the_version_before_runs_nowhere",),
    ),
    (
        "verify lets a forgiven run be charged by a later price",
        AUDIT_TIME,
        '    if isinstance(owner, Run) and owner.state == "forgiven" and entry.amount:',
        "    if False:",
        (PRICED_LATE + "verify_finds_a_forgiven_run_that_a_later_price_is_charged_to",),
    ),
    (
        "what a run is priced at later is kept nowhere",
        SPANS,
        "        ledger.changes.runs[owner.run] = owner\n    else:",
        "        pass\n    else:",
        (PRICED_LATE + "what_a_run_was_priced_at_later_is_forgiven_with_it",),
    ),
    (
        "what storage is priced at later is kept nowhere",
        SPANS,
        "        ledger.changes.storages[owner.workspace] = owner\n",
        "        pass\n",
        (PRICED_LATE + "storage_that_was_priced_later_gives_back_for_a_size_told_late",),
    ),
]
