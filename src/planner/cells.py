"""What the cells of one row mean: a request, or the faults of the row.

Here belong the repairs of what a spreadsheet does to a value (`2.0`, `TRUE`, `16:09:00`, `2K`), each
chosen by the input's type and each counted, and the reading of a whole row. Names of columns belong
to `columns`; keys and what is the same request twice belong to `workload`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import product
from typing import Any, Final

from planner.columns import Columns, picked
from planner.errors import Fault, InvalidRequest
from planner.quoting import price_cell
from planner.references import HINT, Folder, Unusable, is_path
from planner.request import (
    ASPECT_RATIOS,
    CHOICES,
    DEFAULTS,
    FIELDS,
    LocalPicture,
    ModelCreateRequest,
    canonical,
    parse_request,
)

CLOCK_TIMES: Final = "ratios read back from clock times"
CHOICES_RESPELLED: Final = "choices read in another case or with spaces"
WHOLE_NUMBERS: Final = "whole numbers read from another spelling"
TRUTH_WORDS: Final = "true or false read from another word"
REFERENCES_TRIMMED: Final = "references without the spaces around them"

TRUTHS: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("true", "yes", "1", "1.0", "wahr", "ja"), True),
    **dict.fromkeys(("false", "no", "0", "0.0", "falsch", "nein"), False),
}
"""The words read as true and false, in any case; `WAHR` is what a German Excel writes."""

_WHOLE: Final = re.compile(r"([-+]?[0-9]{1,40})(\.0{1,2})?")
"""Not more zeros: `1.000` is a thousand to half of Europe, and a guess is not a number."""


def _clock_times() -> dict[str, str]:
    """Every clock time that a spreadsheet makes of a ratio; all ratios are distinct times of day."""
    found: dict[str, str] = {}
    for ratio in ASPECT_RATIOS:
        hour, minute = map(int, ratio.split(":"))
        hours, minutes = {f"{hour}", f"{hour:02}"}, {f"{minute}", f"{minute:02}"}
        for a, b, seconds in product(hours, minutes, ("", ":00")):
            found[f"{a}:{b}{seconds}"] = ratio
        for a, seconds in product({f"{(hour - 1) % 12 + 1}", f"{(hour - 1) % 12 + 1:02}"}, ("", ":00")):
            found[f"{a}:{minute:02}{seconds} {'pm' if hour >= 12 else 'am'}"] = ratio
    return found


_CLOCK: Final = _clock_times()


def read_cell(field: str, text: str) -> tuple[Any, str | None]:
    """The value that a cell holds for an input, and the repair that found it, if any.

    What cannot be read comes back as it stands, for the request's own rules to refuse. An empty cell
    is None: the input is omitted. A prompt is never touched.

    >>> read_cell("aspect_ratio", "16:09:00"), read_cell("num_images", "1.5"), read_cell("seed", " ")
    (('16:9', 'ratios read back from clock times'), ('1.5', None), (None, None))
    """
    if field == "prompt":
        return text, None
    bare = text.strip()
    if not bare:
        return None, None
    if field in CHOICES:
        return _choice(field, text, bare.lower())
    if field == "return_base64":
        truth = TRUTHS.get(bare.lower())
        return (text, None) if truth is None else (truth, None if text == str(truth).lower() else TRUTH_WORDS)
    if field in ("seed", "num_images"):
        whole = _WHOLE.fullmatch(bare)
        number = int(whole[1]) if whole else text
        return number, None if text == str(number) else WHOLE_NUMBERS
    return bare, None if bare == text else REFERENCES_TRIMMED


def _choice(field: str, text: str, bare: str) -> tuple[str, str | None]:
    if text in CHOICES[field]:
        return text, None
    if bare in CHOICES[field]:
        return bare, CHOICES_RESPELLED
    if field == "aspect_ratio" and bare in _CLOCK:
        return _CLOCK[bare], CLOCK_TIMES
    return text, None


_OPENS: Final = ("prompt", "seed", "image_reference", "face_reference")
"""What rows differ in."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What rows have in common that differ only in their prompt, seed and references."""

    request: ModelCreateRequest
    """A request of this shape, with nothing where the four belong."""
    repairs: tuple[str, ...]
    digest: bytes
    """16 bytes of its canonical form; of the four, only whether there is a reference is in it."""
    cell: int
    """The index in `quoting.CELLS`, which is the same for all of them."""


