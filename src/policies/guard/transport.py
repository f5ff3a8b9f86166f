"""The guard as a transport of httpx: under the official SDK, or under any client that is there already.

Here belong the two transports, the caller's own way to the provider as the shells want it, and `wrapped`.
What goes through is judged by `exchange`. Through a guarded transport go the three calls of the API, and
calls without a key that only read, such as fetching a picture; anything else is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import quote

import httpx

from planner.errors import ConfigError, PlannerError
from policies.guard.answers import Answer, NoAnswer, Reply
from policies.guard.exchange import NO_RETRY, Exchange, refusal
from policies.guard.guard import WAIT_SECONDS, Guard
from policies.guard.shells import adrive, drive
from policies.guard.submissions import OWN_HEADERS, Call, Unpriced, Wanted
from policies.guard.wire import answer_of, failure_of

_API: Final = re.compile(r"(?P<prefix>.*)/v1/(?:(?P<run>run)|(?P<credits>credits)|status/(?P<id>[^/]+))")
_OF_THE_BODY: Final = frozenset(
    {b"content-type", b"content-length", b"content-encoding", b"transfer-encoding"}
)
_OWN: Final = OWN_HEADERS.encode()

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


# -- the caller's way to the provider ------------------------------------------------------------


class _Way:
    """What both ways share: the caller's address, headers and time-outs, and what came back last."""

    def __init__(self, request: httpx.Request, base_url: str, wanted: Wanted | None = None) -> None:
        self._request = _stripped(request)
        self._base_url = base_url
        self._wanted = wanted
        self.response: httpx.Response | None = None
        """The provider's last answer, as the caller may have it: of a POST that of the last try, of a look
        one that tells something, even if a further look of the guard then fails; None where none came."""
        self.error: Exception | None = None
        """Why there is none."""

    def status_url(self, prediction_id: str) -> str:
        return f"{self._base_url}/v1/status/{quote(prediction_id, safe='')}"

    @property
    def credits_url(self) -> str:
        return f"{self._base_url}/v1/credits"

    def _post(self, body: bytes) -> httpx.Request:
        """The decided bytes, as the caller wrote them where the decision changed nothing of them."""
        wanted = self._wanted
        if wanted is not None and wanted.verbatim is not None and body == wanted.request.body():
            body = wanted.verbatim
        headers = [*self._headers(), (b"content-type", b"application/json")]
        return httpx.Request(
            "POST", self._request.url, headers=headers, content=body, extensions=self._request.extensions
        )

    def _get(self, url: str) -> httpx.Request:
        """A caller's own GET is the guard's look, too; beside a POST the guard asks by itself."""
        if self._request.method == "GET":
            return self._request
        return httpx.Request("GET", url, headers=self._headers(), extensions=self._request.extensions)

    def _headers(self) -> list[tuple[bytes, bytes]]:
        items = self._request.headers.raw
        return [(name, text) for name, text in items if name.lower() not in _OF_THE_BODY]

    def _came(self, response: httpx.Response, raw: bytes | None) -> Reply:
        """An answer with its body as it came over the wire; None: somebody beneath has read it already."""
        headers, status = response.headers.copy(), response.status_code
        if raw is None:
            raw = response.content
            for name in ("content-encoding", "content-length", "transfer-encoding"):
                headers.pop(name, None)
        if self._request.method == "POST" or self.response is None or status == 200:
            stream, extensions = httpx.ByteStream(raw), response.extensions
            self.response = httpx.Response(status, headers=headers, stream=stream, extensions=extensions)
            self.error = None
        return answer_of(httpx.Response(status, headers=headers, content=raw))

    def _failed(self, error: Exception) -> Reply:
        """Whatever a transport underneath raises: bytes may have left, unless httpx says otherwise."""
        if self._request.method == "POST" or self.response is None:
            self.response, self.error = None, error
        return failure_of(error) if isinstance(error, httpx.HTTPError) else NoAnswer(type(error).__name__)

    def result(self, answer: Answer | None = None) -> httpx.Response:
        """What the caller gets: our answer, else the provider's; raises where there is neither."""
        if answer is not None:
            return _response(answer)
        if self.response is None:
            assert self.error is not None
            raise self.error
        if self._request.method == "POST":
            self.response.headers.update(NO_RETRY)
        return self.response


