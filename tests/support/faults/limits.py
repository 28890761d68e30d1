"""Faults for `planted_faults.py`, in limits, names and what a closing ends."""

LIMITS = "billing_core/charging/limits.py"
SPANS = "billing_core/charging/time_charges.py"
SUBSCRIBING = "billing_core/charging/subscriptions.py"
SQLITE_LOADING = "adapters/billing_adapters/sqlite/loader.py"
PG_LOOKUPS = "adapters/billing_adapters/postgres/lookups.py"

PLANS = "tests/unit/charging/test_plans.py::test_"
RUNS = "tests/unit/runs/test_runs.py::test_"
NAMES = "tests/unit/values/test_names.py::test_"
BLOCK = "tests/unit/charging/test_hold_block.py::test_"
BEHIND = "tests/unit/charging/test_limits_behind.py::test_"
SQLITE = "tests/stores/test_sqlite_store.py::TestSqliteStore::test_"
POSTGRES = "tests/stores/test_postgres_store.py::TestPostgresStore::test_"

Planted = tuple[str, str, str, str, tuple[str, ...]]

IN_LIMITS: list[Planted] = [
    (
        "a hold by a clock behind reaches a day from its own time at most",
        LIMITS,
        "max(use.at, ledger.terms.now, ledger.account.recorded_at)",
        "max(use.at, ledger.terms.now)",
        (BEHIND + "what_a_clock_ahead_dated_ahead_binds_a_long_hold_by_a_clock_behind",),
    ),
    (
        "a check by a clock behind looks at the window of that clock",
        "billing_core/engine/check.py",
        "until = ahead + 1 if ahead > now else None",
        "until = None",
        (
            BEHIND + "a_check_says_what_any_hold_would_be_told_by_a_clock_behind",
            BEHIND + "a_check_knows_the_quota_of_the_period_that_a_hold_ends_in",
        ),
    ),
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
        "        return day.counted",
        "        return True",
        (RUNS + "what_had_not_counted_of_a_project_makes_no_room_when_its_run_is_forgiven",),
    ),
    (
        "a forgiven run makes its project no room",
        SPANS,
        "        return day.counted",
        "        return False",
        (RUNS + "what_counted_of_a_project_makes_room_when_its_run_is_forgiven",),
    ),
    (
        "an alert that is passed already is not told",
        SUBSCRIBING,
        "changes.limits[key] = limit\n    tell_passed(ledger, before, decision.time)",
        "changes.limits[key] = limit",
        (
            PLANS + "an_alert_whose_mark_is_passed_when_its_limit_is_set_is_told_then_once",
            PLANS + "an_alert_that_a_lowered_limit_passes_is_told_then",
            PLANS + "alerts_for_each_are_told_of_all_who_have_passed_them",
        ),
    ),
    (
        "an alert that comes with a plan is not told",
        SUBSCRIBING,
        "account.paused = command.paused\n    tell_passed(ledger, before, decision.time)",
        "account.paused = command.paused",
        (PLANS + "alerts_that_come_with_a_plan_are_told_then",),
    ),
    (
        "an alert is told again when its limit is set again",
        LIMITS,
        "        if each not in known\n",
        "",
        (
            PLANS + "an_alert_whose_mark_is_passed_when_its_limit_is_set_is_told_then_once",
            PLANS + "alerts_that_come_with_a_plan_are_told_then",
        ),
    ),
    (
        "an alert for each is told to those with a limit of their own",
        SQLITE_LOADING,
        '    for row in db.execute(f"SELECT {LIMITS.selected} FROM limits'
        ' WHERE org_id = ?", (org,)):\n'
        "        state.limits[row[0], row[1]] = codecs.limit(row)\n",
        "",
        (
            PLANS + "alerts_for_each_are_told_of_all_who_have_passed_them",
            SQLITE + "windows_bring_all_limits_and_what_everybody_has_spent_in_them",
        ),
    ),
    (
        "PostgreSQL finds the first that has spent anything, and no more",
        PG_LOOKUPS,
        "FROM known WHERE known.whose IS NOT NULL)",
        "FROM known WHERE false)",
        (POSTGRES + "windows_bring_all_limits_and_what_everybody_has_spent_in_them",),
    ),
    (
        "a hold's block writes its member's name",
        "billing_core/engine/hold_handles.py",
        "as_held=True,  # by number: the name may have been erased since",
        "member=hold.member,",
        (
            BLOCK + "a_name_erased_while_its_hold_is_open_is_not_written_again",
            BLOCK + "nor_where_the_block_is_awaited",
        ),
    ),
    (
        "what settles a hold for its member is nobody's",
        "billing_core/decide.py",
        "return None if held is None else held.member or None",
        "return None",
        (
            BLOCK + "a_settlement_as_held_is_its_holds_members",
            BLOCK + "it_settles_what_was_reported",
        ),
    ),
    (
        "a budget's event does not name its member",
        "billing_core/engine/lookups.py",
        "named[place] = events[place]._replace(data=text)",
        "named[place] = events[place]",
        (PLANS + "a_budget_names_its_member_until_the_name_is_erased",),
    ),
    (
        "deliveries do not name the member",
        "billing_core/engine/background.py",
        "in events_with_names(self.store, org, self.store.waiting_events(org, limit)):",
        "in self.store.waiting_events(org, limit):",
        (PLANS + "a_budget_names_its_member_until_the_name_is_erased",),
    ),
    (
        "closing leaves runs as they are",
        "billing_core/decide.py",
        "    end_runs(ledger, decision)\n    released",
        "    released",
        (
            RUNS + "closing_an_account_ends_its_runs_and_tells_it",
            RUNS + "an_account_is_closed_by_a_clock_behind_its_runs",
        ),
    ),
    (
        "a member's name may be written in two ways",
        "billing_core/commands/base.py",
        'given_name("member", command.member)',
        'checked_name("member", command.member)',
        (NAMES + "a_name_is_one_member_with_one_limit",),
    ),
    (
        "a hold that an earlier version named cannot be released",
        "billing_core/commands/base.py",
        "(checked_name if known else given_name)",
        "given_name",
        (NAMES + "what_was_kept_in_another_form_is_read_erased_and_ended",),
    ),
    (
        "a book that is on record is refused for its names",
        "billing_core/engine/catalogue_cache.py",
        "            if not catalogue.has(document.version):\n                check_normal",
        "            if True:\n                check_normal",
        (NAMES + "what_was_kept_in_another_form_is_read_erased_and_ended",),
    ),
    (
        "each part of a call is a request",
        "billing_core/charging/charges.py",
        "        return 0 if part else 1\n",
        "        return 1\n",
        (BLOCK + "one_call_that_is_reported_in_five_parts_is_one_request",),
    ),
    (
        "each settlement of an item is a request",
        "billing_core/charging/charges.py",
        "return 0 if item is not None and UNCOUNTED not in item.components else 1",
        "return 1",
        (BLOCK + "one_call_that_is_reported_in_five_parts_is_one_request",),
    ),
    (
        "a block's parts are one call, whatever they are of",
        "billing_core/engine/hold_handles.py",
        "later.resource == usage.resource for later",
        "later is not None for later",
        (BLOCK + "calls_of_several_things_under_one_hold_count_one_each",),
    ),
]
