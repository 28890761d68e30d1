"""The billing API and page in FastAPI: python examples/fastapi_app.py"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from host import PORT, Site, open_site
from starlette.requests import ClientDisconnect

from billing_adapters import http
from billing_adapters.http import MAX_BODY

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def make_app(site: Site) -> FastAPI:
    """An app that serves the billing API; the host's own routes come before this one."""

    async def work() -> None:
        while True:
            if not await run_in_threadpool(site.work):
                await asyncio.sleep(1)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        worker = asyncio.create_task(work())
        yield
        worker.cancel()

    # The billing API describes itself.
    app = FastAPI(openapi_url=None, lifespan=lifespan)

    @app.api_route("/{path:path}", methods=METHODS)
    async def billing(request: Request) -> Response:
        body = bytearray()
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY:
                    break
        except ClientDisconnect:
            return Response(status_code=400)  # to nobody
        scope = request.scope
        query = scope["query_string"].decode("latin-1")
        asked = http.Request(request.method, scope["path"], query, request.headers, bytes(body))
        answer = await run_in_threadpool(site, asked)
        return Response(answer.body, answer.status, answer.headers)

    return app


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    # The API logs each request, without its query: a key may be there by mistake.
    uvicorn.run(make_app(open_site()), port=int(PORT), access_log=False)
