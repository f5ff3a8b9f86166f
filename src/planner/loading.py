"""The edge that reads YAML: safe, bounded, exact, and with the line of every value.

Here belongs reading a YAML text into plain values and the shipped data files into the planner's own
types. A policy file is read by the same `read_yaml`. What a policy may say belongs to `policies`.

Scalars follow the YAML 1.2 core schema, so `16:9`, `22:00`, `no` and `007` are text, and a number
with a point is a `Decimal`. Tags are refused; size, depth and aliases are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any, Final

from planner.errors import ConfigError, Fault, InputError, nearest
from planner.latency import LatencyProfile, Seconds
from planner.money import CreditPlan, CreditPrice, micro_from_usd
from planner.prices import PriceBook, PriceEntry
from planner.request import GENERATION_MODES, RESOLUTIONS

_DATA: Final = Path(__file__).with_name("data")

MOST_BYTES: Final = 1_000_000
MOST_DEPTH: Final = 40
MOST_NODES: Final = 100_000

Path_ = tuple[str | int, ...]
"""Where a value stands in a document: keys and list positions from the top."""

_INT: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_DECIMAL: Final = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
_WORDS: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML text as plain values, and the line on which each of them stands."""

    name: str
    data: Any
    lines: Mapping[Path_, int] = field(repr=False)

    def where(self, path: Sequence[str | int] = ()) -> str:
        """`file:line` of a value, or of the nearest thing around it."""
        place = tuple(path)
        while place and place not in self.lines:
            place = place[:-1]
        return f"{self.name}:{self.lines.get(place, 1)}"


def read_text(path: Path) -> str:
    """A file's text as UTF-8; raises `InputError` with the reason when it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"cannot read `{path}`: {reason}", code="unreadable_file") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"`{path}` is not UTF-8 text", code="unreadable_file") from None


def read_yaml_file(path: Path) -> Document:
    """The document in a file."""
    return read_yaml(read_text(path), str(path))


def read_yaml(text: str, name: str = "text") -> Document:
    """One YAML document as plain values.

    >>> read_yaml("ratio: 16:9\\nrate: 0.0750\\nanswer: no").data
    {'ratio': '16:9', 'rate': Decimal('0.0750'), 'answer': 'no'}
    """
    import yaml

    if len(text) > MOST_BYTES:
        raise ConfigError(f"{name} is larger than {MOST_BYTES} bytes", code="yaml", where=name)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    reader = _Reader(name)
    try:
        return reader.read(yaml.parse(text, Loader=loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark else name
        problem = error.problem or "not YAML"
        raise ConfigError(problem, code="yaml", where=where, hint="check the indentation") from None
    except yaml.YAMLError:
        raise ConfigError("not YAML: a character that YAML does not allow", code="yaml", where=name) from None


class _Reader:
    """Builds values from YAML events; a class because position, anchors and bounds are shared."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: dict[Path_, int] = {}
        self.anchors: dict[str, Any] = {}
        self.nodes = 0

    def read(self, events: Any) -> Document:
        import yaml

        self.events = (event for event in events if not isinstance(event, yaml.StreamStartEvent))
        data: Any = None
        for number, event in enumerate(self.events):
            if isinstance(event, yaml.StreamEndEvent):
                break
            if number:
                raise self.fault(event, "more than one document in the file", "remove the line `---`")
            data = self.value(next(self.events), ())
            next(self.events)
        return Document(self.name, data, self.lines)

    def fault(self, event: Any, message: str, hint: str) -> ConfigError:
        return ConfigError(message, code="yaml", where=f"{self.name}:{_line(event)}", hint=hint)

    def value(self, event: Any, path: Path_) -> Any:
        import yaml

        self.nodes += 1
        self.lines.setdefault(path, _line(event))
        if self.nodes > MOST_NODES or len(path) > MOST_DEPTH:
            raise self.fault(event, "the file is too deep or holds too many values", "make it smaller")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                raise self.fault(event, f"`*{event.anchor}` names no anchor", "define it with & first")
            found, cost = self.anchors[event.anchor]
            self.nodes += cost
            return found
        if event.tag is not None:
            raise self.fault(event, f"the tag `{event.tag}` is not allowed", "write plain values")
        before = self.nodes
        built = self.node(event, path)
        if event.anchor:
            self.anchors[event.anchor] = (built, self.nodes - before)
        return built

    def node(self, event: Any, path: Path_) -> Any:
        import yaml

        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(path)
        return plain_scalar(event.value) if event.implicit[0] else event.value

    def mapping(self, path: Path_) -> dict[str, Any]:
        import yaml

        found: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent) or event.tag is not None:
                raise self.fault(event, "a key must be plain text", "quote it")
            if event.value in found:
                raise self.fault(event, f"`{event.value}` stands twice", "keep one of the two")
            self.lines[(*path, event.value)] = _line(event)
            found[event.value] = self.value(next(self.events), (*path, event.value))
        return found

    def sequence(self, path: Path_) -> list[Any]:
        import yaml

        found: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            found.append(self.value(event, (*path, len(found))))
        return found


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


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


def instant(value: object) -> datetime | None:
    """An instant from `2026-05-01` (midnight UTC) or an ISO text with its offset; else None."""
    try:
        if isinstance(value, str) and len(value) == 10:
            return datetime.combine(date.fromisoformat(value), time(), UTC)
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else None


