"""The ``billing`` command."""

import gzip
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any
from weakref import ref

import pytest
from click.testing import CliRunner, Result

from billing_adapters.cli import reads
from billing_adapters.cli.app import cli
from billing_adapters.sqlite import SqliteStore
from billing_core import Balance, Billing, decimal_text

PROJECT = Path(__file__).parents[2]
REAL_TRACE = Path(
    os.environ.get("BILLING_TRACE") or PROJECT / "../shared/data/azure_llm_2023_conv.csv.gz"
)
HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"
LINES = [
    "2023-11-16 18:15:46.6805900,374,44",
    "2023-11-16 18:15:50.9951690,396,109",
    "2023-11-16 18:15:51.2220999,879,55",
    "2023-11-16 18:15:50.0000000,91,16",
    "2023-11-16 18:16:02.123456,14050,1000",
    "2023-11-16 18:16:02,0,7",
    "2023-11-16 18:16:03.1,1313,1",
]
PRICES = ("--price", "input=0.0753", "--price", "output=0.3011")


def tokens_of(line: str) -> tuple[int, int]:
    _, inputs, outputs = line.split(",")
    return int(inputs), int(outputs)


def exact_charge(lines: Sequence[str], input_price: str, output_price: str) -> int:
    """The nanos of one org: each component's total price, floored once."""
    total = 0
    for index, price in enumerate((input_price, output_price)):
        quantity = sum(tokens_of(line)[index] for line in lines)
        exact = Fraction(price) * quantity / 10**6 * 10**9
        total += exact.numerator // exact.denominator
    return total


