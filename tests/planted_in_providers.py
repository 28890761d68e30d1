"""Faults for `planted_faults.py`, in what is made of a provider that forgets, or is odd."""

DECIDE = "billing_core/topping_up.py"
ENGINE = "billing_core/engine/topups.py"
WORK = "billing_core/engine/work.py"
STRIPE = "adapters/billing_adapters/stripe_payments.py"
REPLIES = "adapters/billing_adapters/stripe_replies.py"

GONE = "tests/test_gone_at_provider.py::test_"
STRIPES = "tests/test_stripe_payments.py::TestStripePayments::test_"

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
        "if auto.customer == ask.command.key:",
        "if False:",
        (GONE + "the_next_order_asks_without_who_was_deleted",),
    ),
    (
        "a card that the provider has no more is charged until it has failed often enough",
        WORK,
        "if error.missing is not None:",
        "if False:",
        (GONE + "a_card_that_was_removed_unheard_of_is_forgotten_at_the_first_charge",),
    ),
    (
        "what is gone takes what was saved since",
        DECIDE,
        "if ask.command.key in (auto.method, auto.customer):",
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
]
