"""The statements that find rows by their ids: of one org, and of many at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from billing_adapters.columns import (
    CHARGES,
    COUNTERS,
    HOLDS,
    ITEMS,
    LIMITS,
    LOTS,
    RUNS,
    SIZES,
    SPENDS,
    STORAGES,
    SUBSCRIPTIONS,
    TOPUPS,
)
from billing_adapters.postgres import codecs
from billing_adapters.postgres.statements import Value, joined, text
from billing_adapters.postgres.wire import Query, Statement, statement
from billing_core.ports.state import NEWEST

__all__ = ["Lookup", "Lookups", "skipping"]


@frozen
class Lookup:
    """Rows found by ids: a statement for the ids of one org, and one for those of many."""

    one: Statement
    many: Statement

    def query(self, ids: Mapping[str, Sequence[tuple[Value, ...]]]) -> Query:
        if len(ids) == 1:
            [(org, wanted)] = ids.items()
            columns = [joined(column) for column in zip(*wanted, strict=True)]
            return Query(self.one, [text(org), *columns])
        pairs = [(org, *each) for org, wanted in ids.items() for each in wanted]
        return Query(self.many, [joined(column) for column in zip(*pairs, strict=True)])


def skipping(schema: str, table: str, where: str) -> str:
    """A WITH clause: the members that an org has in a table, as ``known``, found by skipping
    from each to the next through an index."""
    least = f"SELECT min(member) FROM {schema}.{table} AS m WHERE m.org_id = $1 AND {where}"
    return (
        f"WITH RECURSIVE known (member) AS (({least}) UNION ALL"
        f" SELECT ({least} AND member > known.member) FROM known WHERE known.member IS NOT NULL)"
    )


class Lookups:
    """Of the tables of one schema (a quoted name)."""

    def __init__(self, schema: str) -> None:
        self._schema = schema
        self.locked = self._by_org("accounts", codecs.ACCOUNT, " ORDER BY org_id FOR UPDATE")
        self.accounts = self._by_org("accounts", codecs.ACCOUNT)
        self.lots = self._by_org("lots", f"org_id, {LOTS.selected}", " AND NOT spent")
        self.entries = self._lookup("entries", codecs.ENTRY, key="text")
        self.subjects = self._lookup("entries", codecs.ENTRY, seq="bigint")
        self.members = self._lookup("members", "name, member", name="text")
        self.holds = self._lookup("holds", HOLDS.selected, key="text")
        self.items = self._lookup("items", ITEMS.selected, item="text", resource="text")
        self.charges = self._lookup("charges", CHARGES.selected, charge="bigint")
        self.spent = self._lookup("lots", LOTS.selected, lot="bigint")
        self.counted = self._lookup("counters", COUNTERS.selected, resource="text", start="bigint")
        # From the counter in force at a time on; an unknown one begins at no time.
        in_force = (
            "t.resource = w.resource AND t.start >= coalesce("
            f"(SELECT max(c.start) FROM {schema}.counters AS c WHERE c.org_id = t.org_id"
            " AND c.resource = t.resource AND c.start <= w.first), w.first)"
        )
        self.counters = Lookup(
            self._joined("counters", COUNTERS.selected, "resource text, first bigint", in_force),
            self._joined(
                "counters",
                COUNTERS.selected,
                "org_id text, resource text, first bigint",
                in_force,
            ),
        )
        of_org = f"FROM {schema}.holds WHERE org_id = $1 AND state = 'open' AND expires_at"
        self.due = statement(f"SELECT org_id, {HOLDS.selected} {of_org} <= $2")
        self.next = statement(
            f"SELECT org_id, min(expires_at) {of_org} > $2"
            " AND key <> ALL (string_to_array($3, E'\\x1f')) GROUP BY org_id"
        )
        self.limits = self._lookup("limits", LIMITS.selected, subject="text")
        names = "subject text, grain text, first bigint, last bigint"
        within = (
            "t.subject = w.subject AND t.grain = w.grain AND t.start >= w.first"
            " AND t.start <= w.last"
        )
        self.spends = Lookup(
            self._joined("spends", SPENDS.selected, names, within),
            self._joined("spends", SPENDS.selected, f"org_id text, {names}", within),
        )
        self.all_limits = statement(
            f"SELECT org_id, {LIMITS.selected} FROM {schema}.limits WHERE org_id = $1"
        )
        least = f"SELECT min(m.subject) FROM {schema}.spends AS m WHERE m.org_id = $1"
        self.window = statement(
            f"WITH RECURSIVE known (whose) AS (({least}) UNION ALL SELECT ({least}"
            " AND m.subject > known.whose) FROM known WHERE known.whose IS NOT NULL)"
            f" SELECT org_id, {SPENDS.selected} FROM known JOIN {schema}.spends AS t"
            " ON t.org_id = $1 AND t.subject = known.whose AND t.grain = $2 AND t.start = $3"
        )
        # From the one in force at a time on.
        self.subscribed = statement(
            f"SELECT org_id, {SUBSCRIPTIONS.selected} FROM {schema}.subscriptions WHERE org_id = $1"
            f" AND seq >= coalesce((SELECT s.seq FROM {schema}.subscriptions AS s"
            " WHERE s.org_id = $1 AND s.since <= $2 ORDER BY s.seq DESC LIMIT 1), 0) ORDER BY seq"
        )
        added = "t.org_id, sum(t.rest) + sum(t.amount)"
        self.sum = statement(
            f"SELECT {added} FROM {schema}.cells AS t WHERE t.org_id = $1 AND t.grain = $2"
            " AND t.start = $3 AND t.member = $4 GROUP BY t.org_id"
        )
        self.sum_of_all = statement(
            f"{skipping(schema, 'cells', 'grain = $2')} SELECT {added} FROM known"
            f" JOIN {schema}.cells AS t ON t.org_id = $1 AND t.grain = $2"
            " AND t.member = known.member AND t.start = $3 GROUP BY t.org_id"
        )
        # From each resource that has a counter to the next: not through all the periods of each.
        least = f"SELECT min(c.resource) FROM {schema}.counters AS c WHERE c.org_id = $1"
        self.family = statement(
            f"WITH RECURSIVE known (resource) AS (({least} AND c.resource >= $2"
            f" AND c.resource < $3) UNION ALL SELECT ({least} AND c.resource > known.resource"
            " AND c.resource < $3) FROM known WHERE known.resource IS NOT NULL)"
            " SELECT t.org_id, t.resource, t.start, t.components"
            f" FROM known JOIN {schema}.counters AS t"
            " ON t.org_id = $1 AND t.resource = known.resource AND t.start = $4"
            " ORDER BY t.resource"
        )
        self.tail = statement(
            f"SELECT org_id, usage FROM {schema}.entries WHERE org_id = $1 AND seq > $2"
            " AND seq <= $3 AND usage IS NOT NULL ORDER BY seq"
        )
        self.newest = statement(
            f"SELECT org_id, usage::jsonb ->> 2, $3::bigint, seq FROM {schema}.entries"
            " WHERE org_id = $1 AND seq > $2 AND occurred_at >= $3 AND occurred_at < $4"
            " AND amount > 0 AND (key BETWEEN 'settle:' AND 'settle;'"
            " OR key BETWEEN 'deduct:' AND 'deduct;' OR key BETWEEN 'price:' AND 'price;')"
            f" AND usage::jsonb ->> 2 = $5 ORDER BY seq DESC LIMIT {NEWEST}"
        )
        self.runs = self._lookup("runs", RUNS.selected, run="text")
        self.storages = self._lookup("storages", STORAGES.selected, workspace="text")
        # From the last at or before a span to the first after it.
        sized = f"FROM {schema}.sizes AS s WHERE s.org_id = t.org_id AND s.workspace = t.workspace"
        around = (
            "t.workspace = w.workspace"
            f" AND t.at >= coalesce((SELECT max(s.at) {sized} AND s.at <= w.first), w.first)"
            f" AND t.at <= coalesce((SELECT min(s.at) {sized} AND s.at > w.last), w.last)"
        )
        names = "workspace text, first bigint, last bigint"
        self.sizes = Lookup(
            self._joined("sizes", SIZES.selected, names, around),
            self._joined("sizes", SIZES.selected, f"org_id text, {names}", around),
        )
        self.topups = self._lookup("topups", TOPUPS.selected, topup="text")
        self.auto = self._by_org("auto_topups", "org_id, body")
        self.debts = statement(
            f"SELECT org_id, {CHARGES.selected} FROM {schema}.charges WHERE org_id = $1"
            " AND unpaid > 0 ORDER BY charge LIMIT $2"
        )

    def _by_org(self, table: str, columns: str, more: str = "") -> Lookup:
        select = f"SELECT {columns} FROM {self._schema}.{table} WHERE org_id"
        many = f"{select} = ANY (string_to_array($1, E'\\x1f')){more}"
        return Lookup(statement(f"{select} = $1{more}"), statement(many))

    def _lookup(self, table: str, columns: str, **ids: str) -> Lookup:
        where = " AND ".join(f"t.{name} = w.{name}" for name in ids)
        names = ", ".join(f"{name} {kind}" for name, kind in ids.items())
        return Lookup(
            self._joined(table, columns, names, where),
            self._joined(table, columns, f"org_id text, {names}", where),
        )

    def _joined(self, table: str, columns: str, ids: str, where: str) -> Statement:
        """Rows of a table that meet ids, which come as joined texts: with the org's, or
        after a first parameter that is the one org."""
        pairs = [each.split() for each in ids.split(", ")]
        many = pairs[0][0] == "org_id"
        org = "w.org_id" if many else "$1"
        arrays = ", ".join(
            f"string_to_array(${n}, E'\\x1f')::{kind}[]"
            for n, (_, kind) in enumerate(pairs, 1 if many else 2)
        )
        # Row by row, whatever the planner thinks of tables that were small when it looked.
        return statement(
            f"SELECT t.* FROM unnest({arrays}) AS w ({', '.join(name for name, _ in pairs)})"
            f" CROSS JOIN LATERAL (SELECT t.org_id, {columns} FROM {self._schema}.{table} AS t"
            f" WHERE t.org_id = {org} AND {where} OFFSET 0) AS t"
        )

    @property
    def statements(self) -> list[bytes]:
        """Every statement's SQL, to be checked."""
        found: list[bytes] = []
        for each in vars(self).values():
            if isinstance(each, Lookup):
                found += [each.one.sql, each.many.sql]
            elif isinstance(each, Statement):
                found.append(each.sql)
        return found
