"""Secrets are checked for their shape when given, and show nowhere."""

import logging
import os
import subprocess
import sys
import traceback

import pytest
import secret_watch as secrecy
from click.testing import CliRunner
from postgres_servers import PASSWORD, fresh_database

from billing_adapters.cli import background
from billing_adapters.cli.app import cli
from billing_adapters.credentials import is_connection_string, without_passwords
from billing_adapters.fake_payments import FakePayments
from billing_adapters.http import Api, Caller, Request
from billing_adapters.postgres import PostgresStore
from billing_adapters.sqlite import SqliteStore
from billing_adapters.stripe_payments import StripePayments
from billing_core import Billing, BillingError, InvalidCommand
from billing_core.ports.payments import CheckoutOrder
from billing_core.testing import MemoryStore

HUSH = "hush7531"
KEY = f"sk_test_{HUSH}"


def told(error: BaseException) -> str:
    """All that a log would have of an error and of what is chained to it."""
    chained: BaseException | None = error
    parts: list[str] = []
    while chained is not None:
        parts += [repr(chained), str(vars(chained))]
        chained = chained.__cause__ or chained.__context__
    return "".join([*traceback.format_exception(error), *parts])


# -- payments -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        f"{KEY}\n", f" {KEY}", f"{KEY}\r\n", f"{KEY} # the key", f"{KEY}\0", f"{KEY}é", f"'{KEY}'",
        f"Bearer {KEY}", f"pk_test_{HUSH}", f"whsec_{HUSH}", f"sk_{HUSH}", HUSH, "sk_test_", "",
        " ", None, 5, KEY.encode(), [KEY],
    ],
)  # fmt: skip
def test_what_is_no_key_of_stripe_s_is_refused_and_not_shown(key) -> None:
    with pytest.raises(InvalidCommand, match=r"api_key: given .*sk_test_… or rk_test_…") as error:
        StripePayments(key, livemode=False)
    assert HUSH not in told(error.value)


def test_a_publishable_key_is_named_as_one() -> None:
    with pytest.raises(InvalidCommand, match="'pk_…'"):
        StripePayments(f"pk_live_{HUSH}", livemode=True)


@pytest.mark.parametrize("kind", ["sk", "rk"])
def test_a_key_of_the_other_mode_is_not_shown(kind) -> None:
    assert StripePayments(f"{kind}_live_{HUSH}", livemode=True).livemode
    with pytest.raises(InvalidCommand, match=r"given a key of live mode; .* test mode") as error:
        StripePayments(f"{kind}_live_{HUSH}", livemode=False)
    assert HUSH not in told(error.value)


def test_a_key_given_as_the_mode_is_not_shown() -> None:
    with pytest.raises(InvalidCommand, match="livemode") as error:
        StripePayments(KEY, livemode=KEY)  # type: ignore[arg-type]
    assert HUSH not in told(error.value)


@pytest.mark.parametrize(
    "make", [lambda **w: StripePayments(KEY, livemode=False, **w), FakePayments]
)
@pytest.mark.parametrize(
    "secrets",
    [
        f"whsec_{HUSH}", [f"whsec_{HUSH}\n"], ["whsec_ok", f" whsec_{HUSH}"], [HUSH], [KEY], [""],
        ["whsec_"], [None], [f"whsec_{HUSH}".encode()], 5, {f"whsec_{HUSH}": 1},
    ],
)  # fmt: skip
def test_what_is_no_webhook_secret_is_refused_and_not_shown(make, secrets) -> None:
    with pytest.raises(InvalidCommand, match=r"webhook_secrets: given .*whsec_…") as error:
        make(webhook_secrets=secrets)
    assert HUSH not in told(error.value)


@pytest.mark.parametrize(
    "address",
    [
        f"https://u:{HUSH}@proxy", f"https://{HUSH}@proxy", f"https://u:{HUSH}@[proxy", HUSH, "",
        f"https://proxy/\n{HUSH}", f"ftp://proxy/{HUSH}", 5,
    ],
)  # fmt: skip
def test_an_address_has_no_password(address) -> None:
    with pytest.raises(InvalidCommand, match=r"address: given .* without a user") as error:
        StripePayments(KEY, livemode=False, address=address)
    assert HUSH not in told(error.value)


