"""Faults of what publishing costs, of webhooks and turns; `planted_faults.py` plants them."""

from __future__ import annotations

Planted = tuple[str, str, str, str, tuple[str, ...]]

FINENESS = "billing_core/pricing/fraction_bounds.py"
PATTERNS = "billing_core/values/patterns.py"
DUE = "billing_core/ports/due_topups.py"
STORE = "tests/properties/test_memory_store.py::TestMemoryStore::test_"
ROUTES = "adapters/billing_adapters/http/runs.py"
TOPUPS = "billing_core/engine/topups.py"
TURNS = "tests/unit/engine/test_turns.py::test_"
PUBLISHING = "tests/unit/pricing/test_publishing_cost.py::test_"
TWICE = PUBLISHING + "twice_as_much_to_publish_on_twice_as_much_costs_twice_as_much"
TOO_FINE = PUBLISHING + "what_would_leave_too_fine_a_fraction_is_refused_and_nothing_else"

IN_COSTS_AND_TURNS: list[Planted] = [
    (
        "all that a pattern above has is looked at for each name below",
        FINENESS,
        "        if mark not in looked_at:\n",
        "        if True:\n",
        (TWICE + "[many_below_one_that_are_nearly_too_fine]",),
    ),
    (
        "discounts that are alike are looked at one by one",
        FINENESS,
        "mark = (*chain[1:2], *off)",
        "mark = (target, *off)",
        (TWICE + "[discounts_of_what_is_nearly_too_fine]",),
    ),
    (
        "what discounts leave of what a pattern has is not looked at",
        FINENESS,
        "mark = (*chain[1:2], *off)",
        "mark = (*chain[1:2],)",
        (PUBLISHING + "each_discount_counts_with_what_a_pattern_above_has",),
    ),
    (
        "each customer's fractions are looked at though all together are small",
        FINENESS,
        "            if (after.all_of(component) * keep).denominator > FINEST:\n",
        "            if True:\n",
        (TWICE + "[discounts_of_many_orgs]",),
    ),
    (
        "a measure that leaves prices' own fractions out",
        FINENESS,
        "lcm(*(each.denominator for each in given))",
        "max((each.denominator for each in given), default=1)",
        (TOO_FINE,),
    ),
    (
        "what is below a pattern is sought among all names",
        PATTERNS,
        "bisect_left(self._sorted, prefix), bisect_left(self._sorted, prefix + END)",
        "0, len(self._sorted)",
        (TWICE + "[sizes_below_patterns]",),
    ),
    (
        "what may be a sandbox's price is sought among all that has a size",
        "billing_core/pricing/catalogue.py",
        "for name in met if (component, name) in self._first]",
        "for part, name in self._first if part == component and meet(name, resource)]",
        (TWICE + "[sizes_of_sandboxes]",),
    ),
    (
        "a model is sought among all of its provider's",
        "adapters/billing_adapters/genai.py",
        "    if listed is not None:\n        return listed\n",
        "    [each for each in provider.models if each.is_match(wanted.id)]\n"
        "    if listed is not None:\n        return listed\n",
        (
            "tests/unit/pricing/test_genai.py::test_twice_as_many_models_of_twice_as_many_cost_twice_as_much",
        ),
    ),
    (
        "an org's webhooks take all of a host's threads",
        TOPUPS,
        "        with waiting(whose[0]):\n",
        "        if True:\n",
        (TURNS + "webhooks_that_wait_for_the_provider_take_four_threads_of_an_org[fake]",),
    ),
    (
        "webhooks of what is not on record take all of a host's threads",
        TOPUPS,
        "                with waiting(None):\n                    paid =",
        "                if True:\n                    paid =",
        (TURNS + "webhooks_of_what_is_not_on_record_take_four_threads[fake]",),
    ),
    (
        "webhooks keep a customer who is back from the provider",
        "billing_core/engine/billing.py",
        'self._heeding = InFlight("webhooks")',
        "self._heeding = self._in_flight",
        (TURNS + "webhooks_that_wait_for_the_provider_take_four_threads_of_an_org[fake]",),
    ),
    (
        "what is due is looked at from its beginning alone",
        DUE,
        "    if len(longest) == limit:\n",
        "    if False:\n",
        (STORE + "an_org_has_its_turn_however_much_of_another_is_due",),
    ),
    (
        "what is due in the midst of a backlog waits for its beginning",
        DUE,
        "            found.update(scan(begin + until",
        "            found.update([] or scan(until",
        (STORE + "an_org_has_its_turn_however_much_of_another_is_due",),
    ),
    (
        "an org with a backlog has all the turns",
        DUE,
        "(next(turns.setdefault(org, count())), due_at, org, topup)",
        "(0, due_at, org, topup)",
        (STORE + "orgs_take_turns_in_what_is_due",),
    ),
    (
        "SQLite sorts all that is due",
        "adapters/billing_adapters/sqlite/topups.py",
        "ORDER BY due_at, org_id, topup LIMIT ?",
        "ORDER BY due_at + 0, org_id, topup LIMIT ?",
        ("tests/unit/engine/test_due.py::test_sqlite_takes_as_many_steps_however_much_is_due",),
    ),
    (
        "PostgreSQL sorts all that is due",
        "adapters/billing_adapters/postgres/background.py",
        "ORDER BY due_at, org_id, topup LIMIT $4",
        "ORDER BY due_at + 0, org_id, topup LIMIT $4",
        ("tests/unit/engine/test_due.py::test_postgres_reads_as_many_rows_however_much_is_due",),
    ),
    (
        "an org of which a row cannot be read is not verified",
        "adapters/billing_adapters/postgres/store.py",
        "            if error.retryable:\n                raise\n            return self  #",
        "            if error:\n                raise\n            return self  #",
        (
            "tests/stores/test_postgres.py::test_a_row_that_cannot_be_read_hides_nothing_else_of_its_org",
        ),
    ),
    (
        "a run may be told of however long ago it was",
        ROUTES,
        "if at < earliest and",
        "if False and",
        (
            "tests/http/test_http_contract.py::test_of_a_run_the_last_90_days_are_told",
            "tests/http/test_http_contract.py::test_of_a_workspace_the_last_90_days_are_told",
        ),
    ),
    (
        "what was told in time is refused when it is sent again",
        ROUTES,
        " and call.billing.find(call.org, op, key) is None:",
        ":",
        (
            "tests/http/test_http_contract.py"
            "::test_what_was_told_in_time_is_answered_again_long_after",
        ),
    ),
    (
        "a run may be told of 900 days late",
        ROUTES,
        "_TOLD_WITHIN = timedelta(days=90)",
        "_TOLD_WITHIN = timedelta(days=900)",
        ("tests/http/test_http_contract.py::test_of_a_run_the_last_90_days_are_told",),
    ),
]
