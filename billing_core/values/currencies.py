"""Minor units: how a payment provider counts money, by Stripe's table of currencies.

A payment is an integer of minor units (cents) of a currency; the ledger counts nanos.
Between the two everything is exact or refused.  The table is Stripe's documentation of
supported currencies as of 2026; a currency that is not in it is refused rather than
guessed, since a wrong guess is wrong by a factor of ten or a hundred.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from attrs import frozen

from billing_core.errors import InvalidCommand, MoneyOverflow
from billing_core.values.money import MAX_NANOS, NANOS, decimal_text

__all__ = [
    "A_DOLLAR",
    "CURRENCIES",
    "MinorUnit",
    "floor_minor",
    "minor_unit",
    "to_minor",
    "to_nanos",
]


@frozen
class MinorUnit:
    """``digits``: 10 to that power make a major unit.  ``step``: what can be charged is a
    multiple of so many."""

    digits: int
    step: int = 1

    @property
    def nanos(self) -> int:
        """Nanos in one minor unit."""
        return NANOS // int(10**self.digits)


_TWO_DECIMALS = """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BWP BYN BZD CAD
    CDF CHF CNY COP CRC CVE CZK DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GIP GMD GTQ GYD HKD HNL
    HTG HUF IDR ILS INR JMD KES KGS KHR KYD KZT LAK LBP LKR LRD LSL MAD MDL MKD MMK MNT MOP MUR
    MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD
    SCR SEK SGD SHP SLE SOS SRD STD SZL THB TJS TOP TRY TTD TWD TZS UAH USD UYU UZS WST XCD XCG
    YER ZAR ZMW
"""
# HUF and TWD are whole numbers in payouts alone, which are no business of this library.

_NO_DECIMALS = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF"

_THREE_DECIMALS = "BHD JOD KWD OMR TND"
# The card networks cannot take the third decimal: the last digit must be 0.

_WHOLE_IN_HUNDREDTHS = "ISK UGX"
# Without decimals today, but 5 ISK is still sent as 500.  The documentation lists UGX among
# the zero-decimal ones as well; its table of special cases, which is the later word, wins.

CURRENCIES: Mapping[str, MinorUnit] = MappingProxyType(
    {
        **dict.fromkeys(_TWO_DECIMALS.split(), MinorUnit(2)),
        **dict.fromkeys(_NO_DECIMALS.split(), MinorUnit(0)),
        **dict.fromkeys(_THREE_DECIMALS.split(), MinorUnit(3, step=10)),
        **dict.fromkeys(_WHOLE_IN_HUNDREDTHS.split(), MinorUnit(2, step=100)),
    }
)


_DOLLARS = """
    1 AUD BHD BMD BND BSD CAD CHF EUR FKP GBP GIP JOD KWD KYD NZD OMR PAB SGD SHP USD
    2 ANG AWG AZN BAM BBD BGN BZD FJD GEL TND TOP WST XCD XCG
    5 AED BOB BRL BYN CNY DKK ILS MYR PEN PGK PLN QAR RON SAR TTD
    10 BWP GTQ HKD MAD MOP NOK SBD SCR SEK TJS
    20 CZK HNL LSL MDL MVR MXN NAD SLE SZL THB TWD ZAR ZMW
    50 AFN DOP EGP GMD MKD MUR MZN NIO PHP SRD TRY UAH UYU
    100 ALL BDT CVE DZD ETB HTG INR ISK JPY KES KGS NPR RSD RUB VUV XPF
    200 DJF GYD JMD LKR LRD PKR YER
    500 AMD CRC HUF KMF KZT SOS XAF XOF
    1000 AOA ARS CLP KRW
    2000 BIF CDF MMK MWK NGN RWF TZS
    5000 COP KHR MGA MNT PYG UGX
    10000 GNF UZS
    20000 IDR LAK STD VND
    100000 LBP
"""

A_DOLLAR: Mapping[str, int] = MappingProxyType(
    {
        currency: int(line.split()[0])
        for line in _DOLLARS.strip().splitlines()
        for currency in line.split()[1:]
    }
)
"""About how many of each currency are worth a US dollar: a round number, as of 2026.  For
bounds that are to be of the same order everywhere, never to convert money."""


def minor_unit(currency: object) -> MinorUnit:
    """How ``currency`` (three capital letters) is counted; InvalidCommand if not known."""
    unit = CURRENCIES.get(currency) if isinstance(currency, str) else None
    if unit is None:
        raise InvalidCommand("currency", currency, "a currency that payments can be made in")
    return unit


def to_minor(nanos: int, currency: str) -> int:
    """The minor units that are exactly ``nanos``, of any sign.

    Raises InvalidCommand where the currency has no such amount: finer than its minor unit,
    or not a multiple of what can be charged.
    """
    unit = minor_unit(currency)
    if type(nanos) is not int:
        raise InvalidCommand("nanos", nanos, "an int of nanos")
    if not -MAX_NANOS <= nanos <= MAX_NANOS:
        raise MoneyOverflow("nanos", nanos, f"an amount within ±{MAX_NANOS} nanos")
    minor, finer = divmod(nanos, unit.nanos)
    if finer or minor % unit.step:
        smallest = decimal_text(unit.nanos * unit.step)
        expected = f"a multiple of {smallest} {currency}, the least that can be paid"
        raise InvalidCommand("amount", f"{decimal_text(nanos)} {currency}", expected)
    return minor


def to_nanos(minor: int, currency: str) -> int:
    """The nanos of an amount in minor units, of any sign.

    What a provider says of a payment is a fact: no multiple is asked for here.  Raises
    MoneyOverflow beyond 64 bits of nanos.
    """
    unit = minor_unit(currency)
    if type(minor) is not int:
        raise InvalidCommand("amount", minor, f"an int of minor units of {currency}")
    nanos = minor * unit.nanos
    if not -MAX_NANOS <= nanos <= MAX_NANOS:
        raise MoneyOverflow("amount", minor, f"an amount within ±{MAX_NANOS // unit.nanos}")
    return nanos


def floor_minor(nanos: int, currency: str) -> int:
    """The whole minor units in ``nanos``, rounded toward minus infinity: for display, so
    that no one is shown money they do not have, or less debt than they owe.  A sum over time
    may pass 64 bits."""
    unit = minor_unit(currency)
    if type(nanos) is not int:
        raise InvalidCommand("nanos", nanos, "an int of nanos")
    return nanos // unit.nanos