def test_a_provider_that_cannot_be_reached_shows_no_key() -> None:
    provider = StripePayments(
        KEY, livemode=False, webhook_secrets=[f"whsec_{HUSH}"], address="http://127.0.0.1:1",
        retries=0, timeout=1,
    )  # fmt: skip
    order = CheckoutOrder(
        org="acme",
        order="o",
        amount=500,
        currency="USD",
        success_url="https://x/",
        cancel_url="https://x/",
        description="x",
    )
    with pytest.raises(BillingError) as error:
        provider.create_checkout(order, key="k")
    assert HUSH not in told(error.value) + repr(provider) + repr(provider._client)


def test_stripe_s_own_log_has_no_secret_of_a_payment(caplog) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("stripe").debug('body=\'{"client_secret": "pi_1_secret_%s"}\'', HUSH)
    assert "pi_1_secret_…" in caplog.text and HUSH not in caplog.text


def test_the_worker_s_key_is_refused_in_one_line(tmp_path, monkeypatch) -> None:
    db = tmp_path / "b.db"
    SqliteStore(db).close()
    monkeypatch.setenv("STRIPE_API_KEY", f"{KEY}\n")
    for command in ("worker --once", "reconcile"):
        done = CliRunner().invoke(cli, [*command.split(), "--db", str(db)])
        assert done.exit_code == 1 and done.stderr.count("\n") == 1
        assert "white space" in done.stderr and HUSH not in done.output
    monkeypatch.setenv("STRIPE_API_KEY", f"rk_live_{HUSH}")
    provider = background._provider()
    assert provider is not None and provider.livemode


# -- databases ----------------------------------------------------------------------

MISSPELT = [
    f"postgresql://u:a@{HUSH}@127.0.0.1:1/db",
    f"postgresql://u:a/{HUSH}@127.0.0.1:1/db",
    f"postgresql://u:1/{HUSH}@127.0.0.1:1/db",
    f"postgresql://u:{HUSH}/db",
    f"postgresql://u:a?b@{HUSH}@127.0.0.1/db",
    f"postgresql://u:a%zz{HUSH}@127.0.0.1/db",
    f"postgresql://u:{HUSH}@127.0.0.1:1/db\n",
    f"postgresql://u:{HUSH}@127.0.0.1:1/d b",
    f"postgresql://u:{HUSH}@127.0.0.1:1/db?pasword=x",
    f"postgresql://u:{HUSH}@127.0.0.1:x{HUSH}/db",
    f"postgresql://u:{HUSH}@[127.0.0.1:1/db",
    f"u:{HUSH}@127.0.0.1:1/db",
    f"postgresql:/u:{HUSH}@127.0.0.1:1/db",
    f"postgresq://u:{HUSH}@127.0.0.1:1/db",
    f"sqlite://u:{HUSH}@127.0.0.1:1/db",
    f"host=127.0.0.1 password={HUSH} dbnme=x",
    f"host=127.0.0.1 dbname=postgresql://u:{HUSH}@127.0.0.1/db",
    f"host=127.0.0.1 password=a b{HUSH}",
    f"host=127.0.0.1 password='{HUSH}",
]  # fmt: skip


@pytest.mark.parametrize("dsn", MISSPELT)
def test_a_misspelt_connection_string_is_not_shown(dsn) -> None:
    with pytest.raises(InvalidCommand, match="dsn: given") as error:
        PostgresStore(dsn)
    assert HUSH not in told(error.value)


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresql://u:{HUSH}@127.0.0.1:1/db",
        f"postgresql://u:1?host={HUSH}@127.0.0.1:1/db",
        f"postgresql://u:a%40%2F%3A{HUSH}@127.0.0.1:1/db",
        f"postgresql://u@127.0.0.1:1/db?password={HUSH}",
        f"postgresql://127.0.0.1:1/db?user=u&password=a@{HUSH}",
        f"host=127.0.0.1 port=1 dbname=a@b password='a@ {HUSH}'",
        f"postgresql://u:{HUSH}@127.0.0.1:1,127.0.0.1:2/db",
        f"host=/tmp port=1 dbname=db password={HUSH}",
    ],
)
def test_a_database_that_cannot_be_reached_shows_no_password(dsn) -> None:
    with PostgresStore(dsn, pool_seconds=0.2) as store:
        for call in (store.migrate, Billing(store).orgs().__next__, store.finish):
            with pytest.raises(BillingError) as error:
                call()
            assert HUSH not in told(error.value)
        assert HUSH not in store.name + repr(store)


