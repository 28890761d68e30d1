"""Faults for `planted_faults.py`, in top-ups, refunds and background work."""

POLICY = "billing_core/topups/policy.py"
DECIDE = "billing_core/topups/handlers.py"
CLAWBACK = "billing_core/topups/clawback.py"
LEDGER = "billing_core/ledger/ledger.py"
AUDIT = "billing_core/audit/topups.py"
ENGINE = "billing_core/engine/topups.py"
WORK = "billing_core/engine/background.py"
ROWS = "adapters/billing_adapters/sqlite/topups.py"
PG_LOADING = "adapters/billing_adapters/postgres/loader.py"
COLUMNS = "adapters/billing_adapters/columns.py"
PG_WORK = "adapters/billing_adapters/postgres/background.py"

TOPUPS = "tests/payments/test_topups.py::test_"
AUTO = "tests/payments/test_auto_topup.py::test_"
REFUNDS = "tests/payments/test_refunds.py::test_"
POSTGRES = "tests/stores/test_postgres_store.py::TestPostgresStore::test_"
SQLITE = "tests/stores/test_sqlite_store.py::TestSqliteStore::test_"

Planted = tuple[str, str, str, str, tuple[str, ...]]

IN_TOPUPS: list[Planted] = [
    (
        "a payment is credited again",
        DECIDE,
        'topup.state == "paid" and topup.lot is None',
        'topup.state == "paid"',
        (TOPUPS + "a_duplicate_webhook_credits_once",),
    ),
    (
        "another amount is credited",
        POLICY,
        "if subtotal != topup.amount or payment.received != payment.amount:",
        "if payment.received != payment.amount:",
        (TOPUPS + "what_was_altered_on_the_way_is_quarantined",),
    ),
    (
        "another currency is credited",
        POLICY,
        "if payment.currency != currency:",
        "if False:",
        (TOPUPS + "what_was_altered_on_the_way_is_quarantined",),
    ),
    (
        "test money is credited",
        POLICY,
        "if payment.livemode is not livemode:",
        "if False:",
        (TOPUPS + "a_payment_of_the_wrong_mode_is_quarantined",),
    ),
    (
        "a second payment is taken for the first",
        DECIDE,
        "if topup.paid_at is not None and payment.id != topup.payment:",
        "if False:",
        (TOPUPS + "a_second_payment_of_one_order_is_not_credited",),
    ),
    (
        "an old answer is believed",
        DECIDE,
        "if command.version not in (None, topup.changes):",
        "if False:",
        (REFUNDS + "an_old_answer_does_not_undo_a_newer_one",),
    ),
    (
        "the sweep goes on from where it failed",
        WORK,
        "        if sweep.complete:\n            self.store.set_mark",
        "        if True:\n            self.store.set_mark",
        (TOPUPS + "a_sweep_that_fails_is_made_again_from_where_it_was",),
    ),
    (
        "what is clawed back is the money, tax included",
        POLICY,
        "return topup.granted * payment.kept // payment.received",
        "return topup.granted * payment.kept // topup.amount",
        (REFUNDS + "a_refund_takes_back_credit_in_proportion",),
    ),
    (
        "free credit repays a clawback",
        "billing_core/ledger/debts.py",
        'if charge.resource == CLAWBACK and lot.kind != "purchased":',
        "if False:",
        (REFUNDS + "free_credit_does_not_repay_a_clawback",),
    ),
    (
        "held credit is taken back",
        LEDGER,
        "        part = min(lot.remainder - lot.reserved, amount)\n",
        "        part = min(lot.remainder, amount)\n",
        (REFUNDS + "held_credit_serves_its_hold",),
    ),
    (
        "a refund is made at each call",
        ENGINE,
        'if asked.state == "asked" and not made:',
        "if True:",
        (REFUNDS + "a_refund_is_made_once_per_key",),
    ),
    (
        "old news pauses again",
        DECIDE,
        "if taken > topup.taken and (",
        "if taken and (",
        (REFUNDS + "taking_money_back_pauses_automatic_top_up_until_it_is_enabled_again",),
    ),
    (
        "two attempts at a time",
        POLICY,
        "return _goes_on(auto) and auto.method is not None and auto.open is None",
        "return _goes_on(auto) and auto.method is not None",
        (AUTO + "one_at_a_time_and_a_cooldown_between",),
    ),
    (
        "no cooldown",
        POLICY,
        'auto.not_before = at + duration("cooldown", rules.cooldown)',
        "auto.not_before = 0",
        (AUTO + "one_at_a_time_and_a_cooldown_between",),
    ),
    (
        "a dead card is tried for ever",
        POLICY,
        'if how == "authentication_required" or auto.failures >= rules.failures:',
        'if how == "authentication_required":',
        (AUTO + "a_dead_card_is_tried_a_few_times_and_then_no_more",),
    ),
    (
        "authentication is asked for again and again",
        POLICY,
        'if how == "authentication_required" or auto.failures >= rules.failures:',
        "if auto.failures >= rules.failures:",
        (AUTO + "authentication_required_stops_at_once_and_a_recovery_link_goes_on",),
    ),
    (
        "the cap is passed by one",
        POLICY,
        "spent + auto.amount > auto.cap",
        "spent > auto.cap",
        (AUTO + "caps_hold",),
    ),
    (
        "money that came late, and not as asked for, is not counted towards the cap",
        POLICY,
        "if after in CHARGED and before not in CHARGED:",
        'if after == "paid" and before not in CHARGED:',
        (
            "tests/properties/test_topup_properties.py::test_whatever_becomes_of_an_attempt_the_cap_counts_it_while_it_may_be_charged",
        ),
    ),
    (
        "a refund that failed hides the next",
        DECIDE,
        "taken = sum(each.amount for each in payment.refunds) + withdrawn",
        "taken = payment.refunded + withdrawn",
        (REFUNDS + "a_refund_that_failed_hides_none_that_comes_later",),
    ),
    (
        "an automatic top-up begins while a refund is under way",
        POLICY,
        "auto.enabled and auto.stopped is None and not auto.refunds_open",
        "auto.enabled and auto.stopped is None",
        (REFUNDS + "who_asks_for_a_refund_begins_no_automatic_top_up",),
    ),
    (
        "an attempt goes on while a refund is under way",
        POLICY,
        "    if auto.refunds_open:\n",
        "    if False:\n",
        (REFUNDS + "a_refund_drops_an_attempt_that_nobody_was_asked_for",),
    ),
    (
        "a refused refund counts as under way for ever",
        DECIDE,
        "            auto.refunds_open -= 1\n",
        "            auto.refunds_open -= made\n",
        (REFUNDS + "once_a_refund_is_refused_automatic_top_ups_go_on",),
    ),
    (
        "what is not wanted any more is asked for again",
        ENGINE,
        "if payment is None and known.why is not None:",
        "if False:",
        (AUTO + "what_is_not_wanted_any_more_is_looked_for_and_not_asked_for_again",),
    ),
    (
        "a refusal counts on a top-up that is not wanted any more",
        POLICY,
        "_goes_on(auto) and auto.open is not None",
        "auto.open is not None",
        (AUTO + "what_is_not_wanted_any_more_is_looked_for_and_not_asked_for_again",),
    ),
    (
        "what is wanted again stays unwanted",
        DECIDE,
        "topup.why = why  #",
        "topup.why = topup.why or why  #",
        (AUTO + "one_that_is_wanted_again_is_asked_for_again",),
    ),
    (
        "an older page's card replaces a newer one's",
        DECIDE,
        " and topup.seq >= auto.saved_by:",
        ":",
        (AUTO + "a_page_ordered_earlier_does_not_bring_its_card_back",),
    ),
    (
        "a refused refund is answered as if it were done",
        ENGINE,
        'if asked.state == "refused":',
        "if False:",
        (REFUNDS + "a_refund_that_was_refused_is_refused_again_under_its_key",),
    ),
    (
        "another mode's provider is asked for a refund",
        DECIDE,
        "    _check_mode(ledger, livemode=command.livemode)\n    if command.amount",
        "    if command.amount",
        (REFUNDS + "a_provider_of_the_other_mode_refunds_nothing",),
    ),
    (
        "an unknown outcome counts as failed",
        ENGINE,
        'nothing = error.kind in ("invalid_request", "not_found", "declined")',
        "nothing = True",
        (AUTO + "an_unknown_outcome_is_found_out_and_charged_once",),
    ),
    (
        "charged again once the key has lapsed",
        ENGINE,
        "if age < self.provider.keys_kept - _MARGIN:",
        "if True:",
        (AUTO + "one_that_was_never_made_fails_for_good_once_keys_have_lapsed",),
    ),
    (
        "given up while it may be under way",
        ENGINE,
        "return found, age > self.provider.keys_kept + _MARGIN",
        "return found, True",
        (AUTO + "one_that_was_never_made_fails_for_good_once_keys_have_lapsed",),
    ),
    (
        "what is disabled is charged",
        POLICY,
        '    if not auto.enabled:\n        return "disabled"',
        "",
        (AUTO + "what_nobody_was_asked_for_is_dropped",),
    ),
    (
        "a refusal does not say that trying again helps",
        DECIDE,
        'if not open or refusal.reason != "insufficient_credit":',
        "if True:",
        (AUTO + "a_refusal_begins_one_and_says_that_trying_again_can_help",),
    ),
    (
        "a claim takes what another has",
        DECIDE,
        "if topup.due_at is None or topup.due_at > now:",
        "if topup.due_at is None:",
        (
            "tests/payments/test_topup_claims.py::test_a_due_top_up_is_one_workers_until_its_lease_ends",
        ),
    ),
    (
        "an event that the host did not take counts as delivered",
        WORK,
        "if not well or not self.store.delivered(",
        "if not self.store.delivered(",
        (AUTO + "events_reach_the_host_in_order_and_again_if_it_fails",),
    ),
    (
        "two deliver the same org's events",
        ROWS,
        "WHERE org_id = ? AND (deliverer = ? OR until <= ?)",
        "WHERE org_id = ? AND (deliverer = ? OR 0 <= ?)",
        (SQLITE + "one_deliverer_at_a_time",),
    ),
    (
        "the audit overlooks a credit of another amount",
        AUDIT,
        'if topup.granted != entry.amount or topup.amount != content["subtotal"]:',
        "if False:",
        ("tests/payments/test_topup_claims.py::test_an_altered_story_of_a_top_up_is_found",),
    ),
    (
        "the audit overlooks what is taken twice",
        AUDIT,
        "if moved != taken:",
        "if False:",
        ("tests/payments/test_topup_claims.py::test_an_altered_story_of_a_top_up_is_found",),
    ),
    (
        "the sweep of lapses has the name of another command",
        "billing_core/commands/topups.py",
        'op: ClassVar[str] = "lapse"',
        'op: ClassVar[str] = "sweep"',
        (
            "tests/unit/runs/test_run_and_storage_corners.py::test_a_run_closed_under_the_key_of_a_sweep_does_not"
            "_stop_the_sweep_of_lapses",
        ),
    ),
    (
        "PostgreSQL asks what waits before it has the lock",
        PG_WORK,
        "return bool(self._write((work.delivering, whose), (work.delivered, (*whose, seq, n))))",
        "return bool(self._write((work.delivered, (*whose, seq, n))))",
        (
            "tests/stores/test_postgres.py::test_events_written_while_others_are_delivered_still_wait",
        ),
    ),
    (
        "PostgreSQL leases events that another delivers",
        PG_WORK,
        "(deliverer = $2 OR until <= $3)",
        "(deliverer = $2 OR until <> $3)",
        (POSTGRES + "one_deliverer_at_a_time",),
    ),
    (
        "PostgreSQL takes anybody's word that events are delivered",
        PG_WORK,
        '" WHERE org_id = $1 AND deliverer = $2 RETURNING org_id"',
        "\" WHERE org_id = $1 AND $2 <> '' RETURNING org_id\"",
        (POSTGRES + "one_deliverer_at_a_time",),
    ),
    (
        "PostgreSQL delivers the first event again and again",
        PG_WORK,
        "SET seq = $3::bigint, n = $4::bigint,",
        "SET seq = $3::bigint - 1, n = $4::bigint,",
        (POSTGRES + "events_wait_until_they_are_delivered",),
    ),
    (
        "PostgreSQL lets a mark go back",
        PG_WORK,
        "value = greatest(kept.value, excluded.value)",
        "value = excluded.value",
        (POSTGRES + "a_mark_never_goes_back",),
    ),
    (
        "PostgreSQL keeps when a top-up was first due",
        COLUMNS,
        '("due_at", "asked", "body"),',
        '("asked", "body"),',
        (POSTGRES + "what_is_seen_to_is_due_no_more",),
    ),
    (
        "PostgreSQL loads no automatic top-up",
        PG_LOADING,
        "automatic = [org for org in orgs if wants[org].auto]",
        "automatic = [org for org in orgs if not wants[org]]",
        (POSTGRES + "only_what_is_wanted_is_loaded",),
    ),
]
