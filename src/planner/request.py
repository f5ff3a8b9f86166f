"""What would be sent: one `model-create` request with the provider's closed fields.

Here belong the fields, their rules, the canonical form and the fingerprint. What a request costs
belongs to `quoting`; how a spreadsheet becomes requests belongs to `workload`.
Source: section *Spec: the request* of the provider's documentation, read November 2026.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, Self, get_args

from planner.errors import Fault, InputError, InvalidRequest, nearest

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


_CHANGED: Final = "a picture of this row was changed since the file was read"


class PictureChanged(InputError):
    """A local picture is not there any more, or not the one that was asked about."""

    code = "picture_changed"

    def __init__(self, message: str) -> None:
        super().__init__(message, hint="run the command again")


class LocalPicture(str):
    """A reference that is a picture here: as text a digest of its bytes, which are read when they are sent.

    So a fingerprint speaks of what is in the picture, whatever its file is called, a hundred thousand
    requests share one face without holding it, and no path and no byte of it gets anywhere by the text.

    >>> picture = LocalPicture.of("image/png", b"data", lambda: b"data")
    >>> picture == LocalPicture.of("image/png", b"data", lambda: b"other"), picture.data_uri()
    (True, 'data:image/png;base64,ZGF0YQ==')
    """

    __slots__ = ("_kind", "_read")
    _kind: str
    _read: Callable[[], bytes]

    @classmethod
    def of(cls, kind: str, data: bytes, read: Callable[[], bytes]) -> Self:
        """A picture of that kind, such as `image/png`, whose bytes are now `data` and come by `read`."""
        picture = cls(_content(kind, data))
        picture._kind, picture._read = kind, read
        return picture

    def data_uri(self) -> str:
        """What is sent; raises `PictureChanged` where it is not the one any more that was asked about."""
        data = self._read()
        if _content(self._kind, data) != self:
            raise PictureChanged(_CHANGED)
        return f"data:{self._kind};base64,{b64encode(data).decode()}"

    def held(self) -> LocalPicture:
        """The same picture with its bytes at hand, so that sending it cannot fail; raises as `data_uri`."""
        data = self._read()
        picture = self.of(self._kind, data, lambda: data)
        if picture != self:
            raise PictureChanged(_CHANGED)
        return picture


def _content(kind: str, data: bytes) -> str:
    return f"{kind};sha256,{hashlib.sha256(data).hexdigest()}"


@dataclass(frozen=True, repr=False)
class ModelCreateRequest:
    """One request; `None` means the field is omitted and the provider's default holds.

    Raises `InvalidRequest` with every fault of the fields. It checks itself rather than by a
    validation library, because a first price should not cost a heavy import.

    >>> ModelCreateRequest(prompt="linen dress", resolution="2k", num_images=2).num_images
    2
    """

    prompt: str
    image_reference: str | None = None
    aspect_ratio: AspectRatio | None = None
    face_reference: str | None = None
    face_reference_mode: FaceReferenceMode | None = None
    resolution: Resolution | None = None
    generation_mode: GenerationMode | None = None
    seed: int | None = None
    num_images: int | None = None
    output_format: OutputFormat | None = None
    return_base64: bool | None = None

    def __post_init__(self) -> None:
        if not _is_plain(self.__dict__) and (faults := _value_faults(self.__dict__)):
            raise InvalidRequest(faults=faults)

    @classmethod
    def of_checked(cls, values: dict[str, Any]) -> Self:
        """A request from all eleven fields, which somebody has checked: files have millions of rows."""
        request = object.__new__(cls)
        object.__setattr__(request, "__dict__", values)
        return request

    def __repr__(self) -> str:
        """The closed fields only: a prompt or a face must not reach a log by way of a traceback."""
        shown = ", ".join(f"{name}={value!r}" for name, value in closed_fields(self).items() if value)
        return f"ModelCreateRequest({shown})"

    __str__ = __repr__

    def inputs(self) -> dict[str, Any]:
        """The fields that are sent, in the order of the documentation; omitted ones are absent."""
        return {name: _sent(value) for name, value in self.given().items()}

    def given(self) -> dict[str, Any]:
        """The fields that are not omitted, a local picture as what it is known by."""
        return {name: value for name, value in self.__dict__.items() if value is not None}

    @property
    def is_local(self) -> bool:
        """Whether a picture of it has to be read before it can be sent."""
        return type(self.face_reference) is LocalPicture or type(self.image_reference) is LocalPicture

    def held(self) -> Self:
        """The request with its local pictures at hand; raises `PictureChanged` where one is not there."""
        held = {name: value.held() for name, value in self.__dict__.items() if type(value) is LocalPicture}
        return self.of_checked({**self.__dict__, **held}) if held else self

    def body(self) -> bytes:
        """The exact bytes of the POST body."""
        return b"".join([b'{"model_name":"%s","inputs":' % MODEL_NAME.encode(), *_json(self.inputs()), b"}"])


def _sent(value: Any) -> Any:
    return value.data_uri() if type(value) is LocalPicture else value


FIELDS: Final[tuple[str, ...]] = tuple(field.name for field in fields(ModelCreateRequest))
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
    reference an omitted ratio is inherited rather than 1:1. An omitted mode stays omitted. A local
    picture stands as the digest of its content.

    >>> short = ModelCreateRequest(prompt="x")
    >>> long = ModelCreateRequest(prompt="x", seed=42, resolution="1k", num_images=1)
    >>> canonical(short) == canonical(long)
    True
    """
    given, fields = request.__dict__, {}
    for name, default in _WRITTEN_OUT:
        value = given[name]
        if value is not None:
            fields[name] = value
        elif default is not None:
            fields[name] = default
    if request.face_reference is None:
        del fields["face_reference_mode"]
    if request.image_reference is not None and request.aspect_ratio is None:
        del fields["aspect_ratio"]
    return b"".join([b"f1:", *_json(fields)])


