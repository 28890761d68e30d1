"""The fake's checkout page: plain HTML, no script, for any web framework."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from urllib.parse import urlsplit

from billing_adapters.fake_payments.bank import Bank
from billing_core.errors import PaymentError
from billing_core.ports.payments import Checkout, CheckoutOrder
from billing_core.values.currencies import to_nanos
from billing_core.values.money import decimal_text

__all__ = ["CheckoutPage", "Response"]

Response = tuple[int, dict[str, str], bytes]
"""Status, headers, body."""


class CheckoutPage:
    """The page on which a person pays at the fake: call it with a request, send what it answers.

        page = CheckoutPage(payments)
        status, headers, body = page("GET", "/fake-checkout/cs_1", {})

    Mount it for GET and POST under the address that the fake was given.

    Args:
        payments: The fake provider.
    """

    def __init__(self, payments: Bank) -> None:
        self._payments = payments

    def __call__(self, method: str, path: str, form: Mapping[str, str]) -> Response:
        """The answer to a request.

        Args:
            method: ``GET`` or ``POST``.
            path: Its last segment is the checkout's id.
            form: The fields that were posted; on GET none.

        Returns:
            Status, headers and body.
        """
        name = path.rstrip("/").rpartition("/")[2]
        try:
            order = self._payments.order_of(name)
        except PaymentError:
            return _page(404, "No such checkout", "<p>This checkout does not exist.</p>")
        if method == "GET":
            return self._show(name, order)
        if method != "POST":
            status, headers, body = _page(405, "Not allowed", "<p>Open it, or submit it.</p>")
            return status, {**headers, "Allow": "GET, POST"}, body
        match form.get("do"):
            case "cancel":
                return _redirect(order.cancel_url)
            case "pay" | "pay_once" as choice:
                return self._pay(name, order, once=choice == "pay_once")
            case "decline":
                return self._decline(name, order)
            case _:
                return _page(400, "Not understood", "<p>Choose one of the buttons.</p>")

    def _pay(self, name: str, order: CheckoutOrder, *, once: bool) -> Response:
        # Two clicks are one payment: whoever comes second is sent on as well.
        with self._payments.lock:
            checkout = self._payments.checkout(name)
            if checkout.state == "open":
                self._payments.pay(name)
                method = self._payments.checkout(name).method
                if once and method is not None:
                    self._payments.require_authentication(method)
            elif checkout.state == "expired":
                return self._show(name, order)
        return _redirect(order.success_url.replace("{CHECKOUT_SESSION_ID}", name))

    def _decline(self, name: str, order: CheckoutOrder) -> Response:
        with self._payments.lock:
            if self._payments.checkout(name).state != "open":
                return self._show(name, order)
            self._payments.refuse(name)
        return self._show(name, order, "Your card was declined. Try again, or cancel.")

    def _show(self, name: str, order: CheckoutOrder, said: str | None = None) -> Response:
        checkout = self._payments.checkout(name)
        if checkout.state != "open":
            return _page(410, "Checkout closed", f"<p>This checkout is {checkout.state}.</p>")
        return _page(200, "Checkout", _form(checkout, order, said), order)


def _form(checkout: Checkout, order: CheckoutOrder, said: str | None) -> str:
    amount = f"{decimal_text(to_nanos(checkout.total, checkout.currency))} {checkout.currency}"
    alert = f'<p role="alert">{escape(said)}</p>' if said else ""
    keep = once = ""
    if order.save_method:
        keep = "<p>The card is kept for later payments.</p>"
        once = (
            '<button name="do" value="pay_once">Pay with a card whose bank asks for you the '
            "next time</button> "
        )
    return (
        f"{alert}<p>This is a fake checkout: no money moves.</p>"
        f"<dl><dt>For</dt><dd>{escape(order.description)}</dd>"
        f"<dt>Amount</dt><dd>{escape(amount)}</dd></dl>{keep}"
        '<form method="post">'
        f'<button name="do" value="pay">Pay {escape(amount)}</button> '
        f"{once}"
        '<button name="do" value="decline">Pay with a card that is declined</button> '
        '<button name="do" value="cancel">Cancel</button>'
        "</form>"
    )


def _page(status: int, title: str, body: str, order: CheckoutOrder | None = None) -> Response:
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title></head>"
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )
    # A form's redirects count as its targets too, so the host's own pages are named.
    targets = ["'self'"]
    if order is not None:
        targets += sorted({_origin(order.success_url), _origin(order.cancel_url)})
    return (
        status,
        {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Security-Policy": (
                "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; "
                f"form-action {' '.join(targets)}"
            ),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        },
        html.encode(),
    )


def _redirect(url: str) -> Response:
    return 303, {"Location": url, "Cache-Control": "no-store"}, b""


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
