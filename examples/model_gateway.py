"""A gateway to a model, charged by what was streamed: python examples/model_gateway.py

It holds the most that a call can cost, streams the answer, and settles what was really used:
when the answer is complete, when the client goes away, and when the provider fails. Try
curl -N -H "X-API-Key: key-ana" -d "tell me a story" http://127.0.0.1:8000/chat
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse
from host import KEYS, open_billing
from starlette.requests import ClientDisconnect

from billing_core import AsyncBilling, AsyncHold, Billing, Refused, tokens

MOST = 200  # tokens of an answer
PAUSE = 0.005  # seconds between two of them


async def fake_model(prompt: str) -> AsyncIterator[str]:
    """A provider that streams; asked to fail, it does so halfway."""
    for number in range(MOST):
        if "fail" in prompt and number == MOST // 4:
            raise ConnectionError("the provider hung up")
        await asyncio.sleep(PAUSE)
        yield f"word{number} "


def make_app(billing: Billing) -> FastAPI:
    app = FastAPI()
    engine = AsyncBilling(billing.store)
    settling: set[asyncio.Task[None]] = set()

    @app.post("/chat")
    async def chat(request: Request) -> StreamingResponse:
        caller = KEYS.get(request.headers.get("x-api-key", ""))
        if caller is None or caller.org is None:
            raise HTTPException(401)
        try:
            prompt = (await request.body()).decode()
        except (ClientDisconnect, UnicodeDecodeError):
            raise HTTPException(400) from None
        read = len(prompt.split())
        most = tokens("small", input=read, output=MOST)
        try:
            hold = await engine.hold(
                caller.org, most, expires_in=timedelta(minutes=5), member=caller.member
            )
        except Refused as error:
            raise HTTPException(402, error.refusal.reason) from None
        return StreamingResponse(answer(hold, prompt, read), media_type="text/plain")

    async def answer(hold: AsyncHold, prompt: str, read: int) -> AsyncIterator[str]:
        written = 0
        try:
            async with aclosing(fake_model(prompt)) as words:
                async for word in words:
                    written += 1
                    yield word
        except ConnectionError:
            yield "[the provider failed]"
        finally:
            # Where the client has gone, whoever waits here is cancelled: a task of its own is
            # not. What is never settled expires, five minutes after it was held.
            task = asyncio.create_task(settle(hold, read, written))
            settling.add(task)
            task.add_done_callback(settling.discard)
            await asyncio.shield(task)

    async def settle(hold: AsyncHold, read: int, written: int) -> None:
        async with hold:
            if written:  # nothing came, nothing is charged: the hold is released
                hold.report(tokens("small", input=read, output=written))

    return app


if __name__ == "__main__":
    # The access log would say whole addresses: a key may be there by mistake.
    port = int(os.environ.get("PORT", "8000"))
    uvicorn.run(make_app(open_billing()), port=port, access_log=False)
