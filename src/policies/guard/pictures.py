"""Pictures on their way home: fetched or decoded, checked, and written whole or not at all.

Here belongs one picture at a time. What it is called belongs to `naming`, when it is fetched to
`runner`, from where it may be to `addresses`. The API key never goes along: outputs lie on another host
than the one it is for. A picture is kept as it came and never opened.
"""

from __future__ import annotations

import asyncio
import os
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import uuid4

import httpx

from planner.errors import OperatorError
from policies.guard import bodies
from policies.guard.addresses import hindrance

PAUSES_SECONDS: Final = (0.5, 2.0, 8.0)
"""Before the second, third and fourth try."""
GONE: Final = (403, 404, 410)
"""What a store of files answers when an output has expired."""
ENDINGS: Final = ("png", "jpeg")

REDIRECTS_MOST: Final = 5
TOO_LARGE: Final = "an output is larger than any picture"

_TIMEOUT: Final = httpx.Timeout(60.0, connect=10.0)
_HEADERS: Final = {"accept-encoding": "identity"}  # what is not compressed cannot grow while it is read
_BASE64_MOST: Final = bodies.PICTURE.most_bytes * 4 // 3 + 256
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_END: Final = b"IEND\xaeB`\x82"
_JPEG: Final = b"\xff\xd8\xff"
_JPEG_END: Final = b"\xff\xd9"
_TAIL_BYTES: Final = 4096


def _is_framed(headers: httpx.Headers) -> bool:
    """Whether the answer says how long it is, so that one which was cut off is an error of the connection."""
    return "content-length" in headers or "transfer-encoding" in headers


def _may_be_cut(data: bytes) -> bool:
    """Whether a JPEG lacks its end, which most have; a PNG that lacks it is no picture anyway."""
    return data.startswith(_JPEG) and _JPEG_END not in data[-_TAIL_BYTES:]


class Gone(Exception):
    """The provider no longer has the output."""


class NotFetched(Exception):
    """It did not come whole in a few tries; a later run tries again."""


class Refused(NotFetched):
    """It is not fetched, and no second try is made; its text says why."""


def kind_of(data: bytes) -> str | None:
    """`png` or `jpeg` by the bytes themselves, whatever a name or header says; None for neither.

    A PNG says where it ends, so that one which was cut off is known as such.

    >>> kind_of(b"\\xff\\xd8\\xff\\xe0 and so on"), kind_of(b"<html>")
    ('jpeg', None)
    """
    if data.startswith(_PNG):
        return "png" if _PNG_END in data[-64:] else None
    return "jpeg" if data.startswith(_JPEG) and len(data) > len(_JPEG) else None


def is_complete(path: Path) -> bool:
    """Whether a whole picture stands in that file."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
            file.seek(max(8, file.seek(0, os.SEEK_END) - 64))
            return kind_of(head + file.read()) is not None
    except OSError:
        return False


def existing(folder: Path, name: str) -> str | None:
    """The relative path of the picture of that name that is home already, or None."""
    for ending in ENDINGS:
        if is_complete(folder / f"{name}.{ending}"):
            return f"{name}.{ending}"
    return None


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is never seen half; raises `OperatorError` when that cannot be done."""
    temporary = path.with_name(f".{uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OperatorError(
            f"`{path}` cannot be written: {(error.strerror or type(error).__name__).lower()}",
            code="unwritable",
            hint="what was paid stays in the ledger: run the same command again once it can be written",
        ) from error


@dataclass(slots=True)
class Brought:
    """What came of the pictures of one job."""

    files: list[str] = field(default_factory=list)
    """Relative to the folder, in the order of the outputs."""
    gone: int = 0
    missing: int = 0
    """Not fetched, and perhaps there later."""
    refused: str = ""
    """Why one of the missing was not even tried, or not to its end."""
    unwritable: OperatorError | None = None


class PictureFolder:
    """A folder into which pictures are brought."""

    def __init__(self, folder: Path, *, speed: float = 1.0) -> None:
        self.folder = folder
        self._speed = speed
        self._client = httpx.AsyncClient(timeout=_TIMEOUT, headers=_HEADERS)

    def home(self, names: Sequence[str]) -> list[str]:
        """Those of the pictures that are home already."""
        found = (existing(self.folder, name) for name in names)
        return [path for path in found if path is not None]

    async def bring(
        self,
        outputs: Sequence[str],
        names: Sequence[str],
        *,
        beside: str,
        keep: bool = False,
        made_after: float = 0.0,
    ) -> Brought:
        """Bring the outputs home under these names, and say what became of each.

        With `keep` a picture that is home is not fetched again, if its file was written after that
        second of the epoch. `beside` is the provider's own address: only a stand-in on this network has
        its pictures there.
        """
        brought = Brought()
        for output, name in zip(outputs, names, strict=True):
            try:
                home = self._kept(name, made_after) if keep else None
                brought.files.append(home or await self._bring(output, name, beside))
            except Gone:
                brought.gone += 1
            except Refused as refused:
                brought.missing += 1
                brought.refused = str(refused)
            except NotFetched:
                brought.missing += 1
            except OperatorError as error:
                brought.missing += 1
                brought.unwritable = error
        return brought

    def _kept(self, name: str, made_after: float) -> str | None:
        path = existing(self.folder, name)
        is_own = path is not None and (self.folder / path).stat().st_mtime >= made_after
        return path if is_own else None

    async def _bring(self, output: str, name: str, beside: str) -> str:
        data, kind = await self._fetched(output, beside)
        path = f"{name}.{kind}"
        await asyncio.to_thread(write_whole, self.folder / path, data)
        return path

    async def _fetched(self, output: str, beside: str) -> tuple[bytes, str]:
        """The whole picture and its kind; raises `Gone` or `NotFetched` when no try brought it."""
        for pause in (*PAUSES_SECONDS, None):
            gone = False
            try:
                data = await self._data(output, beside)
                if (kind := kind_of(data)) is not None:
                    return data, kind
            except Gone:
                gone = True
            except bodies.BodyTooLarge:
                raise Refused(TOO_LARGE) from None
            except (httpx.HTTPError, httpx.InvalidURL, ValueError):
                pass
            if pause is None or output.startswith("data:"):
                break
            await asyncio.sleep(pause / self._speed)
        raise Gone if gone else NotFetched

    async def _data(self, output: str, beside: str) -> bytes:
        if not output.startswith("data:"):
            return await self._downloaded(output, beside)
        if len(output) > _BASE64_MOST:
            raise Refused(TOO_LARGE)
        return b64decode(output.partition(";base64,")[2], validate=True)

    async def _downloaded(self, address: str, beside: str) -> bytes:
        """What lies at an address; a redirect is followed where it leads to a place that is asked, too."""
        for _ in range(REDIRECTS_MOST + 1):
            if (reason := hindrance(address, beside)) is not None:
                raise Refused(reason)
            async with self._client.stream("GET", address) as response:
                if response.next_request is None:
                    if response.status_code in GONE:
                        raise Gone
                    response.raise_for_status()
                    data = await bodies.aread(response, bodies.PICTURE)
                    if not _is_framed(response.headers) and _may_be_cut(data):
                        raise httpx.ReadError("nobody says whether it is whole")
                    return data
                address = str(response.next_request.url)
        raise httpx.TooManyRedirects("too many redirects")

    async def close(self) -> None:
        await self._client.aclose()
