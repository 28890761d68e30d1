"""Payments without money: a provider in memory, for development, demos and tests.

:class:`FakePayments` is a :class:`billing_core.ports.payments.PaymentProvider`; its further
methods are what customers, banks and the network do.  :class:`CheckoutPage` is the page on
which a person pays, to be mounted in any web framework.
"""

from billing_adapters.fake_payments.bank import Fault
from billing_adapters.fake_payments.page import CheckoutPage
from billing_adapters.fake_payments.provider import FakePayments

__all__ = ["CheckoutPage", "FakePayments", "Fault"]