_WRITTEN_OUT: Final = tuple((name, DEFAULTS.get(name)) for name in sorted(FIELDS))
"""The fields in the order of the canonical form, with what stands for an omitted one."""
_LONG: Final = 4096
_UNESCAPED: Final = bytes(set(range(0x20, 0x7F)) - {*b'"\\'})


def _json(fields: Mapping[str, Any]) -> list[bytes]:
    """Fields as compact JSON, in their order, in pieces.

    A picture in base64 is megabytes without a letter to escape: it is taken as it stands, and copied as
    seldom as can be, which is several times as fast.
    """
    for value in fields.values():
        if type(value) is str and len(value) >= _LONG:
            break
    else:
        return [_encoded(fields)]
    pieces = [
        piece for name, value in fields.items() for piece in (b',"%s":' % name.encode(), *_quoted(value))
    ]
    return [b"{", pieces[0].removeprefix(b","), *pieces[1:], b"}"]


def _quoted(value: Any) -> tuple[bytes, ...]:
    if type(value) is str and len(value) >= _LONG and value.isascii():
        text = value.encode()
        if not text.translate(None, _UNESCAPED):
            return b'"', text, b'"'
    return (_encoded(value),)


def _encoded(value: Any) -> bytes:
    return _ENCODER.encode(value).encode("utf-8", "surrogatepass")


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def fingerprint(request: ModelCreateRequest) -> str:
    """The canonical form as a digest, `f1:` and 64 hex digits; a ledger keeps only its HMAC.

    >>> fingerprint(ModelCreateRequest(prompt="x"))[:11]
    'f1:e3cd62aa'
    """
    return "f1:" + hashlib.sha256(canonical(request)).hexdigest()


TAKE_STRIDE: Final = 2_654_435_769
"""Between the seeds of two takes; odd, so that no two takes of a request share a seed."""


