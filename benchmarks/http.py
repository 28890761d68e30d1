"""Settlements over HTTP beside the same server that answers a constant: each of the examples, as
one process on the loopback, on each database."""

from __future__ import annotations

import selectors
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from itertools import count
from pathlib import Path

from benchmarks.harness import Bar, Subject, interleave, place
from benchmarks.postgres import served as postgres
from benchmarks.report import report
from billing_core import Billing, Grant, OpenAccount, usd

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

from host import PRICES, open_store

FRAMEWORKS = {
    "fastapi": "FastAPI, uvicorn",
    "flask": "Flask, waitress",
    "django": "Django, waitress",
}
ORGS = [f"org-{number}" for number in range(10)]
CONNECTIONS = 16
SETTLE, CONSTANT = "/v1/internal/models/settle", "/constant"
PRICE = 1_000 * 150 + 100 * 600  # nanos for what BODY says
_BODY = (
    '{"orgId":"%s","memberId":"ana","modelCall":'
    '{"model":"small","inputTokens":1000,"outputTokens":100}}'
)
_REQUEST = (
    "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: key-gateway\r\nIdempotency-Key: %s\r\n"
    "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
)
_KEYS = count(1)


class Clients:
    """Connections that each ask, wait for the answer and ask again."""

    def __init__(self, port: int) -> None:
        self._selector = selectors.DefaultSelector()
        for _ in range(CONNECTIONS):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(connection, selectors.EVENT_READ)

    def ask(self, path: str, times: int) -> None:
        """So many requests, each answered without an error."""
        connections = [key.fileobj for key in self._selector.get_map().values()]
        asked = answered = 0
        for connection in connections[:times]:
            self._send(connection, path)
            asked += 1
        while answered < times:
            for key, _ in self._selector.select(timeout=60):
                check_answer(key.fileobj)
                answered += 1
                if asked < times:
                    self._send(key.fileobj, path)
                    asked += 1

    def _send(self, connection: socket.socket, path: str) -> None:
        number = next(_KEYS)
        body = _BODY % ORGS[number % len(ORGS)]
        connection.sendall((_REQUEST % (path, f"bench-{number}", len(body), body)).encode())

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()
        self._selector.close()


def check_answer(connection: socket.socket) -> None:
    """Read an answer, which may come in pieces."""
    answer = b""
    while not _complete(answer):
        more = connection.recv(65_536)
        assert more, "the server hung up"
        answer += more
    assert answer.startswith(b"HTTP/1.1 200"), answer


def _complete(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    _, said, length = head.lower().partition(b"content-length: ")
    if not said:
        return body.endswith(b"0\r\n\r\n")  # in chunks
    return bool(end) and len(body) == int(length.split(b"\r\n")[0])


@contextmanager
def server(framework: str, setting: str) -> Iterator[int]:
    """The port of a server process."""
    command = [sys.executable, "-m", "benchmarks.serving", framework, setting]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


def run(*, smoke: bool) -> None:
    with place() as directory, postgres() as database:
        dsn = database.dsn(tcp=True)
        parts = dict(part.split("=") for part in dsn.split())
        address = "postgresql://?" + "&".join(f"{name}={each}" for name, each in parts.items())
        for name in FRAMEWORKS:
            measure(name, "SQLite", str(directory / f"{name}.db"), smoke)
            measure(name, "PostgreSQL", address, smoke)


def measure(framework: str, database: str, setting: str, smoke: bool) -> None:
    rounds, times = (3, 40) if smoke else (11, 1_000)
    with ExitStack() as stack:
        store = stack.enter_context(closing(open_store(setting)))
        billing = Billing(store)
        billing.publish(PRICES)
        billing.execute([OpenAccount(org) for org in ORGS])
        credit = usd("10000")
        billing.execute([Grant(org, framework, amount=credit) for org in ORGS])
        used = sum(billing.balance(org).used for org in ORGS)
        port = stack.enter_context(server(framework, setting))
        clients = stack.enter_context(closing(Clients(port)))
        for path in (SETTLE, CONSTANT):
            clients.ask(path, times)  # warm
        subjects = [
            Subject("floor: the server, a constant", partial(clients.ask, CONSTANT), times, Path()),
            Subject("settle a model call", partial(clients.ask, SETTLE), times, Path(), Bar(0.30)),
        ]
        results = interleave(subjects, rounds=rounds, warm=False)
        title = f"HTTP: {FRAMEWORKS[framework]}, {database}, {CONNECTIONS} connections"
        report(title, results, results[0])
        charged = sum(billing.balance(org).used for org in ORGS) - used
        assert charged == (rounds + 1) * times * PRICE, "a charge is missing, or there twice"
        assert billing.verify().ok
