"""The rules that let the SQL scale out: read off every statement that the adapter can send,
off the migrations, and off the plans of a single org's commands on partitioned tables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pglast
import psycopg
import pytest
from pglast import ast
from pglast.visitors import Visitor
from postgres_servers import DisposableStore, EmptiedStore
from psycopg.pq import TransactionStatus
from world import HOUR, World, units

from billing_adapters.fake_payments import FakePayments
from billing_adapters.postgres import host_transaction as joined
from billing_adapters.postgres import schema
from billing_adapters.postgres.background import work_reader
from billing_adapters.postgres.lookups import Lookups
from billing_adapters.postgres.queries import Reader
from billing_adapters.postgres.statements import Writer
from billing_adapters.postgres.wire import BEGIN, ROLLBACK, Query, StoreConnection
from billing_core import Billing, Flat, Graduated, Price, Tier, sandbox, usd
from billing_core.testing.stores.conformance import StoreConformance

pytestmark = pytest.mark.slow  # what it looks at is SQL

STATEMENTS = [
    sql.decode()
    for made in (Writer("billing"), Lookups("billing"), Reader("billing"))
    for sql in made.statements
]
PAGE = "https://host.example/page"
REFERENCE = {"published", "marks", "migrations"}
WORK = work_reader("billing")
SCANS = {
    each.sql.decode()
    for each in (
        WORK.silent, WORK.due, WORK.due_last, WORK.lapsing, WORK.paying, WORK.by_payment,
        WORK.by_checkout, WORK.undelivered, WORK.latest,
    )
}  # fmt: skip
"""Over all orgs, without locks: what is claimed is claimed org by org."""
QUEUES = {
    "runs_open", "topups_due", "topups_payment", "topups_checkout", "auto_topups_customer",
}  # fmt: skip
IMMUTABLE = {
    "string_to_array", "unnest", "encode", "coalesce", "max", "min", "row_number", "sum",
    "json_array_elements",
}  # fmt: skip


class Rules(Visitor):
    """Collects what a statement does against the rules."""

    def __init__(self) -> None:
        super().__init__()
        self.broken: list[str] = []
        self.tables: dict[str, str] = {}  # by alias
        self.ctes: set[str] = set()
        self.filtered: set[str | None] = set()

    def visit_CommonTableExpr(self, _: Any, node: ast.CommonTableExpr) -> None:
        if not isinstance(node.ctequery, ast.SelectStmt):
            self.broken.append("a data-modifying CTE")

    def visit_MergeStmt(self, _: Any, node: ast.MergeStmt) -> None:
        self.broken.append("MERGE")

    def visit_FuncCall(self, _: Any, node: ast.FuncCall) -> None:
        name = node.funcname[-1].sval
        if name not in IMMUTABLE:
            self.broken.append(f"the function {name}")

    def visit_SQLValueFunction(self, _: Any, node: ast.SQLValueFunction) -> None:
        self.broken.append("a volatile value")

    def visit_OnConflictClause(self, _: Any, node: ast.OnConflictClause) -> None:
        if node.infer is None or node.infer.conname is not None or not node.infer.indexElems:
            self.broken.append("ON CONFLICT without its columns")

    def visit_RangeVar(self, _: Any, node: ast.RangeVar) -> None:
        if node.relname in self.ctes:
            return
        if node.schemaname != "billing":
            self.broken.append(f"{node.relname} of whatever schema")
        alias = node.relname if node.alias is None else node.alias.aliasname
        self.tables[alias] = node.relname

    def visit_InsertStmt(self, _: Any, node: ast.InsertStmt) -> None:
        if node.relation.relname not in REFERENCE:
            columns = [each.name for each in node.cols or ()]
            if "org_id" not in columns:
                self.broken.append("an insert without org_id")
            infer = node.onConflictClause and node.onConflictClause.infer
            if infer and "org_id" not in {each.name for each in infer.indexElems or ()}:
                self.broken.append("ON CONFLICT without org_id")
        alias = node.relation.alias
        self.filtered.add(node.relation.relname if alias is None else alias.aliasname)

    def visit_A_Expr(self, _: Any, node: ast.A_Expr) -> None:
        for side in (node.lexpr, node.rexpr):
            if isinstance(side, ast.ColumnRef) and side.fields[-1].sval == "org_id":
                self.filtered.add(None if len(side.fields) == 1 else side.fields[0].sval)


def broken(sql: str) -> list[str]:
    rules = Rules()
    rules.ctes = set(re.findall(r"(?:WITH|RECURSIVE|\),) (\w+) (?:\(\w+\) )?AS \(", sql))
    rules(pglast.parse_sql(sql))
    for alias, table in rules.tables.items():
        if table in REFERENCE or alias in rules.filtered:
            continue
        if None in rules.filtered and len({*rules.tables.values()}) <= 2:
            continue  # the only table's column needs no name
        rules.broken.append(f"{table} without org_id")
    return rules.broken


@pytest.mark.parametrize("sql", STATEMENTS, ids=[sql[:60] for sql in STATEMENTS])
def test_every_statement_keeps_the_rules(sql: str) -> None:
    if sql in SCANS:
        [select] = pglast.parse_sql(sql)
        assert isinstance(select.stmt, ast.SelectStmt)
        assert select.stmt.lockingClause is None
        # Of one table, and of those that are joined to it by the org.
        scanned = 1 + sql.count(" USING (org_id)")
        assert [each[-len("without org_id") :] for each in broken(sql)] == [
            "without org_id"
        ] * scanned
    elif sql == WORK.clock.sql.decode():  # a read of the time alone, which is written nowhere
        assert broken(sql) == ["the function date_part", "the function clock_timestamp"]
    else:
        assert broken(sql) == []


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO billing.lots AS kept (org_id, lot) VALUES ($1, now())",
        "INSERT INTO billing.lots (org_id, lot) VALUES ($1, CURRENT_TIMESTAMP)",
        "UPDATE billing.lots SET lot = nextval('s') WHERE org_id = $1",
        "WITH u AS (UPDATE billing.lots SET lot = 1 WHERE org_id = $1 RETURNING 1) SELECT 1 FROM u",
        "UPDATE billing.lots SET lot = 1 WHERE lot = $1",
        "SELECT lot FROM billing.lots WHERE lot = $1",
        "SELECT lot FROM lots WHERE org_id = $1",
        "SELECT t.lot FROM billing.lots AS t JOIN billing.holds AS h ON t.org_id = $1",
        "INSERT INTO billing.lots (lot) VALUES ($1)",
        "INSERT INTO billing.lots (org_id, lot) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        "INSERT INTO billing.lots (org_id) VALUES ($1) ON CONFLICT ON CONSTRAINT c DO NOTHING",
        "INSERT INTO billing.lots (org_id, lot) VALUES ($1, $2) ON CONFLICT (lot) DO NOTHING",
        "SELECT pg_advisory_xact_lock(1)",
        "MERGE INTO billing.lots AS t USING billing.lots AS s ON t.org_id = s.org_id"
        " WHEN MATCHED THEN DELETE",
    ],
)
def test_the_check_finds_a_planted_fault(sql: str) -> None:
    assert broken(sql)


def test_every_key_has_the_org() -> None:
    for migration in schema.migrations():
        for node in pglast.parse_sql(migration.text):
            statement = node.stmt
            if isinstance(statement, ast.CreateStmt):
                table = statement.relation.relname
                keys = [
                    [each.sval for each in part.keys]
                    for part in statement.tableElts
                    if isinstance(part, ast.Constraint) and part.keys
                ]
                assert keys, f"{table} has no primary key"
                assert all(table in REFERENCE or key[0] == "org_id" for key in keys), table
                inline = [p for p in statement.tableElts if isinstance(p, ast.ColumnDef)]
                for column in inline:
                    kinds = {each.contype for each in column.constraints or ()}
                    allowed = {
                        pglast.enums.ConstrType.CONSTR_NOTNULL,
                        pglast.enums.ConstrType.CONSTR_CHECK,
                    }
                    assert kinds <= allowed, f"{table}.{column.colname}"
            elif isinstance(statement, ast.IndexStmt):
                first = statement.indexParams[0].name
                queue = statement.idxname in QUEUES and not statement.unique
                assert statement.relation.relname in REFERENCE or first == "org_id" or queue


def test_names_do_not_depend_on_the_search_path() -> None:
    sent = [joined._SAVEPOINT, joined._UNDO, joined._RELEASE]
    assert all(b"billing_within" in each.statement.sql for each in sent)
    for sql in STATEMENTS:
        for table in re.findall(r"(?:FROM|JOIN|INTO|UPDATE) ([a-z_.]+)", sql):
            assert table.startswith("billing.") or table in {"unnest", "known"}, sql


# -- partitions -------------------------------------------------------------------


class PartitionedStore(DisposableStore):
    """Every table but the reference ones in partitions by a hash of the org."""

    def migrate(self) -> list[str]:
        every = schema.migrations()
        text = re.sub(
            r"(CREATE TABLE billing\.(\w+) \(.*?\n\))( WITH \(fillfactor = \d+\))?;",
            lambda found: _partitioned(found[2], found[1]),
            "\n".join(each.text for each in every),
            flags=re.DOTALL,
        )
        quoted = schema.quoted(self.schema)
        with self._owner() as db, db.transaction():
            db.execute(f"CREATE SCHEMA {quoted}")
            db.execute(schema._MIGRATIONS.replace("billing.", f"{quoted}."))
            db.execute(text.replace("billing.", f"{quoted}.").encode())
            for each in every:
                db.execute(
                    f"INSERT INTO {quoted}.migrations VALUES (%s, %s, %s, %s, 0)",
                    (each.number, each.name, each.checksum, each.number),
                )
        return [each.name for each in every]


def _partitioned(table: str, create: str) -> str:
    if table in REFERENCE:
        return f"{create};"
    parts = "".join(
        f"\nCREATE TABLE billing.{table}_{n} PARTITION OF billing.{table}"
        f" FOR VALUES WITH (MODULUS 4, REMAINDER {n});"
        for n in range(4)
    )
    return f"{create} PARTITION BY HASH (org_id);{parts}"


class EmptiedPartitions(EmptiedStore, PartitionedStore):
    """Such tables as others have used, which are dear to make."""


class TestPartitionedStore(StoreConformance):
    make_store = staticmethod(EmptiedPartitions)


@pytest.fixture
def store() -> Iterator[PartitionedStore]:
    with PartitionedStore() as store:
        yield store


def test_a_partition_keeps_the_journal_too(store: PartitionedStore) -> None:
    World(store).grant(5)
    with psycopg.connect(store.dsn, autocommit=True) as db:
        for n in range(4):
            db.execute(f'SELECT count(*) FROM "{store.schema}".entries_{n}')
        with pytest.raises(psycopg.errors.RestrictViolation):
            for n in range(4):
                db.execute(f'DELETE FROM "{store.schema}".entries_{n}')


def partitions(plan: Any) -> dict[str, set[str]]:
    """By table, those of its partitions that a plan reads or writes."""
    found: dict[str, set[str]] = {}
    name = plan.get("Relation Name", "")
    table, _, number = name.rpartition("_")
    if number.isdigit() and plan.get("Actual Loops", 1):
        found.setdefault(table, set()).add(name)
    for each in plan.get("Plans", ()):
        for table, names in partitions(each).items():
            found.setdefault(table, set()).update(names)
    return found


def explained(line: StoreConnection, queries: Sequence[Query]) -> list[dict[str, set[str]]]:
    """The partitions that each statement touches, while they are executed, and undone."""
    touched: list[dict[str, set[str]]] = []
    for (_, sql), values in queries:
        if not sql.startswith((b"SELECT", b"INSERT", b"UPDATE", b"DELETE", b"WITH")):
            continue
        line.execute(b"SAVEPOINT x")
        line.execute(b"PREPARE probe AS " + sql)
        literal = ", ".join(
            "NULL" if v is None else "'" + v.decode().replace("'", "''") + "'" for v in values
        )
        given = f"({literal})" if values else ""
        line.execute(b"SET LOCAL plan_cache_mode = force_generic_plan")
        explain = f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE probe{given}"
        [[plan]] = line.execute(explain.encode()).fetchall()
        line.execute(b"DEALLOCATE probe")
        line.execute(b"ROLLBACK TO x")
        plan = plan if isinstance(plan, list) else json.loads(plan)
        touched.append(partitions(plan[0]["Plan"]))
    return touched


def over_time_and_topped_up(world: World, fake: FakePayments) -> None:
    billing = world.billing
    billing.start_run("acme", "run", sandbox("box", {"second": 1}))
    world.clock.advance(timedelta(minutes=1))
    billing.heartbeat("acme", "run")
    billing.stop_run("acme", "run")
    billing.report_storage("acme", "ws", 10**6)
    world.clock.advance(timedelta(minutes=1))
    billing.bill_storage("acme")
    urls = {"success_url": PAGE, "cancel_url": PAGE}
    page = billing.top_up("acme", "order", usd("10"), save_method=True, **urls)
    fake.pay(page.session)
    assert billing.confirm("acme", page.session).paid
    for body, signature in fake.deliveries():
        billing.webhook(body, signature)
    billing.set_auto_topup("acme", "auto", enabled=True, threshold=usd("5"), amount=usd("20"))
    told: list[str] = []
    billing.run_pending(deliver=lambda each: told.append(each.kind))
    assert "topup_succeeded" in told


def test_one_org_s_command_touches_one_partition_of_each_table(
    store: PartitionedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(store, opened=False)
    world.billing.payments = fake = FakePayments(clock=world.clock)
    world.billing.open_account("acme", livemode=False)
    world.publish({"t": {"unit": _tiered()}}, version="tiered")
    rate = Price(Flat(1000, 1_000_000), unit="microsecond")
    size = Price(Flat(7, 10**9), unit="byte-microsecond")
    world.publish({"sandbox:box": {"second": rate}, "storage:*": {"byte_us": size}})
    world.grant(1000)
    seen: dict[str, int] = {}
    run = StoreConnection.run
    scans = {
        getattr(store._reader.work, name).sql
        for name in ("silent", "due", "due_last", "lapsing", "paying", "undelivered", "latest")
    }

    def explaining(line: StoreConnection, queries: Sequence[Query]) -> Any:
        begins = [q for q in queries if q.statement.sql.startswith(b"BEGIN")]
        ends = [q for q in queries if q.statement.sql == b"COMMIT"]
        middle = [q for q in queries if q not in begins and q not in ends]
        if {q.statement.sql for q in middle} & scans:
            return run(line, queries)
        if begins:
            run(line, begins)
        writes = any(re.match(rb"INSERT|UPDATE|.* FOR UPDATE$", q.statement.sql) for q in middle)
        begun = line.pgconn.transaction_status == TransactionStatus.INTRANS
        if middle and (writes or begun):
            if not begun:
                run(line, [BEGIN])
            for touched in explained(line, middle):
                for table, names in touched.items():
                    assert len(names) == 1, f"{table}: {names}"
                    seen[table] = seen.get(table, 0) + 1
            if not begun:
                run(line, [ROLLBACK])
        answers = run(line, [*middle, *ends])
        return [*([[]] * len(begins)), *answers]

    with monkeypatch.context() as patch:
        patch.setattr(StoreConnection, "run", explaining)
        charge = world.settle(units(5, "t", item="run-1"), member="ann")
        held = world.hold(units(3, "t"), expires_in=HOUR)
        world.settle(units(2, "t"), hold=held.key)
        world.deduct(7)
        world.settle(5000)
        world.reverse(charge, 2)
        world.grant(10_000)
        world.clock.advance(timedelta(hours=2))
        world.hold(5, expires_in=HOUR)
        world.balance()
        store.erase_member("acme", "ann")
        over_time_and_topped_up(world, fake)
    assert seen.keys() >= {
        "accounts", "entries", "lots", "holds", "counters", "items", "charges", "cells", "members",
        "runs", "storages", "sizes", "topups", "auto_topups", "deliveries", "events",
    }  # fmt: skip
    assert world.wrong() == []


def _tiered() -> Any:
    return Price(Graduated((Tier(10, 1, 1), Tier(None, 2, 1))), unit="unit")


def test_money_and_usage_are_the_same_on_partitions(store: PartitionedStore) -> None:
    billing = Billing(store)
    for org in ("acme", "bolt", "core"):
        billing.open_account(org)
        billing.grant(org, "g", usd("1"))
        billing.deduct(org, "d", usd("0.25"), resource="x")
        assert billing.balance(org).balance == usd("0.75").nanos
    assert billing.verify().ok


# -- indexes ----------------------------------------------------------------------

RANGES = {
    "history": ("entries_pkey", "seq"),
    "other_history": ("entries_other", "seq"),
    "usage": ("entries_usage", "member", "occurred_at"),
    "all_usage": ("entries_usage", "member", "occurred_at"),
    "sums": ("entries_usage", "member", "occurred_at"),
    "all_sums": ("entries_usage", "member", "occurred_at"),
    "cells": ("entries_pkey", "seq"),
    "all_cells": ("entries_pkey", "seq"),
}


def scans(plan: Any, table: str) -> Iterator[dict[str, Any]]:
    if plan.get("Relation Name") == table:
        yield plan
    for each in plan.get("Plans", ()):
        yield from scans(each, table)


def planned(line: StoreConnection, sql: bytes, number: int) -> Any:
    line.execute(b"PREPARE probe AS " + sql)
    given = f"({', '.join(['NULL'] * number)})" if number else ""
    [[plan]] = line.execute(f"EXPLAIN (FORMAT JSON) EXECUTE probe{given}".encode()).fetchall()
    line.execute(b"DEALLOCATE probe")
    return plan[0]["Plan"]


@pytest.mark.parametrize("name", RANGES)
def test_what_grows_with_history_is_read_by_ranges_of_an_index(name: str) -> None:
    index, *columns = RANGES[name]
    with DisposableStore() as store, store._lines.lent() as line:
        sql = getattr(store._reader, name).sql
        plan = planned(line, sql, max(map(int, re.findall(rb"\$(\d)", sql))))
        found = [*scans(plan, "entries")]
        lacking = [each for each in found if index != each["Index Name"] == "entries_pkey"]
        found = [each for each in found if each not in lacking]
        assert len(lacking) == name.endswith("sums")  # what the kept cells lack
        assert all(part in each["Index Cond"] for each in lacking for part in ("org_id", "seq"))
        assert {each["Index Name"] for each in found} == {index}
        # Of those that skip from member to member, the others are the ranges.
        [range_] = [each for each in found if columns[-1] in each["Index Cond"]
                    and "NOT NULL" not in each["Index Cond"]]  # fmt: skip
        assert all(column in range_["Index Cond"] for column in ("org_id", *columns))
        parts = ("org_id", "grain", "member", "start")
        cells = [*scans(plan, "cells")]
        # Where members are found in the cells themselves, it is by skipping.
        cells = [each for each in cells if name != "all_cells" or "start" in each["Index Cond"]]
        for cell in cells:
            assert all(column in cell["Index Cond"] for column in parts)
            assert "Filter" not in cell
        assert len(cells) == ("cells" in name or "sums" in name)


def test_what_the_kept_cells_lack_is_read_by_a_range_of_an_index() -> None:
    with DisposableStore() as store, store._lines.lent() as line:
        [found] = scans(planned(line, store._loader.lookups.tail.sql, 3), "entries")
        assert found["Index Name"] == "entries_pkey"
        assert all(column in found["Index Cond"] for column in ("org_id", "seq"))


def test_no_statement_scans_a_table() -> None:
    with DisposableStore() as store, store._lines.lent() as line:
        statements = [*store._reader.statements, *store._loader.lookups.statements]
        for sql in statements:
            plan = planned(line, sql, max(map(int, re.findall(rb"\$(\d)", sql)), default=0))
            # An index of what lapses would cost every write that moves it; there are as many
            # migrations as the schema has had versions. The latest record is asked for seldom.
            work = store._reader.work
            if sql not in (work.lapsing.sql, work.latest.sql, store._reader.level.sql):
                assert '"Seq Scan"' not in json.dumps(plan), sql