@pytest.mark.parametrize("dsn", [each for each in MISSPELT if "dsn" not in each])
@pytest.mark.parametrize("words", ["verify --db", "migrate --db", "replay x.csv --db"])
def test_a_misspelt_connection_string_is_no_file(dsn, words, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.csv").write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n")
    command, *more, _ = words.split()
    for given, env in (([*words.split(), dsn], {}), ([command, *more], {"BILLING_DB": dsn})):
        done = CliRunner(env=env).invoke(cli, given)
        assert done.exit_code in (1, 2), done.output
        assert HUSH not in done.output and HUSH not in told(done.exception)
    assert [each.name for each in tmp_path.iterdir()] == ["x.csv"]


@pytest.mark.parametrize("dsn", [each for each in MISSPELT if "password='" not in each])
def test_a_connection_string_is_no_path_of_an_sqlite_file(dsn, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidCommand, match=r"path: given .*PostgresStore") as error:
        SqliteStore(dsn)
    assert HUSH not in told(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "path", ["b.db", "/a/b:c@d.db", "./u:pw@h", "a b.db", "a@b.db", "C:\\a@b.db"]
)
def test_a_path_is_a_path(path) -> None:
    assert not is_connection_string(path)


def test_a_password_on_a_command_line_is_refused(monkeypatch) -> None:
    monkeypatch.setitem(PostgresStore.__init__.__kwdefaults__, "pool_seconds", 0.5)
    dsn = f"postgresql://u:{HUSH}@127.0.0.1:1/db"
    done = CliRunner().invoke(cli, ["verify", "--db", dsn])
    assert done.exit_code == 2 and "put the connection string into BILLING_DB" in done.stderr
    done = CliRunner(env={"BILLING_DB": dsn}).invoke(cli, ["verify"])
    assert done.exit_code == 1 and "could be made" in done.stderr
    done = CliRunner().invoke(cli, ["verify", "--db", "postgresql://u@127.0.0.1:1/db"])
    assert done.exit_code == 1 and "could be made" in done.stderr
    # Where an org or a number was expected.
    for words in (["verify", dsn], ["balance", dsn], ["worker", "--limit", dsn]):
        done = CliRunner(env={"BILLING_DB": "nowhere.db"}).invoke(cli, words)
        assert done.exit_code == 2
        assert HUSH not in done.output


