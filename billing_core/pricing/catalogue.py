"""All that was published, price books and plans, and what of it is in force when."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from fractions import Fraction
from hashlib import sha256
from itertools import chain
from typing import NamedTuple, TypeVar

from attrs import evolve, frozen

from billing_core.errors import InvalidCommand, NotFound
from billing_core.pricing.conditions import Hours, Request, SizeAbove
from billing_core.pricing.fraction_bounds import Asked, check_fineness, unit_costs, whose
from billing_core.pricing.functions import Discounted
from billing_core.pricing.plan import Plan, load_plan
from billing_core.pricing.price import Choice, Price
from billing_core.pricing.price_book import PriceBook, kept, load_book
from billing_core.pricing.units import counted, size_in
from billing_core.values.patterns import Names, checked_pattern, closest, fits, meet, within
from billing_core.values.times import micros, moment

__all__ = ["Catalogue", "Priced", "Published"]

_T = TypeVar("_T")

_DIGITS = 16  # of a document's digest, in the version's name on record


def _digest(number: int, published_at: int, body: str) -> str:
    return sha256(f"{number}\n{published_at}\n{body}".encode()).hexdigest()


@frozen
class Published:
    """A price book or a plan as a store keeps it.

    ``number``: order of publication, from 1.  ``published_at``: microseconds.
    ``digest``: SHA-256 of the rest, in hex; every charge's record names its
    first 16 digits, so that a document cannot be altered unseen.
    """

    number: int
    version: str
    published_at: int
    body: str
    digest: str

    @classmethod
    def of(cls, document: PriceBook | Plan, number: int, published_at: int) -> Published:
        """A document as a store keeps it, with the digest of its text."""
        body = document.body()
        digest = _digest(number, published_at, body)
        return cls(number, document.version, published_at, body, digest)

    def intact(self) -> bool:
        """Whether it is what its digest says."""
        return self.digest == _digest(self.number, self.published_at, self.body)

    @property
    def name(self) -> str:
        """The version's full name: ``v1#0123456789abcdef``."""
        return f"{self.version}#{self.digest[:_DIGITS]}"

    def document(self) -> PriceBook | Plan:
        """What was published."""
        plan = "subscription" in json.loads(self.body)
        return load_plan(self.body) if plan else load_book(self.body)


class Priced(NamedTuple):
    """A price in force.  ``version``: the full name of its book, behind ``*`` that of the book that
    discounts it, and behind ``/`` what of a price stands that depends on the request."""

    version: str
    price: Price

    def chosen(self, choice: Choice) -> Priced:
        """The price as it is where this stands and holds."""
        text, price = self.price.named(choice)
        return Priced(self.version + text, price)


_Timeline = list[tuple[int, _T]]


def _at(timeline: _Timeline[_T] | None, time: int) -> _T | None:
    if timeline is None:
        return None
    index = (
        len(timeline)
        if time >= timeline[-1][0]
        else bisect_right(timeline, time, key=lambda each: each[0])
    )
    return timeline[index - 1][1] if index else None


