"""How much of an answer is read: up to a stated size and for a stated time, and then not a byte more.

Here belong the limits and reading under them. What a body says belongs to `answers`, and a picture's to
`pictures`. Whoever answers without end gets neither our memory nor our afternoon: such an answer is none.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import httpx


@dataclass(frozen=True, slots=True)
class Limit:
    """What one body may take at the most."""

    most_bytes: int
    """Of the body as it is read, which is after decompression."""
    most_seconds: float
    """From the first byte of the body on."""


ANSWER: Final = Limit(1 << 20, 60.0)
"""An id, an error or a balance: a few hundred bytes."""
STATUS: Final = Limit(256 << 20, 600.0)
"""Pictures may come inside a status answer, four of 16 megapixels each, as base64."""
PICTURE: Final = Limit(96 << 20, 600.0)
"""Twice what 16 megapixels take without any compression."""

_SLICE_BYTES: Final = 1024
"""Decompressed at once: what a thousand times as much would be is no harm yet."""


class BodyTooLarge(httpx.RequestError):
    """The body is larger than anything the provider would say."""


class _Parts:
    """What has come of a body so far."""

    def __init__(self, limit: Limit) -> None:
        self._parts: list[bytes] = []
        self._left_bytes = limit.most_bytes
        self._until = time.monotonic() + limit.most_seconds

    def add(self, part: bytes) -> None:
        self._left_bytes -= len(part)
        if self._left_bytes < 0:
            raise BodyTooLarge("the body is too large")
        if time.monotonic() > self._until:
            raise httpx.ReadTimeout("the body does not end")
        self._parts.append(part)

    def whole(self) -> bytes:
        return b"".join(self._parts)


def read(response: httpx.Response, limit: Limit, *, raw: bool = False) -> bytes:
    """The body of an answer; `raw` is as it came over the wire.

    Raises `BodyTooLarge` or `httpx.ReadTimeout` as soon as it passes the limit.

    >>> read(httpx.Response(200, content=b"{}"), ANSWER)
    b'{}'
    """
    parts = _Parts(limit)
    for part in response.iter_raw() if raw else response.iter_bytes():
        parts.add(part)
    return parts.whole()


async def aread(response: httpx.Response, limit: Limit, *, raw: bool = False) -> bytes:
    """What `read` does, for an event loop."""
    parts = _Parts(limit)
    async for part in response.aiter_raw() if raw else response.aiter_bytes():
        parts.add(part)
    return parts.whole()


def decoded(headers: httpx.Headers, raw: bytes, limit: Limit) -> bytes:
    """A body that was read raw, without its content encoding; raises `BodyTooLarge`."""
    if headers.get("content-encoding", "identity") == "identity":
        return raw
    return read(httpx.Response(200, headers=headers, stream=_Slices(raw)), limit)


class _Slices(httpx.SyncByteStream):
    """Bytes that are handed on little by little, so that a limit is noticed before they have grown."""

    def __init__(self, whole: bytes) -> None:
        self._whole = whole

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self._whole), _SLICE_BYTES):
            yield self._whole[start : start + _SLICE_BYTES]
