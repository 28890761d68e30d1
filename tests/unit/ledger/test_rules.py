"""Each numbered rule that applies so far has a test that names it.

The pages of ``docs/rules`` have all of them, and name the tests of each; those of the rules that
are not in the table here are in test modules of their own, such as ``test_concurrency`` (3.4),
``test_within`` (3.5) and ``test_runs`` (8.3).
"""

import importlib
import re
from collections.abc import Iterator

import pytest

RULES = {
    "3.1": "an outcome per command, and none before the commit",
    "3.2": "commands of a batch see the effects of those before them",
    "3.3": "a transaction writes rows of its batch's orgs only",
    "5.1": "integers of nanos, within 64 bits; one currency, one livemode",
    "5.2": "quantities are unbounded integers",
    "5.3": "one counter per component, org and billing period",
    "5.4": "floor(r + f(c+q) − f(c)); quotes and holds round up",
    "5.5": "minimums and increments belong to an item",
    "5.6": "price versions are immutable and effective-dated",
    "5.7": "no token counts twice; never a silent zero",
    "5.8": "provider, cost and markup never show",
    "6.1": "credit lives in lots, spent in order",
    "6.2": "what is available; refused beyond it",
    "6.3": "holds reserve named lots",
    "6.4": "measured usage is never dropped",
    "6.5": "debt is repaid at once, oldest first; lapses apply in order",
    "6.6": "reversals: debt first, then the paying lots in reverse",
    "6.7": "expired credit is never spendable; decision time",
    "6.8": "refusals are values",
    "6.9": "the hash chain, and verify",
    "7.1": "every write has a key",
    "7.2": "same key, same content: the first outcome again",
    "7.3": "key, effect and outcome commit together",
    "8.1": "UTC, whole microseconds, half-open windows",
    "8.2": "periods, and rollups that equal brute force",
    "8.5": "a payer for each component",
}
MODULES = [
    "test_rules_3_writes",
    "test_rules_5_money_and_price",
    "test_rules_5_versions_and_tokens",
    "test_rules_6_lots_and_holds",
    "test_rules_6_time_and_refusals",
    "test_rules_6_debt_and_reversal",
    "test_rules_7_idempotency",
    "test_rules_8_usage",
]


def named() -> Iterator[tuple[str, str]]:
    """The rules that tests name, and the tests."""
    for module in MODULES:
        for name in vars(importlib.import_module(module)):
            rule = re.match(r"test_(\d+)_(\d+)_\w", name)
            if rule is not None:
                yield f"{rule[1]}.{rule[2]}", name


@pytest.mark.parametrize("rule", RULES)
def test_a_test_names_the_rule(rule: str) -> None:
    assert any(rule == each for each, _ in named()), f"{rule}: {RULES[rule]}"


def test_no_test_names_a_rule_that_is_not_in_the_table() -> None:
    assert {rule for rule, _ in named()} <= set(RULES)
