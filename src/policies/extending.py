"""A policy laid over the one it extends: one document, in which each value knows its own file and line.

Here belong the rules by which files are laid over each other, on plain values. Finding and reading the
files belongs to `loading`; what may stand in the result belongs to `document`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from planner.documents import Document, Path_
from planner.errors import Fault, nearest
from policies.document import SECTIONS
from policies.parsing import plain

if TYPE_CHECKING:
    from pathlib import Path

_OWN: Final = ("policy", "name")
"""What a policy never takes from the one it extends."""


@dataclass(frozen=True, slots=True)
class Source:
    """One text of a policy: its own, or one that it extends."""

    document: Document
    text: str
    shown: str
    """How findings name it, wherever it lies: `base.yaml`, or `starter/policy.yaml` from the library."""
    path: Path | None
    """The file it was read from; None for a text and for a shipped policy."""
    profile: Path | None = None
    """The file of the latency profile that stands in its values in place of its name."""

    @property
    def data(self) -> Mapping[str, Any]:
        """Its values; none where it is no mapping."""
        return self.document.data if isinstance(self.document.data, dict) else {}

    def fault(self, place: Path_, message: str, hint: str = "") -> Fault:
        return Fault("policy", message, self.document.where(place), hint=hint)


@dataclass(frozen=True, slots=True)
class Merged:
    """Plain values from several files, each with its file and line."""

    data: Any
    sources: tuple[Source, ...]
    """The policy's own text first, then what it extends, the nearest first."""
    origins: Mapping[Path_, tuple[Source, Path_]]
    """The text that a value and all that is in it came from, and where it stands there."""

    def where(self, path: Sequence[str | int] = ()) -> str:
        """`file:line` of a value, or of the nearest thing around it, as faults tell it."""
        source, place = self._origin(tuple(path))
        return source.document.where(place)

    def told(self, *path: str | int) -> str:
        """`file:line` of a value as findings tell it, the same wherever the files lie."""
        source, place = self._origin(path)
        return f"{source.shown}:{source.document.where(place).rpartition(':')[2]}"

    def _origin(self, path: Path_) -> tuple[Source, Path_]:
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                source, place = self.origins[path[:length]]
                return source, (*place, *path[length:])
        return self.sources[0], path

    def order(self, fault: Fault) -> tuple[int, int]:
        """Faults by file, the policy's own first, then by line."""
        file, _, line = fault.where.rpartition(":")
        names = [source.document.name for source in self.sources]
        return (names.index(file) if file in names else 0), int(line)


def merged(sources: Sequence[Source]) -> tuple[Merged, list[Fault]]:
    """All the texts as one document, the policy's own first in `sources`, and what does not go together."""
    own = sources[0]
    if not isinstance(own.document.data, dict):
        return Merged(own.document.data, tuple(sources), {}), []
    faults = [fault for source in sources[1:] for fault in _not_a_policy(source)]
    layers = _Layers(own, faults)
    for source in reversed(sources):
        layers.lay(source)
    data, origins = layers.values()
    return Merged(data, tuple(sources), origins), faults


def _not_a_policy(source: Source) -> list[Fault]:
    if not isinstance(source.document.data, dict):
        return [source.fault((), "a policy must be a mapping")]
    version = source.data.get("policy")
    if "policy" not in source.data:
        return [source.fault((), "`policy` is missing", "start with `policy: 1`")]
    if type(version) is not int or version != 1:
        return [source.fault(("policy",), f"`{plain(version)}` is not a value of `policy`", "use 1")]
    return []


@dataclass(frozen=True, slots=True)
class _Part:
    """A value, and where it came from."""

    value: Any
    source: Source
    place: Path_

    @property
    def name(self) -> str | None:
        """The name of an entry; None where it has none, which is told when its shape is read."""
        name = self.value.get("name") if isinstance(self.value, dict) else None
        return name.strip() if isinstance(name, str) else None

    def fault(self, message: str, hint: str, *key: str) -> Fault:
        return self.source.fault((*self.place, *key), message, hint)


