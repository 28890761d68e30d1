"""Faults for `planted_faults.py`, in what verify holds against the journal."""

DELIVERY = "billing_core/audit/events.py"
EVERY = "tests/unit/audit/test_every_column.py::test_"
FILED = "adapters/billing_adapters/json_rows.py"
LEDGER = "billing_core/ledger/ledger.py"
MEMORY = "billing_core/testing/memory_store.py"
SQLITE = "adapters/billing_adapters/sqlite/store.py"
PG = "adapters/billing_adapters/postgres/store.py"
TABLES = "billing_core/audit/state.py"
TOPUPS = "billing_core/audit/topups.py"
VERIFY = "billing_core/audit/verify.py"
FOUND = "tests/unit/audit/test_verify.py::test_"

Planted = tuple[str, str, str, str, tuple[str, ...]]

EDITED = EVERY + "an_edit_of_any_column_is_found_and_named[sqlite-"

IN_AUDIT: list[Planted] = [
    (
        "a document that is gone in between is not missed",
        VERIFY,
        "for missing in range(number + 1, each.number):",
        "for missing in range(0):",
        (FOUND + "a_document_in_between_is_missed_when_it_is_gone",),
    ),
    (
        "publishing marks nothing in memory",
        MEMORY,
        "self.set_mark(PUBLISHED, document.number)",
        "pass",
        (FOUND + "a_document_that_nobody_was_charged_by_is_missed_when_it_is_gone",),
    ),
    (
        "publishing marks nothing on SQLite",
        SQLITE,
        "            db.execute(SET_MARK, (PUBLISHED, document.number))\n",
        "",
        ("tests/stores/test_sqlite_store.py::TestSqliteStore::test_publishing_marks_the_number",),
    ),
    (
        "publishing marks nothing on PostgreSQL",
        PG,
        ", (self._reader.work.set_mark, mark)",
        "",
        (
            "tests/stores/test_postgres_store.py::TestPostgresStore::test_publishing_marks_the_number",
        ),
    ),
    (
        "a checkpoint's documents are not asked about",
        VERIFY,
        "            _check_documents(audit)\n",
        "",
        (FOUND + "a_document_that_is_gone_with_its_mark_is_found_against_a_checkpoint",),
    ),
    (
        "whom an ended hold was for is not added up",
        TABLES,
        "all_of_it += [hold.counted, hold.member, hold.project]",
        "all_of_it += [hold.counted]",
        (FOUND + "whom_an_ended_hold_was_for_is_found_and_named",),
    ),
    (
        "an entry does not bind its events",
        LEDGER,
        "return said | {TOLD: told(raised)}",
        "return said",
        (FOUND + "an_event_that_is_altered_or_gone_or_new_is_found_and_named",),
    ),
    (
        "events that nobody told of are let pass",
        DELIVERY,
        "if recorded != derived:",
        "if recorded.entries < derived.entries:",
        (FOUND + "an_event_of_an_entry_that_raised_none_is_found_and_named",),
    ),
    (
        "events may be leased for ever",
        DELIVERY,
        "max(now, account.recorded_at) + DAY:",
        "2**63:",
        (FOUND + "events_leased_for_ever_are_found",),
    ),
    (
        "one number may have two names",
        DELIVERY,
        "if number in seen:",
        "if number < 0:",
        (FOUND + "a_member_number_that_was_never_given_or_given_twice_is_found",),
    ),
    (
        "news may be marked as read up to a time to come",
        VERIFY,
        "if value is not None and value > now + DAY:",
        "if value is not None and value > 2**63:",
        (FOUND + "news_marked_as_read_up_to_a_time_to_come_is_found",),
    ),
    (
        "a run's state is read from its record alone",
        FILED,
        '"run": ("runs", ("run", "state", "seen_at")),',
        '"run": ("runs", ("run", "seen_at")),',
        (EDITED + "runs]",),
    ),
    (
        "what is asked of the provider is not audited",
        TOPUPS,
        "if expected not in (UNKNOWN, topup.asked) and",
        "if expected == UNKNOWN and",
        (EDITED + "topups]",),
    ),
]
