"""Faults for `planted_faults.py`, in what is made of payments that do not say what they are for."""

DECIDE = "billing_core/topups/handlers.py"
ENGINE = "billing_core/engine/topups.py"
POLICY = "billing_core/topups/policy.py"
COMPARED = "billing_core/topups/reconciliation.py"
STRIPE = "adapters/billing_adapters/stripe_payments.py"
REPLIES = "adapters/billing_adapters/stripe_replies.py"
FAKE = "adapters/billing_adapters/fake_payments/provider.py"

UNNAMED = "tests/payments/test_unlabelled_payments.py::test_"
FAKES = "tests/payments/test_fake_payments.py::TestFakePayments::test_"
STRIPES = "tests/payments/test_stripe_payments.py::TestStripePayments::test_"
WHOLE = "a_payment_that_cannot_be_read_is_named_and_hides_no_other"

Planted = tuple[str, str, str, str, tuple[str, ...]]

IN_UNNAMED: list[Planted] = [
    (
        "a charge that lost its label is made again after a day",
        ENGINE,
        "doubts = self._doubts(attempt, known)",
        "doubts = ()",
        (UNNAMED + "a_charge_whose_answer_and_label_are_lost_is_made_once",),
    ),
    (
        "a charge that may have been made is a failure like any other",
        DECIDE,
        'topup.move("quarantined", command.doubts[0][1])',
        'topup.move("failed", command.doubts[0][1])',
        (UNNAMED + "a_charge_whose_answer_and_label_are_lost_is_made_once",),
    ),
    (
        "which payment may be the charge is not told",
        DECIDE,
        "for payment, why in doubts or ((topup.payment, topup.why),):",
        "for payment, why in ((topup.payment, topup.why),):",
        (UNNAMED + "a_charge_whose_answer_and_label_are_lost_is_made_once",),
    ),
    (
        "a payment without a label that cannot be read is nothing",
        ENGINE,
        '            doubts += [(None, f"unreadable: {each}") for each in page.unreadable]\n',
        "",
        (UNNAMED + "one_that_cannot_be_read_stops_them_and_is_told",),
    ),
    (
        "a declined charge without a label stops automatic top-ups",
        POLICY,
        'if payment.state not in ("succeeded", "processing"):',
        'if payment.state == "open":',
        (UNNAMED + "a_charge_that_brought_no_money_stops_nothing",),
    ),
    (
        "money under way without a label is nothing",
        POLICY,
        'if payment.state not in ("succeeded", "processing"):',
        'if payment.state != "succeeded":',
        (UNNAMED + "a_charge_that_is_under_way_without_its_label_stops_them",),
    ),
    (
        "what another top-up has on record stops automatic top-ups",
        ENGINE,
        "        if self.store.topup_of(payment=payment.id) is not None:\n",
        "        if False:\n",
        (UNNAMED + "what_an_earlier_automatic_top_up_has_on_record_stops_nothing",),
    ),
    (
        "a second payment of another order may be the charge",
        ENGINE,
        "return all(payment.id not in each.strays for each in self.store.topups(org))",
        "return True",
        (UNNAMED + "a_second_payment_of_another_order_stops_nothing",),
    ),
    (
        "a payment that names another order of ours may be the charge",
        ENGINE,
        "if whose[1] in self.store.snapshot(",
        "if False and whose[1] in self.store.snapshot(",
        (UNNAMED + "another_of_our_orders_that_nobody_has_heard_of_is_credited_and_stops_nothing",),
    ),
    (
        "a label that names nothing here is believed",
        ENGINE,
        "if whose[1] in self.store.snapshot(",
        "if True or whose[1] in self.store.snapshot(",
        (UNNAMED + "a_charge_whose_answer_and_label_are_lost_is_made_once",),
    ),
    (
        "a payment of any amount may be the charge",
        POLICY,
        "if subtotal_of(topup, payment) != topup.amount:",
        "if False:",
        (UNNAMED + "what_cannot_be_the_charge_stops_nothing",),
    ),
    (
        "a payment in any currency may be the charge",
        POLICY,
        'asked: dict[str, object] = {"currency": currency, "livemode": livemode}',
        'asked: dict[str, object] = {"livemode": livemode}',
        (UNNAMED + "what_cannot_be_the_charge_stops_nothing",),
    ),
    (
        "a payment of anybody is given to a top-up",
        POLICY,
        '        asked["customer"] = customer\n',
        "        pass\n",
        (UNNAMED + "what_cannot_be_of_a_top_up_is_not_given_to_it",),
    ),
    (
        "an automatic top-up that says that it was ordered has no amount",
        POLICY,
        'if payment.subtotal is None and topup.kind == "auto":',
        "if False:",
        (UNNAMED + "an_automatic_top_up_is_right_though_it_says_by_now_that_it_was_ordered",),
    ),
    (
        "what a look-up finds is believed though it is on record of another",
        ENGINE,
        "if found is not None and self._of_another(found, attempt.org, known.topup):",
        "if False:",
        (UNNAMED + "a_payment_on_record_is_no_other_s_whatever_it_says_by_now",),
    ),
    (
        "an answer that is older than what is on record stops automatic top-ups",
        ENGINE,
        "attempt.org, known.topup, version=known.changes, failed=failed, doubts=doubts",
        "attempt.org, known.topup, failed=failed, doubts=doubts",
        (UNNAMED + "what_the_provider_says_meanwhile_counts",),
    ),
    (
        "that news has come meanwhile is a failure",
        ENGINE,
        "with suppress(Outdated):  # its news",
        "with suppress():  # its news",
        (UNNAMED + "what_the_provider_says_meanwhile_counts",),
    ),
    (
        "hundreds of payments that may be it are told",
        ENGINE,
        "return tuple(doubts[:_DOUBTS])",
        "return tuple(doubts)",
        (UNNAMED + "of_very_many_that_may_be_it_ten_are_named",),
    ),
    (
        "reconcile counts what a customer of ours paid without a label as foreign",
        ENGINE,
        "orgs = {org: [] for org in self.store.paying(payment.customer)} | orgs",
        "pass",
        (UNNAMED + "an_order_whose_answer_and_labels_are_lost_is_named_and_given_its_payment",),
    ),
    (
        "reconcile counts what a customer who is gone paid without a label as foreign",
        ENGINE,
        "waiting.setdefault(customer, {}).setdefault(org, []).append(topup)",
        "pass",
        (UNNAMED + "a_charge_of_a_customer_who_was_deleted_since_is_looked_for_as_well",),
    ),
    (
        "reconcile names what was given back",
        COMPARED,
        'if account is None or payment.state != "succeeded" or not payment.kept:',
        'if account is None or payment.state != "succeeded":',
        (UNNAMED + "the_difference_names_the_payment_and_what_it_may_be_for",),
    ),
    (
        "reconcile agrees with what cannot be read",
        COMPARED,
        "return not self.differences and not self.unreadable",
        "return not self.differences",
        (UNNAMED + "reconcile_is_not_content_with_what_it_cannot_read",),
    ),
    (
        "a payment that cannot be read hides its page, at Stripe",
        STRIPE,
        '                    unreadable.append(named(intent, "payment", error))',
        "                    raise",
        (STRIPES + WHOLE, UNNAMED + "a_payment_that_cannot_be_read_is_told_and_hides_no_other"),
    ),
    (
        "a payment that cannot be read is passed over, at the fake",
        FAKE,
        "return Page(read, page.next, unreadable=odd)",
        "return Page(read, page.next)",
        (FAKES + WHOLE,),
    ),
    (
        "everybody's payments are listed for one customer who is gone, at Stripe",
        STRIPE,
        "if customer is None or may_be_of(each, customer)]",
        "]",
        (STRIPES + "payments_of_one_customer_are_listed_whatever_they_say",),
    ),
    (
        "everybody's payments are listed for one customer, at the fake",
        FAKE,
        "and customer in (None, each.customer)",
        "",
        (FAKES + "payments_of_one_customer_are_listed_whatever_they_say",),
    ),
    (
        "one payment that says nothing hides the charge that is looked for, at Stripe",
        REPLIES,
        'return _ours(metadata, "billing_attempt") if isinstance(metadata, Mapping) else None',
        'return _ours(metadata, "billing_attempt") if metadata else metadata["gone"]',
        (STRIPES + "looking_goes_by_our_label_and_past_what_cannot_be_read",),
    ),
]