@pytest.fixture
def trace(tmp_path: Path) -> Callable[..., Path]:
    def write(
        lines: Sequence[str] = LINES,
        *,
        end: str = "\n",
        name: str = "trace.csv",
        packed: bool = False,
    ) -> Path:
        path = tmp_path / name
        content = "".join(line + end for line in (HEADER, *lines)).encode()
        path.write_bytes(gzip.compress(content) if packed else content)
        return path

    return write


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, [str(each) for each in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def run_json(*arguments: object, code: int = 0) -> Any:
    return json.loads(run(*arguments, "--json", code=code).stdout)


def hashes(db: Path) -> dict[str, list[bytes]]:
    with SqliteStore(db) as store:
        return {
            org: [entry.hash for entry in store.entries(org, limit=100_000)] for org in store.orgs()
        }


# -- replay -----------------------------------------------------------------------


def test_replay_charges_each_component_s_total_floored_once(trace: Callable[..., Path]) -> None:
    shown = run_json("replay", trace(), *PRICES)
    assert shown["requests"] == len(LINES)
    assert shown["inputTokens"] == sum(tokens_of(line)[0] for line in LINES)
    assert shown["outputTokens"] == sum(tokens_of(line)[1] for line in LINES)
    charged = exact_charge(LINES, "0.0753", "0.3011")
    rounded_each = sum(exact_charge([line], "0.0753", "0.3011") for line in LINES)
    assert charged > rounded_each  # else this trace would not tell the two apart
    assert shown["charged"] == decimal_text(charged)
    assert shown["refused"] == 0
    assert shown["verified"] is True
    granted, balance = Fraction(shown["granted"]), Fraction(shown["balance"])
    assert granted - Fraction(shown["charged"]) == balance >= 0


def test_replay_over_three_orgs_floors_once_for_each(trace: Callable[..., Path]) -> None:
    expected = sum(exact_charge(LINES[first::3], "0.0753", "0.3011") for first in range(3))
    shown = run_json("replay", trace(), *PRICES, "--orgs", 3)
    assert shown["charged"] == decimal_text(expected)
    assert shown["requests"] == len(LINES)
    assert shown["orgs"] == 3


def test_replay_twice_on_one_database_changes_nothing(
    trace: Callable[..., Path], tmp_path: Path
) -> None:
    db = tmp_path / "billing.sqlite"
    first = run_json("replay", trace(), *PRICES, "--orgs", 2, "--db", db)
    before = hashes(db)
    second = run_json("replay", trace(packed=True, name="b.gz"), *PRICES, "--orgs", 2, "--db", db)
    assert hashes(db) == before
    for unstable in ("seconds", "requestsPerSecond", "replayed"):
        first.pop(unstable)
        if unstable == "replayed":
            assert second[unstable] == len(LINES)
        second.pop(unstable)
    assert first == second


def test_replay_adds_another_trace_to_the_same_database(
    trace: Callable[..., Path], tmp_path: Path
) -> None:
    db = tmp_path / "billing.sqlite"
    earlier = [line.replace("2023-11-16", "2023-11-15") for line in LINES[:3]]
    run_json("replay", trace(), *PRICES, "--db", db)
    shown = run_json("replay", trace(earlier, name="earlier.csv"), *PRICES, "--db", db)
    # The earlier day lies in the billing period before the first trace's.
    expected = exact_charge(LINES, "0.0753", "0.3011") + exact_charge(earlier, "0.0753", "0.3011")
    assert shown["requests"] == 3
    assert shown["charged"] == decimal_text(expected)
    assert shown["verified"] is True


def test_replay_holds_each_request_and_settles_it_at_its_own_time(
    trace: Callable[..., Path], tmp_path: Path
) -> None:
    db = tmp_path / "billing.sqlite"
    run_json("replay", trace(), *PRICES, "--db", db)
    with SqliteStore(db) as store:
        entries = store.entries("replay-1")
    holds = [entry for entry in entries if entry.op == "hold"]
    settles = [entry for entry in entries if entry.op == "settle"]
    assert len(holds) == len(settles) == len(LINES)
    largest = max(tokens_of(line)[1] for line in LINES)
    for line, hold, settle in zip(LINES, holds, settles, strict=True):
        bound = [Fraction(tokens_of(line)[0]) * 753 / 10, Fraction(largest) * 3011 / 10]
        assert hold.amount == sum(-(-nanos.numerator // nanos.denominator) for nanos in bound)
        assert {transfer.kind for transfer in settle.transfers} <= {"capture"}
    day = 1_700_092_800_000_000  # 2023-11-16
    times = [settle.usage.occurred_at - day for settle in settles if settle.usage is not None]
    second = 1_000_000
    at = 18 * 3600 + 15 * 60
    assert times[0] == (at + 46) * second + 680_590
    assert times[2] == (at + 51) * second + 222_099  # cut off, not rounded
    assert times[3] == (at + 50) * second  # its own time, though the line before is later
    assert times[6] == (at + 63) * second + 100_000


def test_replay_reads_crlf_gzip_and_a_last_line_without_an_end(
    trace: Callable[..., Path], tmp_path: Path
) -> None:
    plain = run_json("replay", trace(), *PRICES)
    for path in (
        trace(end="\r\n", name="crlf.csv"),
        trace(name="packed.csv.gz", packed=True),
        trace(end="\r\n", name="both", packed=True),
    ):
        assert run_json("replay", path, *PRICES)["charged"] == plain["charged"]
    cut = tmp_path / "cut.csv"
    cut.write_bytes(trace().read_bytes().rstrip())
    assert run_json("replay", cut, *PRICES)["charged"] == plain["charged"]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "2023-11-16 18:15:46.68,374",
        "2023-11-16 18:15:46.68,374,44,1",
        "2023-11-16 18:15:46.68,374,-1",
        "2023-11-16 18:15:46.68,374,4.0",
        "2023-11-16 18:15:46.68,374,٤٤",
        "2023-11-16 18:15:46.68,1e3,44",
        "2023-11-16 18:15:46+01:00,374,44",
        "2023-11-16 25:15:46,374,44",
        "2023-02-30 18:15:46,374,44",
        "16.11.2023 18:15:46,374,44",
        "9000-01-01 00:00:00,374,44",
        "1960-01-01 00:00:00,374,44",
        "2023-11-16 18:15:46.68,374," + "9" * 500,
        " 2023-11-16 18:15:46.68,374,44",
    ],
)
def test_a_malformed_line_is_named_and_nothing_is_settled(
    line: str, trace: Callable[..., Path], tmp_path: Path
) -> None:
    db = tmp_path / "billing.sqlite"
    path = trace([*LINES[:4], line, *LINES[4:]])
    result = run("replay", path, *PRICES, "--db", db, code=1)
    assert f"{path}: line 6: given" in result.stderr
    assert "; expected " in result.stderr
    assert "Traceback" not in result.output
    assert not result.stdout
    assert not db.exists()


def test_a_trace_needs_its_header_and_a_request(trace: Callable[..., Path], tmp_path: Path) -> None:
    path = tmp_path / "headless.csv"
    path.write_text("\n".join(LINES))
    assert "line 1: given" in run("replay", path, *PRICES, code=1).stderr
    assert f"expected the header {HEADER}" in run("replay", path, *PRICES, code=1).stderr
    assert "line 2: expected a request" in run("replay", trace([]), *PRICES, code=1).stderr


def test_a_broken_gzip_file_is_named(trace: Callable[..., Path]) -> None:
    path = trace(packed=True)
    whole = path.read_bytes()
    path.write_bytes(whole[:-12])
    assert f"{path}: cannot be read" in run("replay", path, *PRICES, code=1).stderr
    path.write_bytes(whole[:20] + b"\x00\xff\x00" + whole[23:])
    assert f"{path}: " in run("replay", path, *PRICES, code=1).stderr


@pytest.mark.parametrize(
    ("prices", "named"),
    [
        (["input=1"], "output"),
        (["input", "output=1"], "COMPONENT=USD_PER_MILLION"),
        (["input=1", "output=1", "input=2"], "once"),
        (["input=-1", "output=1"], "zero or more"),
        (["input=NaN", "output=1"], "decimal"),
        (["input=1e10000000", "output=1"], "amount"),
        (["input=cheap", "output=1"], "decimal"),
    ],
)
def test_a_wrong_price_is_a_usage_error(
    prices: list[str], named: str, trace: Callable[..., Path]
) -> None:
    options = [part for price in prices for part in ("--price", price)]
    result = run("replay", trace(), *options, code=2)
    assert named in result.stderr


def test_a_model_without_a_price_is_named(trace: Callable[..., Path]) -> None:
    result = run("replay", trace(), "--model", "nobody-s-model", code=1)
    assert "nobody-s-model" in result.stderr


def test_replay_uses_the_real_price_of_the_model(trace: Callable[..., Path]) -> None:
    from genai_prices.data import providers

    [price] = [
        m.prices for p in providers if p.id == "openai" for m in p.models if m.id == "gpt-4o"
    ]
    shown = run_json("replay", trace())
    expected = exact_charge(LINES, str(price.input_mtok), str(price.output_mtok))
    assert shown["charged"] == decimal_text(expected)


def test_what_is_on_record_is_not_charged_again_otherwise(
    trace: Callable[..., Path], tmp_path: Path
) -> None:
    db = tmp_path / "billing.sqlite"
    path = trace()
    run("replay", path, *PRICES, "--db", db)
    before = hashes(db)
    other = ("--price", "input=1", "--price", "output=1")
    for options, named in (
        (other, "model:unnamed has other prices in this database"),
        ((*other, "--model", "x"), "on record with another model or other prices"),
        ((*PRICES, "--orgs", 2), "other orgs than a replay over 2"),
    ):
        assert named in run("replay", path, *options, "--db", db, code=1).stderr
        assert hashes(db) == before
    new = trace(LINES[:2], name="new.csv")
    named = "has other prices in this database"
    assert named in run("replay", new, *other, "--db", db, code=1).stderr
    with SqliteStore(db) as store:
        assert len(store.published()) == 1


def test_the_same_content_twice_is_a_usage_error(trace: Callable[..., Path]) -> None:
    result = run("replay", trace(), trace(name="copy.csv.gz", packed=True), *PRICES, code=2)
    assert "same content" in result.stderr


def test_replay_leaves_no_database_behind(
    trace: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    run("replay", trace(), *PRICES)
    assert not list(folder.iterdir())


def test_replay_shows_charges_tail_plot_rate_and_proof(trace: Callable[..., Path]) -> None:
    text = run("replay", trace(), *PRICES).stdout
    charged = decimal_text(exact_charge(LINES, "0.0753", "0.3011"))
    for part in (
        "Charges", "model:unnamed", "input", "output", charged, "The ledger's tail",
        "Balance over time (USD)", "per second", "0 refused", "Verified",
    ):  # fmt: skip
        assert part in text, part
    assert "\x1b" not in text


def test_the_real_trace() -> None:
    if not REAL_TRACE.is_file():
        pytest.skip(f"no {REAL_TRACE}: BILLING_TRACE says where it is")
    shown = run_json("replay", REAL_TRACE, *PRICES, "--orgs", 1)
    assert shown["requests"] == 19_366
    assert shown["inputTokens"] == 22_361_870
    assert shown["outputTokens"] == 4_088_665
    assert shown["charged"] == "2.914945842"
    assert shown["refused"] == 0
    assert shown["verified"] is True


# -- demo -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    db = tmp_path_factory.mktemp("demo") / "demo.sqlite"
    return db, run("demo", "--db", db).stdout


def test_the_demo_says_what_it_is_and_shows_everything(demo: tuple[Path, str]) -> None:
    _, text = demo
    for part in (
        "Synthetic traffic", "genai-prices", "acme", "globex", "initech", "(own key)",
        "cached_read", "reasoning", "reversed", "The ledger's tail", "Balance of acme",
        "Sandbox runtime of hooli", "forgiven", "Storage of hooli",
        "floor(", "was given back", "per second", "Verified",
    ):  # fmt: skip
        assert part in text, part
    assert max(len(line) for line in text.splitlines()) <= 80


def test_the_demo_has_what_it_promises(demo: tuple[Path, str]) -> None:
    db, _ = demo
    with SqliteStore(db) as store:
        billing = Billing(store)
        types: set[str] = set()
        events: set[str] = set()
        for org in store.orgs():
            before, expired = None, 0
            while rows := billing.history(org, limit=500, before=before):
                types |= {row.type for row in rows}
                expired -= sum(row.amount for row in rows if row.type == "expiry")
                before = rows[-1].seq
            balance = billing.balance(org)  # the columns that it shows add up
            assert balance.granted - balance.used - expired == balance.balance
            after = 0
            while page := billing.events(org, after=after):
                events |= {event.kind for event in page}
                after = page[-1].seq
        assert {"topup", "grant", "usage", "refund", "expiry"} <= types
        assert "hold_expired" in events
        assert "usage_unpriced" not in events
        assert billing.verify().ok


def test_the_demo_is_the_same_in_every_run(demo: tuple[Path, str], tmp_path: Path) -> None:
    db, _ = demo
    again = tmp_path / "again.sqlite"
    run("demo", "--db", again)

    def told(path: Path) -> list[Any]:
        with SqliteStore(path) as store:
            return [entry.hash for org in store.orgs() for entry in store.entries(org, limit=10**5)]

    assert told(again) == told(db)


def test_the_demo_does_not_touch_a_file_that_exists(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("mine")
    assert "exists" in run("demo", "--db", path, code=2).stderr
    assert path.read_text() == "mine"


# -- reading ----------------------------------------------------------------------


@pytest.mark.parametrize("as_json", [True, False])
def test_balances_of_many_orgs_are_shown_as_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, as_json: bool
) -> None:
    """No more of them than a table's are in memory at once."""
    path = tmp_path / "many.db"
    names = [f"org{number}" for number in range(9)]
    with SqliteStore(path) as store:
        assert run_json("balance", "--db", path) == {"orgs": []}
        for name in names:
            Billing(store).open_account(name)
    read = Billing.balance
    known: list[ref[Balance]] = []
    most = 0

    def balance(billing: Billing, org: str) -> Balance:
        nonlocal most
        found = read(billing, org)
        known.append(ref(found))
        most = max(most, sum(each() is not None for each in known))
        return found

    monkeypatch.setattr(Billing, "balance", balance)
    monkeypatch.setattr(reads, "_ORGS", 3)
    if as_json:
        assert [each["org"] for each in run_json("balance", "--db", path)["orgs"]] == names
    else:
        shown = run("balance", "--db", path).stdout
        assert [name for name in names if name in shown] == names
        assert shown.count("Balances") == 3
    assert most <= 6


def test_balance(demo: tuple[Path, str]) -> None:
    db, _ = demo
    shown = run_json("balance", "--db", db)["orgs"]
    assert [each["org"] for each in shown] == ["acme", "globex", "hooli", "initech"]
    one = run_json("balance", "acme", "--db", db)
    assert one["balance"] == shown[0]["balance"]
    assert Fraction(one["granted"]) - Fraction(one["used"]) == Fraction(one["balance"])
    assert one["lots"][0]["kind"] == "purchased"
    assert one["balance"] in run("balance", "acme", "--db", db).stdout


def test_history_goes_on_from_where_it_ended(demo: tuple[Path, str]) -> None:
    db, _ = demo
    rows = run_json("history", "acme", "--db", db, "--limit", 6)["rows"]
    page = run_json("history", "acme", "--db", db, "--limit", 3, "--before", rows[2]["seq"])
    assert page["rows"] == rows[3:]
    assert rows[0]["type"] == "usage"
    assert Fraction(rows[1]["balance"]) + Fraction(rows[0]["amount"]) == Fraction(
        rows[0]["balance"]
    )
    assert "claude-haiku-4-5" in run("history", "acme", "--db", db).stdout


def test_usage_by_member_adds_up(demo: tuple[Path, str]) -> None:
    db, _ = demo
    whole = run_json("usage", "initech", "--db", db)
    assert whole["total"] == run_json("balance", "initech", "--db", db)["used"]
    by_member = {each["member"]: each["rows"] for each in whole["members"]}
    assert set(by_member) == {"fay", "gus"}
    amounts = [Fraction(row["amount"]) for rows in by_member.values() for row in rows]
    assert sum(amounts) == Fraction(whole["total"])
    own = [row for row in whole["rows"] if row["payer"] == "customer"]
    assert own and all(row["amount"] == "0.00" for row in own)
    fay = run_json("usage", "initech", "--db", db, "--member", "fay")
    assert fay["rows"] == by_member["fay"]
    text = run("usage", "initech", "--db", db, "--by-member").stdout
    assert "Member fay" in text and "Member gus" in text
    assert run_json("usage", "initech", "--db", db, "--period", "7d")["rows"] == []


def test_explain_adds_up(demo: tuple[Path, str]) -> None:
    db, _ = demo
    newest = run_json("history", "acme", "--db", db, "--limit", 1)["rows"][0]
    shown = run_json("explain", "acme", newest["seq"], "--db", db)
    assert Fraction(shown["amount"]) == -Fraction(newest["amount"])
    assert sum(Fraction(line["amount"]) for line in shown["lines"]) == Fraction(shown["amount"])
    assert sum(Fraction(each["amount"]) for each in shown["payments"]) == Fraction(shown["amount"])
    assert shown["member"] in {"ana", "ben", "chen"}
    text = run("explain", "acme", newest["seq"], "--db", db).stdout
    assert "floor(" in text and "by price version demo#" in text and "from the hold" in text


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (("balance", "nobody"), "no org 'nobody'"),
        (("history", "nobody"), "no org 'nobody'"),
        (("usage", "nobody"), "no org 'nobody'"),
        (("explain", "nobody", "1"), "no org 'nobody'"),
        (("explain", "acme", "1"), "no charge 1"),
        (("verify", "--org", "nobody"), "no org 'nobody'"),
    ],
)
def test_what_is_not_there_is_one_clear_line(
    demo: tuple[Path, str], command: tuple[str, ...], named: str
) -> None:
    result = run(*command, "--db", demo[0], code=1)
    assert result.stderr.startswith("Error: ")
    assert named in result.stderr
    assert result.stderr.count("\n") == 1
    assert not result.stdout