class Catalogue:
    """All price books and plans that were published, to look up what is in force when.

    It never changes: `Billing.catalogue` gives a newer one where more was published.  Times are
    microseconds since 1970, UTC.

    Args:
        published: The documents, as a store keeps them.
    """

    def __init__(self, published: Iterable[Published] = ()) -> None:
        self.published = tuple(sorted(published, key=lambda each: each.number))
        self.books: dict[str, PriceBook] = {}
        self.plans: dict[str, Plan] = {}
        self._full: dict[str, str] = {}
        # By audience, currency, resource and component; None where a price ends.
        self._prices: dict[tuple[str, str, str, str], _Timeline[Priced | None]] = {}
        # By audience and currency: resource or prefix → percentage and the book's name.
        self._discounts: dict[tuple[str, str], dict[str, _Timeline[tuple[str, str]]]] = {}
        self._plans: dict[str, _Timeline[Plan]] = {}
        self._of: dict[str, set[tuple[str, str, str, str]]] = {}  # by resource: keys of prices
        self._patterns: dict[str, None] = {}  # resources of prices that end in "*"
        for each in self.published:
            name, document = each.name, each.document()
            self._full[name] = self._full[each.version] = name
            effective = micros("effective_at", document.effective_at)
            if isinstance(document, Plan):
                self.plans[name] = document
                self._plans.setdefault(document.plan, []).append((effective, document))
            else:
                self.books[name] = document
                self._add(name, document, effective)
        self._patterns = dict.fromkeys(name for name in self._of if name.endswith("*"))
        for prices in self._prices.values():
            prices.sort(key=lambda each: each[0])
        for plans in self._plans.values():
            plans.sort(key=lambda each: each[0])
        for discounts in self._discounts.values():
            for discount in discounts.values():
                discount.sort(key=lambda each: each[0])
        # When any price or discount may begin to hold: mostly there is none to look for.
        self._effective = sorted(
            {micros("effective_at", book.effective_at) for book in self.books.values()}
        )
        self._audiences = {key[0] for key in self._prices} | {key[0] for key in self._discounts}
        self._own_books = bool(self._audiences - {""})
        self._multiplying = any(book.multipliers for book in self.books.values())
        # Made once of a price, which is here as long as the catalogue: with its book's multipliers,
        # by the patterns that fit, and less a discount, by the percentage.
        self._multiplied: dict[tuple[int, tuple[str, ...]], Price] = {}
        self._lessened: dict[tuple[int, str], Price] = {}
        # When of a day prices change by themselves, by audience, currency and resource.
        self._hours = self._find_hours()

    def _add(self, name: str, book: PriceBook, effective: int) -> None:
        for resource, parts in book.prices.items():
            for component, price in parts.items():
                key = (book.audience, book.currency, resource, component)
                priced = None if price is None else Priced(name, price)
                self._prices.setdefault(key, []).append((effective, priced))
                self._of.setdefault(resource, set()).add(key)
        for pattern, percent in book.percent_off.items():
            of = self._discounts.setdefault((book.audience, book.currency), {})
            of.setdefault(pattern, []).append((effective, (percent, name)))

    # -- prices -----------------------------------------------------------------

    def audiences(self, org: str, plan: str | None) -> tuple[str, ...]:
        """Whose books an org's prices come from, beside everyone's: those that there are,
        the nearest first."""
        if not self._own_books:
            return ()
        found = (f"org:{org}",) if plan is None else (f"org:{org}", f"plan:{plan}")
        return tuple(each for each in found if each in self._audiences)

    def price(
        self,
        currency: str,
        resource: str,
        component: str,
        at: int,
        audiences: tuple[str, ...] = (),
    ) -> Priced | None:
        """The price in force at a time (microseconds), or None."""
        discount: tuple[str, str] | None = None
        found: Priced | None = None
        for audience in audiences:
            found = self._own(audience, currency, resource, component, at)
            if found is not None:
                break
            discount = discount or self._discount(audience, currency, resource, at)
        if found is None:
            found = self._own("", currency, resource, component, at)
        if found is None or discount is None or discount[0] == "0":
            return found
        return self._discounted(found, *discount)

    def _own(
        self, audience: str, currency: str, resource: str, component: str, at: int
    ) -> Priced | None:
        """What an audience's own books say: of the resource itself, else of the longest prefix."""
        if not self._patterns:
            found = _at(self._prices.get((audience, currency, resource, component)), at)
            return self._by_book(found, resource) if found and self._multiplying else found
        for name in self._names(resource):
            found = _at(self._prices.get((audience, currency, name, component)), at)
            if found is not None:
                return self._by_book(found, resource) if self._multiplying else found
        return None

    def _by_book(self, found: Priced, resource: str) -> Priced:
        """A price, with the multipliers of its book."""
        book = self.books[found.version]
        patterns = tuple(name for name in book.multipliers if fits(name, resource))
        if not patterns:
            return found
        key = id(found.price), patterns
        price = self._multiplied.get(key)
        if price is None:
            price = self._multiplied[key] = book.multiplied(found.price, resource)
        return Priced(found.version, price)

    def _names(self, resource: str) -> list[str]:
        """Under which names a resource may be priced."""
        if not self._patterns:
            return [resource]
        return [resource, *closest(self._patterns, resource)]

    def _discount(
        self, audience: str, currency: str, resource: str, at: int
    ) -> tuple[str, str] | None:
        """The discount that names the resource most closely."""
        patterns = self._discounts.get((audience, currency), {})
        for name in closest(patterns, resource):
            found = _at(patterns[name], at)
            if found is not None:
                return found
        return None

    def _discounted(self, found: Priced, percent: str, by: str) -> Priced:
        key = id(found.price), percent
        price = self._lessened.get(key)
        if price is None:
            keep = kept(percent)
            functions = [Discounted(each, keep) for each in found.price.functions()]
            price = self._lessened[key] = found.price.with_functions(functions)
        return Priced(f"{found.version}*{by}", price)

    def priced_by(self, name: str, currency: str, resource: str, component: str) -> Priced | None:
        """The price that a version, ``v1``, ``v1#digest`` or that with a discount behind
        ``*``, has for a component; behind ``/`` what of it stands, where it depends on the
        request."""
        base, by, choice = _parted(name)
        full = self._full.get(base, "")
        book = self.books.get(full)
        if book is None or book.currency != currency:
            return None
        price = None
        for each in self._names(resource):
            price = price or book.prices.get(each, {}).get(component)
        if price is None:
            return None
        found = self._less(self._by_book(Priced(full, price), resource), by, currency, resource)
        if found is None or choice is None:
            return found
        variant, multipliers = choice
        known = found.price
        if variant > len(known.variants) or any(
            not 0 < each <= len(known.multipliers) for each in multipliers
        ):
            return None
        return found.chosen(choice)

    def standing(
        self, name: str, currency: str, resource: str, component: str, request: Request
    ) -> str | None:
        """The version's name of what stands for a request that was made, by the book and the
        discount that a version names; None where nothing does."""
        base, by, _ = _parted(name)
        plain = base if by is None else f"{base}*{by}"
        priced = self.priced_by(plain, currency, resource, component)
        choice = None if priced is None else priced.price.choice(request)
        return None if priced is None or choice is None else priced.chosen(choice).version

    def describe_choice(self, name: str, currency: str, resource: str, component: str) -> str:
        """In words which conditions held of what a version names; empty where its base stood."""
        base, by, choice = _parted(name)
        plain = base if by is None else f"{base}*{by}"
        priced = self.priced_by(plain, currency, resource, component)
        return "" if priced is None or choice is None else priced.price.describe_choice(choice)

    def _less(self, found: Priced, by: str | None, currency: str, resource: str) -> Priced | None:
        """A price less what a book, by its full name, takes off it."""
        if by is None:
            return found
        discounting = self.books.get(by)
        if discounting is None or discounting.currency != currency:
            return None
        # All patterns of a book hold at the same time: the closest one did.
        patterns = closest(discounting.percent_off, resource)
        if not patterns:
            return None
        percent = discounting.percent_off[patterns[0]]
        return self._discounted(found, percent, by)

    def applicable(
        self,
        name: str,
        currency: str,
        resource: str,
        component: str,
        at: int,
        audiences: tuple[str, ...],
    ) -> Priced | None:
        """The price that a version, by its full name, may have had for a component at a time:
        in force then for one of the audiences, or for everyone, less what was off it then."""
        discount: tuple[str, str] | None = None
        for audience in (*audiences, ""):
            found = self._own(audience, currency, resource, component, at)
            if found is not None and found.version == name:
                if discount is None or discount[0] == "0":
                    return found
                return self._discounted(found, *discount)
            discount = discount or self._discount(audience, currency, resource, at)
        return None

    def books_of(self, name: str) -> list[PriceBook]:
        """The book that a version names, and that of its discount."""
        base, by, _ = _parted(name)
        names = [self._full.get(base, base)] if by is None else [self._full.get(base, base), by]
        return [self.books[each] for each in names if each in self.books]

    def unit(self, currency: str, resource: str, component: str) -> str:
        """What one of a component's quantity is, as everyone's first price says it, so that
        no report changes; the component's own name where nothing is priced."""
        for name in self._names(resource):
            timeline = self._prices.get(("", currency, name, component))
            first = None if timeline is None else timeline[0][1]
            if first is not None:
                return first.price.unit
        return component

    def components(self, currency: str, resource: str) -> list[str]:
        """The components ever priced for a resource."""
        found: set[str] = set()
        for name in self._names(resource):
            found.update(key[3] for key in self._of.get(name, ()) if key[1] == currency)
        return sorted(found)

    def expected(self, currency: str, resource: str, at: int, audiences: tuple[str, ...]) -> str:
        """What UnknownPrice expects: the components priced at a time, or from when they are."""
        starts: dict[str, list[int]] = {}
        for name in self._names(resource):
            for key in self._of.get(name, ()):
                audience, of, _, component = key
                if of == currency and audience in ("", *audiences):
                    later = [since for since, priced in self._prices[key] if priced and since > at]
                    starts.setdefault(component, []).extend(later)
        known: list[str] = []
        for component, later in sorted(starts.items()):
            if self.price(currency, resource, component, at, audiences) is not None:
                known.append(component)
            elif later:
                known.append(f"{component} from {moment(min(later)).isoformat()}")
        expected = f"a component with a price at {moment(at).isoformat()}; "
        if known:
            return f"{expected}known: {', '.join(known)}"
        return f"{expected}this resource has none: check its name, or publish a price book"

    def resources(self, currency: str) -> list[str]:
        """The resources ever priced in a currency."""
        return sorted({resource for _, cur, resource, _ in self._prices if cur == currency})

    def currencies(self) -> list[str]:
        """The currencies that there are prices in."""
        return sorted({currency for _, currency, _, _ in self._prices})

    def prices(
        self, currency: str, at: int, audiences: tuple[str, ...] = ()
    ) -> dict[str, dict[str, Priced]]:
        """All prices in force at a time, by resource and component, sorted."""
        found: dict[str, dict[str, Priced]] = {}
        for resource in self.resources(currency):
            for component in self.components(currency, resource):
                priced = self.price(currency, resource, component, at, audiences)
                if priced is not None:
                    found.setdefault(resource, {})[component] = priced
        return found

    # -- plans ------------------------------------------------------------------

    def plan(self, name: str, at: int) -> Plan | None:
        """The version of a plan in force at a time: the first one also holds before it."""
        timeline = self._plans.get(name)
        if timeline is None:
            return None
        return _at(timeline, at) or timeline[0][1]

    def renewed(self, name: str, after: int, at: int) -> bool:
        """Whether a version of a plan took effect after a time, by another."""
        timeline = self._plans.get(name, ())
        return len(timeline) > 1 and any(after < effective <= at for effective, _ in timeline)

    def changes(self, currency: str, resource: str, org: str, start: int, end: int) -> list[int]:
        """When, in (start, end), a price of a resource may change for an org: a time too many
        costs nothing, as grouping does not."""
        found: set[int] = set()
        first = bisect_right(self._effective, start)
        if first == len(self._effective) or self._effective[first] >= end:
            return []
        for name in self._names(resource):
            for key in self._of.get(name, ()):
                if key[1] == currency and not _other(key[0], org):
                    found.update(at for at, _ in self._prices[key])
        for (audience, of), discounts in self._discounts.items():
            if of == currency and not _other(audience, org):
                for pattern in closest(discounts, resource):
                    found.update(at for at, _ in discounts[pattern])
        return sorted(at for at in found if start < at < end)

    def _find_hours(self) -> dict[tuple[str, str, str], set[Hours]]:
        found: dict[tuple[str, str, str], set[Hours]] = {}
        for book in self.books.values():
            for resource, parts in book.prices.items():
                conditions = [
                    when
                    for price in parts.values()
                    if price is not None and price.varies
                    for when in price.conditions()
                ]
                for name, more in book.multipliers.items():
                    conditions += [each.when for each in more] if meet(name, resource) else ()
                hours = {one for when in conditions for one in when if isinstance(one, Hours)}
                if hours:
                    key = book.audience, book.currency, resource
                    found.setdefault(key, set()).update(hours)
        return found

    def hours(self, currency: str, resource: str, org: str, start: int, end: int) -> set[int]:
        """When, in (start, end), a price of a resource may change for an org with the hour."""
        if not self._hours:
            return set()
        names = self._names(resource)
        return {
            at
            for (audience, of, name), hours in self._hours.items()
            if of == currency and name in names and not _other(audience, org)
            for each in hours
            for at in each.changes(start, end)
        }

    # -- publishing -------------------------------------------------------------

    def has(self, name: str) -> bool:
        """Whether a version, by short or full name, is known."""
        return name in self._full

    def version(self, name: str) -> str:
        """The full name of a version; raises NotFound."""
        full = self._full.get(name)
        if full is None:
            raise NotFound("version", name, "publish it first")
        return full

    def document(self, name: str) -> PriceBook | Plan:
        """What was published under a name, short or full; raises NotFound."""
        full = self.version(name)
        return self.books.get(full) or self.plans[full]

    def superseded(self, document: PriceBook | Plan) -> PriceBook | Plan | None:
        """What holds when a document takes effect, of what it names and for the same
        audience: what it would change, for :func:`billing_core.pricing.differences`."""
        at = micros("effective_at", document.effective_at)
        if isinstance(document, Plan):
            return self.plan(document.plan, at)
        audience, currency = document.audience, document.currency
        prices: dict[str, dict[str, Price | None]] = {}
        for resource, parts in document.prices.items():
            for component in parts:
                found = _at(self._prices.get((audience, currency, resource, component)), at)
                if found is None:
                    continue
                # As its book's multipliers make it, also for the names that the new ones have.
                also = (each for each in document.multipliers if within(each, resource))
                for name in {resource, *also}:
                    prices.setdefault(name, {})[component] = self._by_book(found, name).price
        known = self._discounts.get((audience, currency), {})
        standing = {name: _at(known.get(name), at) for name in document.percent_off}
        percent_off = {name: each[0] for name, each in standing.items() if each is not None}
        if not prices and not percent_off:
            return None
        return evolve(
            document, version="in force", prices=prices, percent_off=percent_off, multipliers={},
            facts=(),
        )  # fmt: skip

    def counted(self, document: PriceBook | Plan) -> PriceBook | Plan:
        """A document as it is published: prices in the units that are counted.

        Raises InvalidCommand for a unit that is not on the list (rule 5.10).
        """
        if isinstance(document, Plan):
            return document
        prices: dict[str, dict[str, Price | None]] = {}
        sizes = self._sizes(document)
        for resource, parts in sorted(document.prices.items()):
            if resource.startswith("storage:") and "byte_us" not in parts:
                expected = 'a price of "byte_us", which is what is billed of storage'
                raise InvalidCommand(f"prices[{resource!r}]", sorted(parts), expected)
            prices[resource] = found = {}
            for component, price in parts.items():
                size = sizes.of(component, resource) if meet(resource, "sandbox:*") else None
                found[component] = price and counted(resource, component, price, size)
                _check_conditions(document, resource, component, price)
                sizes.add(component, resource, found[component])
        return evolve(document, prices=prices)

    def _sizes(self, book: PriceBook) -> _Sizes:
        """Which sizes the rates of sandboxes count, by the prices that there are."""
        if not any(meet(resource, "sandbox:*") for resource in book.prices):
            return _Sizes(())
        known = ((key[3], key[2]) for key in self._prices)
        to_come = ((part, resource) for resource, parts in book.prices.items() for part in parts)
        found = _Sizes(chain(known, to_come))
        for (_, _, resource, component), timeline in self._prices.items():
            for _, priced in timeline:
                found.add(component, resource, priced and priced.price)
        return found

    def warnings(self, document: PriceBook | Plan) -> tuple[str, ...]:
        """What of a document a wildcard in a price alone matches: it may be misspelt."""
        found: list[str] = []
        names = self._priced_as(document)
        for where, name, component in _references(document):
            priced = names.get(component, _NONE)
            known = sorted(priced.above(name))
            if known and next(priced.below(name), None) is None:
                found.append(f"{where}: only {', '.join(map(repr, known))} matches {name!r}")
        return tuple(found)

    def _check_names(self, document: PriceBook | Plan) -> None:
        """Refuse what can match nothing that is used (rule 5.11)."""
        if isinstance(document, PriceBook):
            for name in document.prices:
                checked_pattern("prices", name)
        names = self._priced_as(document)
        for where, name, component in _references(document):
            checked_pattern(where, name)
            priced = names.get(component, _NONE)
            if priced.above(name) or next(priced.below(name), None) is not None:
                continue
            if name == "*" and component is None:
                continue  # a discount on whatever there will be
            if component is not None:
                parts = {
                    part
                    for _, currency, resource, part in self._prices
                    if currency == document.currency and meet(resource, name)
                }
                if parts:
                    expected = f"a component that has a price: {', '.join(sorted(parts))}"
                    raise InvalidCommand(where, component, expected)
            raise InvalidCommand(
                where,
                name,
                f"what matches a resource with a price in {document.currency}: check the name, or"
                " publish its price first",
            )

    def _priced_as(self, document: PriceBook | Plan) -> dict[str | None, Names]:
        """Under which names each component has prices, and (None) any has, those of the
        document too."""
        names: dict[str | None, set[str]] = {None: set()}
        for _, currency, resource, component in self._prices:
            if currency == document.currency:
                names.setdefault(component, set()).add(resource)
        if isinstance(document, PriceBook):
            for resource, parts in document.prices.items():
                for component, price in parts.items():
                    if price is not None:
                        names.setdefault(component, set()).add(resource)
        names[None] = set().union(*names.values())
        return {component: Names(each) for component, each in names.items()}

    def _check_fractions(self, book: PriceBook) -> None:
        """Refuse what would make the fraction of a nano that a component carries too fine for
        good (rule 5.12).  Where published prices have done so already, it gets no finer."""
        currency = book.currency
        keeps: dict[str, dict[str, list[Fraction]]] = {}  # by pattern and whose
        for (audience, of), discounts in self._discounts.items():
            for name, timeline in discounts.items() if of == currency else ():
                off = keeps.setdefault(name, {}).setdefault(whose(audience), [])
                off += [Fraction(*kept(percent)) for _, (percent, _) in timeline]

        def asked(name: str) -> Asked:
            found: dict[str, dict[str, list[Fraction]]] = {}
            for key in self._of.get(name, ()):
                if key[1] == currency:
                    of = found.setdefault(key[3], {}).setdefault(whose(key[0]), [])
                    for _, priced in self._prices[key]:
                        if priced is not None:
                            of += unit_costs(self.books[priced.version], name, priced.price)
            return Asked.of(found, keeps.get(name, {}))

        check_fineness(book, {*self._of, *keeps}, asked)

    def checked(self, document: PriceBook | Plan, *, now: int, delay: int) -> PriceBook | Plan:
        """The document as it is published ``now`` (microseconds), or that of this version
        which was; raises InvalidCommand where it may not be published.

        A change takes effect at least ``delay`` after publication, longer than any
        service's cache lives.  What changes nothing may reach back: the first price of a
        component for everyone, the first version of a plan, and the books of a plan that is
        not published yet.  All versions of a plan have its first one's currency.
        """
        known = self._full.get(document.version)
        if known is not None:
            # One that was published before units were converted stays as it is.
            found = self.document(known)
            if found.body() == document.body() or found.body() == self.counted(document).body():
                return found
            raise InvalidCommand(
                "version", document.version, "a new version name: this one is published"
            )
        document = self.counted(document)
        self._check_names(document)
        if isinstance(document, PriceBook):
            self._check_fractions(document)
        if isinstance(document, Plan):
            for each in self.plans.values():
                if each.plan == document.plan and each.currency != document.currency:
                    raise InvalidCommand(
                        "currency", document.currency, f"{each.currency}, as plan {each.plan!r} has"
                    )
        changed = self._changed(document)
        if changed is not None and micros("effective_at", document.effective_at) < now + delay:
            raise InvalidCommand(
                "effective_at",
                document.effective_at.isoformat(),
                f"{moment(now + delay).isoformat()} or later, since {changed}",
            )
        return document

    def _changed(self, document: PriceBook | Plan) -> str | None:
        """Which of today's terms a document would change, in words."""
        if isinstance(document, Plan):
            if document.plan in self._plans:
                return f"plan {document.plan!r} has a version already"
            return None
        if document.org is not None:
            return f"org {document.org!r} has the prices of everyone"
        if document.plan is not None:
            published = document.plan in self._plans
            return f"plan {document.plan!r} is published" if published else None
        for resource, parts in document.prices.items():
            for component in parts:
                if ("", document.currency, resource, component) in self._prices:
                    return f"{component!r} of {resource!r} has a price already"
        return None


