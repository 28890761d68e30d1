"""What importing the packages brings in, and what it never does; what is said of the whole."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import postgres_servers
import pytest
from packaging.requirements import Requirement

import billing_core

ROOT = Path(os.environ.get("BILLING_DOCS_DIR") or Path(__file__).parents[2]).absolute()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SUPPORTED = ROOT / "docs" / "reference" / "supported.md"

PRINT_WHAT_IS_LOADED = """
import sys
before = set(sys.modules)
import {package}
import json
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def loaded_by(package: str) -> set[str]:
    """The top-level modules that a fresh interpreter loads to import the package."""
    return {name.partition(".")[0] for name in modules_loaded_by(package)}


def modules_loaded_by(package: str) -> list[str]:
    """All modules that a fresh interpreter loads to import the package."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", PRINT_WHAT_IS_LOADED.format(package=package)],
        capture_output=True,
        check=True,
    )
    found: list[str] = json.loads(done.stdout)
    return found


def third_party(names: set[str]) -> set[str]:
    return names - sys.stdlib_module_names - {"attr", "attrs", "billing_core", "billing_adapters"}


def imported_by(source: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def test_the_core_is_imported_as_it_is_asked_for() -> None:
    loaded = modules_loaded_by("billing_core")
    assert [name for name in loaded if name.startswith("billing_core")] == ["billing_core"]
    assert sorted(billing_core._HOME) == sorted(billing_core.__all__)
    for name in billing_core.__all__:
        value = getattr(billing_core, name)
        assert getattr(value, "__name__", name) == name  # a union has no name
    assert set(billing_core.__all__) <= set(dir(billing_core))
    with pytest.raises(AttributeError, match="no attribute 'Biling'"):
        billing_core.Biling  # noqa: B018


def test_importing_the_engine_is_light() -> None:
    loaded = loaded_by("billing_core.engine")
    assert not loaded & {"asyncio", "sqlite3", "billing_adapters"}
    assert not third_party(loaded)


def test_importing_the_adapters_imports_no_driver() -> None:
    loaded = loaded_by("billing_adapters")
    assert "sqlite3" not in loaded
    assert not third_party(loaded)


def test_the_core_imports_no_third_party_package_but_attrs() -> None:
    root = Path(billing_core.__file__).parent
    for source in root.rglob("*.py"):
        extra = {"hypothesis", "pytest"} if source.is_relative_to(root / "testing") else set()
        assert not third_party(set(imported_by(source))) - extra, source


def test_each_package_imports_those_below_it_alone_and_no_two_modules_each_other() -> None:
    """The contracts of import-linter in pyproject.toml, types included."""
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--config", ROOT / "pyproject.toml", "--no-cache"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


# -- what is said of the whole ------------------------------------------------------


def table_rows(title: str) -> list[list[str]]:
    """Of the table under a title in the page of what is supported, without its head."""
    text = SUPPORTED.read_text(encoding="utf-8").partition(f"\n## {title}\n")[2]
    text = text.partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_the_pythons_of_the_page_are_those_that_ci_tries() -> None:
    named = [
        each.rpartition(" ")[2]
        for each in PROJECT["classifiers"]
        if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", each)
    ]
    assert [row[0] for row in table_rows("Pythons")] == named
    assert PROJECT["requires-python"] == f">={named[0]}"
    [reads] = re.findall(
        r"for version in \$\((.*)\); do", (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    )
    told = subprocess.run(reads, shell=True, cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.split() == named


def test_the_versions_of_the_page_are_those_that_pip_may_install() -> None:
    given = [*PROJECT["dependencies"], *chain(*PROJECT["optional-dependencies"].values())]
    asked = {each.name: each.specifier for each in map(Requirement, given)}
    called = {"Stripe's client": "stripe"}
    seen = 0
    for names, versions, *_ in table_rows("Libraries"):
        libraries = [called.get(each, each.lower()) for each in re.split(", | with ", names)]
        for library, version in zip(libraries, versions.split(", "), strict=True):
            assert version in asked[library], f"{library} {version}"
            seen += 1
    assert seen > 8


@pytest.mark.skipif("BILLING_TEST_PG_BIN" in os.environ, reason="another server is tried")
def test_the_page_names_the_server_that_the_tests_start() -> None:
    program = postgres_servers.programs() / "postgres"
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    [major] = re.findall(r"\(PostgreSQL\) (\d+)\.", said.stdout)
    tried = [version for name, version, _ in table_rows("Databases") if name == "PostgreSQL"]
    assert tried[0] == major


def test_the_newest_changes_are_this_version_s() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    titles = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert titles[0].startswith(f"{PROJECT['version']} - ")
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d", title) for title in titles)


def test_the_steps_of_ci_have_budgets_that_add_up() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+) \| (?:\*\*)?([\d,]+)(?:\*\*)? \|$", text, re.MULTILINE)
    *steps, (last, whole) = [(step, int(seconds.replace(",", ""))) for step, seconds in rows]
    assert last == "**all**"
    assert len(steps) > 8
    assert sum(seconds for _, seconds in steps) == whole <= 20 * 60
