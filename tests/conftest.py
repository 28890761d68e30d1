"""How deep the property tests look.

`BILLING_TEST_DEPTH=20 make test` tries twenty times as many examples as a plain run.
"""

import os
import tempfile

import pytest
from hypothesis import HealthCheck, Phase, settings

QUICK_EXAMPLES = 50

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