def _parted(name: str) -> tuple[str, str | None, Choice | None]:
    """A version's name, the discount's behind the digest and ``*``, and the choice behind ``/``."""
    base, mark, rest = name.partition("#")
    if not mark:
        return name, None, None
    base, rest = f"{base}#{rest[:_DIGITS]}", rest[_DIGITS:]
    by: str | None = None
    if rest.startswith("*"):
        discount, mark, rest = rest[1:].partition("#")
        by, rest = f"{discount}{mark}{rest[:_DIGITS]}", rest[_DIGITS:]
    choice = _CHOICE.fullmatch(rest)
    if choice is not None:
        variant, *multipliers = rest[1:].split("x")
        return base, by, (int(variant), tuple(map(int, multipliers)))
    return (base, by, None) if not rest else (name, None, None)


_CHOICE = re.compile(r"/[0-9]{1,2}(x[0-9]{1,2})*")

_BY_TIME = ("sandbox:*", "storage:*")


def _check_conditions(book: PriceBook, resource: str, component: str, price: Price | None) -> None:
    """Refuse a size in what runs and storage cost, which are charged as time goes by."""
    of_time = next((each for each in _BY_TIME if meet(resource, each)), None)
    if price is None or of_time is None:
        return
    conditions = price.conditions()
    for name, more in book.multipliers.items():
        if meet(name, of_time) and meet(name, resource):
            conditions += [each.when for each in more]
    sizes = [one for when in conditions for one in when if isinstance(one, SizeAbove)]
    if sizes:
        raise InvalidCommand(
            f"prices[{resource!r}][{component!r}]",
            sizes[0],
            "no SizeAbove: what runs and storage cost depends on facts and hours alone, and this"
            f" name is also one of {of_time}",
        )


