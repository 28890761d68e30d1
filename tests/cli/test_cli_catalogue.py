"""The commands about what was published: plans, pricing and quote; and usage as a chart."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_cli import run, run_json

from billing_adapters.cli.app import cli
from billing_adapters.sqlite import SqliteStore
from billing_core import (
    Billing,
    Flat,
    Limit,
    Plan,
    Price,
    PriceBook,
    Quota,
    Usage,
    model,
    tokens,
    tool,
    usd,
)
from billing_core.testing import SettableClock

NOW = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
DAY = timedelta(days=1)
YEAR_AGO = NOW - 365 * DAY
NEXT_WEEK = NOW + 7 * DAY
TOMORROW = f"{NOW + DAY:%FT%TZ}"


def per_million(**amounts: str) -> dict[str, Price]:
    return {part: Price(Flat.of(amount, 10**6)) for part, amount in amounts.items()}


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("catalogue") / "billing.sqlite"
    clock = SettableClock(NOW - 20 * DAY)
    with SqliteStore(path) as store:
        billing = Billing(store, clock=clock)
        small = {model("small"): per_million(input="0.15", output="0.60")}
        search = {"tool:search": {"call": Price(Flat.of("0.004"), "call")}}
        billing.publish(PriceBook("v1", YEAR_AGO, {**small, **search}))
        dearer = {model("small"): per_million(input="0.25")}
        billing.publish(PriceBook("v2", NEXT_WEEK, dearer))
        off = {"model:*": "12.5"}
        billing.publish(PriceBook("pro-prices", YEAR_AGO, plan="pro", percent_off=off))
        terms = {"limits": [Limit("member", usd(5), alerts=(80,))]}
        billing.publish(Plan("pro-1", "pro", YEAR_AGO, allowance=usd(20), **terms))
        quotas = [Quota("tool:search", "call", 1000)]
        billing.publish(
            Plan("pro-2", "pro", NEXT_WEEK, allowance=usd(25), rollover=usd(5), quotas=quotas)
        )
        billing.publish(Plan("solo-1", "solo", YEAR_AGO))
        for org in ("acme", "bolt"):
            billing.open_account(org)
        billing.set_plan("acme", "subscribe", "pro")
        for day, (input, calls) in enumerate([(1_000_000, 1), (0, 0), (2_000_000, 3)]):
            clock.set(NOW - (10 - day) * DAY)
            if calls:
                call = tokens("small", input=input)
                billing.settle("acme", f"model-{day}", call, member="ana")
                billing.deduct("acme", f"tool-{day}", tool("search", calls=calls), member="bo")
    return path


# -- plans ------------------------------------------------------------------------


def test_plans_shows_every_version_with_its_terms(db: Path) -> None:
    shown = run_json("plans", "--db", db)["plans"]
    assert [(each["version"], each["inForce"]) for each in shown] == [
        ("pro-1", True),
        ("pro-2", False),
        ("solo-1", True),
    ]
    assert shown[0]["allowance"] == "20.00" and shown[0]["rollover"] is None
    assert shown[0]["limits"] == [
        {"whose": "member", "per": "period", "amount": "5.00", "alerts": [80], "blocks": True}
    ]
    assert shown[1]["quotas"][0]["quantity"] == 1000
    text = run("plans", "--db", db).stdout
    for part in ("pro-2", "25.00 USD", "rollover: up to 5.00 USD", "told at 80%", "in force"):
        assert part in text, part


def test_plans_of_an_org_shows_its_own_in_force(db: Path) -> None:
    assert run_json("plans", "--org", "acme", "--db", db)["plan"]["version"] == "pro-1"
    text = run("plans", "--org", "acme", "--db", db).stdout
    assert "Plan of acme" in text and "pro-2" not in text
    assert run_json("plans", "--org", "bolt", "--db", db)["plan"] is None
    assert "bolt has no plan" in run("plans", "--org", "bolt", "--db", db).stdout
    assert "nobody" in run("plans", "--org", "nobody", "--db", db, code=1).stderr


# -- pricing ----------------------------------------------------------------------


def priced(*arguments: object) -> dict[tuple[str, str], str]:
    rows = run_json("pricing", *arguments)["prices"]
    return {(row["resource"], row["component"]): row["price"] for row in rows}


def test_pricing_shows_what_is_in_force_for_whom_and_when(db: Path) -> None:
    found = priced("--db", db)
    assert found[("model:small", "input")] == "0.15 USD per 1,000,000 tokens"
    assert found[("tool:search", "call")] == "0.004 USD per call"
    later = priced("--at", f"{NEXT_WEEK:%F}T23:00", "--db", db)
    assert later[("model:small", "input")] == "0.25 USD per 1,000,000 tokens"
    assert later[("model:small", "output")] == found[("model:small", "output")]
    acme = priced("--org", "acme", "--db", db)
    assert acme[("model:small", "input")] == found[("model:small", "input")] + ", less 12.5%"
    assert acme[("tool:search", "call")] == "0.004 USD per call"
    assert priced("--org", "bolt", "--db", db) == found
    text = run("pricing", "--org", "acme", "--db", db).stdout
    assert "Prices for acme" in text and "less 12.5%" in text and "pro-prices" in text
    assert priced("--at", "2001-01-01", "--db", db) == {}


def test_pricing_diff_compares_books_and_plans(db: Path) -> None:
    [found] = run_json("pricing", "--diff", "v1", "v2", "--db", db)["differences"]
    assert (found["name"], found["change"]) == ("input of model:small", "changed")
    assert found["after"] == "0.25 USD per 1,000,000 tokens"
    text = run("pricing", "--diff", "pro-1", "pro-2", "--db", db).stdout
    for part in ("20.00 USD", "25.00 USD", "added", "ended", "quota of call of tool:search"):
        assert part in text, part
    assert "nothing" in run("pricing", "--diff", "v1", "v1", "--db", db).stdout
    assert "nowhere" in run("pricing", "--diff", "v1", "nowhere", "--db", db, code=1).stderr
    run("pricing", "--diff", "v1", "v2", "--org", "acme", "--db", db, code=2)
    one = run("pricing", "--diff", "v1", "--db", db, code=2).stderr
    assert "given 'v1' alone; expected two versions" in one


BOOK = f"""
version = "v3"
effective_at = {TOMORROW}

