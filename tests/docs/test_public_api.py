"""What is public is on record: a change of a name, a signature or a field is seen in review."""

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from public_api import described

from billing_core import BillingError

TESTS = Path(__file__).parents[1]


def test_the_public_api_is_as_recorded() -> None:
    # In a process of its own: tests watch what errors are made of.
    told = subprocess.run(
        [sys.executable, TESTS / "support" / "public_api.py"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    recorded = (TESTS / "fixtures" / "public_api.txt").read_text(encoding="utf-8")
    advice = "python tests/support/public_api.py > tests/fixtures/public_api.txt"
    assert told.stdout.splitlines() == recorded.splitlines(), advice


class Lent(NamedTuple):
    amount: int

    def back(self, days: int = 3) -> bool:
        return days > self.amount


class Missing(BillingError):
    def __init__(self, shelf: str) -> None:
        self.shelf = shelf
        super().__init__(shelf)


def test_fields_methods_defaults_and_what_errors_have_are_recorded() -> None:
    assert list(described("Lent", Lent)) == [
        "class Lent(tuple)",
        "    (amount: int)",
        "    back(self, days: int = 3) -> bool",
    ]
    assert list(described("Missing", Missing)) == [
        "class Missing(BillingError)",
        "    (shelf: str) -> None",
        "    attributes: shelf",
    ]