def retaken(request: ModelCreateRequest, take: int) -> ModelCreateRequest:
    """The request as its n-th take asks for it: the same but for its seed, which follows from the take.

    The same seed with the same inputs gives the same picture, so another take needs another seed, also
    where the request states one. It is never drawn: whoever knows the request and the take knows it.

    >>> request = ModelCreateRequest(prompt="x", seed=7)
    >>> retaken(request, 1) is request, retaken(request, 2).seed
    (True, 2654435776)
    """
    if take == 1:
        return request
    asked = DEFAULTS["seed"] if request.seed is None else request.seed
    seed = (asked + (take - 1) * TAKE_STRIDE) % 2**32
    return ModelCreateRequest.of_checked({**request.__dict__, "seed": seed})


def parse_request(data: ModelCreateRequest | Mapping[str, Any] | bytes | str) -> ModelCreateRequest:
    """A request from a mapping or JSON text; raises `InvalidRequest` with every fault of it.

    >>> parse_request({"prompt": "x", "resolution": "8k", "num_images": 9})
    Traceback (most recent call last):
    planner.errors.InvalidRequest: `8k` is not a resolution (use 1k, 2k or 4k)
    `9` is more than 4 (num_images is a whole number from 1 to 4)
    """
    if isinstance(data, ModelCreateRequest):
        return data
    given = data if type(data) is dict else _mapping(data)
    values = {**_OMITTED, **given}
    if not _is_plain(values) and (faults := _faults(given)):
        raise InvalidRequest(faults=faults)
    return ModelCreateRequest.of_checked(values)


def _faults(given: Mapping[str, Any]) -> list[Fault]:
    """Everything that is wrong with the inputs of a request."""
    faults = [_unknown_field(name) for name in given if name not in _CHECKS]
    faults += [_missing_prompt()] if "prompt" not in given else []
    return faults + _value_faults({name: given[name] for name in FIELDS if name in given})


def _mapping(data: Mapping[str, Any] | bytes | str) -> Mapping[str, Any]:
    """The inputs as a mapping, read as JSON where they are text."""
    given: Any = data
    if isinstance(data, bytes | str):
        try:
            given = json.loads(data)
        except (ValueError, RecursionError):
            given = None
    if not isinstance(given, Mapping):
        raise InvalidRequest("the request is not a JSON object", hint="send a mapping of inputs")
    return given


# -- what a field may hold -----------------------------------------------------------------------


def is_text(value: str) -> bool:
    """Whether it can be written as UTF-8: half of a surrogate pair, which JSON can spell, cannot.

    >>> is_text("Größe"), is_text("\\ud800")
    (True, False)
    """
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text_problem(value: object) -> str | None:
    if not isinstance(value, str):
        return "is not text"
    return None if is_text(value) else "holds half a character"


def _prompt_problem(value: object) -> str | None:
    problem = _text_problem(value)
    if problem is None and not str(value).strip():
        return "is empty"
    return problem


def _reference_problem(value: object) -> str | None:
    if type(value) is LocalPicture:
        return None
    problem = _text_problem(value)
    if problem is not None:
        return problem
    text = str(value)
    if not text.startswith(("https://", "http://", "data:image/")):
        return "is neither an image URL nor base64 with its prefix"
    if text.startswith("data:") and ";base64," not in text[:64]:
        return "is a data URI that does not say `;base64,`"
    return None


def _choice_problem(field: str) -> Callable[[object], str | None]:
    noun = field.replace("_", " ")
    problem = f"is not {'an' if noun[0] in 'aeiou' else 'a'} {noun}"
    return lambda value: None if isinstance(value, str) and value in CHOICES[field] else problem


def _whole_number_problem(least: int, most: int) -> Callable[[object], str | None]:
    def problem(value: object) -> str | None:
        if type(value) is not int:
            return "is not a whole number"
        if value < least:
            return f"is less than {least}"
        return f"is more than {most}" if value > most else None

    return problem