[prices."model:small"]
input = {{ amount = "0.0753", per = 1_000_000 }}
cached_read = {{ amount = 0.1, per = 3 }}

[prices."code:python"]
duration = {{ amount = "0.0003", unit = "second", minimum = 1 }}
call = {{ unit = "call", tiers = [{{ up_to = 10, amount = "0.002" }}, {{ amount = "0.001" }}] }}

[prices."sms:de"]
message = {{ amount = "5", package = 100, unit = "message" }}
"""

PLAN = {
    "version": "team-1",
    "plan": "team",
    "effective_at": "2026-01-01T00:00:00Z",
    "allowance": "20",
    "rollover": 5,
    "grace_days": 2,
    "limits": [{"whose": "member", "amount": "1.5", "per": "day", "alerts": [80]}],
    "quotas": [{"resource": "tool:search", "component": "call", "quantity": 9}],
}


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    path = tmp_path / "empty.sqlite"
    with SqliteStore(path) as store:
        book = {model("small"): per_million(input="0.15")}
        book["tool:search"] = {"call": Price(Flat.of("0.004"), unit="call")}
        Billing(store).publish(PriceBook("v1", YEAR_AGO, book))
    return path


def written(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_text(content)
    return path


def test_publish_shows_what_changes_asks_and_publishes(empty: Path, tmp_path: Path) -> None:
    path = written(tmp_path, "book.toml", BOOK)
    arguments = ["pricing", "--publish", str(path), "--db", str(empty)]
    no = CliRunner().invoke(cli, arguments, input="n\n")
    assert no.exit_code == 1
    changed = ("0.15 USD per 1,000,000", "0.0753 USD", "0.0003 USD per second, at least 1 second")
    for part in ("changed", *changed, "added", "Publish v3?"):
        assert part in no.output, part
    with SqliteStore(empty) as store:
        assert not Billing(store).catalogue().has("v3")
    yes = CliRunner().invoke(cli, arguments, input="y\n")
    assert "Published v3#" in yes.output
    with SqliteStore(empty) as store:
        book = Billing(store).catalogue().document("v3")
    assert isinstance(book, PriceBook)
    assert book.prices["model:small"]["cached_read"] == Price(Flat(100_000_000, 3))
    assert book.prices["code:python"]["duration"].minimum == 1_000_000
    assert f"{book.effective_at:%FT%TZ}" == TOMORROW
    again = run("pricing", "--publish", path, "--db", empty).stdout
    assert "published already" in again
    path.write_text(BOOK.replace('amount = "5"', 'amount = "6"'))
    other = run("pricing", "--publish", path, "--db", empty, code=1)
    assert "a new version name" in other.stderr and not other.stdout


def test_publish_a_plan_and_its_own_prices(empty: Path, tmp_path: Path) -> None:
    own = {
        "version": "team-prices", "effective_at": "2026-01-01T00:00:00Z", "plan": "team",
        "prices": {"model:small": {"input": None}}, "percent_off": {"*": 12.5},
    }  # fmt: skip
    for name, content in (("own.json", own), ("plan.json", PLAN)):
        path = written(tmp_path, name, json.dumps(content))
        shown = run_json("pricing", "--publish", path, "--yes", "--db", empty)
        assert shown["new"] and shown["version"].startswith(content["version"] + "#")
    with SqliteStore(empty) as store:
        catalogue = Billing(store).catalogue()
    assert catalogue.document("team-1") == Plan(
        "team-1", "team", datetime(2026, 1, 1, tzinfo=UTC), allowance=usd(20), rollover=usd(5),
        grace=2 * DAY, limits=[Limit("member", usd("1.5"), "day", alerts=(80,))],
        quotas=[Quota("tool:search", "call", 9)],
    )  # fmt: skip
    assert catalogue.document("team-prices").percent_off == {"*": "12.5"}


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("a.toml", BOOK.replace("minimum", "minimun"), "minimun"),
        ("a.toml", BOOK.replace("0.0753", "cheap"), "decimal"),
        ("a.toml", BOOK.replace("version", "versoin"), "versoin"),
        ("a.toml", BOOK.replace(TOMORROW, "2026-05-01"), "datetime"),
        ("a.toml", BOOK.replace(TOMORROW, '"soon"'), "effective_at"),
        ("a.toml", BOOK.replace("[prices", "[prices["), "line"),
        ("a.toml", BOOK.replace("amount = 0.1", "per = 1"), ""),
        ("a.toml", BOOK.replace("package = 100", "package = 100, per = 2"), "per"),
        ("a.toml", BOOK.replace(TOMORROW, "2026-01-01T00:00:00Z"), "or later"),
        ("a.json", "[]", "table"),
        ("a.toml", "", "a.toml: it has no version"),
        ("a.toml", BOOK.replace('version = "v3"', ""), "it has no version"),
        ("a.json", "{}", "it has no version"),
        ("a.json", "{", "line 1"),
        ("a.yaml", "version: v3", "TOML is read from a file named .toml"),
        ("a.json", json.dumps(PLAN | {"alowance": 3}), "alowance"),
        ("a.json", json.dumps(PLAN | {"limits": [{"whose": "all", "amount": 1}]}), "whose"),
        ("a.json", json.dumps(PLAN | {"grace_days": 1.5}), "grace_days"),
        ("a.json", json.dumps(PLAN | {"version": None}), "version"),
    ],
)
def test_a_file_that_is_no_such_document_is_named_and_nothing_published(
    name: str, content: str, named: str, empty: Path, tmp_path: Path
) -> None:
    path = written(tmp_path, name, content)
    result = run("pricing", "--publish", path, "--yes", "--db", empty, code=1)
    assert result.stderr.startswith("Error: ") and named in result.stderr, result.stderr
    with SqliteStore(empty) as store:
        assert len(store.published()) == 1


# -- quote ------------------------------------------------------------------------


def test_quote_says_the_most_that_a_usage_can_cost(db: Path) -> None:
    arguments = ("quote", "acme", "model:small", "input=1_000_000", "output=1")
    shown = run_json(*arguments, "--db", db)
    assert shown["amount"] == "0.131250525"  # 0.15 and 0.60 a million, less 12.5%
    later = run_json(*arguments, "--at", f"{NEXT_WEEK + DAY:%F}", "--db", db)
    assert later["amount"] == "0.218750525"
    text = run(*arguments, "--db", db).stdout
    assert "0.131250525" in text and "1,000,000" in text
    assert re.search(r" v1 +\n +\* pro-prices", text)  # and the discount's version beneath
    assert run_json("quote", "bolt", "tool:search", "call=3", "--db", db)["amount"] == "0.012"


@pytest.mark.parametrize(
    ("quantities", "code", "named"),
    [
        (["input"], 2, "COMPONENT=QUANTITY"),
        (["input=1.5"], 2, "whole number"),
        (["input=1", "input=2"], 2, "once"),
        (["input=" + "9" * 40], 2, "whole number"),
        (["tokens=1"], 1, "known: input, output"),
    ],
)
def test_a_quote_of_what_is_not_priced_is_refused(
    quantities: list[str], code: int, named: str, db: Path
) -> None:
    result = run("quote", "acme", "model:small", *quantities, "--db", db, code=code)
    assert named in result.stderr


def test_a_wrong_time_is_named(db: Path) -> None:
    assert "noon" in run("pricing", "--at", "noon", "--db", db, code=2).stderr


# -- usage as a chart -------------------------------------------------------------


def lengths(text: str, names: list[str]) -> list[int]:
    lines = {name: line for line in text.splitlines() for name in names if f"{name}┤" in line}
    return [lines[name].count("█") for name in names]


def test_requests_are_counted_in_words(db: Path) -> None:
    assert "2 requests" in run("usage", "acme", "--db", db).stdout
    with SqliteStore(db) as store:
        Billing(store).open_account("one")
        Billing(store).settle("one", "s", tokens("small", input=1))
    assert "1 request " in run("usage", "one", "--db", db).stdout


def test_usage_as_a_chart_by_model(db: Path) -> None:
    arguments = ("usage", "acme", "--period", "30d", "--chart", "model", "--db", db)
    shown = run_json(*arguments)
    assert shown["chart"] == {"small": "0.39375", "tool:search": "0.016"}
    text = run(*arguments).stdout
    small, search = lengths(text, ["small", "tool:search"])
    assert small > 10 * search > 0
    assert "Charged by model (USD)" in text and "\x1b" not in text


@pytest.mark.parametrize("period", ["current", "7d", "30d", "all_time"])
@pytest.mark.parametrize("member", [None, "ana", "nobody"])
def test_usage_as_a_chart_by_day_adds_up(period: str, member: str | None, db: Path) -> None:
    who = () if member is None else ("--member", member)
    shown = run_json("usage", "acme", "--period", period, *who, "--chart", "day", "--db", db)
    charted = sum(usd(amount).nanos for amount in shown["chart"].values())
    assert charted == usd(shown["total"]).nanos


def test_usage_as_a_chart_has_a_line_for_every_day(db: Path) -> None:
    arguments = ("usage", "acme", "--chart", "day", "--db", db)
    days = [f"{NOW - back * DAY:%m-%d}" for back in (10, 9, 8)]
    assert run_json(*arguments)["chart"] == dict(
        zip(days, ["0.13525", "0.00", "0.2745"], strict=True)
    )
    first, none, last = lengths(run(*arguments).stdout, days)
    assert none == 0 and abs(last - first * 2) <= 3
    lines = run(*arguments).stdout.splitlines()
    shown = [day for line in lines for day in re.findall(r"(\d\d-\d\d)┤", line)]
    assert shown == days


def test_usage_as_a_chart_without_usage(db: Path) -> None:
    assert (
        "Charged by day (USD): nothing."
        in run("usage", "bolt", "--chart", "day", "--db", db).stdout
    )


def test_many_days_are_charted_by_month(tmp_path: Path) -> None:
    path, clock = tmp_path / "old.sqlite", SettableClock(YEAR_AGO)
    with SqliteStore(path) as store:
        billing = Billing(store, clock=clock)
        billing.publish(PriceBook("v", YEAR_AGO, {"x": {"unit": Price(Flat(1), "unit")}}))
        billing.open_account("acme")
        for n in range(4):
            billing.settle("acme", f"s{n}", Usage.of("x", {"unit": 10 + n}))
            clock.advance(31 * DAY)
    chart = run_json("usage", "acme", "--chart", "day", "--db", path)["chart"]
    assert 4 <= len(chart) <= 5 and all(re.fullmatch(r"\d{4}-\d\d", month) for month in chart)
    assert sum(usd(amount).nanos for amount in chart.values()) == 46


# -- the commands themselves ------------------------------------------------------

COMMANDS = [("plans",), ("pricing",), ("quote", "acme", "x", "unit=1")]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_they_make_no_database_and_their_help_has_examples(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    missing = tmp_path / "missing.sqlite"
    error = " ".join(run(*command, "--db", missing, code=2).stderr.split())
    assert f"{missing} does not exist; `billing migrate --db {missing}` makes it" in error
    assert not missing.exists()
    text = run(command[0], "--help").stdout
    assert f"billing {command[0]}" in text.partition("Examples:")[2]


def test_tables_fit_the_terminal(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for command in (
        ("plans",), ("pricing",), ("pricing", "--diff", "pro-1", "pro-2"),
        ("quote", "acme", "model:small", "input=1"), ("usage", "acme", "--chart", "day"),
    ):  # fmt: skip
        text = run(*command, "--db", db).stdout
        assert max(len(line) for line in text.splitlines()) <= 80, text
