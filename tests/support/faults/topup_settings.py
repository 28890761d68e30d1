"""Faults for `planted_faults.py`, in what an automatic top-up goes by."""

DECIDE = "billing_core/topups/handlers.py"
AUDIT = "billing_core/audit/topups.py"
UNITS = "billing_core/values/currencies.py"
PAYING = "adapters/billing_adapters/http/topups.py"
WHAT = "billing_core/decide.py"
WORKER = "adapters/billing_adapters/cli/background.py"

BOUNDS = "tests/payments/test_topup_bounds.py::test_"
USE = "tests/payments/test_topup_use.py::test_"
SETTINGS = "tests/payments/test_topup_settings.py::test_"

Planted = tuple[str, str, str, str, tuple[str, ...]]

IN_TOPUP_SETTINGS: list[Planted] = [
    (
        "a due top-up is charged whatever amount is set",
        "billing_core/topups/policy.py",
        "    if topup.amount != auto.amount:\n",
        "    if False:\n",
        (SETTINGS + "a_due_top_up_of_500_is_not_charged_after_an_admin_set_5",),
    ),
    (
        "a due top-up is charged though enough was bought",
        "billing_core/topups/policy.py",
        "    if available >= auto.threshold:\n",
        "    if False:\n",
        (SETTINGS + "a_due_top_up_is_not_charged_where_900_were_bought_by_hand",),
    ),
    (
        "a due top-up is charged at the threshold itself",
        "billing_core/topups/policy.py",
        "    if available >= auto.threshold:\n",
        "    if available > auto.threshold:\n",
        (SETTINGS + "a_due_top_up_is_not_charged_where_just_the_threshold_is_available",),
    ),
    (
        "a due top-up is measured by the balance",
        DECIDE,
        'content["available"] = ledger.available(None, decision.time)',
        'content["available"] = ledger.account.balance',
        (SETTINGS + "credit_that_is_held_is_not_available_to_a_due_top_up",),
    ),
    (
        "a due top-up is charged above a lower cap",
        "billing_core/topups/policy.py",
        "    if auto.cap is not None and auto.spent > auto.cap:\n",
        "    if False:\n",
        (SETTINGS + "a_due_top_up_above_a_lower_cap_is_not_charged",),
    ),
    (
        "a due top-up at the cap is dropped",
        "billing_core/topups/policy.py",
        "auto.spent > auto.cap:\n",
        "auto.spent >= auto.cap:\n",
        (SETTINGS + "a_due_top_up_that_still_fits_is_charged_once",),
    ),
    (
        "a due top-up is charged beyond a lower number",
        "billing_core/topups/policy.py",
        "    if auto.begun > _most_times(auto, rules):\n",
        "    if False:\n",
        (SETTINGS + "a_due_top_up_beyond_a_lower_number_is_not_charged",),
    ),
    (
        "what was dropped counts as an attempt",
        "billing_core/topups/policy.py",
        'auto.begun -= after == "dropped"',
        "auto.begun -= 0",
        (SETTINGS + "a_due_top_up_beyond_a_lower_number_is_not_charged",),
    ),
    (
        "a due top-up of the last period passes the cap of this one",
        "billing_core/topups/policy.py",
        '    if topup.state == "due" and auto.period != period.start:\n',
        "    if False:\n",
        (SETTINGS + "a_due_top_up_that_waited_into_the_next_period_counts_towards_its_cap",),
    ),
    (
        "enabling again resets the back-off of a dead card",
        "billing_core/topups/policy.py",
        "    if auto.failures and not (at_once or capped):\n",
        "    if False:\n",
        (SETTINGS + "enabling_again_and_again_does_not_try_a_dead_card_again_and_again",),
    ),
    (
        "enabling again forgets the failures of a dead card",
        DECIDE,
        "    allow(auto, ledger.period(decision.time), ledger.terms.topups)\n",
        "    allow(auto, ledger.period(decision.time), ledger.terms.topups); auto.failures = 0\n",
        (SETTINGS + "enabling_again_and_again_does_not_try_a_dead_card_again_and_again",),
    ),
    (
        "each enabling has a dead card tried at once",
        "billing_core/topups/policy.py",
        "at_once = auto.enabled and auto.failures == rules.failures",
        "at_once = auto.enabled and auto.failures >= rules.failures",
        (
            SETTINGS
            + "after_failures_have_stopped_it_enabling_tries_the_card_at_once_and_only_once",
        ),
    ),
    (
        "an admin's enabling after the stop has to wait",
        "billing_core/topups/policy.py",
        "at_once = auto.enabled and auto.failures == rules.failures",
        "at_once = False",
        (
            SETTINGS
            + "a_card_that_is_mended_is_tried_at_once_when_an_admin_enables_it_after_the_stop",
        ),
    ),
    (
        "a raised cap waits for the period's end",
        "billing_core/topups/policy.py",
        "capped = auto.not_before == period.end",
        "capped = False",
        (SETTINGS + "raising_the_cap_lets_it_go_on_at_once_though_the_card_has_failed_once",),
    ),
    (
        "the audit overlooks a charge that nobody wanted",
        AUDIT,
        "not available < auto.threshold",
        "False",
        ("tests/payments/test_topup_claims.py::test_an_attempt_that_nobody_wanted_is_found",),
    ),
    (
        "a bound is the same number in every currency",
        "billing_core/records/topups.py",
        'nanos = min(named["USD"] * A_DOLLAR[currency], MAX_NANOS)',
        'nanos = min(named["USD"] // 10**7 * unit.nanos, MAX_NANOS)',
        (BOUNDS + "a_top_up_is_within_the_bounds_of_its_currency",),
    ),
    (
        "a bound that the host names for a currency is not heard",
        "billing_core/records/topups.py",
        "for each in default + amounts}",
        "for each in default + amounts[:1]}",
        (BOUNDS + "what_the_host_names_holds_and_the_rest_follows_its_dollars",),
    ),
    (
        "a bound passes what an amount can be",
        "billing_core/records/topups.py",
        'nanos = min(named["USD"] * A_DOLLAR[currency], MAX_NANOS)',
        'nanos = named["USD"] * A_DOLLAR[currency]',
        (BOUNDS + "what_the_host_names_holds_and_the_rest_follows_its_dollars",),
    ),
    (
        "a currency has no bounds",
        UNITS,
        "10 BWP GTQ HKD",
        "10 BWP HKD",
        (BOUNDS + "what_a_dollar_is_worth_is_a_round_number",),
    ),
    (
        "an automatic top-up begins beyond the bounds",
        DECIDE,
        "    if not in_bounds(auto.amount, account.currency, ledger.terms.topups):\n",
        "    if False:\n",
        (BOUNDS + "an_amount_beyond_bounds_set_since_does_not_begin",),
    ),
    (
        "a due top-up is charged beyond the bounds",
        DECIDE,
        "    if not in_bounds(topup.amount, ledger.account.currency, ledger.terms.topups):\n",
        "    if False:\n",
        (BOUNDS + "an_amount_beyond_bounds_set_since_is_not_bought_by_itself",),
    ),
    (
        "another card lets go on what only enabling does",
        "billing_core/topups/policy.py",
        "    if auto.stopped in NEEDS_METHOD:\n        auto.stopped = None",
        "    auto.stopped = None",
        (BOUNDS + "an_amount_beyond_bounds_set_since_is_not_bought_by_itself",),
    ),
    (
        "HTTP has a least top-up of its own",
        PAYING,
        "amount_cents: Annotated[int, Rule(minimum=1,",
        "amount_cents: Annotated[int, Rule(minimum=500,",
        ("tests/http/test_http_payments.py::test_the_least_top_up_is_the_engine_s_word",),
    ),
    (
        "the worker has rules of its own",
        WORKER,
        "existing(db, payments=provider, topups=rules)",
        "existing(db, payments=provider)",
        ("tests/cli/test_cli_payments.py::test_a_worker_goes_by_the_platform_s_rules",),
    ),
    (
        "a promotion that expires charges an idle org",
        "billing_core/topups/handlers.py",
        "Lapse, lapse_only, None, after_closing=True,",
        'Lapse, lapse_only, None, after_closing=True, tops_up="use",',
        (USE + "a_promotion_that_expires_charges_nobody_who_is_idle",),
    ),
    (
        "what is no use begins an automatic top-up",
        WHAT,
        'operation.tops_up == "use" or (',
        'operation.tops_up != "never" or (',
        (USE + "what_is_no_use_begins_one_after_an_expiry_only_where_the_host_says_so",),
    ),
    (
        "a payment's own decision begins an automatic top-up",
        WHAT,
        'operation.tops_up == "expiry")',
        "True)",
        (USE + "what_is_no_use_begins_one_after_an_expiry_only_where_the_host_says_so",),
    ),
    (
        "the host's word that expiry begins automatic top-ups is not heard",
        WHAT,
        "terms.topups.on_expiry and operation",
        "False and operation",
        ("tests/payments/test_auto_topup.py::test_expiry_begins_one_where_the_host_says_so",),
    ),
    (
        "a refund stops automatic top-ups though the host says otherwise",
        DECIDE,
        "(withdrawn or rules.refund_stops)",
        "True",
        (USE + "a_refund_stops_nothing_where_the_host_says_so_and_begins_nothing",),
    ),
    (
        "a dispute stops no automatic top-ups where a refund does not",
        DECIDE,
        "(withdrawn or rules.refund_stops)",
        "rules.refund_stops",
        (USE + "a_refund_stops_nothing_where_the_host_says_so_and_begins_nothing",),
    ),
    (
        "a refund stops automatic top-ups silently",
        DECIDE,
        "if auto.stopped is not None and auto_before.stopped != auto.stopped:",
        'if auto.stopped not in (None, "refund") and auto_before.stopped != auto.stopped:',
        (USE + "a_refund_of_one_dollar_stops_automatic_top_ups_and_says_so",),
    ),
    (
        "another card waits for the next use",
        DECIDE,
        "if auto.method != auto_before.method and awaits_method(auto_before):",
        "if False:",
        (USE + "another_card_lets_go_on_at_once_what_the_one_before_could_not_pay_for",),
    ),
    (
        "another card of an idle org is charged",
        DECIDE,
        "if auto.method != auto_before.method and awaits_method(auto_before):",
        "if auto.method != auto_before.method:",
        (USE + "another_card_of_an_idle_org_is_charged_nothing",),
    ),
]