Reading = tuple[Shape, str, int | None, str | None, str | None]
"""A valid row: its shape, prompt, seed, image and face reference. Few rows are made whole."""


def read_request(request: ModelCreateRequest, repairs: Sequence[str] = ()) -> Reading:
    """A checked request taken apart."""
    common: dict[str, Any] = {"prompt": "", "seed": None}
    if request.image_reference is not None:
        common["image_reference"] = _PLAIN_START
    if request.face_reference is not None:
        common["face_reference"] = _PLAIN_START
    bare = ModelCreateRequest.of_checked({**request.__dict__, **common})
    digest = blake2b(canonical(bare), digest_size=16).digest()
    shape = Shape(bare, tuple(repairs), digest, price_cell(bare))
    return shape, request.prompt, request.seed, request.image_reference, request.face_reference


def request_of(reading: Reading) -> ModelCreateRequest:
    """The row as one request, which is not checked again."""
    shape, prompt, seed, image, face = reading
    fields = shape.request.__dict__.copy()
    fields["prompt"], fields["seed"] = prompt, seed
    fields["image_reference"], fields["face_reference"] = image, face
    return ModelCreateRequest.of_checked(fields)


def identity(reading: Reading) -> bytes:
    """A digest that is equal for two rows exactly when the canonical forms of their requests are.

    It serves inside one file, where millions are compared; what outlives the file is the fingerprint.
    It has 15 bytes, because a bytes object of 16 takes a third more memory.
    """
    shape, prompt, seed, image, face = reading
    if seed is None:
        seed = _DEFAULT_SEED
    if image or face:
        image, face = image or "", face or ""
        text = f"{seed} {len(image)} {len(face)} {image}{face}{prompt}"
    else:
        text = f"{seed} {prompt}"
    return blake2b(shape.digest + text.encode(), digest_size=15).digest()


_DEFAULT_SEED: Final[int] = DEFAULTS["seed"]
_MOST_SEED: Final = 2**32 - 1
_MOST_SHAPES: Final = 4096
_PLAIN_START: Final = "https://"
NO_FOLDER: Final = Folder(None)
"""Where there is no file that paths could be relative to."""


class RowReader:
    """Reads the rows of one table; a shape of row that was checked once is not checked again.

    In a table nearly all rows differ only in prompt, seed and references. The raw text of the other
    inputs, and which references there are, is looked up: the first row of a kind goes through
    `parse_request`, later ones share its checked values and have the four others checked here. It is
    a memo, not a second set of rules: whatever is not plainly right takes the long way.
    """

    def __init__(self, columns: Columns, folder: Folder | None = None) -> None:
        self._folder = NO_FOLDER if folder is None else folder
        self._inputs = columns.inputs
        self._prompt = columns.inputs["prompt"]
        self._seed = columns.inputs.get("seed")
        self._image = columns.inputs.get("image_reference")
        self._face = columns.inputs.get("face_reference")
        self._rest = picked(place for field, place in columns.inputs.items() if field not in _OPENS)
        self._shapes: dict[tuple[tuple[str, ...], bool, bool], Shape] = {}

    def read(self, cells: Sequence[str]) -> Reading:
        """The request of a row; raises `InvalidRequest` with every fault of it."""
        prompt = cells[self._prompt]
        seed = "" if self._seed is None else cells[self._seed]
        image = "" if self._image is None else cells[self._image]
        face = "" if self._face is None else cells[self._face]
        if image and not _plain(image):
            image = self._folder.known(image) or image
        if face and not _plain(face):
            face = self._folder.known(face) or face
        number = _plain_seed(seed) if seed else None
        shape = self._shapes.get((self._rest(cells), not image, not face))
        if (
            shape is None
            or not prompt
            or prompt.isspace()
            or (seed and number is None)
            or (image and not _plain(image))
            or (face and not _plain(face))
        ):
            return self._read_fully(cells)
        return shape, prompt, number, image or None, face or None

    def _read_fully(self, cells: Sequence[str]) -> Reading:
        found = {field: read_cell(field, cells[place]) for field, place in self._inputs.items()}
        values = {field: value for field, (value, _) in found.items() if value is not None}
        request = checked_request(values, self._folder)
        reading = read_request(request, [repair for _, repair in found.values() if repair])
        if not any(found.get(field, (None, None))[1] for field in _OPENS):
            self._remember(cells, reading[0])
        return reading

    def _remember(self, cells: Sequence[str], shape: Shape) -> None:
        if len(self._shapes) >= _MOST_SHAPES:
            self._shapes.clear()
        request = shape.request
        place = (self._rest(cells), request.image_reference is None, request.face_reference is None)
        self._shapes[place] = shape


