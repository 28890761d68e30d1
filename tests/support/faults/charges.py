"""Faults for `planted_faults.py`, in what belongs to a charge: its later price, its windows, what
became of it."""

LATE = "billing_core/charging/unpriced_usage.py"
SPANS = "billing_core/charging/time_charges.py"
OWING = "billing_core/ledger/debts.py"
AUDIT_TIME = "billing_core/audit/runs.py"


SUBSCRIBING = "billing_core/charging/subscriptions.py"

CHARGING = "billing_core/charging/charges.py"

CLOSING = "tests/unit/storage/test_closing_storage.py::test_"
ITEM = "tests/unit/charging/test_item_requests.py::test_"
UNDO = "tests/unit/charging/test_undo_usage.py::test_"
TERMS = "tests/unit/charging/test_plan_versions.py::test_"
BY_DAY = "tests/unit/runs/test_runs_by_day.py::test_"
PRICED_LATE = "tests/unit/runs/test_runs_priced_late.py::test_"

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
    (
        "a later price forgets what corrections took before",
        LATE,
        "    less = {} if whose is None else set_off(",
        "    less = {} if True else set_off(",
        (
            PRICED_LATE + "time_priced_later_costs_what_ran_whenever_a_suspension_is_told",
            PRICED_LATE + "storage_priced_later_costs_its_sizes_whenever_they_are_told",
        ),
    ),
    (
        "a correction forgets what its time was priced at later",
        SPANS,
        "                part = max(left, -had) if version else 0\n",
        "                part = 0\n",
        (
            PRICED_LATE + "time_priced_later_costs_what_ran_whenever_a_suspension_is_told",
            PRICED_LATE + "of_a_forgiven_run_what_ran_is_charged_again_when_that_is_undone",
        ),
    ),
    (
        "verify does not add up what corrections took of a later price",
        AUDIT_TIME,
        '    if json.loads(entry.effects).get("less", {}) != expected:\n',
        "    if False:\n",
        (PRICED_LATE + "verify_finds_a_later_price_of_more_than_corrections_left",),
    ),
    (
        "a run of several days is forgiven on its last",
        SPANS,
        "    if tab.days is None:\n        return [(tab.last, None)]\n",
        "    if tab.days is not None:\n        return [(tab.last, tab.days[-1])]\n",
        (BY_DAY + "a_forgiven_run_of_three_days_makes_room_in_each_for_what_it_cost",),
    ),
    (
        "a correction takes from its day more than that counted",
        SPANS,
        "    own = min(given, part.amount - part.forgiven)",
        "    own = given",
        (
            BY_DAY + "a_correction_of_a_day_that_was_forgiven_is_taken_from_the_others",
            BY_DAY + "a_correction_that_is_dearer_than_its_day_was_is_taken_from_the_others",
        ),
    ),
    (
        "the days of a run are kept for ever",
        SPANS,
        "[:-_BY_DAY]:",
        "[:0]:",
        (BY_DAY + "of_the_two_latest_periods_alone_the_days_are_kept",),
    ),
    (
        "the days of a run are kept while the version before runs",
        SPANS,
        "[] if ledger.terms.level >= 2 else None",
        "[] if ledger.terms.level >= 1 else None",
        (BY_DAY + "a_run_of_before_gives_back_as_it_did",),
    ),
    (
        "a run of before that had not counted makes room",
        SPANS,
        "    return had_counted(ledger.account, first)",
        "    return True",
        (BY_DAY + "a_run_of_before_gives_back_as_it_did",),
    ),
    (
        "verify lets a day give back more than it counted",
        AUDIT_TIME,
        "        if not 0 <= day.forgiven <= day.amount:",
        "        if False:",
        (BY_DAY + "verify_finds_a_day_that_gives_back_more_than_it_counted",),
    ),
    (
        "verify lets a run make room that its project had not used",
        AUDIT_TIME,
        '    if entry.op == "back" and bool(',
        "    if False and bool(",
        (BY_DAY + "verify_finds_a_run_that_makes_its_project_room_that_it_had_not_used",),
    ),
    (
        "a plan's new version tells nothing",
        "billing_core/decide.py",
        "    tell_plan_alerts(ledger, decision)  # of a new version of the plan\n",
        "",
        (
            TERMS + "an_alert_that_a_plans_new_version_brings_is_told_at_the_next_decision",
            TERMS + "it_is_told_once_by_what_is_refused_too",
        ),
    ),
    (
        "a plan's new version tells old alerts again",
        SUBSCRIBING,
        "marks(ledger, _alerted(plan), time, since)",
        "{name: [] for name in marks(ledger, _alerted(plan), time, since)}",
        (TERMS + "alerts_that_were_there_before_are_not_told_again",),
    ),
    (
        "a plan's new version is recorded though it brings no alert",
        SUBSCRIBING,
        "    if plan is None or _alerts(plan) <= _alerts(was):",
        "    if plan is None:",
        (TERMS + "a_version_without_new_alerts_writes_nothing",),
    ),
    (
        "a plan's new version tells while the version before runs",
        SUBSCRIBING,
        "    if ledger.terms.level < TELLS:",
        "    if False:",
        (TERMS + "nothing_is_told_while_the_version_before_may_run",),
    ),
    (
        "verify believes any new terms",
        "billing_core/audit/auditor.py",
        '        if plan is None or plan.version != content["plan"] or entry.transfers:',
        "        if False:",
        (TERMS + "verify_finds_terms_that_are_not_the_plans",),
    ),
    (
        "a deduct that others made cost nothing stands though it was undone",
        "billing_core/ledger/replay.py",
        '        undone = f"undone:{made.seq}" in ledger.state.entries\n',
        "        undone = made.amount == 0\n",
        (UNDO + "a_call_that_costs_nothing_for_others_failures_stands_until_it_is_undone_too",),
    ),
    (
        "a deduct that others made cost nothing does not stand",
        "billing_core/ledger/replay.py",
        '        undone = f"undone:{made.seq}" in ledger.state.entries\n',
        "        undone = True\n",
        (UNDO + "a_call_that_costs_nothing_for_others_failures_stands_until_it_is_undone_too",),
    ),
    (
        "whether a deduct was undone is not looked up",
        "billing_core/ledger/inputs.py",
        '            want.keys |= {f"undone:{number}" for number in charges}\n',
        "",
        (UNDO + "a_call_that_costs_nothing_for_others_failures_stands_until_it_is_undone_too",),
    ),
    (
        "a page that was ordered before is answered as new",
        "billing_core/engine/topups.py",
        "TopUpPage(page.url, page.id, topup.topup, ordered.replayed)",
        "TopUpPage(page.url, page.id, topup.topup)",
        ("tests/http/test_http_payments.py::test_one_key_opens_one_page",),
    ),
    (
        "settings that were set before are answered as new",
        "adapters/billing_adapters/http/topups.py",
        "replayed=made.replayed)",
        "replayed=False)",
        (
            "tests/http/test_http_payments.py::test_automatic_top_ups_from_the_first_card_to_recovery",
        ),
    ),
    (
        "each part on the customer's own key is a request",
        CHARGING,
        "    said = _record_item(ledger, usage, metered, effects)",
        "    said = effects",
        (
            ITEM + "parts_on_the_customers_own_key_are_one_request",
            ITEM + "parts_without_a_price_are_one_request_then_and_once_they_are_priced",
        ),
    ),
    (
        "each deducted part on the customer's own key is a request",
        CHARGING,
        "        said = _record_item(ledger, cast(Usage, cost), metered, None)\n",
        "",
        (ITEM + "parts_on_the_customers_own_key_are_one_request",),
    ),
    (
        "an item begins with any part while the version before runs",
        CHARGING,
        "    if usage.item is None or ledger.terms.level < 2:",
        "    if usage.item is None:",
        (ITEM + "while_the_version_before_may_run_parts_count_as_there",),
    ),
    (
        "keys of top-ups are taken in any form",
        "billing_core/commands/topups.py",
        "        check_command(self)\n        _check_amount",
        "        _check(self)\n        _check_amount",
        ("tests/unit/values/test_names.py::test_wherever_a_name_is_given_it_is_in_one_form",),
    ),
    (
        "closing leaves what is stored uncharged",
        "billing_core/engine/storage_bills.py",
        "    return [*bills, close]",
        "    return [close]",
        (
            CLOSING + "what_is_stored_is_charged_up_to_the_closing",
            CLOSING + "async_callers_close_so_too_and_what_is_not_paid_is_owed",
        ),
    ),
    (
        "closing a closed account charges storage",
        "billing_core/engine/storage_bills.py",
        "    if account is None or account.closed_at is not None:\n        return [close]",
        "    if account is None:\n        return [close]",
        (CLOSING + "a_closed_account_is_closed_again_without_a_charge",),
    ),
]
