"""The provider behind HTTP: a thin Starlette shell that owns the clock and the lock.

Here belongs turning requests into calls and answers into responses. What is answered belongs to
`provider`; sockets, threads and signals belong to `app`.
"""

from __future__ import annotations

import asyncio
from threading import Lock
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from policies.server.sandbox import answers, webhooks
from policies.server.sandbox.answers import Answer
from policies.server.sandbox.bill import Bill
from policies.server.sandbox.clock import Clock
from policies.server.sandbox.prediction import OutputSpec
from policies.server.sandbox.provider import Provider

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

TRANSPORT: Final = "sandbox.transport"
"""The key in the connection's state under which `app` puts its transport, so that it can be cut."""


class Sandbox:
    """A provider, its clock and the lock that makes calls from several threads take turns."""

    def __init__(self, provider: Provider, clock: Clock) -> None:
        self.provider = provider
        self.clock = clock
        self._lock = Lock()
        self._telling: set[asyncio.Task[bool]] = set()

    def app(self) -> Starlette:
        """The ASGI application."""
        routes = [
            Route("/v1/run", self.run, methods=["POST"]),
            Route("/v1/status/{id}", self.status),
            Route("/v1/credits", self.credits),
            Route("/outputs/{id}/output_{index:int}.{kind}", self.output),
            Route("/sandbox/bill", self.show_bill),
            Route("/sandbox/top-up", self.show_top_up, methods=["POST"]),
        ]
        return Starlette(routes=routes, exception_handlers={404: _wrong_url, 405: _wrong_url})

    def bill(self) -> Bill:
        """What was charged until now."""
        with self._lock:
            return self.provider.bill(self.clock.now())

    def top_up(self, credits: int) -> None:
        """Adds on-demand credits to the account."""
        with self._lock:
            self.provider.top_up(credits, self.clock.now())

    async def run(self, request: Request) -> Response:
        body, key = await request.body(), request.headers.get("authorization")
        webhook_url = request.query_params.get("webhook_url")
        with self._lock:
            answer = self.provider.run(body, key, self.clock.now(), webhook_url)
        if answer.accepted and webhook_url:
            self._tell(webhook_url, answer.accepted)
        return _response(answer)

    async def status(self, request: Request) -> Response:
        id, key = request.path_params["id"], request.headers.get("authorization")
        with self._lock:
            return _response(self.provider.status(id, key, self.clock.now()))

    async def credits(self, request: Request) -> Response:
        with self._lock:
            return _response(self.provider.credits(request.headers.get("authorization"), self.clock.now()))

    async def output(self, request: Request) -> Response:
        parts = request.path_params
        with self._lock:
            spec = self.provider.output(parts["id"], parts["index"], self.clock.now())
        if spec is None or spec.settings.output_format != parts["kind"]:
            return _response(answers.refusal("NotFound", "there is no such output, or it has expired"))
        return Response(await asyncio.to_thread(_picture, spec), media_type=f"image/{parts['kind']}")

    async def show_bill(self, request: Request) -> Response:
        return JSONResponse(self.bill().as_json())

    async def show_top_up(self, request: Request) -> Response:
        credits = request.query_params.get("credits", "")
        if not (credits.isascii() and credits.isdigit() and int(credits)):
            return _response(answers.refusal("BadRequest", "credits must be a whole number above 0"))
        self.top_up(int(credits))
        return JSONResponse({"credits_added": int(credits)})

    def _tell(self, url: str, id: str) -> None:
        """Starts telling a webhook in the background. The set keeps the task from being collected."""

        def body() -> bytes | None:
            with self._lock:
                return self.provider.webhook_body(id, self.clock.now())

        wait_seconds = self.provider.ends_seconds(id) - self.clock.now()
        task = asyncio.create_task(webhooks.deliver(url, body, wait_seconds, self.clock.speed))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)


class CutConnection(Response):
    """No response: the TCP connection is dropped with the answer unsent, by us or by the caller."""

    def __init__(self, *, waits: bool) -> None:
        super().__init__()
        self.waits = waits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self.waits:
            scope["state"][TRANSPORT].abort()
        # The server must have seen the loss before this returns, or it would try to answer 500.
        while (await receive())["type"] != "http.disconnect":
            pass


def _picture(spec: OutputSpec) -> bytes:
    from policies.server.sandbox.pictures import draw

    return draw(spec)


def _response(answer: Answer) -> Response:
    if answer.cut:
        return CutConnection(waits=answer.silent)
    return Response(answer.body, answer.status, dict(answer.headers))


async def _wrong_url(request: Request, error: Exception) -> Response:
    return _response(answers.refusal("NotFound", "there is nothing at this URL"))
