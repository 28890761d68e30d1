"""Faults for `planted_faults.py`, in connections: to a host's database, and through a pooler."""

POSTGRES = "adapters/billing_adapters/postgres/"

DATABASE = "tests/stores/test_host_database.py::test_"
POOLER = "tests/stores/test_pooler.py::test_"
IDLE = "tests/stores/test_postgres.py::test_after_a_restart_nobody_waits_for_each_idle_connection"

Planted = tuple[str, str, str, str, tuple[str, ...]]

IN_CONNECTIONS: list[Planted] = [
    (
        "a statement prepared for another type fails a call that has several exchanges",
        "adapters/billing_adapters/postgres/store.py",
        "                elif _outdated(error):",
        "                elif False:",
        (DATABASE + "nobody_hears_of_a_column_that_was_given_another_type",),
    ),
    (
        "a snapshot is not taken again",
        "adapters/billing_adapters/postgres/store.py",
        "            if not _outdated(error):\n                raise",
        "            raise",
        (DATABASE + "nobody_hears_of_a_column_that_was_given_another_type",),
    ),
    (
        "each connection meets a column of another type by itself",
        POSTGRES + "pool.py",
        "        self._renewed = max(self._renewed, line.renewed)",
        "        max(self._renewed, line.renewed)",
        (DATABASE + "what_one_connection_has_met_the_others_need_not_meet",),
    ),
    (
        "a database of any encoding is migrated",
        POSTGRES + "schema.py",
        'if encoding != "UTF8":',
        'if encoding == "UTF-8":',
        (DATABASE + "a_database_of_another_encoding_is_refused_before_anything_is_made",),
    ),
    (
        "the host's own encoding is ours",
        POSTGRES + "pool.py",
        '{**_DEFAULTS, **given, "client_encoding": "UTF8"}',
        '{**_DEFAULTS, "client_encoding": "UTF8", **given}',
        (DATABASE + "names_are_kept_whatever_encoding_the_host_itself_speaks",),
    ),
    (
        "a schema is made by the role's defaults",
        "adapters/billing_adapters/postgres/store.py",
        "        db.read_only, db.isolation_level = False, psycopg.IsolationLevel.READ_COMMITTED\n",
        "",
        (DATABASE + "what_owns_the_schema_works_where_transactions_only_read_by_default",),
    ),
    (
        "a script runs by the role's defaults",
        POSTGRES + "schema.py",
        '"BEGIN READ WRITE;"',
        '"BEGIN;"',
        (DATABASE + "what_owns_the_schema_works_where_transactions_only_read_by_default",),
    ),
    (
        "who finds idle connections of no use waits before each",
        POSTGRES + "pool.py",
        "            while self._is_dropped(line):\n",
        "            while self._is_dropped(line):\n                time.sleep(1)\n",
        (IDLE,),
    ),
    (
        "an idle connection is used that the server has hung up on",
        POSTGRES + "pool.py",
        "            while self._is_dropped(line):\n",
        "            while False:\n",
        (IDLE,),
    ),
    (
        "a pooler is taken for the server",
        POSTGRES + "pool.py",
        "    return there != (line.pgconn.backend_pid,)",
        "    return there is None",
        (POOLER + "a_wait_for_a_lock_is_bounded_by_us",),
    ),
    (
        "a transaction through a pooler is as durable as others left it",
        POSTGRES + "pool.py",
        "        set_config('synchronous_commit', NULL, true), 'off'), 'on'), true),",
        "        current_setting('synchronous_commit'), 'off'), 'on'), true),",
        (POOLER + "the_role_s_own_durability_counts_but_for_off",),
    ),
    (
        "a transaction through a pooler begins as others left it",
        POSTGRES + "wire.py",
        "            begin = _BEGIN_SAID",
        "            pass",
        (POOLER + "writes_and_reads_among_others_who_leave_their_settings",),
    ),
    (
        "settings are left on a pooler's connections",
        POSTGRES + "pool.py",
        "            line.prepared, line.carried = None, self._carried\n",
        "            line.prepared, line.carried = None, self._carried\n"
        "            line.execute(self._settings)\n",
        (POOLER + "writes_and_reads_among_others_who_leave_their_settings",),
    ),
    (
        "a schema is made by the role that others left",
        POSTGRES + "schema.py",
        "set_config('role', NULL, true), set_config('lock_timeout'",
        "set_config('lock_timeout'",
        (POOLER + "the_schema_is_made_through_a_pooler_whatever_was_left_there",),
    ),
]
