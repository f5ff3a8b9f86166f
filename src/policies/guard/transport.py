"""The guard as a transport of httpx: under the official SDK, or under any client that is there already.

Here belong which call is which, the two transports, and `wrapped`; what goes through is judged by
`exchange`. Through a guarded transport go the three calls of the API, and calls without a key that only
read, such as fetching a picture; anything else is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import httpx

from planner.errors import ConfigError, PlannerError
from policies.guard.answers import Answer
from policies.guard.exchange import Exchange, refusal
from policies.guard.guard import WAIT_SECONDS, Guard
from policies.guard.shells import adrive, drive
from policies.guard.submissions import Call, Unpriced
from policies.guard.ways import AsyncWay, SyncWay, stripped

_API: Final = re.compile(r"(?P<prefix>.*)/v1/(?:(?P<run>run)|(?P<credits>credits)|status/(?P<id>[^/]+))")

Client = TypeVar("Client", httpx.Client, httpx.AsyncClient)


# -- what a call is ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Run:
    base_url: str


@dataclass(frozen=True, slots=True)
class _Status:
    base_url: str
    prediction_id: str


@dataclass(frozen=True, slots=True)
class _Credits:
    base_url: str


class _Harmless:
    """It has no key and only reads: nothing that the guard knows of can come of it."""


def _kind(request: httpx.Request) -> _Run | _Status | _Credits | _Harmless | Answer:
    """Which call this is; an answer where it is none that may pass."""
    url, method = request.url, request.method.upper()
    found = _API.fullmatch(url.path)
    if found:
        base_url = f"{url.scheme}://{url.netloc.decode('ascii')}{found['prefix']}"
        if found["run"] and method == "POST":
            return _Run(base_url)
        if found["credits"] and method == "GET":
            return _Credits(base_url)
        if found["id"] and method == "GET":
            return _Status(base_url, found["id"])
    elif method in ("GET", "HEAD") and "authorization" not in request.headers:
        return _Harmless()
    return refusal(Unpriced(f"{method} of this path has no price", hint="what passes: run, status, credits"))


def _call(request: httpx.Request) -> Call:
    query = frozenset(request.url.params.keys())
    return Call(query, {name.lower(): text for name, text in request.headers.items()}, request.content)


def _response(answer: Answer) -> httpx.Response:
    return httpx.Response(answer.status, headers=dict(answer.headers), content=answer.body)


# -- the transports ------------------------------------------------------------------------------


class GuardTransport(httpx.BaseTransport):
    """The guard under a client for threads.

    `labels` and `shoot` are those of every call that does not name its own. `inner` carries what may go;
    without one, paid calls have connections of their own. A call waits for a slot at most `wait_seconds`
    (None: as long as it takes). May be used by many threads at once; closing it leaves the guard open.

        Fashn(http_client=httpx.Client(transport=GuardTransport(guard, labels={"team": "social"})))
    """

    def __init__(
        self,
        guard: Guard,
        *,
        labels: Mapping[str, str] | None = None,
        shoot: str | None = None,
        inner: httpx.BaseTransport | None = None,
        wait_seconds: float | None = WAIT_SECONDS,
    ) -> None:
        self._exchange = Exchange(guard, labels=labels, shoot=shoot, wait_seconds=wait_seconds)
        self._paid = inner or httpx.HTTPTransport(limits=httpx.Limits(max_keepalive_connections=0))
        self._free = inner or httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The provider's answer, or a refusal in its shape."""
        match _kind(request):
            case _Run(base_url):
                return self._run(request, base_url)
            case _Status(base_url, prediction_id):
                way = SyncWay(self._free, request, base_url)
                drive(self._exchange.looking(prediction_id, base_url), way)
                return way.result()
            case _Credits(base_url):
                way = SyncWay(self._free, request, base_url)
                drive(self._exchange.balance(base_url), way)
                return way.result()
            case Answer() as refused:
                return _response(refused)
            case _Harmless():
                return self._free.handle_request(stripped(request))

    def _run(self, request: httpx.Request, base_url: str) -> httpx.Response:
        request.read()
        call = _call(request)
        try:
            wanted = self._exchange.read(call)
        except PlannerError as error:
            return _response(refusal(error))
        way = SyncWay(self._paid, request, base_url, wanted)
        steps = self._exchange.submitting(wanted, base_url, is_repeated=call.is_repeated)
        answer = drive(steps, way)
        return way.result() if answer is None else _response(answer)

    def close(self) -> None:
        self._paid.close()
        self._free.close()


