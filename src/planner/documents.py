"""A YAML text as plain values: read safely, bounded, exactly, and with the line of every value.

Here belongs what holds for every file that people write. What a policy or a price book may say belongs
to those who check it.

Scalars follow the YAML 1.2 core schema, so `16:9`, `22:00`, `no` and `007` are text, and a number
with a point is a `Decimal`. Tags are refused; size, depth and aliases are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from planner.errors import ConfigError, Fault, InputError

MOST_BYTES: Final = 1_000_000
MOST_DEPTH: Final = 40
MOST_NODES: Final = 100_000

Path_ = tuple[str | int, ...]
"""Where a value stands in a document: keys and list positions from the top."""


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML text as plain values, and the line on which each of them stands."""

    name: str
    data: Any
    lines: Mapping[Path_, int] = field(repr=False)
    faults: tuple[Fault, ...] = ()
    """What is wrong with the text and leaves the rest of it readable; see `scan_yaml`."""

    def where(self, path: Sequence[str | int] = ()) -> str:
        """`file:line` of a value, or of the nearest thing around it."""
        place = tuple(path)
        while place and place not in self.lines:
            place = place[:-1]
        return f"{self.name}:{self.lines.get(place, 1)}"


def read_text(path: Path) -> str:
    """The text of a YAML file, never more of it than is allowed.

    Raises `InputError` when it cannot be read, and `ConfigError` when it is too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"cannot read `{path}`: {reason}", code="unreadable_file") from None
    if len(data) > MOST_BYTES:
        raise _too_large(str(path), data.count(b"\n") + 1)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            "the file is not UTF-8 text",
            code="unreadable_file",
            where=f"{path}:{line}",
            hint="save it as UTF-8",
        ) from None


def read_yaml_file(path: Path) -> Document:
    """The document in a file; errors are those of `read_text` and `read_yaml`."""
    return read_yaml(read_text(path), str(path))


def read_yaml(text: str, name: str = "text") -> Document:
    """One YAML document as plain values; raises `ConfigError` with every fault, each with its line.

    >>> read_yaml("ratio: 16:9\\nrate: 0.0750\\nanswer: no").data
    {'ratio': '16:9', 'rate': Decimal('0.0750'), 'answer': 'no'}
    >>> read_yaml("a: !env HOME\\nb: 1\\nb: 2", "x.yaml")
    Traceback (most recent call last):
    planner.errors.ConfigError: x.yaml:1: the tag `!env` is not allowed (write the value without it)
    x.yaml:3: `b` stands twice (keep one of the two; the first stands in line 2)
    """
    document = scan_yaml(text, name)
    if document.faults:
        raise ConfigError(faults=document.faults)
    return document


def scan_yaml(text: str, name: str = "text") -> Document:
    """As `read_yaml`, but faults that leave the rest readable are kept in the document.

    Whoever checks what the document says tells them together with what it finds. Raises `ConfigError`
    where nothing can be known of what follows.

    >>> document = scan_yaml("a: 1\\na: 2\\nb: 3", "x.yaml")
    >>> document.data, len(document.faults)
    ({'a': 1, 'b': 3}, 1)
    """
    if len(text) > MOST_BYTES:
        raise _too_large(name, text.count("\n", 0, MOST_BYTES) + 1)
    found: list[Fault] = []
    try:
        return _read(text, name, found)
    except _Unreadable as error:
        raise ConfigError(faults=[*found, *error.faults]) from None


class _Unreadable(Exception):
    """Nothing can be known of what follows."""

    def __init__(self, *faults: Fault) -> None:
        self.faults = faults


def _too_large(name: str, line: int) -> ConfigError:
    message = f"here the file becomes larger than {MOST_BYTES:,} bytes"
    return ConfigError(message, code="yaml", where=f"{name}:{line}", hint="make it smaller")


def _read(text: str, name: str, found: list[Fault]) -> Document:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Reader(name, found).read(yaml.parse(text, Loader=loader))
    except yaml.MarkedYAMLError as error:
        fault = _syntax_fault(error, text, name)
        tabs = [*_tabs(text, name)]
        if all(tab.where != fault.where for tab in tabs):
            raise _Unreadable(fault) from None
        found[:] = tabs
        return _read_without_tabs(text, name, found)
    except yaml.YAMLError:
        raise _Unreadable(*_illegal(text, name)) from None


# -- what is no YAML -----------------------------------------------------------------------------

_TAB: Final = re.compile(r"^ *\t[ \t]*", re.MULTILINE)
_ILLEGAL: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _tabs(text: str, name: str) -> Iterator[Fault]:
    for tab in _TAB.finditer(text):
        yield Fault("yaml", "a tab in the indentation", _at(text, tab.start(), name), hint="use spaces")


def _read_without_tabs(text: str, name: str, found: list[Fault]) -> Document:
    """The document as it is probably meant, so that its other faults are told with the tabs."""
    before = tuple(found)
    try:
        return _read(_TAB.sub(lambda tab: tab[0].replace("\t", "  "), text), name, found)
    except _Unreadable:
        # What is wrong then may come from the tabs.
        found.clear()
        raise _Unreadable(*before) from None


def _illegal(text: str, name: str) -> Iterator[Fault]:
    for match in _ILLEGAL.finditer(text):
        message = f"the character U+{ord(match[0]):04X} is not allowed"
        yield Fault("yaml", message, _at(text, match.start(), name), hint="remove it")


def _at(text: str, position: int, name: str) -> str:
    return f"{name}:{text.count(chr(10), 0, position) + 1}"


def _syntax_fault(error: Any, text: str, name: str) -> Fault:
    """Where the text stops being YAML, and what is usually meant."""
    mark = error.problem_mark or error.context_mark
    line = mark.line if mark else 0
    begun = error.context_mark.line if error.context_mark else line
    problem = error.problem or "not YAML"
    first = text.split("\n")[line][mark.column : mark.column + 1] if mark and text else ""
    if problem == "found character that cannot start any token" and first.strip():
        problem = f"a value cannot begin with `{first}`"
    hint = next((hint for part, hint in _HINTS.items() if part in problem), "check the indentation")
    return Fault("yaml", problem, f"{name}:{line + 1}", hint=hint.format(begun=begun + 1))


_HINTS: Final[Mapping[str, str]] = {
    "cannot begin with": "put it in quotes",
    "cannot start any token": "use spaces instead of a tab",
    "mapping values are not allowed": "put a value that holds `: ` in quotes, or check the indentation",
    "end of stream": "close the quote that opens in line {begun}",
    "',' or ']'": "close the bracket that opens in line {begun}",
    "',' or '}'": "close the brace that opens in line {begun}",
    "directive": "remove the line that begins with `%`",
}


# -- from events to values -----------------------------------------------------------------------


class _Reader:
    """Builds values from YAML events; a class because position, anchors and bounds are shared."""

    def __init__(self, name: str, faults: list[Fault]) -> None:
        self.name = name
        self.faults = faults
        self.lines: dict[Path_, int] = {}
        self.anchors: dict[str, tuple[Any, int, int]] = {}
        """By name: what was built, how many values it holds and how deep they go."""
        self.nodes = 0
        self.deepest = 0

    def read(self, events: Any) -> Document:
        import yaml

        self.events = (event for event in events if not isinstance(event, yaml.StreamStartEvent))
        data: Any = None
        for number, event in enumerate(self.events):
            if isinstance(event, yaml.StreamEndEvent):
                break
            if number:
                self.note(event, "more than one document in the file", "remove the line `---`")
                break
            data = self.value(next(self.events), ())
            next(self.events)
        return Document(self.name, data, self.lines, tuple(self.faults))

    def note(self, event: Any, message: str, hint: str) -> None:
        self.faults.append(Fault("yaml", message, f"{self.name}:{_line(event)}", hint=hint))

    def value(self, event: Any, path: Path_) -> Any:
        import yaml

        self.lines.setdefault(path, _line(event))
        self.count(event, 1, len(path))
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event, path)
        if event.tag is not None:
            self.note(event, f"the tag `{_shown(_as_typed(event.tag))}` is not allowed", _UNTAGGED)
        around, self.deepest, before = self.deepest, len(path), self.nodes
        built = self.node(event, path)
        if event.anchor:
            self.anchors[event.anchor] = (built, self.nodes - before, self.deepest - len(path))
        self.deepest = max(around, self.deepest)
        return built

    def count(self, event: Any, nodes: int, depth: int) -> None:
        """Keep within the bounds; what an alias stands for is counted as if it were written out."""
        self.nodes += nodes
        self.deepest = max(self.deepest, depth)
        if self.nodes > MOST_NODES or depth > MOST_DEPTH:
            self.note(event, "here the file becomes too deep or holds too many values", "make it smaller")
            raise _Unreadable

    def alias(self, event: Any, path: Path_) -> Any:
        if event.anchor not in self.anchors:
            self.note(event, f"`*{_shown(event.anchor)}` names no anchor", "define it with & first")
            return None
        found, nodes, height = self.anchors[event.anchor]
        self.count(event, nodes, len(path) + height)
        return found

    def node(self, event: Any, path: Path_) -> Any:
        import yaml

        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(path)
        return event.value if event.style else plain_scalar(event.value)

    def mapping(self, path: Path_) -> dict[str, Any]:
        import yaml

        found: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.key(event, path)
            if key is not None and key not in found:
                self.lines.setdefault((*path, key), _line(event))
                found[key] = self.value(next(self.events), (*path, key))
                continue
            if key is not None:
                first = self.lines[(*path, key)]
                hint = f"keep one of the two; the first stands in line {first}"
                self.note(event, f"`{_shown(key)}` stands twice", hint)
            self.value(next(self.events), (*path, key or ""))
        return found

    def key(self, event: Any, path: Path_) -> str | None:
        """The text of a key; None for one that is no text, after noting it."""
        import yaml

        if isinstance(event, yaml.ScalarEvent) and event.tag is None:
            return str(event.value)
        self.note(event, "a key must be plain text", "write it without a tag, an alias or brackets")
        if not isinstance(event, yaml.ScalarEvent | yaml.AliasEvent):
            self.node(event, path)
        return None

    def sequence(self, path: Path_) -> list[Any]:
        import yaml

        found: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            found.append(self.value(event, (*path, len(found))))
        return found


_UNTAGGED: Final = "write the value without it"


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _as_typed(tag: str) -> str:
    """A tag as it stands in the file: the parser has written `!!` out."""
    return re.sub(r"^tag:yaml\.org,2002:", "!!", tag)


def _shown(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"


# -- scalars -------------------------------------------------------------------------------------

_INT: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_DECIMAL: Final = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
_WORDS: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def plain_scalar(text: str) -> Any:
    """An unquoted scalar by the core schema, except that a number with a point is exact.

    >>> [plain_scalar(text) for text in ("12", "0.10", "007", "yes", "true", "1e3")]
    [12, Decimal('0.10'), '007', 'yes', True, Decimal('1E+3')]
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text) and len(text) < 40:
        return int(text)
    if _DECIMAL.fullmatch(text) and len(text) < 40:
        return Decimal(text)
    return text
