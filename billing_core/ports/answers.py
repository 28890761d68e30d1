"""How usage is read from what a provider answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from billing_core.values.usage import Payer, Usage

__all__ = ["UsageOf"]


class UsageOf(Protocol):
    """Reads the usage in a provider's answer, such as ``billing_adapters.answers.usage_of``."""

    def __call__(
        self,
        answer: object,
        /,
        *,
        model: str | None,
        facts: Mapping[str, str] | None,
        payer: Payer,
    ) -> Usage:
        """Read it; pure, and without any call of the provider.

        Args:
            answer: What the provider answered, as the host has it.
            model: The name that the model has in the price book; None: as the answer names it.
            facts: What is known of the request; what the answer says of it stands in its place.
            payer: Who pays.

        Returns:
            What was used, each token once.

        Raises:
            InvalidCommand: It is no answer with usage that can be read.
        """
        ...