READS = [("verify",), ("balance",), ("history", "a"), ("usage", "a"), ("explain", "a", "1")]


@pytest.mark.parametrize("command", READS, ids=lambda command: command[0])
def test_reading_makes_no_database(command: tuple[str, ...], tmp_path: Path) -> None:
    missing = tmp_path / "missing.sqlite"
    assert "does not exist" in run(*command, "--db", missing, code=2).stderr
    assert not missing.exists()
    empty = tmp_path / "empty.sqlite"
    empty.touch()
    assert "is empty" in run(*command, "--db", empty, code=1).stderr
    assert empty.stat().st_size == 0
    foreign = tmp_path / "notes.txt"
    foreign.write_text("not a database, but long enough to look at: " * 100)
    before = foreign.read_bytes()
    assert str(foreign) in run(*command, "--db", foreign, code=1).stderr
    assert foreign.read_bytes() == before


# -- verify -----------------------------------------------------------------------


def tamper(db: Path, statement: str) -> None:
    connection = sqlite3.connect(db)
    triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
    for (name,) in triggers.fetchall():
        connection.execute(f'DROP TRIGGER "{name}"')
    assert connection.execute(statement).rowcount > 0
    connection.commit()
    connection.close()


def test_verify_names_every_discrepancy(trace: Callable[..., Path], tmp_path: Path) -> None:
    db = tmp_path / "billing.sqlite"
    run("replay", trace(), *PRICES, "--orgs", 2, "--db", db)
    assert run_json("verify", "--db", db)["verified"] is True
    assert "Verified" in run("verify", "--db", db).stdout
    tamper(db, "UPDATE accounts SET balance = balance + 1 WHERE org_id = 'replay-2'")
    tamper(db, "UPDATE lots SET remainder = remainder + 5 WHERE org_id = 'replay-2' AND lot = 1")
    text = run("verify", "--db", db, code=1).stdout
    assert "replay-2: account: balance" in text
    assert "replay-2: lot 1: remainder" in text
    shown = run_json("verify", "--db", db, "--org", "replay-2", code=1)
    assert {each["org"] for each in shown["discrepancies"]} == {"replay-2"}
    assert shown["verified"] is False
    run("verify", "--db", db, "--org", "replay-1")