class _SyncWay(_Way):
    def __init__(
        self,
        inner: httpx.BaseTransport,
        request: httpx.Request,
        base_url: str,
        wanted: Wanted | None = None,
    ) -> None:
        super().__init__(request, base_url, wanted)
        self._inner = inner

    def run(self, body: bytes) -> Reply:
        return self._send(self._post(body))

    def get(self, url: str) -> Reply:
        return self._send(self._get(url))

    def _send(self, request: httpx.Request) -> Reply:
        try:
            response = self._inner.handle_request(request)
            try:
                raw = None if response.is_stream_consumed else b"".join(response.iter_raw())
            finally:
                response.close()
            return self._came(response, raw)
        except Exception as error:
            return self._failed(error)


class _AsyncWay(_Way):
    def __init__(
        self,
        inner: httpx.AsyncBaseTransport,
        request: httpx.Request,
        base_url: str,
        wanted: Wanted | None = None,
    ) -> None:
        super().__init__(request, base_url, wanted)
        self._inner = inner

    async def run(self, body: bytes) -> Reply:
        return await self._send(self._post(body))

    async def get(self, url: str) -> Reply:
        return await self._send(self._get(url))

    async def _send(self, request: httpx.Request) -> Reply:
        try:
            response = await self._inner.handle_async_request(request)
            try:
                is_read = response.is_stream_consumed
                raw = None if is_read else b"".join([part async for part in response.aiter_raw()])
            finally:
                await response.aclose()
            return self._came(response, raw)
        except Exception as error:
            return self._failed(error)


def _stripped(request: httpx.Request) -> httpx.Request:
    """The same call without the headers that are for the guard alone."""
    headers = [item for item in request.headers.raw if not item[0].lower().startswith(_OWN)]
    return httpx.Request(
        request.method, request.url, headers=headers, stream=request.stream, extensions=request.extensions
    )


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
                way = _SyncWay(self._free, request, base_url)
                drive(self._exchange.looking(prediction_id, base_url), way)
                return way.result()
            case _Credits(base_url):
                way = _SyncWay(self._free, request, base_url)
                drive(self._exchange.balance(base_url), way)
                return way.result()
            case Answer() as refused:
                return _response(refused)
            case _Harmless():
                return self._free.handle_request(_stripped(request))

    def _run(self, request: httpx.Request, base_url: str) -> httpx.Response:
        request.read()
        call = _call(request)
        try:
            wanted = self._exchange.read(call)
        except PlannerError as error:
            return _response(refusal(error))
        way = _SyncWay(self._paid, request, base_url, wanted)
        steps = self._exchange.submitting(wanted, base_url, is_repeated=call.is_repeated)
        return way.result(drive(steps, way))

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
                way = _AsyncWay(self._free, request, base_url)
                await adrive(self._exchange.looking(prediction_id, base_url), way)
                return way.result()
            case _Credits(base_url):
                way = _AsyncWay(self._free, request, base_url)
                await adrive(self._exchange.balance(base_url), way)
                return way.result()
            case Answer() as refused:
                return _response(refused)
            case _Harmless():
                return await self._free.handle_async_request(_stripped(request))

    async def _run(self, request: httpx.Request, base_url: str) -> httpx.Response:
        await request.aread()
        call = _call(request)
        try:
            wanted = self._exchange.read(call)
        except PlannerError as error:
            return _response(refusal(error))
        way = _AsyncWay(self._paid, request, base_url, wanted)
        steps = self._exchange.submitting(wanted, base_url, is_repeated=call.is_repeated)
        return way.result(await adrive(steps, way))

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
