"""The only door to the network: the provider's three calls over httpx, as replies of `answers`.

Here belong addresses, headers, time-outs, and telling *nothing was sent* from *nobody knows*. A POST
that is paid for gets a connection of its own: a kept connection that the server closes at the wrong
moment looks like a lost answer, and a lost answer costs a slot and a person's time. Redirects are never
followed, because the key goes to one address alone; how much of an answer is read stands in `bodies`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx

from planner.errors import ConfigError
from policies.guard import bodies
from policies.guard.answers import Answer, NoAnswer, NotSent, Reply

LIVE_URL: Final = "https://api.fashn.ai"
RUN_TIMEOUT: Final = httpx.Timeout(60.0, connect=10.0)
READ_TIMEOUT: Final = httpx.Timeout(20.0, connect=10.0)

_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


def is_live(base_url: str) -> bool:
    """Whether that address is the provider's own; any other is a stand-in."""
    host = (urlsplit(base_url).hostname or "").rstrip(".")
    return host == "fashn.ai" or host.endswith(".fashn.ai")


def provider_address(base_url: str | None, environment: Mapping[str, str] = os.environ) -> str:
    """The provider's address: the argument, else `FASHN_BASE_URL`, else the live one."""
    address = (base_url or environment.get("FASHN_BASE_URL") or LIVE_URL).rstrip("/")
    parts = urlsplit(address)
    usual = parts.scheme in ("http", "https") and parts.hostname
    if not usual or parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            f"`{parts.scheme}://{parts.hostname or ''}` is not the address of a provider",
            code="bad_base_url",
            hint="for example https://api.fashn.ai, without /v1",
        )
    if is_live(address) and parts.scheme != "https":
        message = "the provider is asked over https only: anybody on the way could read the key"
        raise ConfigError(message, code="bad_base_url", hint=LIVE_URL)
    return address.removesuffix("/v1")


def provider_key(given: str | None, environment: Mapping[str, str] = os.environ) -> str:
    """The key: the argument, else `FASHN_API_KEY`; raises `ConfigError` where there is none."""
    key = (given or environment.get("FASHN_API_KEY") or "").strip()
    if not key:
        raise ConfigError("there is no API key", code="missing_key", hint="set FASHN_API_KEY")
    if not key.isascii() or not key.isprintable():
        raise ConfigError(
            "the API key holds characters that no key has", code="bad_key", hint="copy it again"
        )
    return key


class _Address:
    """What both wires share: where to, and with which headers."""

    def __init__(self, base_url: str, key: str) -> None:
        self.base_url = base_url
        self._run_url = f"{base_url}/v1/run"
        self._headers = {
            "authorization": f"Bearer {key}",
            "content-type": "application/json",
            "accept-encoding": "identity",  # what is not compressed cannot grow while it is read
        }

    def status_url(self, prediction_id: str) -> str:
        return f"{self.base_url}/v1/status/{quote(prediction_id, safe='')}"

    @property
    def credits_url(self) -> str:
        return f"{self.base_url}/v1/credits"

    def _limit(self, url: str) -> bodies.Limit:
        return bodies.ANSWER if url == self.credits_url else bodies.STATUS

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"


class Wire(_Address):
    """The provider for threads."""

    def __init__(self, base_url: str, key: str) -> None:
        super().__init__(base_url, key)
        self._connect()

    def _connect(self) -> None:
        self._process = os.getpid()
        self._paid = httpx.Client(limits=httpx.Limits(max_keepalive_connections=0))
        self._free = httpx.Client()

    def _after_fork(self) -> None:
        """A kept connection must not be read on both sides of a fork."""
        if self._process != os.getpid():
            self._connect()

    def run(self, body: bytes) -> Reply:
        """The paid POST, once."""
        self._after_fork()
        request = self._paid.build_request(
            "POST", self._run_url, content=body, headers=self._headers, timeout=RUN_TIMEOUT
        )
        return _reply(self._paid, request, bodies.ANSWER)

    def get(self, url: str) -> Reply:
        self._after_fork()
        request = self._free.build_request("GET", url, headers=self._headers, timeout=READ_TIMEOUT)
        return _reply(self._free, request, self._limit(url))

    def close(self) -> None:
        self._paid.close()
        self._free.close()


class AsyncWire(_Address):
    """The provider for an event loop."""

    def __init__(self, base_url: str, key: str) -> None:
        super().__init__(base_url, key)
        self._paid = httpx.AsyncClient(limits=httpx.Limits(max_keepalive_connections=0))
        self._free = httpx.AsyncClient()

    async def run(self, body: bytes) -> Reply:
        """The paid POST, once."""
        request = self._paid.build_request(
            "POST", self._run_url, content=body, headers=self._headers, timeout=RUN_TIMEOUT
        )
        return await _areply(self._paid, request, bodies.ANSWER)

    async def get(self, url: str) -> Reply:
        request = self._free.build_request("GET", url, headers=self._headers, timeout=READ_TIMEOUT)
        return await _areply(self._free, request, self._limit(url))

    async def close(self) -> None:
        await self._paid.aclose()
        await self._free.aclose()


def _reply(client: httpx.Client, request: httpx.Request, limit: bodies.Limit) -> Reply:
    try:
        response = client.send(request, stream=True, follow_redirects=False)
        try:
            return answer_of(response, bodies.read(response, limit))
        finally:
            response.close()
    except httpx.HTTPError as error:
        return failure_of(error)


async def _areply(client: httpx.AsyncClient, request: httpx.Request, limit: bodies.Limit) -> Reply:
    try:
        response = await client.send(request, stream=True, follow_redirects=False)
        try:
            return answer_of(response, await bodies.aread(response, limit))
        finally:
            await response.aclose()
    except httpx.HTTPError as error:
        return failure_of(error)


def failure_of(error: httpx.HTTPError) -> Reply:
    """The kind of the failure only: its text may hold an address with something private in it."""
    reason = type(error).__name__
    return NotSent(reason) if isinstance(error, _NOT_SENT) else NoAnswer(reason)


def answer_of(response: httpx.Response, body: bytes) -> Answer:
    """An answer that came, with its body, as `answers` reads it."""
    headers: dict[str, Any] = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, headers, body)