@lru_cache(maxsize=1)
def shipped_prices() -> PriceBook:
    """The price book that comes with the package."""
    return price_book(_shipped("prices.yaml"))


@lru_cache(maxsize=1)
def shipped_credit_plans() -> Mapping[str, CreditPlan]:
    """The provider's ways to buy credits, by name: `on-demand`, `tier-1`, …"""
    plans = _shipped("credit_prices.yaml").data["plans"]
    return {
        name: CreditPlan(
            CreditPrice(name, micro_from_usd(plan["usd_per_credit"])),
            micro_from_usd(Decimal(plan["usd_per_month"])),
            plan["credits_per_month"],
            CreditPrice(f"{name} top-up", micro_from_usd(plan["usd_per_top_up_credit"])),
        )
        for name, plan in plans.items()
    }


@lru_cache(maxsize=1)
def shipped_latency() -> LatencyProfile:
    """The documented service times that come with the package; several images are estimates."""
    data = _shipped("latency.yaml").data
    rows = {}
    for mode, resolution, images in product(GENERATION_MODES, RESOLUTIONS, data["images"]):
        factor = float(data["images"][images])
        for face, row in ((False, "alone"), (True, "with_face")):
            p50, p90, basis = data["seconds"][mode][resolution][row]
            found = Seconds(p50 * factor, p90 * factor, basis if images == "1" else "estimated")
            rows[mode, resolution, face, int(images)] = found
    return LatencyProfile(data["profile"], rows)


def _shipped(name: str) -> Document:
    return read_yaml((_DATA / name).read_text("utf-8"), name)


def load_prices(path: Path) -> PriceBook:
    """The shipped book extended by the dated entries of a user's own file."""
    return shipped_prices().extended(price_book(read_yaml_file(path)).entries)


def price_book(document: Document) -> PriceBook:
    """A price book from its document; raises `ConfigError` with every fault of the file."""
    faults: list[Fault] = []
    data = document.data if isinstance(document.data, dict) else {}
    provider, checked = data.get("price_book"), instant(data.get("checked"))
    if not isinstance(provider, str):
        where = document.where()
        faults.append(Fault("price_book", "`price_book` is missing", where, hint="name the provider"))
    if checked is None:
        where = document.where(("checked",))
        faults.append(Fault("price_book", "`checked` is not a date", where, hint="write it as 2026-11-22"))
    items = data.get("entries")
    if not isinstance(items, list) or not items:
        faults.append(Fault("price_book", "`entries` is missing or empty", document.where(("entries",))))
    known = ("price_book", "checked", "unit", "entries")
    faults += [_unknown_key(document, (key,), known) for key in data if key not in known]
    entries = [
        _price_entry(document, str(provider), ("entries", place), item, faults)
        for place, item in enumerate(items if isinstance(items, list) else ())
    ]
    if faults or checked is None:
        raise ConfigError(faults=faults)
    return PriceBook([entry for entry in entries if entry], checked)


_ENTRY_KEYS: Final = ("from", "to", "source", "credits", "face_reference", "omitted_mode")


def _price_entry(
    document: Document, provider: str, path: Path_, item: Any, faults: list[Fault]
) -> PriceEntry | None:
    """One entry, or None after noting its faults."""
    before = len(faults)

    def fault(message: str, *place: str, hint: str = "") -> None:
        faults.append(Fault("price_entry", message, document.where((*path, *place)), hint=hint))

    if not isinstance(item, dict):
        fault("an entry must be a mapping")
        return None
    faults += [_unknown_key(document, (*path, key), _ENTRY_KEYS) for key in item if key not in _ENTRY_KEYS]
    start, end = instant(item.get("from")), instant(item["to"]) if "to" in item else None
    if start is None:
        fault("`from` is not a date", "from", hint="write it as 2026-05-01")
    if "to" in item and (end is None or (start and end <= start)):
        fault("`to` is not a date after `from`", "to", hint="leave it out where the price has no end yet")
    table = item.get("credits")
    for mode in GENERATION_MODES:
        for tier in RESOLUTIONS:
            found = table.get(mode, {}) if isinstance(table, dict) else {}
            credits = found.get(tier) if isinstance(found, dict) else None
            if not _whole(credits):
                fault(f"`credits` has no whole number for {mode} at {tier}", "credits", mode, tier)
    if not _whole(item.get("face_reference")):
        fault("`face_reference` is not a whole number of credits", "face_reference")
    omitted = item.get("omitted_mode")
    for tier in RESOLUTIONS:
        if not isinstance(omitted, dict) or omitted.get(tier) not in GENERATION_MODES:
            fault(f"`omitted_mode` does not name a mode for {tier}", "omitted_mode", tier)
    if len(faults) > before or start is None:
        return None
    face, where = item["face_reference"], document.where(path)
    return PriceEntry(provider, start, end, item["credits"], face, item["omitted_mode"], where)


def _whole(value: object) -> bool:
    return type(value) is int and value >= 0


def _unknown_key(document: Document, path: Path_, known: Sequence[str]) -> Fault:
    guess = nearest(str(path[-1]), known)
    hint = f"did you mean `{guess}`?" if guess else "known: " + ", ".join(known)
    return Fault("unknown_key", f"`{path[-1]}` is not known here", document.where(path), hint=hint)
