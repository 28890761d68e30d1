"""Faults of what packages import; `planted_faults.py` plants them."""

from __future__ import annotations

Planted = tuple[str, str, str, str, tuple[str, ...]]

BELOW = "tests/docs/test_packaging.py::test_each_package_imports_those_below_it_alone"
TESTS = (BELOW + "_and_no_two_modules_each_other",)

IN_PACKAGES: list[Planted] = [
    (
        "debts know what limits are",
        "billing_core/ledger/debts.py",
        "from billing_core.ledger.inputs import NeedMore, When\n",
        "from billing_core.charging.limits import BindingLimit  # noqa: F401\n"
        "from billing_core.ledger.inputs import NeedMore, When\n",
        TESTS,
    ),
    (
        "a bill knows the auditor's type",
        "billing_core/charging/time_charges.py",
        "\n__all__ = [",
        "\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
        "    from billing_core.audit.state import Audit  # noqa: F401\n\n__all__ = [",
        TESTS,
    ),
    (
        "money and currencies import each other",
        "billing_core/values/money.py",
        "\n__all__ = [",
        "\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
        "    from billing_core.values.currencies import MinorUnit  # noqa: F401\n\n__all__ = [",
        TESTS,
    ),
]