def checked_request(values: Mapping[str, Any], folder: Folder) -> ModelCreateRequest:
    """The request of a row, with its paths as what lies there; raises `InvalidRequest` with every fault."""
    found, faults = dict(values), []
    for field in ("image_reference", "face_reference"):
        text = found.get(field)
        if isinstance(text, str) and is_path(text):
            try:
                found[field] = folder.find(text)
            except Unusable as problem:
                del found[field]
                message = f"the {field.replace('_', ' ')} {problem}"
                faults.append(Fault("invalid_value", message, field=field, hint=HINT))
    try:
        request = parse_request(found)
    except InvalidRequest as error:
        raise InvalidRequest(faults=[*error.faults, *faults]) from None
    if faults:
        raise InvalidRequest(faults=faults)
    return request


def _plain(reference: str) -> bool:
    """Whether a reference is right as it stands; other spellings and pictures go the long way."""
    if type(reference) is LocalPicture:
        return True
    return reference.startswith(_PLAIN_START) and not reference[-1].isspace()


def _plain_seed(text: str) -> int | None:
    """A seed that is right as it stands; every other spelling goes the long way."""
    if len(text) <= 10 and text.isascii() and text.isdigit() and (text[0] != "0" or text == "0"):
        number = int(text)
        return number if number <= _MOST_SEED else None
    return None


def read_record(values: Mapping[str, Any], folder: Folder = NO_FOLDER) -> Reading:
    """The request of a JSON object whose inputs are typed as JSON; null is an omitted input.

    Little is repaired: the spelling of choices, and what data frames make of a column with gaps,
    `2.0` where a whole number belongs and an empty text where an input is omitted.

    >>> read_record({"prompt": "x", "num_images": 2.0, "resolution": "2K", "seed": None})[0].repairs
    ('whole numbers read from another spelling', 'choices read in another case or with spaces')
    """
    repairs: list[str] = []
    typed: dict[str, Any] = {}
    for field, value in values.items():
        repair = None
        if isinstance(value, str) and field != "prompt" and not value.strip():
            continue
        if isinstance(value, str) and field in CHOICES:
            value, repair = read_cell(field, value)
        elif isinstance(value, float) and value.is_integer() and field in ("seed", "num_images"):
            value, repair = int(value), WHOLE_NUMBERS
        if value is not None:
            typed[field] = value
        if repair:
            repairs.append(repair)
    return read_request(checked_request(typed, folder), repairs)


def row_faults(error: InvalidRequest) -> list[Fault]:
    """The faults of a row in the order of the inputs."""
    order = {field: number for number, field in enumerate(FIELDS)}
    return sorted(error.faults, key=lambda fault: order.get(fault.field or "", len(order)))
