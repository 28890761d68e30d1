"""Faults for `planted_faults.py`, in totals over time, and over many orgs."""

SPANS = "billing_core/charging/time_charges.py"
RECORDS = "billing_core/records/ledger.py"
DEBTS = "tests/unit/ledger/test_rules_6_debt_and_reversal.py::test_6_4_"
OF_A_WORKSPACE = DEBTS + "a_workspace_s_charges_of_a_period_refuse_no_usage"
OF_A_RUN = DEBTS + "a_run_s_charges_of_a_period_refuse_no_usage"

Planted = tuple[str, str, str, str, tuple[str, ...]]

IN_TABS: list[Planted] = [
    (
        "the audit takes what is charged again for time that ran",
        "billing_core/audit/runs.py",
        '    if any(line.component != "forgiven" for line in entry.usage.lines):',
        "    if True:",
        (
            "tests/unit/runs/test_run_and_storage_corners.py::test_"
            "undoing_what_was_forgiven_after_a_late_correction_moves_no_last_time",
        ),
    ),
    (
        "each part of a model call in a batch is a request",
        "adapters/billing_adapters/http/internal.py",
        'None if usage.resource.startswith("model:") else False',
        "None if isinstance(self, ModelSettlement) else False",
        (
            "tests/http/test_http_check.py::test_"
            "a_model_call_that_is_settled_in_parts_is_one_request_alone_and_in_a_batch",
        ),
    ),
    (
        "a tab's total is a number of 64 bits",
        RECORDS,
        "        if self.amount <= MAX_NANOS:",
        "        if True:",
        (OF_A_WORKSPACE,),
    ),
    (
        "what went back of a tab is a number of 64 bits",
        RECORDS,
        '"reversed": self.reversed,',
        '"reversed": min(self.reversed, MAX_NANOS),',
        (OF_A_RUN,),
    ),
    (
        "a tab's total as its column has it is its total",
        RECORDS,
        '            self.amount, self.reversed = data["amount"], data["reversed"]\n',
        "",
        (OF_A_WORKSPACE,),
    ),
    (
        "a tab's total bounds a correction",
        SPANS,
        "    return sum(min(amount, left.get(period, 0)) for period, amount in most.items())",
        "    return sum(left.get(period, 0) for period in most)",
        (OF_A_WORKSPACE,),
    ),
    (
        "a correction may bring credit beyond 64 bits",
        SPANS,
        "        most[period] += _most_cost(ledger, owner, piece)",
        "        most[period] += 0",
        (OF_A_WORKSPACE,),
    ),
    (
        "what a run reads as is an amount, which is within 64 bits",
        "adapters/billing_adapters/http/runs.py",
        "settled=Total(",
        "settled=Money(",
        (OF_A_RUN,),
    ),
    (
        "a total that is shown in minor units is held to 64 bits",
        "billing_core/values/currencies.py",
        "    return nanos // unit.nanos",
        "    return to_minor(nanos - nanos % unit.nanos, currency)",
        (OF_A_RUN,),
    ),
    (
        "the balances of all orgs are read before one is shown",
        "adapters/billing_adapters/cli/reads.py",
        "        balances = map(billing.balance, names)",
        "        balances = iter(list(map(billing.balance, names)))",
        ("tests/cli/test_cli.py::test_balances_of_many_orgs_are_shown_as_they_are_read",),
    ),
]
