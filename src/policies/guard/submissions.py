"""What a caller's POST asks for, read strictly: the request with its key and labels, or why there is none.

Pure: here belongs how an HTTP call of somebody else becomes an ask, and what of it has no price, which the
policy has to allow. Two readings of one body are worth money, so a body that another reader could read
otherwise (a name given twice, `NaN`, half a character) is refused rather than understood.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from planner.errors import Fault, InvalidRequest
from planner.request import FIELDS, MODEL_NAME, ModelCreateRequest, parse_request
from policies.guard.answers import strict_json
from policies.ledger.entries import canonical_json, clean_key
from policies.other_models import OtherRequest

OWN_HEADERS: Final = "x-planner-"
"""How the headers begin that are for the guard alone: they are never sent on."""
_LABEL, _KEY, _SHOOT = (f"{OWN_HEADERS}{name}" for name in ("label-", "key", "shoot"))
_QUERY: Final = frozenset({"webhook_url"})
"""What may stand in the address of a paid call: who is told of its end changes nothing of its price."""
_MODEL: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,59}")
"""A name of a model that may be kept; in capitals it could be another spelling of one that has a price."""
_HINT: Final = f"what has one: {MODEL_NAME}; for others a policy may say `other_models: {{hold: 8 credits}}`"


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

    request: ModelCreateRequest | OtherRequest = field(repr=False)
    key: str | None
    """None: the call is a key of its own."""
    shoot: str | None
    labels: Mapping[str, str]
    verbatim: bytes | None = field(repr=False)
    """The caller's own bytes, where they say the request and nothing else."""


def read_call(call: Call, declared: Iterable[str]) -> Wanted:
    """What a call asks for; `declared` are the names of the policy's labels.

    Raises `InvalidRequest` for what the provider would refuse and `Unpriced` for what has no price under
    any policy: a query parameter, or a model whose name is none.

    >>> body = b'{"model_name": "model-create", "inputs": {"prompt": "x", "resolution": "2k"}}'
    >>> wanted = read_call(Call(frozenset(), {"x-planner-label-team": "social"}, body), ["team"])
    >>> wanted.request.resolution, dict(wanted.labels), wanted.verbatim == body
    ('2k', {'team': 'social'}, True)
    """
    document = _document(call.body)
    request = _request(document, _model(document, call.query), call.body)
    key, shoot, labels = _own_headers(call.headers, declared)
    own = isinstance(request, OtherRequest) or document == {
        "model_name": MODEL_NAME,
        "inputs": request.inputs(),
    }
    return Wanted(request, key, shoot, labels, call.body if own else None)


def _document(body: bytes) -> dict[str, Any]:
    try:
        found = strict_json(body.decode("utf-8"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("inputs"), dict):
        raise InvalidRequest(
            "the body is not a JSON object with `model_name` and `inputs`",
            hint="a name that is given twice counts as a fault, too",
        )
    return found


def _model(document: Mapping[str, Any], query: frozenset[str]) -> str:
    """The name of the model; raises where nothing can be held for such a call under any policy."""
    model = document.get("model_name")
    if not isinstance(model, str):
        raise InvalidRequest("`model_name` is missing", field="model_name", hint=f"use {MODEL_NAME}")
    if not _MODEL.fullmatch(model):
        raise Unpriced(f"`{_shown(model)}` has no price", hint=f"what has one: {MODEL_NAME}")
    if query - _QUERY:
        raise Unpriced(faults=[_beside("the address", name) for name in sorted(query - _QUERY)])
    return model


def _request(document: Mapping[str, Any], model: str, body: bytes) -> ModelCreateRequest | OtherRequest:
    """The request, or the call as it stands where something about it has no price."""
    known = None
    if model != MODEL_NAME:
        unpriced: tuple[Fault, ...] = (Fault("unpriced", f"`{model}` has no price", hint=_HINT),)
    else:
        known, unknown = _known(document["inputs"])
        others = sorted(document.keys() - {"model_name", "inputs"})
        unpriced = (*(_beside("`inputs`", name) for name in others), *unknown)
        if not unpriced:
            return known
    return OtherRequest(model, body, _canonical(document), unpriced, known)


def _known(inputs: Mapping[str, Any]) -> tuple[ModelCreateRequest, tuple[Fault, ...]]:
    """The request as far as the price book knows its fields, and the fields that it does not know.

    Raises `InvalidRequest` with every fault where one is of a field that it knows.
    """
    try:
        return parse_request(inputs), ()
    except InvalidRequest as error:
        if any(fault.code != "unknown_field" for fault in error.faults):
            raise
        return parse_request({name: inputs[name] for name in FIELDS if name in inputs}), error.faults


def _beside(what: str, name: str) -> Fault:
    return Fault("unpriced", f"`{_shown(name)}` beside {what} has no price")


def _canonical(document: Mapping[str, Any]) -> bytes:
    """What a call asks for, whatever the order and the spaces of its JSON."""
    try:
        return b"other:" + canonical_json(document).encode()
    except (ValueError, RecursionError):
        raise InvalidRequest("the body holds half a character, or nests too deep") from None


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
