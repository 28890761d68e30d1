"""Payments without money: a provider in memory, for development, demos and tests.

`FakePayments` is a payment provider; its further methods are what customers, banks and the network
do.  :class:`CheckoutPage` is the page on which a person pays, for any web framework.
"""

from billing_adapters.fake_payments.bank import Fault
from billing_adapters.fake_payments.page import CheckoutPage
from billing_adapters.fake_payments.provider import FakePayments

__all__ = ["CheckoutPage", "FakePayments", "Fault"]
