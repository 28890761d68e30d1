"""The billing API and page in FastAPI: python examples/fastapi_app.py"""

from __future__ import annotations

import os

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from host import open_api

from billing_adapters import http
from billing_adapters.http import MAX_BODY, Api

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def make_app(api: Api) -> FastAPI:
    """An app that serves the billing API; the host's own routes come before this one."""
    app = FastAPI(openapi_url=None)  # the billing API describes itself

    @app.api_route("/{path:path}", methods=METHODS)
    async def billing(request: Request) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                break
        scope = request.scope
        query = scope["query_string"].decode("latin-1")
        asked = http.Request(request.method, scope["path"], query, request.headers, bytes(body))
        answer = await run_in_threadpool(api, asked)
        return Response(answer.body, answer.status, answer.headers)

    return app


if __name__ == "__main__":
    uvicorn.run(make_app(open_api()), port=int(os.environ.get("PORT", "8000")))
