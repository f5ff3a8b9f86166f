"""A caller's own way to the provider, as the shells want it: its address, headers, time-outs and transport.

Here belongs carrying the guard's effects over somebody else's transport, and keeping what the provider
said for the caller. What is sent and what an answer means is decided elsewhere.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

import httpx

from policies.guard import bodies
from policies.guard.answers import NO_RETRY, NoAnswer, Reply
from policies.guard.submissions import OWN_HEADERS, Wanted
from policies.guard.wire import answer_of, failure_of

_OF_THE_BODY: Final = frozenset(
    {b"content-type", b"content-length", b"content-encoding", b"transfer-encoding"}
)
_OWN: Final = OWN_HEADERS.encode()


class _Way:
    """What both ways share: the caller's address, headers and time-outs, and what came back last."""

    def __init__(self, request: httpx.Request, base_url: str, wanted: Wanted | None = None) -> None:
        self._request = stripped(request)
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

    def _limit(self, request: httpx.Request) -> bodies.Limit:
        is_status = request.method == "GET" and str(request.url) != self.credits_url
        return bodies.STATUS if is_status else bodies.ANSWER

    def _came(self, response: httpx.Response, raw: bytes | None, limit: bodies.Limit) -> Reply:
        """An answer with its body as it came over the wire; None: somebody beneath has read it already."""
        headers, status = response.headers.copy(), response.status_code
        if raw is None:
            raw = response.content
            for name in ("content-encoding", "content-length", "transfer-encoding"):
                headers.pop(name, None)
        body = bodies.decoded(headers, raw, limit)
        # A client that follows redirects would take another host's word for the provider's.
        headers.pop("location", None)
        if self._request.method == "POST" or self.response is None or status == 200:
            stream, extensions = httpx.ByteStream(raw), response.extensions
            self.response = httpx.Response(status, headers=headers, stream=stream, extensions=extensions)
            self.error = None
        return answer_of(response, body)

    def _failed(self, error: Exception) -> Reply:
        """Whatever a transport underneath raises: bytes may have left, unless httpx says otherwise."""
        if self._request.method == "POST" or self.response is None:
            self.response, self.error = None, error
        return failure_of(error) if isinstance(error, httpx.HTTPError) else NoAnswer(type(error).__name__)

    def result(self) -> httpx.Response:
        """What the provider said, for the caller; raises what went wrong where it said nothing."""
        if self.response is None:
            assert self.error is not None
            raise self.error
        if self._request.method == "POST":
            self.response.headers.update(NO_RETRY)
        return self.response


class SyncWay(_Way):
    """For threads."""

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
            response, limit = self._inner.handle_request(request), self._limit(request)
            try:
                is_read = response.is_stream_consumed
                raw = None if is_read else bodies.read(response, limit, raw=True)
            finally:
                response.close()
            return self._came(response, raw, limit)
        except Exception as error:
            return self._failed(error)


class AsyncWay(_Way):
    """For an event loop."""

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
            response, limit = await self._inner.handle_async_request(request), self._limit(request)
            try:
                is_read = response.is_stream_consumed
                raw = None if is_read else await bodies.aread(response, limit, raw=True)
            finally:
                await response.aclose()
            return self._came(response, raw, limit)
        except Exception as error:
            return self._failed(error)


def stripped(request: httpx.Request) -> httpx.Request:
    """The same call without the headers that are for the guard alone."""
    headers = [item for item in request.headers.raw if not item[0].lower().startswith(_OWN)]
    return httpx.Request(
        request.method, request.url, headers=headers, stream=request.stream, extensions=request.extensions
    )
