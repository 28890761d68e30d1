"""Faults for `planted_faults.py`, in migrations, wide totals and what is written together."""

SQLITE = "adapters/billing_adapters/sqlite/"
POSTGRES = "adapters/billing_adapters/postgres/"
DEBTS = "tests/unit/ledger/test_rules_6_debt_and_reversal.py::test_6_4_"
UPGRADE = "tests/stores/test_upgrade.py::test_"

Planted = tuple[str, str, str, str, tuple[str, ...]]

IN_MIGRATION: list[Planted] = [
    (
        "a price by the request beside a version that knows none",
        "billing_core/engine/catalogue_cache.py",
        "document.varies and self.level < VARIES:",
        "document.varies and self.level < 2:",
        (UPGRADE + "what_0_2_0_cannot_price_waits_until_it_is_gone[sqlite]",),
    ),
    (
        "a hold with facts beside a version that knows none",
        "billing_core/charging/holds.py",
        'check_level("a hold with facts", VARIES,',
        'check_level("a hold with facts", 2,',
        (UPGRADE + "what_0_2_0_cannot_price_waits_until_it_is_gone[sqlite]",),
    ),
    (
        "a run with facts beside a version that knows none",
        "billing_core/runs/handlers.py",
        'check_level("a run with facts", VARIES,',
        'check_level("a run with facts", 2,',
        (UPGRADE + "what_0_2_0_cannot_price_waits_until_it_is_gone[sqlite]",),
    ),
    (
        "storage with facts beside a version that knows none",
        "billing_core/storage/handlers.py",
        'check_level("storage with facts", VARIES,',
        'check_level("storage with facts", 2,',
        (UPGRADE + "what_0_2_0_cannot_price_waits_until_it_is_gone[sqlite]",),
    ),
    (
        "a price by the request that looks like its base",
        "billing_core/pricing/price.py",
        'shape = {"base": shape, **',
        'shape = {**shape, "base": shape, **',
        (UPGRADE + "0_2_0_prices_nothing_by_a_book_that_it_cannot_read[sqlite-variants]",),
    ),
    (
        "all that was ever charged is held to 64 bits",
        "billing_core/ledger/ledger.py",
        "        if self.terms.level < WIDE_TOTALS:",
        "        if True:",
        (DEBTS + "what_only_counts_refuses_no_usage",),
    ),
    (
        "a debt may leave 64 bits",
        "billing_core/ledger/ledger.py",
        "        if account.debt + used > MAX_NANOS:",
        "        if used > MAX_NANOS:",
        (DEBTS + "what_only_counts_refuses_no_usage",),
    ),
    (
        "a reversal may bring credit beyond 64 bits",
        "billing_core/charging/charges.py",
        "    ledger.check_room(returned=max(0, amount - story.unpaid))\n",
        "",
        (
            "tests/unit/ledger/test_rules_6_debt_and_reversal.py::test_6_6_credit_that_comes_back_stays_within_64_bits",
        ),
    ),
    (
        "SQLite keeps a wide number as one of 64 bits",
        "adapters/billing_adapters/columns.py",
        'kinds={"amount": "wide"}',
        "kinds={}",
        (DEBTS + "what_only_counts_refuses_no_usage",),
    ),
    (
        "an applied migration is changed",
        POSTGRES + "migrations/0001_ledger.sql",
        "    topup_open boolean NOT NULL,",
        "    topup_open boolean NOT NULL, more bigint,",
        (UPGRADE + "migrations_that_were_applied_never_change",),
    ),
    (
        "a file of an unreleased build is opened",
        SQLITE + "schema.py",
        "        if other:",
        "        if False:",
        (UPGRADE + "a_file_of_an_unreleased_build_is_refused",),
    ),
    (
        "a schema of an unreleased build is worked on",
        POSTGRES + "schema.py",
        "    _missing(applied, migrations(), name)\n    if max",
        "    _check_known(applied, name)\n    if max",
        (UPGRADE + "a_schema_of_an_unreleased_build_is_refused_by_whoever_connects",),
    ),
    (
        "a file that is in use is finished at once",
        SQLITE + "schema.py",
        "        if new:\n            _finish",
        "        if True:\n            _finish",
        (UPGRADE + "two_versions_work_side_by_side_until_the_old_one_is_gone",),
    ),
    (
        "a schema that is in use is finished at once",
        POSTGRES + "schema.py",
        "each.checksum, each.needs if applied else each.number,",
        "each.checksum, each.number,",
        (UPGRADE + "an_old_database_is_brought_up_to_date_and_goes_on",),
    ),
    (
        "what the version before cannot follow is decided",
        "billing_core/decide.py",
        "    if command.level > terms.level:",
        "    if False:",
        (UPGRADE + "what_the_version_before_cannot_follow_waits_for_the_operator",),
    ),
    (
        "that the old version is gone is not heard",
        "billing_core/engine/catalogue_cache.py",
        "            if self.level < LEVEL:",
        "            if self.level < 1:",
        (UPGRADE + "what_the_version_before_cannot_follow_waits_for_the_operator",),
    ),
    (
        "each statement of a write commits alone",
        "adapters/billing_adapters/postgres/store.py",
        "    return [BEGIN, *writes, COMMIT]",
        "    return [*writes, BEGIN, COMMIT]",
        (
            "tests/stores/test_postgres.py::test_what_is_written_together_is_so_where_each_statement_"
            "would_commit_alone",
        ),
    ),
    (
        "a statement that was prepared for another type is sent again and again",
        POSTGRES + "wire.py",
        "        self.prepared.clear()\n        self.renewed",
        "        self.renewed",
        ("tests/stores/test_postgres.py::test_a_column_of_another_type_is_met_once",),
    ),
]