def test_verify_against_a_checkpoint(trace: Callable[..., Path], tmp_path: Path) -> None:
    db, saved = tmp_path / "billing.sqlite", tmp_path / "checkpoint.json"
    run("replay", trace(), *PRICES, "--db", db)
    run("verify", "--db", db, "--save-checkpoint", saved)
    run("verify", "--db", db, "--checkpoint", saved)
    later = [line.replace("2023-11-16", "2023-11-17") for line in LINES]
    run("replay", trace(later, name="later.csv"), *PRICES, "--db", db)
    run("verify", "--db", db, "--checkpoint", saved, "--save-checkpoint", saved)
    run("verify", "--db", db, "--checkpoint", saved)
    # Another ledger, whole and sound by itself, is not the one that the checkpoint saw.
    rewritten = tmp_path / "rewritten.sqlite"
    run("replay", trace(LINES[1:], name="other.csv"), *PRICES, "--db", rewritten)
    run("verify", "--db", rewritten)
    text = run("verify", "--db", rewritten, "--checkpoint", saved, code=1).stdout
    assert "not the one that the checkpoint saw" in text


def test_verify_saves_no_checkpoint_of_what_is_wrong(
    trace: Callable[..., Path], tmp_path: Path
) -> None:
    db, saved = tmp_path / "billing.sqlite", tmp_path / "checkpoint.json"
    run("replay", trace(), *PRICES, "--db", db)
    tamper(db, "UPDATE accounts SET used = used + 1")
    run("verify", "--db", db, "--save-checkpoint", saved, code=1)
    assert not saved.exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"checkpoints": [{}]}', "\xff"])
