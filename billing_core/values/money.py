"""Amounts of money: integers of 10⁻⁹ of the currency's major unit (nanos).

Inside the engine an amount is a plain ``int`` of nanos; :class:`Money` is how
it crosses the door, with its currency.  No float ever becomes money.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

from attrs import frozen

from billing_core.errors import InvalidCommand, MoneyOverflow

__all__ = ["MAX_NANOS", "NANOS", "Money", "checked_nanos", "decimal_text", "usd"]

NANOS = 1_000_000_000
"""Nanos in one major unit."""

MAX_NANOS = 2**63 - 1
"""The largest amount, the most credit that an org's lots can have, and the largest debt: 64 bits,
signed.  What only counts, such as all that was ever charged, may be larger."""

_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_DIGITS = 40  # more than any amount in range can need; longer texts are refused unread


@frozen(order=False)
class Money:
    """An exact amount of money in one currency (rule 5.1).

    `Money.of` makes one of a decimal; :func:`usd` one of US dollars.

    Args:
        nanos: 10⁻⁹ of the currency's major unit, an int; it may be negative.
        currency: ISO 4217: three capital letters, such as ``USD``.

    Raises:
        InvalidCommand: For what is not an int, such as a float, or not a currency's code.
        MoneyOverflow: For what is beyond 64 bits.
    """

    nanos: int
    currency: str

    def __attrs_post_init__(self) -> None:
        if type(self.nanos) is not int:
            raise InvalidCommand("nanos", self.nanos, "an int; use Money.of for decimals")
        if not -MAX_NANOS <= self.nanos <= MAX_NANOS:
            raise MoneyOverflow("nanos", self.nanos, f"an amount within ±{MAX_NANOS} nanos")
        checked_currency(self.currency)

    @classmethod
    def of(cls, amount: str | int | Decimal, currency: str) -> Money:
        """An amount of major units, exactly: ``Money.of("12.34", "USD")``.

        Args:
            amount: A decimal as text, int or `Decimal`; no float.
            currency: ISO 4217: three capital letters.

        Raises:
            InvalidCommand: For a float, NaN, an infinity, or anything finer than a nano.
            MoneyOverflow: For what is beyond 64 bits of nanos.
        """
        return cls(checked_nanos("amount", amount), currency)

    def __str__(self) -> str:
        return f"{decimal_text(self.nanos)} {self.currency}"


def usd(amount: str | int | Decimal) -> Money:
    """An amount of US dollars, exactly: ``usd("12.34")``.

    Args:
        amount: A decimal as text, int or `Decimal`; no float.

    Raises:
        InvalidCommand: For a float, NaN, an infinity, or anything finer than a nano.
        MoneyOverflow: For what is beyond 64 bits of nanos.
    """
    return Money.of(amount, "USD")


def checked_nanos(field: str, amount: object) -> int:
    """The nanos of a decimal amount of major units; errors as :meth:`Money.of`."""
    value = checked_decimal(field, amount)
    if value.adjusted() > 10:
        raise MoneyOverflow(field, amount, f"an amount below {decimal_text(MAX_NANOS)}")
    # Integers, not Decimal arithmetic: that rounds to whatever context the host has set.
    numerator, denominator = value.as_integer_ratio()
    nanos, finer = divmod(numerator * NANOS, denominator)
    if finer:
        raise InvalidCommand(field, amount, "at most 9 decimals: nothing is finer than a nano")
    if not -MAX_NANOS <= nanos <= MAX_NANOS:
        raise MoneyOverflow(field, amount, f"an amount within ±{decimal_text(MAX_NANOS)}")
    return nanos


def checked_decimal(field: str, amount: object) -> Decimal:
    """A finite Decimal of at most 40 digits, from a str, int or Decimal."""
    if isinstance(amount, bool) or not isinstance(amount, (str, int, Decimal)):
        raise InvalidCommand(field, amount, 'a decimal as str, int or Decimal, such as "12.34"')
    if isinstance(amount, str) and len(amount) > _DIGITS:
        raise InvalidCommand(field, amount, f"a decimal of at most {_DIGITS} characters")
    if isinstance(amount, int) and amount.bit_length() > 130:
        raise MoneyOverflow(field, amount, f"an amount within ±{decimal_text(MAX_NANOS)}")
    # Decimal takes more: blanks, underscores, digits of other scripts.
    if isinstance(amount, str) and not _DECIMAL.fullmatch(amount):
        raise InvalidCommand(field, amount, 'a decimal such as "12.34"')
    try:
        value = Decimal(amount)
    except InvalidOperation:  # an exponent beyond even Decimal's own
        raise MoneyOverflow(field, amount, f"an amount within ±{MAX_NANOS} nanos") from None
    if not value.is_finite():
        raise InvalidCommand(field, amount, "a finite decimal")
    if not value:
        return Decimal(0)
    if value.adjusted() > _DIGITS:
        raise MoneyOverflow(field, amount, f"an amount within ±{decimal_text(MAX_NANOS)}")
    if value.adjusted() < -_DIGITS or len(value.as_tuple().digits) > _DIGITS:
        raise InvalidCommand(field, amount, f"a decimal of at most {_DIGITS} digits")
    return value


def checked_currency(currency: object) -> str:
    """An ISO 4217 code: three capital letters."""
    if not (
        isinstance(currency, str)
        and len(currency) == 3
        and currency.isascii()
        and currency.isalpha()
        and currency.isupper()
    ):
        raise InvalidCommand("currency", currency, 'three capital letters, such as "USD"')
    return currency


def decimal_text(nanos: int) -> str:
    """Nanos as an exact decimal of major units, with two decimals at least: ``12.345678901``,
    ``5.00``.

    Raises:
        InvalidCommand: For what is not an int.
    """
    if not isinstance(nanos, int):
        raise InvalidCommand("nanos", nanos, "an int of nanos, such as usd('5').nanos")
    sign = "-" if nanos < 0 else ""
    whole, part = divmod(abs(nanos), NANOS)
    decimals = f"{part:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{decimals}"