def _truth_problem(value: object) -> str | None:
    return None if isinstance(value, bool) else "is not true or false"


_CHECKS: Final[Mapping[str, Callable[[object], str | None]]] = {
    "prompt": _prompt_problem,
    "image_reference": _reference_problem,
    "face_reference": _reference_problem,
    **{field: _choice_problem(field) for field in CHOICES},
    "seed": _whole_number_problem(0, 2**32 - 1),
    "num_images": _whole_number_problem(1, 4),
    "return_base64": _truth_problem,
}
"""What is wrong with a value, or None. Source: the table of inputs in the documentation."""

_HINTS: Final[Mapping[str, str]] = {
    "seed": "seed is a whole number from 0 to 4294967295",
    "num_images": "num_images is a whole number from 1 to 4",
    "return_base64": "return_base64 is true or false",
    "prompt": "say what the picture shows",
    "image_reference": "use an https:// URL or data:image/…;base64,…",
    "face_reference": "use an https:// URL or data:image/…;base64,…",
}


_OMITTED: Final[Mapping[str, Any]] = dict.fromkeys(FIELDS)
_ASPECTS, _FACE_MODES, _RESOLUTIONS, _MODES, _FORMATS = (
    frozenset((None, *choices)) for choices in CHOICES.values()
)


def _is_plain(values: Mapping[str, Any]) -> bool:
    """Whether all inputs, omitted ones as None, are right at first sight, as nearly all are.

    It is a short cut and no second set of rules: what is not plain takes the long way and may be right.
    """
    prompt, seed, images = values["prompt"], values["seed"], values["num_images"]
    face, pose = values["face_reference"], values["image_reference"]
    base64 = values["return_base64"]
    try:
        return (
            len(values) == len(_OMITTED)
            and type(prompt) is str
            and prompt.isascii()
            and not prompt.isspace()
            and prompt != ""
            and values["aspect_ratio"] in _ASPECTS
            and values["face_reference_mode"] in _FACE_MODES
            and values["resolution"] in _RESOLUTIONS
            and values["generation_mode"] in _MODES
            and values["output_format"] in _FORMATS
            and (images is None or (type(images) is int and 1 <= images <= 4))
            and (seed is None or (type(seed) is int and 0 <= seed < 2**32))
            and (base64 is None or type(base64) is bool)
            and (face is None or _reference_problem(face) is None)
            and (pose is None or _reference_problem(pose) is None)
        )
    except TypeError:  # A list has no hash.
        return False


def _value_faults(values: Mapping[str, Any]) -> list[Fault]:
    """The faults of the values that are given; open fields are never quoted."""
    return [
        Fault("invalid_value", f"{_named(field, value)} {problem}", field=field, hint=field_hint(field))
        for field, value in values.items()
        if (value is not None or field == "prompt") and (problem := _CHECKS[field](value)) is not None
    ]


def _named(field: str, value: object) -> str:
    if field in OPEN_FIELDS:
        return f"the {field.replace('_', ' ')}"
    return f"`{_short(value)}`"


def _unknown_field(name: object) -> Fault:
    text = _short(name)
    guess = nearest(text, FIELDS)
    hint = f"did you mean `{guess}`?" if guess else "known inputs: " + ", ".join(FIELDS)
    return Fault("unknown_field", f"`{text}` is not an input of model-create", field=text, hint=hint)


def _missing_prompt() -> Fault:
    return Fault("missing", "`prompt` is missing", field="prompt", hint=field_hint("prompt"))


def field_hint(field: str) -> str:
    """What would be right in that field."""
    if field in CHOICES:
        *rest, last = CHOICES[field]
        return f"use {', '.join(rest)} or {last}"
    return _HINTS[field]


def _short(value: object) -> str:
    """A value as it can stand in one line of a message."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    text = "".join(letter if letter.isprintable() else "\ufffd" for letter in text[:41])
    return text if len(text) <= 40 else text[:37] + "…"
