"""What a caller's POST asks for, read strictly: the request with its key and labels, or why there is none.

Pure: here belongs how an HTTP call of somebody else becomes an ask, and that only what the price book can
price is one. Two readings of one body are worth money, so a body that another reader could read otherwise
(a name given twice, `NaN`, half a character) is refused rather than understood.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from planner.errors import Fault, InvalidRequest
from planner.request import MODEL_NAME, ModelCreateRequest, parse_request
from policies.ledger.entries import clean_key

OWN_HEADERS: Final = "x-planner-"
"""How the headers begin that are for the guard alone: they are never sent on."""
_LABEL, _KEY, _SHOOT = (f"{OWN_HEADERS}{name}" for name in ("label-", "key", "shoot"))
_QUERY: Final = frozenset({"webhook_url"})
"""What may stand in the address of a paid call: who is told of its end changes nothing of its price."""


class Unpriced(InvalidRequest):
    """Something under the key that the price book cannot price."""

    code = "unpriced"


@dataclass(frozen=True, slots=True)
class Call:
    """A paid POST as it came: names of headers in lower case, the body as bytes."""

    query: frozenset[str]
    """The names of the query parameters."""
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def is_repeated(self) -> bool:
        """Whether the official SDK says that it has sent this before."""
        return self.headers.get("x-stainless-retry-count", "0").strip() not in ("", "0")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a call asks for, and for whom."""

    request: ModelCreateRequest = field(repr=False)
    key: str | None
    """None: the call is a key of its own."""
    shoot: str | None
    labels: Mapping[str, str]
    verbatim: bytes | None = field(repr=False)
    """The caller's own bytes, where they say the request and nothing else."""


def read_call(call: Call, declared: Iterable[str]) -> Wanted:
    """What a call asks for; `declared` are the names of the policy's labels.

    Raises `InvalidRequest` for what the provider would refuse and `Unpriced` for what has no price.

    >>> body = b'{"model_name": "model-create", "inputs": {"prompt": "x", "resolution": "2k"}}'
    >>> wanted = read_call(Call(frozenset(), {"x-planner-label-team": "social"}, body), ["team"])
    >>> wanted.request.resolution, dict(wanted.labels), wanted.verbatim == body
    ('2k', {'team': 'social'}, True)
    """
    document = _document(call.body)
    _only_what_is_priced(document, call.query)
    try:
        request = parse_request(document["inputs"])
    except InvalidRequest as error:
        if all(fault.code == "unknown_field" for fault in error.faults):
            raise Unpriced(faults=error.faults) from None
        raise
    key, shoot, labels = _own_headers(call.headers, declared)
    same = document == {"model_name": MODEL_NAME, "inputs": request.inputs()}
    return Wanted(request, key, shoot, labels, call.body if same else None)


def _document(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("inputs"), dict):
        raise InvalidRequest(
            "the body is not a JSON object with `model_name` and `inputs`",
            hint="a name that is given twice counts as a fault, too",
        )
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice")
    return found


def _no_constant(_: str) -> NoReturn:
    raise ValueError("not a JSON number")


def _only_what_is_priced(document: Mapping[str, Any], query: frozenset[str]) -> None:
    model = document.get("model_name")
    if not isinstance(model, str):
        raise InvalidRequest("`model_name` is missing", field="model_name", hint=f"use {MODEL_NAME}")
    if model != MODEL_NAME:
        raise Unpriced(f"`{_shown(model)}` has no price", hint=f"what has one: {MODEL_NAME}")
    unknown = sorted({*document} - {"model_name", "inputs"} | query - _QUERY)
    if unknown:
        faults = [Fault("unpriced", f"`{_shown(name)}` beside `inputs` has no price") for name in unknown]
        raise Unpriced(faults=faults)


def _shown(text: str) -> str:
    """A name as it can stand in a message."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text[:40])


def _own_headers(
    headers: Mapping[str, str], declared: Iterable[str]
) -> tuple[str | None, str | None, dict[str, str]]:
    """Key, shoot and labels. Headers know no capitals and no underscores, so a label is found by either."""
    names = {_as_header(name): name for name in declared}
    key, shoot, labels = None, None, {}
    for header, text in headers.items():
        if header.startswith(_LABEL):
            given = header.removeprefix(_LABEL)
            labels[names.get(_as_header(given), given)] = text
        elif header == _KEY:
            key = clean_key(text)
        elif header == _SHOOT:
            shoot = clean_key(text)
        elif header.startswith(OWN_HEADERS):
            hint = f"known: {_KEY}, {_SHOOT}, {_LABEL}NAME"
            raise InvalidRequest(f"`{header[:60]}` is not a header of the guard", hint=hint)
    return key, shoot, labels


def _as_header(name: str) -> str:
    return name.lower().replace("_", "-")