_NONE = Names(())


class _Sizes:
    """Which size a component's rates count: what the first of its prices says that names one,
    under a pattern that the resource's meets."""

    def __init__(self, parts: Iterable[tuple[str, str]]) -> None:
        names: dict[str, set[str]] = {}
        for component, resource in parts:
            names.setdefault(component, set()).add(resource)
        self._names = {component: Names(each) for component, each in names.items()}
        self._first: dict[tuple[str, str], tuple[int, str]] = {}  # by component and resource

    def add(self, component: str, resource: str, price: Price | None) -> None:
        size = None if price is None else size_in(price.unit)
        if size is not None:
            self._first.setdefault((component, resource), (len(self._first), size))

    def of(self, component: str, resource: str) -> str | None:
        met = self._names[component].meeting(resource)
        known = [self._first[component, name] for name in met if (component, name) in self._first]
        return min(known)[1] if known else None


def _references(document: PriceBook | Plan) -> Iterator[tuple[str, str, str | None]]:
    """``(where, name, component)`` of what a document names that must have a price elsewhere."""
    if isinstance(document, Plan):
        for quota in document.quotas:
            # What workspaces hold has no price: it is their byte-microseconds that are billed.
            name = quota.resource
            if quota.component != "bytes" or not (name == "storage" or meet(name, "storage:*")):
                yield f"quotas[{name!r}][{quota.component!r}]", name, quota.component
        return
    for resource, parts in document.prices.items():
        for component, price in parts.items():
            if price is None:
                yield f"prices[{resource!r}][{component!r}]", resource, component
    for name in document.percent_off:
        yield f"percent_off[{name!r}]", name, None


def _other(audience: str, org: str) -> bool:
    """Whether a book is for another org."""
    return audience.startswith("org:") and audience != f"org:{org}"
