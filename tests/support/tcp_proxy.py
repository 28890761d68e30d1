"""A TCP proxy in front of a server: it delays, and it cuts connections at a chosen moment."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

__all__ = ["Proxy"]


class Proxy:
    """``delay``: seconds added to each direction.  ``cut(data)``, where set, is asked about
    what a client sends; for ``before`` nothing of it is passed on, for ``half`` half of it, for
    ``after`` all of it, but no answer; then the connection is cut.  None: nothing is."""

    def __init__(self, port: int, *, delay: float = 0) -> None:
        self.delay = delay
        self.cut: Callable[[bytes], str | None] | None = None
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    client.close()
                    continue
                for each in (client, server):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                link = _Link(client, server)
                for work in (self._upstream, self._downstream):
                    threading.Thread(target=work, args=(link,), daemon=True).start()

    def _upstream(self, link: _Link) -> None:
        with suppress(OSError):
            while data := link.client.recv(1 << 20):
                if self.delay:
                    time.sleep(self.delay)
                how = self.cut(data) if self.cut is not None else None
                if how == "before":
                    break
                if how == "half":
                    link.server.sendall(data[: len(data) // 2])
                    break
                if how == "after":
                    link.mute = True
                link.server.sendall(data)
        link.close()

    def _downstream(self, link: _Link) -> None:
        with suppress(OSError):
            while data := link.server.recv(1 << 20):
                if link.mute:
                    break  # the server has answered
                if self.delay:
                    time.sleep(self.delay)
                link.client.sendall(data)
        link.close()


class _Link:
    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server, self.mute = client, server, False
        self._ended = threading.Semaphore(1)  # the first of its two threads takes it

    def close(self) -> None:
        first = self._ended.acquire(blocking=False)
        for each in (self.client, self.server):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            if not first:
                each.close()
