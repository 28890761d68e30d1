"""Usage from what a provider answered (rule 14.1), whole or streamed.

:func:`usage_of` takes an answer, as a dict or as the object of a provider's SDK, and gives a
:class:`~billing_core.Usage`.  :class:`AnswerStream` is fed the events of a stream as they come.
"""

from billing_adapters.answers.stream import AnswerStream
from billing_adapters.answers.usage import usage_of

__all__ = ["AnswerStream", "usage_of"]
