"""Faults for `planted_faults.py`, in what is made of a provider that forgets, or is odd."""

DECIDE = "billing_core/topups/handlers.py"
ENGINE = "billing_core/engine/topups.py"
WORK = "billing_core/engine/background.py"
STRIPE = "adapters/billing_adapters/stripe_payments.py"
REPLIES = "adapters/billing_adapters/stripe_replies.py"

ROWS = "adapters/billing_adapters/sqlite/topups.py"
PG_WORK = "adapters/billing_adapters/postgres/background.py"
MEMORY = "billing_core/testing/memory_store.py"

PORT = "billing_core/ports/payments.py"
POLICY = "billing_core/topups/policy.py"

ODD = "tests/payments/test_provider_figures.py::test_"
CLIENT = "tests/payments/test_stripe_client.py::test_"
NEWS = "tests/payments/test_payment_news.py::test_"
STORE = "Store::test_a_top_up_is_known_by_the_provider_s_own_ids"
GONE = "tests/payments/test_gone_at_provider.py::test_"
STRIPES = "tests/payments/test_stripe_payments.py::TestStripePayments::test_"

Planted = tuple[str, str, str, str, tuple[str, ...]]

IN_PROVIDERS: list[Planted] = [
    (
        "who was deleted at the provider can never pay again",
        ENGINE,
        'if error.missing != "customer" or asked.customer is None:',
        "if True:",
        (GONE + "a_customer_who_was_deleted_can_pay_again",),
    ),
    (
        "an order without its customer is asked under the key of the one with",
        ENGINE,
        'key=f"{asked.order}/anew"',
        "key=asked.order",
        (GONE + "a_refusal_that_stripe_keeps_under_its_key_is_not_answered_again",),
    ),
    (
        "a customer who was deleted is asked for by the next order",
        DECIDE,
        "if auto.customer == decision.command.key:",
        "if False:",
        (GONE + "the_next_order_asks_without_who_was_deleted",),
    ),
    (
        "a card that the provider has no more is charged until it has failed often enough",
        ENGINE,
        "if error.missing is not None:",
        "if False:",
        (GONE + "a_card_that_was_removed_unheard_of_is_forgotten_at_the_first_charge",),
    ),
    (
        "what is gone takes what was saved since",
        DECIDE,
        "if decision.command.key in (auto.method, auto.customer):",
        "if True:",
        (GONE + "what_was_saved_since_is_not_forgotten_for_what_is_gone",),
    ),
    (
        "news of a deleted customer is not followed",
        ENGINE,
        'if notice.kind in ("method_detached", "customer_deleted"):',
        'if notice.kind == "method_detached":',
        (GONE + "news_of_a_deleted_customer_stops_automatic_top_ups_at_once",),
    ),
    (
        "Stripe's news of a deleted customer is not asked for",
        REPLIES,
        '    "customer.deleted": "customer_deleted",\n',
        "",
        (STRIPES + "a_deleted_customer_is_named",),
    ),
    (
        "the payments of a deleted customer are not found at Stripe",
        STRIPE,
        'if _missing(error) != "customer":',
        "if True:",
        (STRIPES + "looking_finds_the_payment_of_a_customer_who_was_deleted_since",),
    ),
    (
        "Stripe's word that a customer is gone is taken for any other refusal",
        STRIPE,
        'if error.param == "customer":',
        "if False:",
        (GONE + "a_customer_who_was_deleted_can_pay_again",),
    ),
    (
        "a payment on record is known by its metadata alone",
        ENGINE,
        "            whose = self.store.topup_of(payment=payment)\n",
        "            whose = None\n",
        (NEWS + "an_automatic_top_up_is_known_whatever_its_metadata_say",),
    ),
    (
        "a payment that is not on record is not known by its page",
        ENGINE,
        "known = self.store.topup_of(checkout=payment.checkout)",
        "known = None",
        (NEWS + "what_is_edited_before_we_have_heard_is_credited_by_its_page",),
    ),
    (
        "a page is known by its metadata alone",
        ENGINE,
        "            whose = self.store.topup_of(checkout=checkout)\n",
        "            whose = None\n",
        (NEWS + "a_page_that_closed_is_known_whatever_its_metadata_say",),
    ),
    (
        "who comes back from a page whose metadata were edited is not found",
        "billing_core/engine/billing.py",
        'known = self.store.topup_of(checkout=checked_name("session", session))',
        "page = topups.provider.read_checkout(session)\n"
        "        known = topups._labelled(page.org, page.order)",
        (NEWS + "what_is_edited_before_we_have_heard_is_credited_by_its_page",),
    ),
    (
        "a refund counts as made by its metadata alone",
        DECIDE,
        "made = listed or refund.key == command.made",
        "made = listed",
        (NEWS + "a_refund_that_was_made_is_made_once_though_its_key_is_edited_away",),
    ),
    (
        "reconcile goes by metadata",
        ENGINE,
        "known = strays.get(payment.id) or self.store.topup_of(payment=payment.id)",
        "known = strays.get(payment.id)",
        (NEWS + "an_automatic_top_up_is_known_whatever_its_metadata_say",),
    ),
    (
        "reconcile overlooks a second payment whose metadata were edited",
        ENGINE,
        "known = strays.get(payment.id) or self.store",
        "known = self.store",
        (NEWS + "a_second_payment_is_a_difference_whatever_its_metadata_say",),
    ),
    (
        "the sweep goes by our own clock",
        WORK,
        'self.store.set_mark(f"heard:{mode}", reached - _SLACK)',
        'self.store.set_mark(f"heard:{mode}", sweep.begun - _SLACK)',
        (NEWS + "a_refund_is_heard_of_though_our_clock_is_not_the_provider_s",),
    ),
    (
        "a provider's date of another year is believed",
        WORK,
        "min(first.at, max(now, newest or now))",
        "first.at",
        (NEWS + "a_provider_that_dates_its_lists_wrongly_or_not_is_heard",),
    ),
    (
        "a clock that was set back stops the sweep",
        WORK,
        "not 0 <= now - swept < _SWEEP_EVERY",
        "not now - swept < _SWEEP_EVERY",
        (NEWS + "a_clock_that_was_set_back_does_not_stop_the_news",),
    ),
    (
        "news that may be gone is not told",
        WORK,
        "reached - heard > provider.news_kept:",
        "reached - heard > 10**20:",
        (NEWS + "news_that_may_be_gone_is_told_and_read_back",),
    ),
    (
        "silence is taken for lost news",
        WORK,
        "            if reached is not None:\n                self.store.set_mark(f",
        "            if reached is not None and run.pending.news:\n"
        "                self.store.set_mark(f",
        (NEWS + "silence_is_no_lost_news",),
    ),
    (
        "the sweep believes the mark of the version before",
        WORK,
        "heard = None if before is None else before - DAY",
        "heard = before",
        (NEWS + "the_marks_of_the_version_before_are_gone_on_from",),
    ),
    (
        "a charge is looked for by our own clock",
        ENGINE,
        "return (known.started or known.created) - DAY - _MARGIN",
        "return (known.started or known.created) - _MARGIN",
        (NEWS + "a_charge_whose_answer_was_lost_is_found_though_our_clock_leads",),
    ),
    (
        "the page of a payment whose metadata were removed is not asked for at Stripe",
        STRIPE,
        "return attempt_of(intent) is None",
        'return bool((intent.get("metadata") or {}).get("billing_order"))',
        (STRIPES + "what_our_staff_edit_leaves_the_money_as_it_is",),
    ),
    (
        "Stripe's clock is not read",
        STRIPE,
        "return Page(items, more, _dated(listed.last_response), unreadable)",
        "return Page(items, more, None, unreadable)",
        (STRIPES + "a_list_of_news_is_dated_by_the_provider_s_own_clock",),
    ),
    (
        "SQLite finds a payment under the name of a page",
        ROWS,
        "json_extract(body, '$.payment') = ?",
        "json_extract(body, '$.checkout') = ?",
        ("tests/stores/test_sqlite_store.py::TestSqlite" + STORE,),
    ),
    (
        "PostgreSQL finds a payment under the name of a page",
        PG_WORK,
        "(body::jsonb ->> 'payment') = $1",
        "(body::jsonb ->> 'checkout') = $1",
        ("tests/stores/test_postgres_store.py::TestPostgres" + STORE,),
    ),
    (
        "a payment by no name is any top-up's that has none",
        MEMORY,
        "found = checkout is not None and each.checkout == checkout",
        "found = each.checkout == checkout",
        ("tests/properties/test_memory_store.py::TestMemory" + STORE,),
    ),
    (
        "more given back than was taken is believed",
        PORT,
        "sum(max(0, min(each, self.received)) for each in held)",
        "sum(min(each, self.received) for each in held)",
        (
            ODD + "more_given_back_than_was_taken_brings_no_credit",
            STRIPES + "more_given_back_than_was_taken_is_not_believed",
        ),
    ),
    (
        "more is kept than was received",
        PORT,
        "min(self.received, max(0, self.received - self.refunded - self.disputed))",
        "max(0, self.received - self.refunded - self.disputed)",
        (ODD + "whatever_is_claimed_credit_stays_between_nothing_and_what_was_paid",),
    ),
    (
        "what is claimed beyond what was paid is not told",
        DECIDE,
        "        _see_excess(ledger, topup, payment)\n",
        "",
        (ODD + "more_given_back_than_was_taken_brings_no_credit",),
    ),
    (
        "reconcile agrees with claims that are not believed",
        "billing_core/topups/reconciliation.py",
        "    if payment.excess is not None:\n",
        "    if False:\n",
        (ODD + "more_given_back_than_was_taken_brings_no_credit",),
    ),
    (
        "credit is given for a subtotal above the total",
        POLICY,
        "if subtotal > payment.amount:",
        "if False:",
        (ODD + "a_subtotal_above_what_was_paid_is_quarantined",),
    ),
    (
        "a currency that is told otherwise later moves credit",
        POLICY,
        "return topup.granted * payment.kept // payment.received",
        'return payment.currency == "USD" and topup.granted * payment.kept // payment.received',
        (ODD + "a_currency_that_is_told_otherwise_later_moves_no_credit",),
    ),
    (
        "a dispute lost after it was won, settled in another currency, has taken nothing",
        REPLIES,
        'reinstated = max(0, withdrawn - amount) if last["amount"] < 0 else withdrawn',
        "reinstated = amount if reinstated else 0\n        withdrawn = amount",
        (
            CLIENT + "a_dispute_lost_after_it_was_won_in_another_currency_has_taken_it",
            ODD + "a_dispute_lost_after_it_was_won_takes_credit_and_stops_top_ups_again",
        ),
    ),
    (
        "a dispute that is lost in the second in which it was won has taken nothing",
        REPLIES,
        '(each["created"], (each["amount"] < 0) is lost)',
        'each["created"]',
        (CLIENT + "a_dispute_lost_after_it_was_won_in_another_currency_has_taken_it",),
    ),
    (
        "the first refund of a top-up is always first",
        "billing_core/engine/background.py",
        "turn = known.tries % max(1, len(asked))",
        "turn = 0 % max(1, len(asked))",
        (
            "tests/payments/test_refunds.py::test_a_refund_that_the_provider_fails_at_delays_no_other",
        ),
    ),
    (
        "a payment of another top-up is read back",
        "billing_core/engine/topups.py",
        "if not self._is_open(payment, org, known.topup):",
        "if False:",
        (
            "tests/payments/test_unlabelled_payments.py::test_a_second_payment_of_another_order_stops_nothing",
        ),
    ),
    (
        "a refund whose key was edited away is made again",
        "billing_core/engine/topups.py",
        "        made = made or _made_unnamed(known, payment, asked, until)\n",
        "",
        (
            "tests/payments/test_payment_news.py::"
            "test_a_refund_whose_answer_was_lost_is_made_once_though_its_key_is_edited_away",
        ),
    ),
    (
        "of two refunds of as much without a key one is made for both",
        "billing_core/engine/topups.py",
        "    return unnamed > taken\n",
        "    return unnamed > 0\n",
        (
            "tests/payments/test_payment_news.py::"
            "test_two_refunds_of_as_much_whose_keys_were_edited_away_are_two",
        ),
    ),
    (
        "a refund by hand is taken for one that does not say when it was asked for",
        "billing_core/engine/topups.py",
        'if asked.state != "asked" or asked.at is None or asked.at > until:',
        'if asked.state != "asked" or (asked.at or 0) > until:',
        ("tests/payments/test_payment_news.py::test_a_refund_by_hand_of_as_much_is_another",),
    ),
]
