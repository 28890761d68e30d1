"""``billing pricing --import``: what is new of a list of real prices, and what of it is refused."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from test_cli import run, run_json

from billing_adapters.sqlite import SqliteStore
from billing_core import Billing, Flat, Price, PriceBook, tokens, usd
from billing_core.testing import SettableClock

ENTRIES: dict[str, dict[str, Any]] = {
    "acme-large": {
        "input_cost_per_token": 2e-06,
        "input_cost_per_token_above_272k_tokens": 4e-06,
        "input_cost_per_token_batches": 1e-06,
        "output_cost_per_token": 8e-06,
        "search_free_requests": {"count": 1500},
        "supports_vision": True,
    },
    "acme-small": {"input_cost_per_token": 2e-07, "output_cost_per_token": 8e-07},
    "other": {"input_cost_per_token": 3e-07, "input_cost_per_dream": 1, "search_free_requests": {}},
}


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "900")


@pytest.fixture
def db(tmp_path: Path) -> Path:
    path = tmp_path / "billing.sqlite"
    with SqliteStore(path) as store:
        Billing(store).open_account("acme")
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path / "prices.json", ENTRIES)


def written(path: Path, entries: object) -> Path:
    path.write_text(json.dumps(entries))
    return path


def published(db: Path) -> list[str]:
    with SqliteStore(db) as store:
        return [each.version for each in store.published()]


def test_what_is_new_and_what_is_refused_is_shown_and_nothing_published(
    db: Path, file: Path
) -> None:
    shown = run("pricing", "--import", "litellm", file, "--markup", "1.2", "--db", db).stdout
    assert "2.40 USD per 1,000,000" in shown  # 2 dollars with the markup
    assert "above 272,000" in shown and "service_tier is batch" in shown
    assert "free of charge" in shown and "search_free_requests of acme-large" in shown
    assert "input_cost_per_dream of other" in shown
    assert "more; -v shows each" in shown
    assert "Nothing is published" in shown
    assert published(db) == []
    every = run("pricing", "--import", "litellm", file, "-v", "--db", db).stdout
    assert every.count("free of charge") == 2 and "more; -v" not in every


def test_a_nightly_job_publishes_what_changed(db: Path, file: Path, tmp_path: Path) -> None:
    words = ("pricing", "--import", "litellm", file, "--markup", "1.2", "--publish", "--db", db)
    first = run_json(*words, "--version", "monday")
    assert first["published"] and first["version"].startswith("monday#")
    assert {each["change"] for each in first["differences"]} == {"added"}
    with SqliteStore(db) as store:  # the first prices hold at once
        billing = Billing(store)
        billing.grant("acme", "g", usd(100))
        used = tokens("acme-small", input=1_000_000)
        assert billing.settle("acme", "one", used).amount == usd("0.24").nanos

    again = run(*words).stdout
    assert "No price is new" in again and published(db) == ["monday"]
    told = run_json(*words)
    assert (told["version"], told["published"], told["differences"]) == (None, False, [])

    dearer = {**ENTRIES["acme-small"], "input_cost_per_token": 3e-07}
    entries = {**ENTRIES, "acme-small": dearer}
    del entries["acme-large"]["output_cost_per_token"]
    written(file, entries)
    before = datetime.now(UTC)
    changed = run_json(*words, "--version", "tuesday")
    assert changed["published"]
    assert {each["change"] for each in changed["differences"]} == {"changed"}
    names = {each["name"] for each in changed["differences"]}
    assert "input of model:acme-small" in names and "output of model:acme-small" not in names
    assert "0.24 USD" in changed["differences"][0]["before"]
    assert "0.36 USD" in changed["differences"][0]["after"]
    assert datetime.fromisoformat(changed["effectiveAt"]) >= before + timedelta(minutes=15)
    assert "output of model:acme-large" in changed["kept"]
    assert "still in force: " in run(*words).stdout
    with SqliteStore(db) as store:
        clock = SettableClock(before + timedelta(hours=1))
        quote = Billing(store, clock=clock).quote("acme", tokens("acme-small", input=1_000_000))
        assert quote.amount == usd("0.36").nanos
        book = [each.document() for each in store.published()][1]
        assert isinstance(book, PriceBook)
        assert book.prices.keys() == {"model:acme-small"}


def test_only_the_models_that_are_asked_for(db: Path, file: Path) -> None:
    words = ("pricing", "--import", "litellm", file, "--db", db)
    shown = run_json(*words, "--models", "acme-*", "--models", "nobody")
    assert {each["model"] for each in shown["refused"]} == {"acme-large"}
    assert all("model:acme-" in each["name"] for each in shown["differences"])
    none = run_json(*words, "--models", "nobody")
    assert none["differences"] == [] and none["refused"] == []


def test_a_time_may_be_named(db: Path, file: Path) -> None:
    words = ("pricing", "--import", "litellm", file, "--db", db, "--publish")
    shown = run_json(*words, "--effective-at", "2026-01-01")
    assert shown["effectiveAt"].startswith("2026-01-01T00:00:00")
    written(file, {"acme-small": {"input_cost_per_token": 1}})
    too_early = run(*words, "--effective-at", "2026-02-01", code=1)
    assert "or later" in too_early.stderr
    run(*words, "--version", "once")
    written(file, {"acme-small": {"input_cost_per_token": 2}})
    taken = run(*words, "--version", "once", code=1)
    assert "this one is published" in taken.stderr


def test_what_cannot_stand_beside_what_is_on_record_is_refused_alone(db: Path, file: Path) -> None:
    with SqliteStore(db) as store:
        thirds = Price(Flat(1, 3**36))
        book = PriceBook("own", datetime(2026, 1, 1, tzinfo=UTC),
                         {"model:acme-small": {"input": thirds}})  # fmt: skip
        Billing(store).publish(book)
    written(file, {**ENTRIES, "acme-small": {**ENTRIES["acme-small"],
                                             "input_cost_per_token": 1.234567e-07}})  # fmt: skip
    shown = run_json("pricing", "--import", "litellm", file, "--publish", "--db", db)
    assert shown["published"]
    too_fine = [each for each in shown["refused"] if "10**18" in each["reason"]]
    assert [(each["model"], each["key"]) for each in too_fine] == [("acme-small", "input")]
    names = {each["name"] for each in shown["differences"]}
    assert "output of model:acme-small" in names and "input of model:acme-small" not in names


def test_genai_is_imported_from_the_installed_package(db: Path, file: Path) -> None:
    words = ("pricing", "--import", "genai", "--models", "openai/gpt-4o*", "--db", db)
    shown = run_json(*words, "--publish")
    assert shown["published"]
    assert any(each["name"] == "input of model:gpt-4o" for each in shown["differences"])
    assert run_json(*words, "--publish")["published"] is False
    told = run_json("pricing", "--import", "genai", "--models", "*/o1-mini", "--db", db)
    assert any("several providers" in each["reason"] for each in told["refused"])
    later = run_json(
        "pricing", "--import", "genai", "--models", "google/gemini-4-argon",
        "--effective-at", "2026-11-30", "--db", db,
    )["later"]  # fmt: skip
    assert later and later[0]["model"] == "google/gemini-4-argon"
    shown_later = run(
        "pricing", "--import", "genai", "--models", "google/gemini-4-argon",
        "--effective-at", "2026-11-30", "--db", db,
    ).stdout  # fmt: skip
    assert "Other prices from a later date" in shown_later
    wrong = run("pricing", "--import", "genai", file, "--db", db, code=2)
    assert "not from" in wrong.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["--import", "litellm"],
        ["--import", "litellm", "FILE", "--org", "acme"],
        ["--import", "litellm", "--publish", "FILE"],
        ["--publish"],
        ["--markup", "2"],
        ["FILE"],
        ["--import", "other", "FILE"],
    ],
)
def test_options_that_do_not_go_together_are_told(words: list[str], db: Path, file: Path) -> None:
    given = [str(file) if each == "FILE" else each for each in words]
    assert run("pricing", *given, "--db", db, code=2).stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--markup", "0"], "markup"),
        (["--markup", "x"], "markup"),
        (["--version", "a#b"], "version"),
    ],
)
def test_what_is_wrong_is_one_line(words: list[str], told: str, db: Path, file: Path) -> None:
    shown = run("pricing", "--import", "litellm", file, *words, "--db", db, code=1).stderr
    assert told in shown and shown.count("\n") == 1


def test_a_file_of_another_format_is_named(db: Path, tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text("[]")
    assert "list.json" in run("pricing", "--import", "litellm", path, "--db", db, code=1).stderr
