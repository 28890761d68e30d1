"""What an act costs, counted and never timed: calls of Python and of C, of which one that may look
through all of a list or text (``names.count``) counts as much as that is long; and the bytes that
it took, which show what is copied again and again."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from types import FrameType
from typing import Any

_SEARCHES = {"count", "index", "find", "rfind", "replace", "split", "remove", "__contains__"}


class Counted:
    """What was called in a ``with`` block, weighed."""

    def __init__(self) -> None:
        self.calls = 0

    def __enter__(self) -> Counted:
        sys.setprofile(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _called(self, frame: FrameType, event: str, what: Any) -> None:
        if event == "call":
            self.calls += 1
        elif event == "c_call":
            self.calls += 1
            if what.__name__ in _SEARCHES and isinstance(what.__self__, (list, tuple, str, bytes)):
                self.calls += len(what.__self__)


class Copied(Counted):
    """The bytes taken in a ``with`` block as well, given back or not: at least so many, as each
    call and return sees them."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self._last = 0

    def __enter__(self) -> Copied:
        tracemalloc.start()
        super().__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        tracemalloc.stop()

    def _called(self, frame: FrameType, event: str, what: Any) -> None:
        super()._called(frame, event, what)
        now, _ = tracemalloc.get_traced_memory()
        self.bytes += max(0, now - self._last)
        self._last = now


def calls(act: Callable[[], object]) -> int:
    """How many calls an act takes."""
    with Counted() as found:
        act()
    return found.calls
