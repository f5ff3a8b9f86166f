"""What the pictures of a job are called: a template over the user's columns, made safe for every system.

Pure: here belong templates, safe names and collisions. Writing files belongs to `pictures`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Final
from unicodedata import category, normalize

from planner.columns import column_name
from planner.errors import Fault, InputError, nearest

DEFAULT_TEMPLATE: Final = "{key}-{n}"
OWN_NAMES: Final = ("key", "n", "shoot")

_LONGEST_BYTES: Final = 180
"""Of one folder or file name; systems take 255, of which the ending and a temporary name need some."""
_EMPTY: Final = "\0"
_SEPARATORS: Final = r"[-_. ]*"
_FORBIDDEN: Final = frozenset('<>:"/\\|?*')
_INVISIBLE: Final = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\.|$)", re.IGNORECASE)
"""Names that Windows keeps for devices, with any ending."""


@dataclass(frozen=True, slots=True)
class Template:
    """A checked template: folders and a file name, each as texts and names in turn."""

    segments: tuple[tuple[tuple[str, str | None], ...], ...]

    @classmethod
    def parse(cls, text: str, known: Iterable[str] = ()) -> Template:
        """A template over `known` columns; raises `InputError` with every name that is not known.

        >>> Template.parse("{skuu}-{n}", ["sku"])
        Traceback (most recent call last):
        planner.errors.InputError: `{skuu}` is no column of the file (did you mean `{sku}`?)
        """
        names = {*OWN_NAMES, *map(column_name, known)}
        pieces, faults = _pieces(text), []
        for _, name in pieces:
            if name is not None and name not in names:
                faults.append(_unknown(name, sorted(names)))
        if faults:
            raise InputError(faults=faults)
        if all(name != "n" for _, name in pieces):
            pieces.append(("-", "n"))
        return cls(_split(pieces))

    def name(self, values: Mapping[str, str]) -> str:
        """The safe relative path, without an ending, for these values.

        >>> template = Template.parse("{team}/{sku}-{key}-{n}", ["team", "sku"])
        >>> template.name({"team": "social", "key": "a/b", "n": "1"})
        'social/a_b-1'
        >>> template.name({"team": "..", "sku": "con", "key": "k", "n": "2"})
        '_/con-k-2'
        """
        rendered = (_rendered(segment, values) for segment in self.segments)
        safe = [safe_name(text) for text in rendered if text]
        return "/".join(safe) or "_"


def _pieces(text: str) -> list[tuple[str, str | None]]:
    try:
        parsed = list(Formatter().parse(text))
    except ValueError:
        raise _bad_template(text) from None
    if any(conversion or spec for _, _, spec, conversion in parsed):
        raise _bad_template(text)
    return [(literal, None if name is None else column_name(name)) for literal, name, _, _ in parsed]


def _bad_template(text: str) -> InputError:
    return InputError(
        f"`{text}` is not a name template", code="bad_name", hint=f"for example {DEFAULT_TEMPLATE}"
    )


def _unknown(name: str, known: Sequence[str]) -> Fault:
    guess = nearest(name, known, cutoff=0.6)
    hint = f"did you mean `{{{guess}}}`?" if guess else "known: " + ", ".join(known)
    return Fault("unknown_name", f"`{{{name}}}` is no column of the file", field="name", hint=hint)


def _split(
    pieces: Iterable[tuple[str, str | None]],
) -> tuple[tuple[tuple[str, str | None], ...], ...]:
    """The pieces by folder: only a slash of the template makes one, never a slash of a value."""
    segments: list[list[tuple[str, str | None]]] = [[]]
    for literal, name in pieces:
        first, *others = literal.replace("\\", "/").split("/")
        segments[-1].append((first, None))
        for other in others:
            segments.append([(other, None)])
        if name is not None:
            segments[-1].append(("", name))
    return tuple(tuple(segment) for segment in segments)


def _rendered(segment: Iterable[tuple[str, str | None]], values: Mapping[str, str]) -> str:
    """The text of a folder or file name; an empty value takes the separator beside it along."""
    text = "".join(
        literal if name is None else _visible(values.get(name, "").strip()) or _EMPTY
        for literal, name in segment
    )
    text = re.sub(f"^(?:{_EMPTY}{_SEPARATORS})+", "", text)
    return re.sub(f"{_SEPARATORS}{_EMPTY}", "", text)


def _visible(text: str) -> str:
    composed = normalize("NFC", text)
    return "".join(
        "_" if letter in _FORBIDDEN or category(letter) in _INVISIBLE else letter for letter in composed
    )


def safe_name(text: str) -> str:
    """One folder or file name that every system takes: visible, not reserved, not too long.

    >>> safe_name("../x"), safe_name("NUL.tar"), safe_name("ends. . "), safe_name("a:b?")
    ('_x', '_NUL.tar', 'ends', 'a_b_')
    """
    name = _visible(text).strip(" .") or "_"
    if _RESERVED.match(name):
        name = f"_{name}"
    if len(name.encode()) <= _LONGEST_BYTES:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:10]
    kept = name.encode()[: _LONGEST_BYTES - 11].decode(errors="ignore").rstrip(" .")
    return f"{kept}~{digest}"


_OF_A_TAKE: Final = re.compile(r"-take[0-9]+$", re.IGNORECASE)
"""How the names of pictures end that are not of the first take; see `batch.names_of`."""


def is_inside(path: str) -> bool:
    """Whether a path with slashes, such as `Template.name` makes, stays in its folder on every system.

    >>> [is_inside(path) for path in ("social/look-1~2.png", "../x", "/x", "C:x", "nul")]
    [True, False, False, False, False]
    """
    return all(
        part and part == _visible(part).strip(" .") and not _RESERVED.match(part) for part in path.split("/")
    )


class Names:
    """Gives out names of one folder, no two of which are the same on any system.

    >>> names = Names()
    >>> names.take(["Look-1"]), names.take(["look-1"])
    (('Look-1',), ('look-1~2',))
    >>> names.take(["look-2-take2"])  # so is called what another take of `look-2` makes
    ('look-2-take2~2',)
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {_folded(name) for name in taken}

    def take(self, wanted: Sequence[str]) -> tuple[str, ...]:
        """The wanted names, with a number behind each that is taken already."""
        return tuple(map(self._take, wanted))

    def _take(self, wanted: str) -> str:
        name, number = wanted, 1
        while _folded(name) in self._taken or _OF_A_TAKE.search(name):
            number += 1
            name = f"{wanted}~{number}"
        self._taken.add(_folded(name))
        return name


def _folded(name: str) -> str:
    return normalize("NFC", normalize("NFC", name).casefold())
