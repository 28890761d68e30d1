"""The command line where the world is odd: documents of any shape, terminals without Unicode,
Ctrl-C, a pipe that is closed, very many orgs."""

import copy
import json
import os
import signal
import subprocess
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from postgres_servers import DisposableStore, without_password

from billing_adapters.cli.app import cli
from billing_adapters.cli.checkpoints import load_checkpoints
from billing_adapters.cli.documents import load_document, load_topup_rules
from billing_adapters.cli.trace import scan
from billing_adapters.sqlite import SqliteStore
from billing_core import Billing, BillingError, usd
from billing_core.testing import MemoryStore

# -- documents ----------------------------------------------------------------------

BOOK = """
version = "v"
effective_at = "2026-06-01T00:00:00Z"
currency = "USD"
plan = "pro"
[percent_off]
"tool:*" = 10
[facts]
tier = { values = ["standard", "batch"], default = "standard" }
[multipliers]
"tool:y" = [{ by = "1.1", where = { tier = "batch" } }]
[prices."tool:x"]
call = { amount = "0.1", per = 5, unit = "call", minimum = 1, increment = 2 }
b = { tiers = [{ up_to = 10, amount = "1", per = 1 }, { amount = "0.5" }] }
c = { amount = "3", package = 10 }
[prices."tool:y"]
d.amount = "2"
d.variants = [
    { amount = "1", per = 5, above = 5, of = ["d"] },
    { amount = "3", where = { tier = "batch" } },
]
d.multipliers = [{ by = "1/3", hours = { from = "16:30", to = "00:30", weekdays = ["mon"] } }]
d.facts = { tier = { values = ["standard", "batch"], default = "standard" } }
"""
PLAN = """
version = "v"
plan = "pro"
effective_at = "2026-06-01T00:00:00Z"
currency = "USD"
allowance = "20"
rollover = "5"
grace_days = 2
limits = [{ whose = "member", amount = "2", per = "day", alerts = [80], blocks = true }]
quotas = [{ resource = "tool:x", component = "call", quantity = 10 }]
"""
RULES = """
cooldown_seconds = 60
failures = 2
backoff_seconds = 7200
times = 20
lease_seconds = 180
on_expiry = false
refund_stops = true
minimum = { USD = "10" }
maximum = { USD = "200" }
"""
OTHERS = [
    None, True, 0, 5, -1, 10**40, 1.5, "", "x", "5", "NaN", "1e999999", "\ud800", [], [5], ["x"],
    [[]], [{}], [None], {}, {"x": 5}, {"x": []}, {"": ""}, {"USD": 5},
]  # fmt: skip


def places(value, at=()):
    yield at
    inside = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        inside = enumerate(value)
    for name, each in inside:
        yield from places(each, (*at, name))


def put(document, at, value):
    if not at:
        return value
    made = copy.deepcopy(document)
    inner = made
    for name in at[:-1]:
        inner = inner[name]
    inner[at[-1]] = value
    return made


@pytest.mark.parametrize(
    ("text", "load"),
    [(BOOK, load_document), (PLAN, load_document), (RULES, load_topup_rules)],
    ids=["book", "plan", "rules"],
)
def test_every_value_of_a_document_may_be_of_any_other_type(text, load, tmp_path) -> None:
    document, path, refused = tomllib.loads(text), tmp_path / "d.json", 0
    path.write_text(json.dumps(document))
    load(path)
    for at in places(document):
        for other in OTHERS:
            path.write_text(json.dumps(put(document, at, other)))
            try:
                load(path)
            except Exception as error:
                assert type(error).__name__ == "ClickException", (at, other, error)
                assert str(path) in str(error)
                refused += 1
    assert refused > 100


