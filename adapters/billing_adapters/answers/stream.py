"""The usage of a streamed answer, of its events as they come."""

from __future__ import annotations

from collections.abc import Mapping

from billing_adapters.answers.reported import Reported, read, usage_from
from billing_core import InvalidCommand, Usage
from billing_core.values.usage import PLATFORM, Payer

__all__ = ["AnswerStream"]


class AnswerStream:
    """What a streamed answer reports of its usage, in the events that came so far (rule 14.1).

    Feed it every event that you pass on, of whatever provider: ask OpenAI for the usage, which else
    sends none (``stream_options={"include_usage": True}``).  Events that report nothing change
    nothing.  At the end, and wherever the stream was cut, `usage` is what was reported.

    An answer is one request: make one for each.
    """

    def __init__(self) -> None:
        self._reported = Reported()

    def feed(self, event: object) -> None:
        """Take what an event reports.

        Args:
            event: An event as the provider's SDK gives it, or its JSON as a dict.

        Raises:
            InvalidCommand: It cannot be read.
        """
        self._reported.follow(read(event))

    @property
    def reported(self) -> bool:
        """Whether any event so far reported usage."""
        return bool(self._reported.numbers)

    def usage(
        self,
        estimate: Usage | None = None,
        *,
        provider: str | None = None,
        model: str | None = None,
        facts: Mapping[str, str] | None = None,
        payer: Payer | Mapping[str, Payer] = PLATFORM,
        item: str | None = None,
        reported_cost: bool = False,
    ) -> Usage:
        """What was reported so far; or your estimate, if nothing was.

        Args:
            estimate: What you take the answer to have used, if its provider reported nothing.  It
                is marked by the fact ``estimated``: ``yes``.
            provider: As of :func:`usage_of`, like all that follow.
            model: The name that its price has.
            facts: What you know of the request.
            payer: Who pays.
            item: The call that several settlements belong to.
            reported_cost: Whether the reported cost is added.

        Returns:
            The usage; of what was estimated with the fact ``estimated``.

        Raises:
            InvalidCommand: Nothing was reported and there is no estimate, or as of
                :func:`usage_of`.
        """
        if self.reported:
            return usage_from(
                self._reported, self, provider=provider, model=model, facts=facts, payer=payer,
                item=item, reported_cost=reported_cost,
            )  # fmt: skip
        if estimate is None:
            raise InvalidCommand(
                "estimate", None, "a Usage, since the events reported none; see tokens(...)"
            )
        if not isinstance(estimate, Usage):
            raise InvalidCommand("estimate", estimate, "a Usage, such as tokens(...) returns")
        fees = self._reported.charged()  # of tools, which were reported
        parts = {part: count for part, count, _ in estimate.parts} | fees
        payers: dict[str, Payer] = {part: who for part, _, who in estimate.parts}
        payers |= {part: _payer_of(part, payer) for part in fees}
        return Usage.of(
            estimate.resource,
            parts,
            payer=payers,
            item=estimate.item,
            facts={**dict(estimate.facts), **self._reported.facts, "estimated": "yes"},
        )


def _payer_of(part: str, payer: Payer | Mapping[str, Payer]) -> Payer:
    return payer if isinstance(payer, str) else payer.get(part, PLATFORM)
