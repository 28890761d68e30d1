"""A gateway to two model providers, charged by what they report: python examples/model_gateway.py

It holds the most that a call can cost, passes the answer's events on as they come, and settles
the usage that they report: when the answer is complete, when the client goes away, and when the
provider fails. What a stream that was cut had not reported yet is estimated, and marked as an
estimate. Try
curl -N http://127.0.0.1:8000/v1/chat/completions -H "X-API-Key: key-ana" --json \\
  '{"model": "small", "messages": [{"role": "user", "content": "tell me a story"}]}'
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta

import upstreams
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse
from host import KEYS, open_billing
from pydantic import BaseModel, Field

from billing_adapters.answers import AnswerStream
from billing_core import AsyncBilling, AsyncHold, Billing, InvalidCommand, Refused, Usage, tokens

UPSTREAMS = {"/v1/chat/completions": upstreams.openai, "/v1/messages": upstreams.anthropic}


class Message(BaseModel):
    """What one side of a conversation said."""

    role: str
    content: str


class Asked(BaseModel):
    """What both providers take of a request."""

    model: str
    messages: list[Message] = Field(min_length=1)
    max_tokens: int = Field(default=upstreams.MOST, gt=0, le=upstreams.MOST)


class Answer:
    """What came of a streamed answer: what its events report, and words in case they do not."""

    def __init__(self, asked: Asked) -> None:
        self.model = asked.model
        self.stream = AnswerStream()
        self.read = sum(len(each.content.split()) for each in asked.messages)
        self.written = 0

    def follow(self, sent: str) -> None:
        """Take one server-sent event."""
        for line in sent.splitlines():
            if line.startswith("data: {"):
                event = json.loads(line.removeprefix("data: "))
                self.stream.feed(event)
                deltas = [each.get("delta", {}) for each in (event, *event.get("choices", ()))]
                self.written += any(each.get("content") or each.get("text") for each in deltas)

    def usage(self) -> Usage:
        """What was reported, under the name that the price has; else what was seen."""
        estimate = tokens(self.model, input=self.read, output=self.written)
        return self.stream.usage(estimate, model=self.model)


def make_app(billing: Billing) -> FastAPI:
    app = FastAPI()
    engine = AsyncBilling(billing.store)
    settling: set[asyncio.Task[None]] = set()

    @app.post("/v1/chat/completions")
    @app.post("/v1/messages")
    async def call(asked: Asked, request: Request) -> StreamingResponse:
        caller = KEYS.get(request.headers.get("x-api-key", ""))
        if caller is None or caller.org is None:
            raise HTTPException(401)
        answer = Answer(asked)
        most = tokens(asked.model, input=answer.read, output=asked.max_tokens)
        try:
            hold = await engine.hold(
                caller.org, most, expires_in=timedelta(minutes=5), member=caller.member
            )
        except Refused as error:
            raise HTTPException(402, error.refusal.reason) from None
        except InvalidCommand as error:
            raise HTTPException(422, str(error)) from None  # a model that has no price
        # Without being asked, OpenAI reports no usage in a stream.
        sent = asked.model_dump() | {"stream": True, "stream_options": {"include_usage": True}}
        events = UPSTREAMS[request.url.path](sent)
        return StreamingResponse(passed_on(hold, answer, events), media_type="text/event-stream")

    async def passed_on(
        hold: AsyncHold, answer: Answer, events: AsyncIterator[str]
    ) -> AsyncIterator[str]:
        begun = False
        try:
            async with aclosing(events):  # type: ignore[type-var]
                async for sent in events:
                    begun = True
                    answer.follow(sent)
                    yield sent
        except ConnectionError:
            yield 'data: {"error": {"message": "the provider failed"}}\n\n'
        finally:
            # Where the client has gone, whoever waits here is cancelled: a task of its own is
            # not. What is never settled expires, five minutes after it was held.
            task = asyncio.create_task(settle(hold, answer.usage() if begun else None))
            settling.add(task)
            task.add_done_callback(settling.discard)
            await asyncio.shield(task)

    async def settle(hold: AsyncHold, usage: Usage | None) -> None:
        async with hold:
            if usage is not None:  # nothing came, nothing is charged: the hold is released
                hold.report(usage)

    return app


if __name__ == "__main__":
    # The access log would say whole addresses: a key may be there by mistake.
    port = int(os.environ.get("PORT", "8000"))
    uvicorn.run(make_app(open_billing()), port=port, access_log=False)
