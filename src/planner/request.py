"""What would be sent: one `model-create` request with the provider's closed fields.

Here belong the fields, their rules, the canonical form and the fingerprint. What a request costs
belongs to `quoting`; how a spreadsheet becomes requests belongs to `workload`.
Source: section *Spec: the request* of the provider's documentation, read November 2026.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from planner.errors import Fault, InvalidRequest, nearest

AspectRatio = Literal["21:9", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3", "4:5", "5:4", "1:1"]
FaceReferenceMode = Literal["match_base", "match_reference"]
Resolution = Literal["1k", "2k", "4k"]
GenerationMode = Literal["fast", "balanced", "quality"]
OutputFormat = Literal["png", "jpeg"]

ASPECT_RATIOS: Final[tuple[str, ...]] = get_args(AspectRatio)
RESOLUTIONS: Final[tuple[str, ...]] = get_args(Resolution)
GENERATION_MODES: Final[tuple[str, ...]] = get_args(GenerationMode)

MODEL_NAME: Final = "model-create"
DEFAULTS: Final[Mapping[str, Any]] = {
    "aspect_ratio": "1:1",
    "face_reference_mode": "match_reference",
    "resolution": "1k",
    "seed": 42,
    "num_images": 1,
    "output_format": "png",
    "return_base64": False,
}
"""What the provider assumes for an omitted field; an omitted mode is its own choice and stays omitted."""


def _non_blank(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("empty", "the prompt is empty")
    return text


def _reference(text: str) -> str:
    if not text.startswith(("https://", "http://", "data:image/")):
        raise PydanticCustomError("bad_reference", "neither an image URL nor base64 with its prefix")
    if text.startswith("data:") and ";base64," not in text[:64]:
        raise PydanticCustomError("bad_reference", "the data URI does not say `;base64,`")
    return text


Prompt = Annotated[str, AfterValidator(_non_blank)]
Reference = Annotated[str, AfterValidator(_reference)]


class ModelCreateRequest(BaseModel):
    """One request; `None` means the field is omitted and the provider's default holds.

    >>> ModelCreateRequest(prompt="linen dress", resolution="2k", num_images=2).num_images
    2
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", defer_build=True)

    prompt: Prompt
    image_reference: Reference | None = None
    aspect_ratio: AspectRatio | None = None
    face_reference: Reference | None = None
    face_reference_mode: FaceReferenceMode | None = None
    resolution: Resolution | None = None
    generation_mode: GenerationMode | None = None
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] | None = None
    num_images: Annotated[int, Field(ge=1, le=4)] | None = None
    output_format: OutputFormat | None = None
    return_base64: bool | None = None

    def __repr__(self) -> str:
        """The closed fields only: a prompt or a face must not reach a log by way of a traceback."""
        shown = ", ".join(f"{name}={value!r}" for name, value in closed_fields(self).items() if value)
        return f"ModelCreateRequest({shown})"

    __str__ = __repr__

    def inputs(self) -> dict[str, Any]:
        """The fields that are sent, in the order of the documentation; omitted ones are absent."""
        return {name: value for name, value in self.__dict__.items() if value is not None}

    def body(self) -> bytes:
        """The exact bytes of the POST body."""
        document = {"model_name": MODEL_NAME, "inputs": self.inputs()}
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


FIELDS: Final[tuple[str, ...]] = tuple(ModelCreateRequest.model_fields)
OPEN_FIELDS: Final = ("prompt", "image_reference", "face_reference")
"""Free text and pictures: they never reach a ledger, a log, a report or a plan file."""

CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "aspect_ratio": ASPECT_RATIOS,
    "face_reference_mode": get_args(FaceReferenceMode),
    "resolution": RESOLUTIONS,
    "generation_mode": GENERATION_MODES,
    "output_format": get_args(OutputFormat),
}


def closed_fields(request: ModelCreateRequest) -> dict[str, Any]:
    """All inputs but the prompt and the references, which stand as true or false."""
    fields = {name: value for name, value in request.__dict__.items() if name not in OPEN_FIELDS}
    fields["face_reference"] = request.face_reference is not None
    fields["image_reference"] = request.image_reference is not None
    return fields


