"""What ``hold`` answers: a hold that settles what is reported of it, waited for or awaited."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Generic, Protocol, TypeVar

from billing_core.commands.charges import Settle
from billing_core.commands.holds import Hold
from billing_core.commands.outcomes import Charged, Held, Outcome, unwrapped
from billing_core.errors import Conflict, InvalidCommand
from billing_core.ports.answers import UsageOf
from billing_core.values.usage import PLATFORM, Payer, Usage, check_usage

__all__ = ["AsyncHold", "OpenHold"]


class _Billing(Protocol):
    """What a hold asks of the engine that made it."""

    def release(self, org: str, hold: str) -> object: ...
    def execute(self, commands: Sequence[Settle]) -> Sequence[Outcome]: ...


class _AsyncBilling(Protocol):
    """The same, awaited."""

    def release(self, org: str, hold: str) -> Awaitable[object]: ...
    def execute(self, commands: Sequence[Settle]) -> Awaitable[Sequence[Outcome]]: ...


_B = TypeVar("_B")


class MadeHold(Generic[_B]):
    """A hold that was made, and what was used of it so far."""

    def __init__(
        self, billing: _B, command: Hold, held: Held, usage_of: UsageOf | None = None
    ) -> None:
        self.held = held
        self.charges: list[Charged] = []
        """What leaving the ``with`` block charged."""
        self._billing = billing
        self._command = command
        self._usage_of = usage_of
        self._reported: list[Usage] = []
        self._left = False

    @property
    def key(self) -> str:
        """The hold's name, for ``settle``, ``extend`` and ``release``."""
        return self.held.key

    @property
    def amount(self) -> int:
        """How much was held when it was made, in nanos."""
        return self.held.amount

    @property
    def expires_at(self) -> datetime:
        """Until when the hold lives, as it was when the hold was made."""
        return self.held.expires_at

    def _check_open(self) -> None:
        if self._left:
            raise Conflict(
                f"the block of hold {self.key!r} was left already; charge what else was used "
                "with settle(...)"
            )

    def report(self, usage: object) -> None:
        """Say what was really used; leaving the block settles it.  It may be called again for
        further usage.

        Args:
            usage: What was used, such as ``tokens(…)`` makes it.  Or the provider's answer, if the
                engine was given ``usage_of``: then the model's name, the facts and the payer are
                those of the usage that was held, but for what the answer says itself.

        Raises:
            Conflict: The block was left already: charge it with ``settle``.
            InvalidCommand: It is not a usage, and no answer that ``usage_of`` can read; or it is an
                answer, and the customer pays for some of what was held and not for all.
        """
        used = usage if isinstance(usage, Usage) else self._read(usage)
        check_usage("usage", used)
        self._check_open()
        self._reported.append(used)

    def _read(self, answer: object) -> Usage:
        """The usage in an answer.  Nothing of its content shows."""
        if self._usage_of is None:
            raise InvalidCommand(
                "usage",
                type(answer),
                "a Usage, such as tokens(...) returns; to report a provider's answer, make the "
                "engine with usage_of=billing_adapters.answers.usage_of",
            )
        held = self._command.cost
        parts, facts = (held.parts, held.facts) if isinstance(held, Usage) else ((), ())
        resource = held.resource if isinstance(held, Usage) else self._command.resource
        kind, _, name = (resource or "").partition(":")
        payers: set[Payer] = {payer for _, _, payer in parts}
        if len(payers) > 1:
            raise InvalidCommand(
                "usage",
                type(answer),
                "a Usage that says who pays for which component, as what was held does; see the"
                " payer of usage_of",
            )
        return self._usage_of(
            answer,
            model=name if kind == "model" else None,
            facts=dict(facts),
            payer=payers.pop() if payers else PLATFORM,
        )


class OpenHold(MadeHold[_Billing]):
    """A hold that :meth:`Billing.hold` made, for use in a ``with`` statement.

    When the block is left, also by an exception, what was reported is settled, and the hold ends.
    If nothing was reported, it is released.  If the store fails meanwhile, StoreError is raised and
    the hold ends by its own time.

    Each reported usage is a settlement of its own.  The first has the hold's ``key``, the others
    that key with ``/1``, ``/2`` and so on (or its digest with these, if it is too long).  They are
    charged to the hold's member and project, and have its reference.

    Attributes:
        held: What making the hold answered.
        charges: What leaving the block charged, one for each reported usage.
    """

    def __enter__(self) -> OpenHold:
        self._check_open()
        return self

    def __exit__(self, *_: object) -> None:
        self._left = True
        if not self._reported:
            self._billing.release(self._command.org, self.key)
            return
        for result in self._billing.execute(settlements(self._command, self._reported)):
            self.charges.append(unwrapped([result], Charged))


class AsyncHold(MadeHold[_AsyncBilling]):
    """A hold that :meth:`AsyncBilling.hold` made, for use in an ``async with`` statement.

    It does what an :class:`OpenHold` does.

    Attributes:
        held: What making the hold answered.
        charges: What leaving the block charged, one for each reported usage.
    """

    async def __aenter__(self) -> AsyncHold:
        self._check_open()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._left = True
        if not self._reported:
            await self._billing.release(self._command.org, self.key)
            return
        for result in await self._billing.execute(settlements(self._command, self._reported)):
            self.charges.append(unwrapped([result], Charged))


def settlements(hold: Hold, reported: Sequence[Usage]) -> list[Settle]:
    """What settles a hold's reports: the last one ends it."""
    last = len(reported) - 1
    return [
        Settle(
            hold.org,
            _numbered(hold.key, index),
            usage=usage,
            hold=hold.key,
            final=index == last,
            part=any(later.resource == usage.resource for later in reported[index + 1 :]),
            as_held=True,  # by number: the name may have been erased since
            project=hold.project,
            reference=hold.reference,
        )
        for index, usage in enumerate(reported)
    ]


def _numbered(key: str, index: int) -> str:
    """The key of a hold's settlement: the hold's own for the first report."""
    if not index:
        return key
    numbered = f"{key}/{index}"
    # A name has at most 200 characters: a longer one is stood for by its digest.
    return numbered if len(numbered) <= 200 else f"{sha256(key.encode()).hexdigest()}/{index}"