@pytest.mark.parametrize("line", ["limits = 5", "quotas = 5", "limits = [5]", "quotas = 'x'"])
def test_a_plan_s_lists_are_lists_of_tables(line, tmp_path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(f'version="v"\nplan="p"\neffective_at=2026-06-01T00:00:00Z\n{line}\n')
    SqliteStore(tmp_path / "b.db").close()
    words = ["pricing", "--publish", str(path), "--db", str(tmp_path / "b.db")]
    done = CliRunner().invoke(cli, words)
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert ("plan.toml: " in done.stderr and "a table" in done.stderr) or "tables" in done.stderr


def test_tiers_are_a_list_of_tables(tmp_path) -> None:
    path = tmp_path / "book.toml"
    path.write_text('version="v"\neffective_at=2026-06-01T00:00:00Z\n[prices.x]\ny={tiers=5}\n')
    with pytest.raises(Exception, match=r"book.toml: y of x: tiers: given 5; expected a list of"):
        load_document(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [("d.json", "[" * 100_000), ("d.json", '{"a":' * 100_000), ("d.toml", "a=" + "[" * 100_000)],
)
def test_what_is_nested_too_deeply_is_no_document(name, text, tmp_path) -> None:
    path = tmp_path / name
    path.write_text(text)
    for load in (load_document, load_topup_rules):
        with pytest.raises(Exception, match="nested more deeply") as error:
            load(path)
        assert type(error.value).__name__ == "ClickException"
    with pytest.raises(BillingError, match="not a checkpoint"):
        load_checkpoints(path)


def test_every_value_of_a_checkpoint_may_be_of_any_other_type(tmp_path) -> None:
    billing, path = Billing(MemoryStore()), tmp_path / "c.json"
    billing.open_account("acme", livemode=False)
    [made] = billing.verify().checkpoints.values()
    whole = {"checkpoints": [json.loads(made.to_json())]}
    path.write_text(json.dumps(whole))
    assert billing.verify(checkpoints=load_checkpoints(path)).ok
    for at in places(whole):
        for other in OTHERS:
            path.write_text(json.dumps(put(whole, at, other)))
            try:
                known = load_checkpoints(path)
            except BillingError:
                continue
            billing.verify(checkpoints=known)


# -- terminals ----------------------------------------------------------------------


@pytest.fixture
def db(tmp_path: Path) -> Path:
    path = tmp_path / "b.db"
    with SqliteStore(path) as store:
        billing = Billing(store)
        billing.open_account("josé-株式", livemode=False)
        billing.grant("josé-株式", "g", usd("5"), reference="café")
        for number in range(300):
            billing.open_account(f"org-{number:04}", livemode=False)
    return path


def started(words, db, *, encoding="utf-8", **options):
    env = {**os.environ, "BILLING_DB": str(db), "PYTHONIOENCODING": encoding, "COLUMNS": "200"}
    code = (  # a shell that runs the tests in the background has interrupts ignored
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from billing_adapters.cli import main; main()"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, *words], env=env, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, **options,
    )  # fmt: skip


@pytest.mark.parametrize("words", [["balance"], ["history", "josé-株式"], ["verify"]])
def test_a_terminal_without_unicode(words, db) -> None:
    out, err = started(words, db, encoding="ascii").communicate()
    assert b"Traceback" not in err and out.isascii()
    if words != ["verify"]:
        assert rb"jos\xe9-\u682a" in out


def test_json_on_a_terminal_without_unicode_is_json(db) -> None:
    out, err = started(["balance", "--json"], db, encoding="ascii").communicate()
    assert (out.isascii(), err) == (True, b"")
    assert json.loads(out)["orgs"][0]["org"] == "josé-株式"
    out, _ = started(["balance", "--json"], db).communicate()
    assert "josé-株式" in out.decode()


def test_ctrl_c_is_one_line_and_exits_with_130(db) -> None:
    with SqliteStore(db) as store:
        Billing(store).deduct("josé-株式", "d", usd("5"), resource="x")  # depleted
    process = started(["worker", "--events"], db)
    assert process.stderr is not None and process.stdout is not None
    process.stderr.readline()  # that there is no key
    assert b"depleted" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, b"Interrupted.\n")


@pytest.mark.parametrize("when", ["before", "after"])
def test_ctrl_c_before_a_command_begins_or_after_it_ends_is_one_line_too(when, db) -> None:
    """While the libraries are read, which takes most of a short command's time."""
    code = {
        "before": "class Stop:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'click':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Stop())\n",
        "after": "import billing_adapters.cli.app as app\n"
        "def cli():\n"
        "    raise KeyboardInterrupt\n"
        "app.cli = cli\n",
    }[when]
    code = f"import sys\n{code}from billing_adapters.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "balance"], env={**os.environ, "BILLING_DB": str(db)},
        capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"Interrupted.\n")


@pytest.mark.parametrize("words", [["balance"], ["balance", "--json"]])
def test_a_pipe_that_is_closed_is_no_error(words, db) -> None:
    process = started(words, db)
    assert process.stderr is not None and process.stdout is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 141
    process.stderr.close()