def test_a_secret_of_stripe_s_in_the_wrong_place_is_not_shown(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    mum = "mum4821"  # of no provider, or an error that names it as an org would be found
    for secret in (f"sk_test_{mum}", f"rk_live_{mum}", f"whsec_{mum}+/="):
        for words, env in (
            (["balance"], {"BILLING_DB": secret}),
            (["worker", "--once", secret], {}),
            (["worker", "--topup-rules", secret], {}),
            (["reconcile", "--since", secret], {}),
            (["balance", secret], {}),
            ([secret], {}),
        ):
            SqliteStore("b.db").close()
            done = CliRunner(env={"BILLING_DB": "b.db"} | env).invoke(cli, words)
            assert done.exit_code in (1, 2) and "_…" in done.output, done.output
            assert mum not in done.output


def test_every_command_takes_its_database_from_the_environment(tmp_path) -> None:
    db = tmp_path / "b.db"
    with SqliteStore(db) as store:
        Billing(store).open_account("acme", livemode=False)
    takes = [
        name
        for name, command in cli.commands.items()
        if any("--db" in each.opts for each in command.params) and name != "demo"
    ]
    assert len(takes) > 12
    for name in takes:
        [option] = [each for each in cli.commands[name].params if "--db" in each.opts]
        assert option.envvar == "BILLING_DB"
        assert "BILLING_DB" in CliRunner().invoke(cli, [name, "--help"]).output
    done = CliRunner(env={"BILLING_DB": str(db)}).invoke(cli, ["balance", "acme"])
    assert (done.exit_code, "acme" in done.output) == (0, True)
    other = tmp_path / "other.db"
    done = CliRunner(env={"BILLING_DB": str(db)}).invoke(cli, ["migrate", "--db", str(other)])
    assert (done.exit_code, other.exists()) == (0, True)


def test_a_password_in_the_environment_is_in_no_list_of_processes() -> None:
    with fresh_database() as dsn:
        assert PASSWORD in dsn
        code = (
            "from contextlib import suppress; from pathlib import Path\n"
            "from click.testing import CliRunner\n"
            "from billing_adapters.cli.app import cli\n"
            "assert CliRunner().invoke(cli, ['migrate']).exit_code == 0\n"
            "for each in Path('/proc').glob('[0-9]*/cmdline'):\n"
            "    with suppress(OSError):  # it has ended meanwhile\n"
            "        print(each.read_bytes())"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "BILLING_DB": dsn},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert "python" in done.stdout and PASSWORD not in done.stdout + done.stderr


def test_a_message_is_freed_of_passwords() -> None:
    for text in (
        f"no org postgresql://u:{HUSH}@h/db", f"x password={HUSH} y", f"password = '{HUSH} {HUSH}'",
        f"postgres://u:a@{HUSH}@h", f"https://u:{HUSH}@h",
    ):  # fmt: skip
        assert HUSH not in without_passwords(text) and "…" in without_passwords(text)
    assert without_passwords("postgresql://u@h:1/db x@y") == "postgresql://u@h:1/db x@y"


# -- the routes ---------------------------------------------------------------------


def test_a_request_prints_without_its_secrets() -> None:
    headers = {"X-API-Key": HUSH, "Cookie": HUSH}
    request = Request("GET", "/v1", f"q={HUSH}", headers, HUSH.encode())
    assert HUSH not in repr(request) and "/v1" in repr(request)


@pytest.mark.parametrize("how", ["KeyError", "its own", "chained", "as quoted"])
def test_a_key_that_authenticating_fails_on_is_not_logged(how, caplog) -> None:
    key = f"{HUSH}'\\\"x" if how == "as quoted" else HUSH

    def authenticate(given: str) -> Caller:
        if how in ("KeyError", "as quoted"):
            return {}[given]
        try:
            raise LookupError(f"no {given}")
        except LookupError as error:
            raise RuntimeError("down" if how == "chained" else given) from error

    caplog.set_level(logging.DEBUG)
    api = Api(Billing(MemoryStore()), authenticate)
    answer = api(Request("GET", "/v1/billing/credits", headers={"X-API-Key": key}))
    assert answer.status == 500 and HUSH not in answer.body.decode()
    assert "in authenticate" in caplog.text and HUSH not in caplog.text


def test_what_authenticating_fails_on_is_logged_as_it_is(caplog) -> None:
    def authenticate(given: str) -> Caller:
        raise ConnectionError("the table of keys is away")

    api = Api(Billing(MemoryStore()), authenticate)
    answer = api(Request("GET", "/v1/billing/credits", headers={"X-API-Key": HUSH}))
    assert answer.status == 500 and "the table of keys is away" in caplog.text


# -- whoever looks through the whole suite -------------------------------------------


def test_the_suite_would_notice_a_secret_that_shows() -> None:
    secret = "shown-to-all-4711"
    secrecy.remember(secret)
    assert PASSWORD in secrecy.KNOWN or PostgresStore(f"dbname=x password={PASSWORD}")
    assert PASSWORD in secrecy.KNOWN
    try:
        for number, show in enumerate(
            (
                lambda: logging.getLogger("psycopg.pool").debug("connecting with %s", secret),
                lambda: logging.getLogger("x").info("hello", extra={"key": secret}),
                lambda: BillingError(f"given {secret}"),
                lambda: subprocess.run(["true", secret], check=True),
                lambda: CliRunner().invoke(cli, [secret]),
            )
        ):
            secrecy.FOUND.clear()
            show()
            assert secrecy.FOUND, number
            assert secret not in str(secrecy.FOUND)
    finally:
        secrecy.FOUND.clear()
        secrecy.KNOWN.discard(secret)
