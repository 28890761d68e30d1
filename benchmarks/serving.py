"""A server of one of the examples: python -m benchmarks.serving FRAMEWORK DATABASE

It prints its port, serves the billing API, and answers /constant with what a settlement's
answer looks like, by the same way through the framework.
"""

from __future__ import annotations

import logging
import socket
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

from host import KEYS, Site, open_store

from billing_adapters.http import Api, Request, Response
from billing_core import Billing

CONSTANT = Response(200, {"Content-Type": "application/json"}, b'{"data":"%s"}' % (b"x" * 500))


class ApiOrConstant(Api):
    """The billing API, and beside it a constant."""

    def __call__(self, request: Request) -> Response:
        return CONSTANT if request.path == "/constant" else super().__call__(request)


def serve(framework: str, setting: str) -> None:
    app: Any = import_module(f"{framework}_app").make_app(
        Site(ApiOrConstant(Billing(open_store(setting)), KEYS.get))
    )
    if framework == "fastapi":
        import uvicorn

        # Of a socket that does not say so, asyncio does not know that it is one of TCP.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        print(listener.getsockname()[1], flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="error")).run([listener])
    else:
        import waitress

        logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # it is to be full
        server = waitress.create_server(app, host="127.0.0.1", port=0, threads=16)
        print(server.effective_port, flush=True)
        server.run()


if __name__ == "__main__":
    serve(*sys.argv[1:])