def canonical(request: ModelCreateRequest) -> bytes:
    """The picture that is asked for, as bytes: requests with equal bytes ask for the same picture.

    Defaults are written out, because a request that says `1k` and one that says nothing ask for the
    same. Two fields depend on others: without a face its mode means nothing, and with a pose
    reference an omitted ratio is inherited rather than 1:1. An omitted mode stays omitted.

    >>> short = ModelCreateRequest(prompt="x")
    >>> long = ModelCreateRequest(prompt="x", seed=42, resolution="1k", num_images=1)
    >>> canonical(short) == canonical(long)
    True
    """
    fields = {**DEFAULTS, **request.inputs()}
    if request.face_reference is None:
        del fields["face_reference_mode"]
    if request.image_reference is not None and request.aspect_ratio is None:
        del fields["aspect_ratio"]
    text = json.dumps(fields, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return b"f1:" + text.encode("utf-8", "surrogatepass")


def fingerprint(request: ModelCreateRequest) -> str:
    """The canonical form as a digest, `f1:` and 64 hex digits; a ledger keeps only its HMAC.

    >>> fingerprint(ModelCreateRequest(prompt="x"))[:11]
    'f1:e3cd62aa'
    """
    return "f1:" + hashlib.sha256(canonical(request)).hexdigest()


def parse_request(data: ModelCreateRequest | Mapping[str, Any] | bytes | str) -> ModelCreateRequest:
    """A request from a mapping or JSON text; raises `InvalidRequest` with every fault of it.

    >>> parse_request({"prompt": "x", "resolution": "8k", "num_images": 9})
    Traceback (most recent call last):
    planner.errors.InvalidRequest: `8k` is not a resolution (use 1k, 2k or 4k)
    `9` is more than 4 (num_images is a whole number from 1 to 4)
    """
    if isinstance(data, ModelCreateRequest):
        return data
    try:
        if isinstance(data, (bytes, str)):
            return ModelCreateRequest.model_validate_json(data)
        return ModelCreateRequest.model_validate(data)
    except ValidationError as error:
        raise InvalidRequest(faults=request_faults(error)) from None


def request_faults(error: ValidationError) -> list[Fault]:
    """Pydantic's findings in the words of this product; open fields are never quoted."""
    found = error.errors(include_url=False, include_context=True)
    return [_fault(str(item["loc"][0]) if item["loc"] else None, dict(item)) for item in found]


_HINTS: Final[Mapping[str, str]] = {
    "seed": "seed is a whole number from 0 to 4294967295",
    "num_images": "num_images is a whole number from 1 to 4",
    "return_base64": "return_base64 is true or false",
    "prompt": "say what the picture shows",
    "image_reference": "use an https:// URL or data:image/…;base64,…",
    "face_reference": "use an https:// URL or data:image/…;base64,…",
}


def _fault(field: str | None, item: Mapping[str, Any]) -> Fault:
    kind = item["type"]
    given = item.get("input")
    context = item.get("ctx") or {}
    hint = field_hint(field)
    if field is None:
        return Fault("invalid_request", "the request is not a JSON object", hint="send a mapping of inputs")
    if kind == "extra_forbidden":
        guess = nearest(field, FIELDS)
        return Fault(
            "unknown_field",
            f"`{_short(field)}` is not an input of model-create",
            field=field,
            hint=f"did you mean `{guess}`?" if guess else "known inputs: " + ", ".join(FIELDS),
        )
    if kind == "missing":
        return Fault("missing", f"`{field}` is missing", field=field, hint=hint)
    if field in CHOICES:
        noun = field.replace("_", " ")
        article = "an" if noun[0] in "aeiou" else "a"
        return Fault("invalid_value", f"`{_short(given)}` is not {article} {noun}", field=field, hint=hint)
    if field in OPEN_FIELDS:
        message = item["msg"] if kind in ("empty", "bad_reference") else f"`{field}` is not text"
        return Fault("invalid_value", message, field=field, hint=hint)
    if kind == "greater_than_equal":
        problem = f"is less than {context['ge']}"
    elif kind == "less_than_equal":
        problem = f"is more than {context['le']}"
    else:
        problem = "is not true or false" if field == "return_base64" else "is not a whole number"
    return Fault("invalid_value", f"`{_short(given)}` {problem}", field=field, hint=hint)


def field_hint(field: str | None) -> str:
    """What would be right in that field."""
    if field is None:
        return ""
    if field in CHOICES:
        *rest, last = CHOICES[field]
        return f"use {', '.join(rest)} or {last}"
    return _HINTS.get(field, "")


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 40 else text[:37] + "…"
