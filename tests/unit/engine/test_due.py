"""What it costs to find whose turn it is does not grow with what is due."""

import json
import sqlite3
from contextlib import closing

import psycopg
import pytest
from test_turns import real_store

from billing_adapters.sqlite import topups as topup_rows
from billing_core import Billing
from billing_core.ports.due_topups import due_in_rounds

NAMES = 40  # orgs


def backlog(store, times):
    """So many due top-ups of each org; a statement that puts one, and its values."""
    billing = Billing(store)
    for number in range(NAMES):
        billing.open_account(f"org-{number}", livemode=False)
    return [
        (f"org-{number}", f"t-{n:05}", n * NAMES + number, "{}", "{}")
        for number in range(NAMES)
        for n in range(times)
    ]


PUT = "INSERT INTO {}topups (org_id, topup, due_at, asked, body) VALUES ({})"


@pytest.mark.parametrize("name", ["_LONGEST_DUE", "_LATEST_DUE"])
def test_sqlite_takes_as_many_steps_however_much_is_due(tmp_path, name) -> None:
    def steps(times):
        (tmp_path / str(times)).mkdir()
        with real_store("sqlite", tmp_path / str(times)) as store:
            rows = backlog(store, times)
            with closing(sqlite3.connect(store.path)) as db:
                db.executemany(PUT.format("", "?, ?, ?, ?, ?"), rows)
                count = []
                db.set_progress_handler(lambda: count.append(1), 1)
                found = db.execute(getattr(topup_rows, name), (0, 2**60, False, 10)).fetchall()
                assert len(found) == 10
                return len(count)

    assert steps(200) == steps(5)


@pytest.mark.parametrize("name", ["due", "due_last"])
def test_postgres_reads_as_many_rows_however_much_is_due(tmp_path, name) -> None:
    with real_store("postgres", tmp_path) as store:
        rows = backlog(store, 500)
        query = getattr(store._reader.work, name).sql.decode()
        with psycopg.connect(store.dsn, autocommit=True) as db:
            put = PUT.format(f'"{store.schema}".', "%s, %s, %s, %s, %s")
            db.cursor().executemany(put, rows)
            db.execute(f'ANALYZE "{store.schema}".topups')
            db.execute(f'ANALYZE "{store.schema}".accounts')
            db.execute("SET plan_cache_mode = force_generic_plan")
            db.execute(f"PREPARE probe AS {query}")
            explain = "EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE probe(0, 1000000000, false, 10)"
            [[plan]] = db.execute(explain).fetchall()
        plan = plan if isinstance(plan, list) else json.loads(plan)
        assert 0 < read(plan[0]["Plan"]) < 200, plan


def read(plan):
    """The rows of tables that a plan read, those that it left out too."""
    inner = plan.get("Plans", ())
    if inner:
        return sum(map(read, inner))
    left = plan.get("Rows Removed by Filter", 0)
    return (plan["Actual Rows"] + left) * plan["Actual Loops"]


def test_of_a_backlog_three_parts_are_looked_at() -> None:
    due = [(n, f"org-{n % 7}", f"t-{n}") for n in range(1000)]
    asked = []

    def scan(since, latest):
        asked.append((since, latest))
        return sorted((each for each in due if each[0] >= since), reverse=latest)[:10]

    assert len(due_in_rounds(scan, 12_345, 10)) == 10
    assert [latest for _, latest in asked] == [False, True, False]
    assert 9 <= asked[2][0] < 990