class AsyncGuardTransport(httpx.AsyncBaseTransport):
    """The guard under a client for an event loop; what `GuardTransport` says holds here too.

    A cancelled call books what may have been sent before the cancellation is raised.
    """

    def __init__(
        self,
        guard: Guard,
        *,
        labels: Mapping[str, str] | None = None,
        shoot: str | None = None,
        inner: httpx.AsyncBaseTransport | None = None,
        wait_seconds: float | None = WAIT_SECONDS,
    ) -> None:
        self._exchange = Exchange(guard, labels=labels, shoot=shoot, wait_seconds=wait_seconds)
        self._paid = inner or httpx.AsyncHTTPTransport(limits=httpx.Limits(max_keepalive_connections=0))
        self._free = inner or httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The provider's answer, or a refusal in its shape."""
        match _kind(request):
            case _Run(base_url):
                return await self._run(request, base_url)
            case _Status(base_url, prediction_id):
                way = AsyncWay(self._free, request, base_url)
                await adrive(self._exchange.looking(prediction_id, base_url), way)
                return way.result()
            case _Credits(base_url):
                way = AsyncWay(self._free, request, base_url)
                await adrive(self._exchange.balance(base_url), way)
                return way.result()
            case Answer() as refused:
                return _response(refused)
            case _Harmless():
                return await self._free.handle_async_request(stripped(request))

    async def _run(self, request: httpx.Request, base_url: str) -> httpx.Response:
        await request.aread()
        call = _call(request)
        try:
            wanted = self._exchange.read(call)
        except PlannerError as error:
            return _response(refusal(error))
        way = AsyncWay(self._paid, request, base_url, wanted)
        steps = self._exchange.submitting(wanted, base_url, is_repeated=call.is_repeated)
        answer = await adrive(steps, way)
        return way.result() if answer is None else _response(answer)

    async def aclose(self) -> None:
        await self._paid.aclose()
        await self._free.aclose()


# -- clients that are there already --------------------------------------------------------------


def wrapped(
    client: Client,
    guard: Guard,
    *,
    labels: Mapping[str, str] | None = None,
    shoot: str | None = None,
    wait_seconds: float | None = WAIT_SECONDS,
) -> Client:
    """The same client, guarded; its own transport and its mounts carry what may go.

    Raises `ConfigError` for a client that is guarded already: it would decide everything twice.
    """
    # httpx has no public way to its transports; these two names are as old as the client itself.
    held: dict[str, Any] = vars(client)
    if any(isinstance(found, _GUARDS) for found in (held["_transport"], *held["_mounts"].values())):
        raise ConfigError("this client is guarded already", code="guarded_twice", hint="wrap it once")

    kind = _kind_for(client)

    def over(inner: Any) -> httpx.BaseTransport | httpx.AsyncBaseTransport:
        return kind(guard, labels=labels, shoot=shoot, inner=inner, wait_seconds=wait_seconds)

    mounts = {place: inner and over(inner) for place, inner in held["_mounts"].items()}
    held.update(_transport=over(held["_transport"]), _mounts=mounts)
    return client


def _kind_for(
    client: httpx.Client | httpx.AsyncClient,
) -> type[GuardTransport] | type[AsyncGuardTransport]:
    return GuardTransport if isinstance(client, httpx.Client) else AsyncGuardTransport


_GUARDS: Final = (GuardTransport, AsyncGuardTransport)
