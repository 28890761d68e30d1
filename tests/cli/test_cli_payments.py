"""``billing worker`` and ``billing reconcile``, in the very process."""

import json
from datetime import UTC, datetime, timedelta

import attrs
import pytest
from click.testing import CliRunner
from topup_till import URLS

from billing_adapters.cli import background
from billing_adapters.cli.app import cli
from billing_adapters.fake_payments import FakePayments
from billing_adapters.sqlite import SqliteStore
from billing_core import Billing, Pending, usd


@pytest.fixture
def fake(monkeypatch):
    made = FakePayments()
    monkeypatch.setattr(background, "_provider", lambda: made)
    return made


@pytest.fixture
def db(tmp_path, fake):
    path = tmp_path / "b.db"
    with SqliteStore(path) as store:
        billing = Billing(store, payments=fake)
        billing.open_account("acme", livemode=False)
        page = billing.top_up("acme", "o", usd("10"), save_method=True, **URLS)
        fake.pay(page.session)
        billing.confirm("acme", page.session)
        billing.set_auto_topup("acme", "a", enabled=True, threshold=usd("5"), amount=usd("20"))
        billing.deduct("acme", "d", usd("6"), resource="x")
    return path


def invoke(*words):
    done = CliRunner().invoke(cli, [str(word) for word in words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def test_a_worker_tops_up_and_delivers(db) -> None:
    done = invoke("worker", "--once", "--events", "--db", db)
    assert done.exit_code == 0
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(each["kind"], each["data"]["kind"]) for each in told] == [
        ("topup_succeeded", "checkout"),
        ("topup_succeeded", "auto"),
    ]
    assert invoke("worker", "--once", "--events", "--db", db).stdout == ""
    with SqliteStore(db) as store:
        assert str(Billing(store).balance("acme")) == "24.00 USD"


def test_a_worker_that_is_to_end_does_all_that_is_due_first(db, monkeypatch) -> None:
    answers = [Pending(lapsed=1, more=True), Pending(news=1, more=True), Pending(more=True)]
    passes = iter([*answers, Pending()])
    monkeypatch.setattr(Billing, "run_pending", lambda self, *args, **options: next(passes))
    assert invoke("worker", "--once", "--db", db).exit_code == 0
    assert list(passes) == [Pending()], "what fails for want of time is no reason to go on"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rules.toml", 'times = 3\nbackoff_seconds = 60\n[maximum]\nUSD = "19.99"\nJPY = 900'),
        ("rules.json", '{"maximum": {"USD": 19.99}, "lease_seconds": 240, "failures": 2}'),
    ],
)
def test_a_worker_goes_by_the_platform_s_rules(db, fake, tmp_path, name, text) -> None:
    (tmp_path / name).write_text(text)
    for _ in range(2):
        done = invoke("worker", "--once", "--db", db, "--topup-rules", tmp_path / name)
        assert (done.exit_code, done.stderr) == (0, "")
    with SqliteStore(db) as store:
        billing = Billing(store)
        assert str(billing.balance("acme")) == "4.00 USD"
        assert billing.auto_topup("acme").stopped == "amount"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cooldown = 60", "cooldown_seconds"),
        ("maximum = 100", 'such as {"USD": "5.00"}'),
        ("lease_seconds = 1.5", "a whole number of seconds"),
        ("failures = 0", "an int of 1 or more"),
        ('minimum = { USD = "20000" }', "the maximum, at most"),
        ('minimum = { XXX = "5" }', "a currency that payments can be made in"),
        ("minimum = {}", "positive Money"),
    ],
)
def test_rules_that_are_none_are_refused(db, tmp_path, text, said) -> None:
    (tmp_path / "rules.toml").write_text(text)
    done = invoke("worker", "--once", "--db", db, "--topup-rules", tmp_path / "rules.toml")
    assert done.exit_code == 1
    assert "rules.toml: " in done.stderr and said in done.stderr


def test_what_fails_is_told(db, fake) -> None:
    fake.fault("timeout_before")
    done = invoke("worker", "--once", "--db", db)
    assert "acme: top-up " in done.stderr


def test_without_a_key_the_rest_is_done(db, monkeypatch) -> None:
    monkeypatch.setattr(background, "_provider", lambda: None)
    done = invoke("worker", "--once", "--db", db)
    assert (done.exit_code, "STRIPE_API_KEY" in done.stderr) == (0, True)
    assert invoke("reconcile", "--db", db).exit_code == 1


def test_reconcile_names_what_differs(db, fake) -> None:
    until = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%d")
    done = invoke("reconcile", "--db", db, "--until", until)
    assert done.exit_code == 0
    assert "1 payments (0 none of ours) and 1 paid top-ups compared: 0 differences." in done.output
    fake.refund_in_dashboard(next(iter(fake._payments)), 400)
    done = invoke("reconcile", "--db", db, "--until", until, "--json")
    assert done.exit_code == 1
    [difference] = json.loads(done.stdout)["differences"]
    assert "10 USD credited; the provider holds 6" in difference["what"].replace(".00", "")


def test_reconcile_reads_back_what_differs(db, fake) -> None:
    until = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%d")
    fake.refund_in_dashboard(next(iter(fake._payments)), 400)
    assert invoke("reconcile", "--db", db, "--until", until).exit_code == 1
    assert invoke("reconcile", "--db", db, "--until", until, "--read-back").exit_code == 0
    assert invoke("reconcile", "--db", db, "--until", until).exit_code == 0
    with SqliteStore(db) as store:
        assert str(Billing(store).balance("acme")) == "0.00 USD"


def test_reconcile_names_what_cannot_be_read_back(db, fake) -> None:
    until = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%d")
    payment = next(iter(fake._payments))
    fake.relabel(payment, "acme", "none")
    fake.relabel(fake._payments[payment].checkout)
    with SqliteStore(db) as store:
        [paid] = [each for each in store.topups("acme") if each.payment]
    fake._payments["pi_more"] = attrs.evolve(fake._payments[payment], id="pi_more", checkout=None)
    done = invoke("reconcile", "--db", db, "--until", until, "--read-back")
    assert done.exit_code == 1
    assert "acme: top-up none: " in done.stderr and "no such top-up" in done.stdout
    assert paid.topup not in done.stdout


def test_the_key_comes_from_the_environment(monkeypatch) -> None:
    monkeypatch.delenv("STRIPE_API_KEY", raising=False)
    assert background._provider() is None
    monkeypatch.setenv("STRIPE_API_KEY", "sk_test_abc")
    provider = background._provider()
    assert provider is not None
    assert not provider.livemode


def test_reconcile_names_what_cannot_be_read(db, fake) -> None:
    until = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%d")
    payment = next(iter(fake._payments))
    fake.garble(payment)
    done = invoke("reconcile", "--db", db, "--until", until)
    assert done.exit_code == 1 and f"cannot be read: payment {payment}\n" in done.stdout
    done = invoke("reconcile", "--db", db, "--until", until, "--json")
    assert json.loads(done.stdout)["unreadable"] == [f"payment {payment}"]


def test_a_payment_without_a_label_is_named_and_credited_by_no_bulk_reading(db, fake) -> None:
    until = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%d")
    paid = next(iter(fake._payments.values()))
    more = attrs.evolve(paid, id="pi_more", checkout=None, org=None, order=None)
    fake._payments["pi_more"] = more
    done = invoke("reconcile", "--db", db, "--until", until, "--read-back")
    assert (done.exit_code, done.stderr) == (1, "")
    assert "acme: payment pi_more: " in done.stdout
