"""What goes back over the wire: answers as values, and the provider's shapes for them.

Which answer is given belongs to `provider`; how it is sent, or cut off, belongs to `routes`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

CREDITS_USED: Final = "x-fashn-credits-used"

_JSON: Final = {"content-type": "application/json"}
_HTML: Final = {"content-type": "text/html"}

STATUS_OF: Final[Mapping[str, int]] = {
    "BadRequest": 400,
    "UnauthorizedAccess": 401,
    "NotFound": 404,
    "RateLimitExceeded": 429,
    "ConcurrencyLimitExceeded": 429,
    "OutOfCredits": 429,
    "InternalServerError": 500,
}
"""The error names of the API and the HTTP status each comes with."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer. With `cut` the connection is dropped and nothing of it is sent; where it is
    `silent`, too, the caller is left to drop it.

    `accepted` is the id of the prediction that the call started, whatever the caller is told.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: _JSON)
    cut: bool = False
    silent: bool = False
    accepted: str | None = None

    def json(self) -> Any:
        """The body read as JSON."""
        return json.loads(self.body)


class Refused(Exception):
    """A call that the provider refuses with one of the names in `STATUS_OF`."""

    def __init__(self, name: str, message: str) -> None:
        self.name = name
        self.message = message
        super().__init__(f"{name}: {message}")


def document(value: Any, headers: Mapping[str, str] | None = None, accepted: str | None = None) -> Answer:
    """A 200 with a JSON body."""
    body = json.dumps(value, separators=(",", ":")).encode()
    return Answer(200, body, {**_JSON, **headers} if headers else _JSON, accepted=accepted)


def refusal(name: str, message: str) -> Answer:
    """An error in the provider's own shape.

    >>> refusal("NotFound", "no such prediction").body
    b'{"error":"NotFound","message":"no such prediction"}'
    """
    body = json.dumps({"error": name, "message": message}, separators=(",", ":")).encode()
    return Answer(STATUS_OF[name], body)


def connection_cut(accepted: str | None = None) -> Answer:
    """No answer at all: the connection drops."""
    return Answer(0, cut=True, accepted=accepted)


def silence(accepted: str | None = None) -> Answer:
    """No answer at all, and the caller has to find out by waiting."""
    return Answer(0, cut=True, silent=True, accepted=accepted)


def proxy_page(accepted: str | None = None) -> Answer:
    """A page of something between the caller and the provider, which says nothing about the call."""
    page = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
    return Answer(502, page, _HTML, accepted=accepted)


def redirect(accepted: str | None = None) -> Answer:
    """A 307 back to the same place: whoever follows it sends the paid call once more."""
    return Answer(307, b"", {"location": "/v1/run"}, accepted=accepted)
