"""Faults of runs that are told of long after they began; `planted_faults.py` plants them."""

from __future__ import annotations

Planted = tuple[str, str, str, str, tuple[str, ...]]

LONG_AGO = "tests/unit/runs/test_runs_long_ago.py::test_"

IN_RUNS_LONG_AGO: list[Planted] = [
    (
        "days and periods of a run are asked for one by one",
        "billing_core/ledger/inputs.py",
        "            missing.append(need)\n",
        "            raise\n",
        (
            LONG_AGO + "the_days_of_a_limit_are_asked_for_at_once",
            LONG_AGO + "the_periods_of_a_family_s_quota_are_asked_for_at_once",
        ),
    ),
    (
        "a quota's families are asked for one by one where a hold is made",
        "billing_core/charging/limits.py",
        "    bounds = of_each(over, ledger.periods(use.at, use.until))\n",
        "    bounds = [over(each) for each in ledger.periods(use.at, use.until)]\n",
        (LONG_AGO + "the_periods_of_a_family_s_quota_are_asked_for_at_once",),
    ),
    (
        "what a run costs is looked at again for each time that credit may reach",
        "billing_core/runs/funding.py",
        "        if until not in self.costs:\n",
        "        if True:\n",
        (LONG_AGO + "a_cost_is_looked_at_once_for_each_period",),
    ),
]