def test_a_worker_whose_events_nobody_reads_ends(db) -> None:
    with SqliteStore(db) as store:
        billing = Billing(store)
        billing.deduct("josé-株式", "d", usd("5"), resource="x")  # depleted
    process = started(["worker", "--events"], db)
    assert process.stderr is not None and process.stdout is not None
    process.stdout.close()
    process.stderr.read()
    assert process.wait(60) == 141
    process.stderr.close()


# -- schemas, and very many orgs ------------------------------------------------------


def test_the_schema_of_the_tables_is_named() -> None:
    with DisposableStore() as store:
        Billing(store).open_account("acme", livemode=False)
        dsn = "postgresql://?" + without_password(store.dsn).replace(" ", "&")
        run = CliRunner(env={"BILLING_DB": dsn}).invoke
        done = run(cli, ["balance", "acme", "--schema", store.schema])
        assert (done.exit_code, "acme" in done.output) == (0, True), done.output
        assert "up to date" in run(cli, ["migrate", "--schema", store.schema]).output
        done = run(cli, ["balance", "acme", "--schema", "nowhere"])
        assert done.exit_code == 1 and "run billing migrate" in done.stderr
        assert run(cli, ["balance", "--schema", ""]).exit_code == 2


def test_a_file_has_no_schema(db) -> None:
    done = CliRunner().invoke(cli, ["balance", "--db", str(db), "--schema", "billing"])
    assert done.exit_code == 2 and "--schema is for PostgreSQL" in done.stderr


def test_verify_keeps_no_checkpoint_that_somebody_else_takes(db) -> None:
    with SqliteStore(db) as store:
        billing, made = Billing(store), {}
        found = billing.verify(checkpoint=lambda each: made.setdefault(each.org, each))
        assert (found.ok, found.orgs, found.checkpoints) == (True, 301, {})
        assert made == billing.verify().checkpoints


def test_checkpoints_are_saved_whole_or_not_at_all(db, tmp_path) -> None:
    run, path = CliRunner(env={"BILLING_DB": str(db)}).invoke, tmp_path / "c.json"
    assert run(cli, ["verify", "--save-checkpoint", str(path)]).exit_code == 0
    assert len(load_checkpoints(path)) == 301
    again = ["verify", "--checkpoint", str(path), "--save-checkpoint", str(path)]
    assert run(cli, [*again, "--org", "org-0001"]).exit_code == 0
    assert len(load_checkpoints(path)) == 301
    with SqliteStore(db) as store:
        store._connection().execute("UPDATE accounts SET balance = 7 WHERE org_id = 'org-0200'")
    before = path.read_bytes()
    assert run(cli, again).exit_code == 1
    assert path.read_bytes() == before
    assert not (tmp_path / "c.json.new").exists()


def test_a_small_org_is_read_once_by_verify() -> None:
    class Counting(MemoryStore):
        pages = 0

        def entries(self, *args, **options):
            self.pages += 1
            return super().entries(*args, **options)

    store = Counting()
    Billing(store).open_account("acme", livemode=False)
    store.pages = 0
    assert Billing(store).verify().ok
    assert store.pages == 1


# -- traces -------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["", "+00:00", "+0000", "Z"])
def test_a_trace_s_times_may_name_utc(zone, tmp_path) -> None:
    path = tmp_path / "t.csv"
    at = ["2024-05-10 00:00:00.009930", "2024-05-10 00:00:01", "2024-05-10 00:00:02.1234567"]
    lines = [f"{each}{zone},10,5\n" for each in at]
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(lines))
    trace = scan(path, until=datetime.now(UTC))
    first = datetime(2024, 5, 10, tzinfo=UTC)
    assert [each.at - first for each in trace.requests()] == [
        timedelta(microseconds=9930), timedelta(seconds=1), timedelta(microseconds=2_123_456)
    ]  # fmt: skip


@pytest.mark.parametrize("zone", ["+01:00", "-00:00", "+00:30", "+00", "UTC", " "])
def test_a_trace_s_times_are_in_no_other_zone(zone, tmp_path) -> None:
    path = tmp_path / "t.csv"
    line = f"2024-05-10 00:00:00{zone},1,1\n"
    path.write_text(f"TIMESTAMP,ContextTokens,GeneratedTokens\n{line}")
    with pytest.raises(BillingError, match=r"line 2: .* with or without"):
        scan(path, until=datetime.now(UTC))
