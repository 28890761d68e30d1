"""The fake's checkout page, as a browser without scripts uses it."""

from html.parser import HTMLParser

import pytest
from payment_worlds import fake_world

from billing_adapters.fake_payments import CheckoutPage
from billing_core.ports.payments import ChargeAttempt
from billing_core.testing.payments.world import order


class Buttons(HTMLParser):
    """The names and values of a page's buttons, and every tag."""

    def __init__(self, html):
        super().__init__()
        self.values, self.tags, self.attributes = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag == "button":
            fields = dict(attrs)
            assert fields["name"] == "do"
            self.values.append(fields["value"])


@pytest.fixture
def world():
    return fake_world()


@pytest.fixture
def page(world):
    return CheckoutPage(world.provider)


def opened(world, **more):
    return world.provider.create_checkout(order(**more), key="order-1")


def path_of(checkout):
    return checkout.url.removeprefix("http://localhost:8000")


def test_the_page_shows_what_is_paid_and_works_without_scripts(world, page) -> None:
    checkout = opened(world, description="50 <b>dollars</b> & more", save_method=True)
    status, headers, body = page("GET", path_of(checkout), {})
    html = body.decode()
    assert status == 200 and "50.00 USD" in html
    assert "50 &lt;b&gt;dollars&lt;/b&gt; &amp; more" in html and "<b>" not in html
    found = Buttons(html)
    assert found.values == ["pay", "pay_once", "decline", "cancel"]
    assert not {"script", "style", "img", "iframe", "link"} & set(found.tags)
    assert not {"style", "onclick", "onload"} & set(found.attributes)
    assert '<html lang="en">' in html and "<title>" in html and "<main>" in html
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "https://host.example" in policy
    assert headers["Content-Type"] == "text/html; charset=utf-8"


def test_paying_sends_the_customer_to_the_success_page(world, page) -> None:
    checkout = opened(world)
    status, headers, _ = page("POST", path_of(checkout), {"do": "pay"})
    assert status == 303
    assert headers["Location"] == f"https://host.example/success?session_id={checkout.id}"
    assert world.provider.read_checkout(checkout.id).paid == "paid"
    # A second click is the same payment.
    assert page("POST", path_of(checkout), {"do": "pay"})[:2] == (status, headers)
    assert len(world.provider.payments(0, world.clock() + 1).items) == 1
    assert page("GET", path_of(checkout), {})[0] == 410


def test_a_card_that_the_bank_asks_about_the_next_time(world, page) -> None:
    checkout = opened(world, save_method=True)
    assert page("POST", path_of(checkout), {"do": "pay_once"})[0] == 303
    paid = world.provider.read_checkout(checkout.id)
    assert paid.paid == "paid"
    again = ChargeAttempt(
        org="acme", attempt="a-1", amount=5000, currency="USD", customer=paid.customer,
        method=paid.method, description="Prepaid credit",
    )  # fmt: skip
    assert world.provider.charge(again).state == "authentication_required"


def test_without_a_saved_card_there_is_no_next_time(world, page) -> None:
    checkout = opened(world)
    assert b"pay_once" not in page("GET", path_of(checkout), {})[2]
    assert page("POST", path_of(checkout), {"do": "pay_once"})[0] == 303


def test_cancelling_sends_the_customer_back_and_pays_nothing(world, page) -> None:
    checkout = opened(world)
    status, headers, _ = page("POST", path_of(checkout), {"do": "cancel"})
    assert (status, headers["Location"]) == (303, "https://host.example/billing")
    assert world.provider.read_checkout(checkout.id).state == "open"


def test_a_declined_card_can_be_followed_by_another(world, page) -> None:
    checkout = opened(world)
    status, _, body = page("POST", path_of(checkout), {"do": "decline"})
    assert status == 200 and b'role="alert"' in body
    assert world.provider.read_checkout(checkout.id).paid == "unpaid"
    assert page("POST", path_of(checkout), {"do": "pay"})[0] == 303
    assert world.provider.read_checkout(checkout.id).paid == "paid"
    assert page("POST", path_of(checkout), {"do": "decline"})[0] == 410


def test_an_expired_checkout_cannot_be_paid(world, page) -> None:
    checkout = opened(world)
    world.street.expire(checkout.id)
    for method, form in (("GET", {}), ("POST", {"do": "pay"}), ("POST", {"do": "decline"})):
        status, _, body = page(method, path_of(checkout), form)
        assert status == 410 and b"expired" in body
    assert world.provider.read_checkout(checkout.id).paid == "unpaid"


def test_what_is_no_checkout_or_no_choice(world, page) -> None:
    assert page("GET", "/fake-checkout/cs_none", {})[0] == 404
    assert page("GET", "/", {})[0] == 404
    path = path_of(opened(world))
    assert page("POST", path, {})[0] == 400
    assert page("POST", path, {"do": "steal"})[0] == 400
    status, headers, _ = page("PUT", path, {})
    assert (status, headers["Allow"]) == (405, "GET, POST")


def test_amounts_show_in_their_own_currency(world, page) -> None:
    for key, currency, amount, shown in (
        ("o-1", "JPY", 500, "500.00 JPY"),
        ("o-2", "KWD", 5120, "5.12 KWD"),
        ("o-3", "ISK", 500, "5.00 ISK"),
    ):
        asked = order(key, amount, currency=currency)
        checkout = world.provider.create_checkout(asked, key=key)
        assert shown.encode() in page("GET", path_of(checkout), {})[2]
