"""Processes to be killed: forked in a moment from one that has imported everything and has
no threads, which the test's own process may have."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import traceback
from itertools import count
from typing import NoReturn

from load_claims import opened, set_up, work

import billing_adapters.postgres.schema
import billing_adapters.sqlite.schema  # noqa: F401  imported late by the store
from billing_core import Billing

PATIENCE = 60  # seconds after which a process ends that nobody has killed


def nursery(descriptor: int) -> None:
    """Fork a process for each message: the arguments of `live`, and its pipe; answer its pid."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(fileno=descriptor) as parent:
        while True:
            message, [*pipes], _, _ = socket.recv_fds(parent, 4096, 1)
            if not message:
                return
            pid = os.fork()
            if pid == 0:
                parent.close()
                live(pipes[0], *json.loads(message))
            os.close(pipes[0])
            parent.sendall(pid.to_bytes(4, "big"))


def live(pipe: int, place: list[str], workers: list[str]) -> NoReturn:
    """Serve until killed, acknowledging through the pipe: one line each, in one write."""
    signal.alarm(PATIENCE)

    def tell(worker: str, n: int, digest: str) -> None:
        os.write(pipe, f"{worker} {n} {digest}\n".encode())

    def complain(_: object = None) -> None:
        os.write(pipe, b"\n!" + traceback.format_exc().encode()[-3000:])

    threading.excepthook = complain
    os.write(pipe, b"\n")
    try:
        billing = Billing(opened(tuple(place)))
        set_up(billing, tell)
        for worker in workers:
            threading.Thread(target=work, args=(billing, worker, count(), tell)).start()
    except BaseException:
        complain()
    while True:
        signal.pause()