def test_a_file_that_is_no_checkpoint_is_named(
    content: str, demo: tuple[Path, str], tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.json"
    path.write_bytes(content.encode("latin-1"))
    result = run("verify", "--db", demo[0], "--checkpoint", path, code=1)
    assert f"{path}: not a checkpoint" in result.stderr


# -- the command itself -----------------------------------------------------------


def billing(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).with_name("billing")
    return subprocess.run(
        [command, *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=120,
        **options,
    )


def test_the_installed_command(trace: Callable[..., Path], tmp_path: Path) -> None:
    done = billing("replay", trace(), *PRICES, "--json")
    assert done.returncode == 0
    assert not done.stderr
    assert json.loads(done.stdout)["verified"] is True
    failed = billing("replay", trace(["nonsense"]), *PRICES)
    assert failed.returncode == 1
    assert failed.stderr.startswith("Error: ") and "line 2" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert billing("replay").returncode == 2
    assert billing("balance", "--db", tmp_path / "none").returncode == 2


@pytest.mark.parametrize("columns", [80, 120])
def test_tables_fit_the_terminal(columns: int, trace: Callable[..., Path]) -> None:
    env = os.environ | {"COLUMNS": str(columns)}
    done = billing("replay", trace(), *PRICES, env=env)
    assert done.returncode == 0
    assert max(len(line) for line in done.stdout.splitlines()) == columns


@pytest.mark.parametrize("command", ["", "replay", "demo", *(read[0] for read in READS)])
def test_help_has_examples(command: str) -> None:
    arguments = [command] if command else []
    text = run(*arguments, "--help").stdout
    assert f"billing {command}".strip() in text.partition("Examples:")[2]


@pytest.mark.parametrize("missing", ["click", "rich", "plotext", "sqlite_utils", "genai_prices"])
def test_without_the_extra_the_command_says_what_to_install(
    missing: str, trace: Callable[..., Path]
) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv = sys.argv[1:]\n"
        "from billing_adapters.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "billing", "replay", str(trace())],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"billing needs {missing}: pip install 'billing-core[cli]'" in done.stderr
    assert "Traceback" not in done.stderr
