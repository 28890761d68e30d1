"""Faults for `planted_faults.py`, in how payments are made, read and believed."""

PORT = "billing_core/ports/payments.py"
UNITS = "billing_core/values/currencies.py"
WEBHOOKS = "adapters/billing_adapters/webhooks.py"
STRIPE = "adapters/billing_adapters/stripe_payments.py"
REPLIES = "adapters/billing_adapters/stripe_replies.py"
FAKE = "adapters/billing_adapters/fake_payments/provider.py"

FAKES = "tests/payments/test_fake_payments.py::TestFakePayments::test_"
STRIPES = "tests/payments/test_stripe_payments.py::TestStripePayments::test_"
CLIENT = "tests/payments/test_stripe_client.py::test_"
HOOKS = "tests/payments/test_webhooks.py::test_"
MINOR = "tests/unit/values/test_currencies.py::test_"


def both(test: str) -> tuple[str, str]:
    return FAKES + test, STRIPES + test


Planted = tuple[str, str, str, str, tuple[str, ...]]

PAYMENTS: list[Planted] = [
    (
        "a failed refund counts",
        PORT,
        'for each in self.refunds if each.state != "failed"',
        "for each in self.refunds",
        both("a_pending_refund_counts_and_a_failed_one_does_not"),
    ),
    (
        "a pending refund does not count",
        PORT,
        'each.state != "failed"',
        'each.state == "succeeded"',
        both("a_pending_refund_counts_and_a_failed_one_does_not"),
    ),
    (
        "a won dispute reinstates nothing",
        PORT,
        "held = (each.withdrawn - each.reinstated for",
        "held = (each.withdrawn for",
        both("a_won_dispute_gives_it_back"),
    ),
    (
        "less than nothing is kept",
        PORT,
        "max(0, self.received - self.refunded - self.disputed)",
        "self.received - self.refunded - self.disputed",
        both("disputed_and_refunded_keeps_nothing_and_not_less"),
    ),
    (
        "a future-dated signature is believed",
        WEBHOOKS,
        "if abs(age) > TOLERANCE:",
        "if age > TOLERANCE:",
        (HOOKS + "a_stale_or_future_dated_signature_is_refused",),
    ),
    (
        "a stale signature is believed",
        WEBHOOKS,
        "if abs(age) > TOLERANCE:",
        "if -age > TOLERANCE:",
        (HOOKS + "a_stale_or_future_dated_signature_is_refused",),
    ),
    (
        "only the first secret is tried",
        WEBHOOKS,
        "for secret in secrets]",
        "for secret in secrets[:1]]",
        (HOOKS + "a_secret_can_be_rotated_on_either_side_first",),
    ),
    (
        "a webhook of any size is read",
        WEBHOOKS,
        "if len(body) > MOST_BYTES:",
        "if False:",
        (HOOKS + "an_oversized_body_is_refused_even_if_signed",),
    ),
    (
        "an event of the other mode is believed",
        STRIPE,
        'if event.get("livemode") is not self._livemode:',
        "if False:",
        (HOOKS + "the_other_mode_is_refused",),
    ),
    (
        "a charge has a new key each time",
        STRIPE,
        '{"idempotency_key": attempt.attempt, "max_network_retries": 0}',
        '{"max_network_retries": 0}',
        (
            STRIPES + "a_repeated_attempt_charges_once",
            CLIENT + "every_post_has_our_key_and_every_request_the_pinned_version",
        ),
    ),
    (
        "the client repeats charges by itself",
        STRIPE,
        '{"idempotency_key": attempt.attempt, "max_network_retries": 0}',
        '{"idempotency_key": attempt.attempt}',
        (CLIENT + "reads_are_repeated_so_often_and_charges_never",),
    ),
    (
        "no answer to a charge is a failure",
        STRIPE,
        "if not writes:",
        "if True:",
        (STRIPES + "a_timeout_is_settled_by_the_same_key",),
    ),
    (
        "a charge that is under way elsewhere is a failure",
        STRIPE,
        "outcome_unknown=writes,",
        "outcome_unknown=False,",
        (STRIPES + "a_request_in_progress_is_repeated_later",),
    ),
    (
        "a charge that cannot be read back is a failed read",
        STRIPE,
        "        except PaymentError as error:\n",
        "        except ZeroDivisionError as error:\n",
        (STRIPES + "a_charge_that_cannot_be_read_back_is_unknown",),
    ),
    (
        "only the newest hundred payments are looked through",
        STRIPE,
        "for each in listed.auto_paging_iter():\n",
        "for each in listed.data:\n",
        (CLIENT + "looking_reads_every_page",),
    ),
    (
        "the newest of several payments counts, paid or not",
        STRIPE,
        'ranks.get(each["status"], 2)',
        "0",
        (CLIENT + "once_a_key_is_pruned_repeating_charges_again_and_looking_prefers_success",),
    ),
    (
        "only the ten newest refunds count",
        STRIPE,
        "if more:",
        "if False:",
        (STRIPES + "every_one_of_many_refunds_counts",),
    ),
    (
        "the payment does not name its order",
        STRIPE,
        '        "metadata": metadata,\n        "description"',
        '        "description"',
        (STRIPES + "a_paid_checkout_names_its_payment_and_the_payment_its_order",),
    ),
    (
        "customers may pay in another currency",
        STRIPE,
        '"adaptive_pricing": {"enabled": False},',
        "",
        (CLIENT + "a_checkout_says_what_it_must",),
    ),
    (
        "lists end with their first page",
        STRIPE,
        "more = last if listed.has_more else None",
        "more = None",
        (STRIPES + "many_notices_come_in_pages",),
    ),
    (
        "tax is credited",
        REPLIES,
        'return (session["amount_total"] or 0) - added',
        'return session["amount_total"] or 0',
        (STRIPES + "tax_comes_on_top_of_the_subtotal",),
    ),
    (
        "a discount is credited",
        REPLIES,
        'return (session["amount_total"] or 0) - added',
        'return session["amount_subtotal"]',
        (STRIPES + "an_amount_altered_by_a_discount_shows",),
    ),
    (
        "a dispute in euros counts as dollars",
        REPLIES,
        'if any(each["currency"] != dispute["currency"] for each in moves):',
        "if False:",
        (CLIENT + "a_dispute_settled_in_another_currency_is_counted_in_the_payments",),
    ),
    (
        "a method is charged that was not to be kept",
        REPLIES,
        'and intent.get("setup_future_usage") == "off_session"',
        "",
        (STRIPES + "a_method_is_not_saved_unasked",),
    ),
    (
        "authentication required is a mere refusal",
        REPLIES,
        'return "authentication_required" if wanted else "declined"',
        'return "declined"',
        (STRIPES + "authentication_required_can_be_recovered",),
    ),
    (
        "the fake takes a key for anything",
        FAKE,
        "elif kept.asked != asked:",
        "elif False:",
        (FAKES + "an_attempt_with_another_amount_is_refused",),
    ),
    (
        "the fake forgets its keys",
        FAKE,
        "if kept is None or now - kept.since >= self.keys_kept:",
        "if True:",
        (FAKES + "a_repeated_attempt_charges_once",),
    ),
    (
        "half a dinar is ten times too much",
        UNITS,
        "MinorUnit(3, step=10)",
        "MinorUnit(2)",
        (MINOR + "the_examples_of_the_documentation",),
    ),
    (
        "a shilling is sent as a hundredth of one",
        UNITS,
        "MinorUnit(2, step=100)",
        "MinorUnit(0)",
        (MINOR + "the_examples_of_the_documentation",),
    ),
    (
        "debt is shown smaller than it is",
        UNITS,
        "return nanos // unit.nanos",
        "return -(-nanos // unit.nanos)",
        (MINOR + "what_is_shown_is_never_more_than_there_is",),
    ),
]
