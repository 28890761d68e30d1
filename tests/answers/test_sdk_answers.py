"""The cases anew from the providers' own packages, and these packages' objects themselves.

They need an environment of their own (``requirements.txt``; it takes a minute and some 700 MB), so
a plain run leaves them out.  ``BILLING_TEST_DEPTH=2`` runs them in one that is made in the user's
cache and kept there; ``BILLING_TEST_SDKS`` names the Python of one that is there already.
"""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import billing_adapters
import billing_core

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements.txt"
NAMED = os.environ.get("BILLING_TEST_SDKS")
DEPTH = int(os.environ.get("BILLING_TEST_DEPTH", "1"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        DEPTH < 2 and not NAMED, reason="BILLING_TEST_DEPTH=2, or BILLING_TEST_SDKS=…/bin/python"
    ),
]


@pytest.fixture(scope="module")
def python() -> str:
    """The Python that has the providers' packages, in the versions that are required."""
    if NAMED:
        return NAMED
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    content = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = cache / "billing-core" / f"answers-{version}-{content}"
    whole = home / "whole"
    if not whole.is_file():
        venv.create(home, with_pip=True, clear=True)
        subprocess.run(
            [home / "bin" / "python", "-m", "pip", "install", "-qq", "-r", REQUIREMENTS],
            check=True,
        )  # fmt: skip
        whole.touch()
    return str(home / "bin" / "python")


def _run(python: str, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ran = subprocess.run(
        [python, *arguments], cwd=HERE, env=environment, capture_output=True, text=True, check=False
    )
    said = ran.stdout + ran.stderr
    assert ran.returncode == 0, said
    return said


def test_the_kept_cases_are_what_the_packages_make(python: str) -> None:
    assert "differ: none" in _run(python, "sdk_answers.py", "--check")


def test_the_packages_objects_are_read_as_the_kept_cases_are(python: str) -> None:
    folders = [str(Path(each.__file__).parents[1]) for each in (billing_core, billing_adapters)]
    assert " 0 read wrongly" in _run(python, "sdk_objects.py", *folders)
