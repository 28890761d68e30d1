"""What importing the packages brings in, and what it never does."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import billing_core

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
    root = Path(os.environ.get("BILLING_DOCS_DIR") or Path(__file__).parents[2])
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--config", root / "pyproject.toml", "--no-cache"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout
