"""Faults for `planted_faults.py`, in what open holds announce, and in what is taken for new."""

HOLDING = "billing_core/charging/holds.py"
LEDGER = "billing_core/ledger/ledger.py"
REQUIRED = "billing_core/ports/required.py"
RUNNING = "billing_core/runs/handlers.py"
TERMS = "billing_core/ledger/inputs.py"
MEMORY = "billing_core/testing/memory_store.py"
SQLITE = "adapters/billing_adapters/sqlite/loader.py"
PG_LOADING = "adapters/billing_adapters/postgres/loader.py"

ANNOUNCED = "tests/unit/charging/test_hold_announcements.py::test_"
LOOKED = "where_it_has_looked_is_said"

Planted = tuple[str, str, str, str, tuple[str, ...]]

IN_ANNOUNCED: list[Planted] = [
    (
        "a hold is announced only where a plan may have a quota by now",
        HOLDING,
        "        if not used:\n",
        "        if not used or ledger.account.plan is None:\n",
        (
            ANNOUNCED + "a_hold_from_before_the_plan_counts_in_its_quota",
            ANNOUNCED + "a_hold_at_a_flat_price_counts_in_the_quotes_of_tiers_that_come_later",
            ANNOUNCED + "runs_from_before_the_plan_count_in_its_quota",
        ),
    ),
    (
        "a hold is announced only where the plan in force has a quota for it",
        HOLDING,
        "        if not used:\n",
        "        from billing_core.charging.limits import quotas\n"
        '        if not used or not quotas(ledger, hold.resource or ""):\n',
        (
            ANNOUNCED + "a_hold_under_another_plan_counts_in_the_quota_of_the_new_one",
            ANNOUNCED + "a_hold_counts_in_the_quota_that_a_new_version_of_the_plan_brings",
            ANNOUNCED + "an_extended_hold_counts_in_the_quota_that_comes_later",
        ),
    ),
    (
        "a run announces nothing",
        RUNNING,
        "        announce(ledger, hold, zip(ledger.periods",
        "        list(zip(ledger.periods",
        (ANNOUNCED + "a_run_at_a_flat_price_counts_in_the_quotes_of_tiers_that_come_later",),
    ),
    (
        "a counter that was not loaded is begun anew",
        LEDGER,
        "if not self.new and not knows_counter(self.state, resource, self.period(start)):\n",
        "if False:\n",
        (ANNOUNCED + "what_was_not_loaded_is_asked_for_and_not_begun_anew",),
    ),
    (
        "an item that was not loaded is begun anew",
        LEDGER,
        "        if found is None and not self.new and key not in self.state.sought:\n",
        "        if False:\n",
        (ANNOUNCED + "what_was_not_loaded_is_asked_for_and_not_begun_anew",),
    ),
    (
        "what was spent in a window that was not loaded is nothing",
        LEDGER,
        "        if times is None or window.end <= times[0] or times[1] < window.start:\n",
        "        if False:\n",
        (ANNOUNCED + "spending_and_plans_of_a_time_that_was_not_loaded_are_asked_for",),
    ),
    (
        "the plan of a time that was not loaded is none",
        LEDGER,
        "                if times is None or at < times[0]:\n",
        "                if False:\n",
        (ANNOUNCED + "spending_and_plans_of_a_time_that_was_not_loaded_are_asked_for",),
    ),
    (
        "a period beside the span that was loaded counts as loaded",
        REQUIRED,
        "first < period.end and period.start <= last for",
        "True for",
        (ANNOUNCED + "what_is_loaded_covers_the_periods_of_its_times",),
    ),
    (
        "a hold that is known is copied without what it announced",
        "billing_core/records/ledger.py",
        "self.parts[:], self.counted[:],",
        "self.parts[:], [],",
        ("tests/stores/test_sqlite.py::test_a_hold_that_is_known_takes_back_what_it_announced",),
    ),
    (
        "a store that says nothing of what it has loaded is asked for ever",
        TERMS,
        "        if not missing:  # a store",
        "        if False:  # a store",
        (ANNOUNCED + "a_late_counter_that_is_wanted_brings_all_that_follow_it",),
    ),
    (
        "memory does not say whose items it has looked for",
        MEMORY,
        "for key in state.sought if key in org.items}\n",
        "for key in state.sought if key in org.items}\n        state.sought = set()\n",
        ("tests/properties/test_memory_store.py::TestMemoryStore::test_" + LOOKED,),
    ),
    (
        "SQLite does not say which counters it has loaded",
        SQLITE,
        "                state.counters[resource, each.start] = each\n",
        "                state.counters[resource, each.start] = each\n        state.covered = {}\n",
        ("tests/stores/test_sqlite_store.py::TestSqliteStore::test_" + LOOKED,),
    ),
    (
        "PostgreSQL does not say whose items it has looked for",
        PG_LOADING,
        "            state.windows = set(want.windows)\n",
        "            state.windows = set(want.windows)\n            state.sought = set()\n",
        ("tests/stores/test_postgres_store.py::TestPostgresStore::test_" + LOOKED,),
    ),
]