class _Layers:
    """The texts laid over each other so far; a class because all steps place values and find faults."""

    def __init__(self, own: Source, faults: list[Fault]) -> None:
        self.own = own
        self.faults = faults
        self.single: dict[str, _Part] = {}
        """Values that stand as a whole, malformed lists and mappings among them."""
        self.lists: dict[str, list[_Part]] = {}
        self.mappings: dict[str, dict[str, _Part]] = {}

    def lay(self, source: Source) -> None:
        """One more text over the ones before it."""
        for key, value in source.data.items():
            if key == "extends" or (key in _OWN and source is not self.own):
                continue
            if key in SECTIONS and isinstance(value, list):
                self.entries(key, [_Part(item, source, (key, at)) for at, item in enumerate(value)])
            elif key in ("labels", "conditions") and isinstance(value, dict):
                self.names(key, {name: _Part(item, source, (key, name)) for name, item in value.items()})
            else:
                self.single[key] = _Part(value, source, (key,))

    def names(self, key: str, parts: Mapping[str, _Part]) -> None:
        """Labels replace the ones below; a condition does not, because the rules below read it."""
        below = self.mappings.setdefault(key, {})
        for name, part in parts.items():
            if key == "conditions" and name in below:
                other = below[name].source.document.where(below[name].place)
                hint = f"the other stands in {other}, and rules there read it; choose another name"
                self.faults.append(part.fault(f"the condition `{name}` stands twice", hint))
            else:
                below[name] = part

    def entries(self, section: str, parts: Sequence[_Part]) -> None:
        """The entries below, some of them replaced, and then those that are new."""
        below = self.lists.setdefault(section, [])
        places = {part.name: place for place, part in enumerate(below) if part.name is not None}
        replaced: set[str] = set()
        for part in parts:
            target = self.target(section, part, places, replaced)
            plainly = _Part(_without_replaces(part.value), part.source, part.place)
            if target is None:
                below.append(plainly)
            else:
                replaced.add(target)
                below[places[target]] = plainly

    def target(self, section: str, part: _Part, places: Mapping[str, int], replaced: set[str]) -> str | None:
        """The name of the entry that this one replaces, or None where it is new."""
        if not isinstance(part.value, dict) or "replaces" not in part.value:
            return None
        said = part.value["replaces"]
        target = part.name if said is True else said
        if target is None:
            return None
        if not isinstance(target, str):
            message = f"`{plain(said)}` does not say what is replaced"
            self.faults.append(part.fault(message, "write `true`, or the name of the other", "replaces"))
        elif "extends" not in part.source.data:
            hint = "remove it, or say what this policy extends"
            self.faults.append(part.fault("`replaces` goes with `extends` only", hint, "replaces"))
        elif target.strip() in replaced:
            message = f"`{target.strip()}` is replaced twice"
            self.faults.append(part.fault(message, "keep one of the two", "replaces"))
        elif target.strip() not in places:
            self.faults.append(part.fault(*_nothing_there(section, target.strip(), places), "replaces"))
        else:
            return target.strip()
        return None

    def values(self) -> tuple[dict[str, Any], dict[Path_, tuple[Source, Path_]]]:
        """The values laid together, and where each came from."""
        data: dict[str, Any] = {}
        origins: dict[Path_, tuple[Source, Path_]] = {}
        for key, entries in self.lists.items():
            data[key] = [part.value for part in entries]
            origins |= {(key, at): (part.source, part.place) for at, part in enumerate(entries)}
        for key, parts in self.mappings.items():
            data[key] = {name: part.value for name, part in parts.items()}
            origins |= {(key, name): (part.source, part.place) for name, part in parts.items()}
        for key, part in self.single.items():
            data[key] = part.value
            origins[key,] = (part.source, part.place)
        return data, origins


def _without_replaces(value: Any) -> Any:
    if not isinstance(value, dict) or "replaces" not in value:
        return value
    return {key: item for key, item in value.items() if key != "replaces"}


def _nothing_there(section: str, target: str, places: Mapping[str, int]) -> tuple[str, str]:
    guess = nearest(target, tuple(places))
    hint = f"did you mean `{guess}`?" if guess else "there are " + (", ".join(places) or "none")
    return f"there is no `{target}` among the {section} to replace", hint
