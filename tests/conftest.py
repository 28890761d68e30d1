"""How deep the property tests look.

`BILLING_TEST_DEPTH=20 make test` tries twenty times as many examples as a plain run.
"""

import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, is_hypothesis_test, settings

from billing_core.ports import required

QUICK_EXAMPLES = 50

# What is imported and collected is there to the end: it is not looked through for garbage as it
# comes, nor again and again by the tests.
gc.disable()

# What tests share they import by its plain name, in whatever folder it and they are.
HERE = Path(__file__).parent
sys.path[:0] = [
    str(each)
    for each in sorted(HERE.rglob("*"))
    if each.is_dir() and each.name not in ("__pycache__", "faults", "fixtures")
]

# Stories are short: with the real number, the rollup cells would never be written in them.
required.TAIL = 3

# Databases of tests live in memory where the machine offers that: thousands of small commits
# would else measure the disk. What durability rests on is asserted, not timed.
if os.access("/dev/shm", os.W_OK) and "TMPDIR" not in os.environ:
    os.environ["TMPDIR"] = "/dev/shm"
    tempfile.tempdir = None


def _depth() -> int:
    text = os.environ.get("BILLING_TEST_DEPTH", "1")
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"BILLING_TEST_DEPTH must be a positive integer, not {text!r}")
    return int(text)


settings.register_profile(
    "quick",
    max_examples=QUICK_EXAMPLES,
    # A slow or busy machine must not fail a property.
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    # CI judges the change, not the luck of the draw, and does not spend minutes on shrinking.
    derandomize=bool(os.environ.get("CI")),
    phases=[Phase.explicit, Phase.generate] if os.environ.get("CI") else list(Phase),
)
settings.register_profile(
    "deep", settings.get_profile("quick"), max_examples=QUICK_EXAMPLES * _depth()
)
settings.load_profile("deep" if _depth() > 1 else "quick")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    from stripe_schema import FILE  # it brings jsonschema, which most runs of one test can spare

    if not FILE.is_file():
        terminalreporter.write_line(
            f"Stripe's OpenAPI file is not at {FILE}: what the tests of payments said and were "
            "answered was not checked against it (BILLING_STRIPE_OPENAPI)."
        )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Stories marked ``every_store`` are told on each; properties, of which each example has a
    store of its own, in memory."""
    marked = metafunc.definition.get_closest_marker("every_store")
    if marked is not None and not is_hypothesis_test(metafunc.function):
        metafunc.parametrize("worlds_stores", ["memory", "sqlite", "postgres"], indirect=True)


@pytest.fixture(scope="session", autouse=True)
def _watched() -> Iterator[None]:
    """What is said anywhere is looked through for the secrets that the tests use."""
    import secret_watch as secrecy

    with secrecy.watched():
        yield


@pytest.fixture(autouse=True)
def _no_secret_shows(_watched: None) -> Iterator[None]:
    import secret_watch as secrecy

    yield
    found = secrecy.FOUND[:]
    secrecy.FOUND.clear()
    assert not found, "a secret shows in " + "\n".join(found)


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow as well, beside the files that say so: properties and state machines, the real trace,
    what is told on PostgreSQL after the other stores, and whatever is asked of an example that
    runs as a server."""
    for item in items:
        if (
            (isinstance(item, pytest.Function) and is_hypothesis_test(item.function))
            or item.name.endswith(("_the_same_as_in_memory", "test_the_real_trace"))
            or "_app.py" in item.name
            or "postgres" in item.name.partition("[")[2]
        ):
            item.add_marker("slow")


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture
def summed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every commit is added to the rollup cells."""
    monkeypatch.setattr(required, "TAIL", 1)


@pytest.fixture(autouse=True)
def worlds_stores(request: pytest.FixtureRequest) -> Iterator[None]:
    """Which stores the worlds of a test have."""
    kind = getattr(request, "param", "memory")
    if kind == "memory":
        yield
        return
    from store_comparison import BesideMemory, SqliteBesideMemory
    from world import World

    numbers, tmp_path = count(), request.getfixturevalue("tmp_path")
    with ExitStack() as stack:

        def made() -> object:
            if kind == "postgres":
                return stack.enter_context(BesideMemory())
            return stack.enter_context(SqliteBesideMemory(tmp_path / f"{next(numbers)}.db"))

        patch = request.getfixturevalue("monkeypatch")
        patch.setattr(World, "make_store", staticmethod(made))
        yield
