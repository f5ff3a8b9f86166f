"""A latency profile as a file: the text that a fit is written to, and the edge that reads it.

Here belongs the form of that file. What its figures mean belongs to `latency`, how they are fitted to
`learning`; the documented profile that is shipped has its own, shorter form in `loading`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any, Final, get_args

from planner.documents import read_yaml_file
from planner.errors import ConfigError, Fault
from planner.latency import Basis, LatencyProfile, Row, Seconds
from planner.request import GENERATION_MODES, RESOLUTIONS

Where = Callable[[tuple[str, ...]], str]
"""`file:line` of a value by its path."""

_FACES: Final = {False: "alone", True: "with_face"}
_KINDS: Final[Mapping[str, Row]] = {
    f"{mode} {resolution} {_FACES[face]} {images}": (mode, resolution, face, images)
    for mode, resolution, face, images in product(GENERATION_MODES, RESOLUTIONS, (False, True), range(1, 5))
}
_HOURS: Final = 24
_HEAD: Final = """\
# How long a request takes, in seconds, from the accepted POST to its end. Fitted: made anew, never edited.
#
# Each kind (mode, resolution, alone or with a face reference, pictures): half of the jobs end within the
# first figure, nine of ten within the second; where that comes from; how many of this kind were observed.
"""


def profile_text(profile: LatencyProfile, source: str) -> str:
    """A profile as the text of its file; the same profile and source give the same text.

    >>> from planner.loading import shipped_latency
    >>> print(profile_text(shipped_latency(), "nothing").splitlines()[-1])
      quality 4k with_face 4: [228.0, 285.0, estimated, 0]
    """
    lines = [_HEAD.rstrip(), f"profile: {profile.name}", "unit: seconds", f"source: {_quoted(source)}"]
    if profile.load:
        figures = ", ".join(f"{figure:.3f}" for figure in profile.load)
        lines.append("# How many times as long as usual, by the hour of the day it is sent in (UTC).")
        lines.append(f"load: [{figures}]")
    lines.append("seconds:")
    for kind, row in _KINDS.items():
        found = profile.rows[row]
        figures = f"{found.p50_seconds:.1f}, {found.p90_seconds:.1f}, {found.basis}, {found.observations}"
        lines.append(f"  {kind}: [{figures}]")
    return "\n".join(lines) + "\n"


def load_profile(path: Path) -> LatencyProfile:
    """The profile of a file; raises `ConfigError` with every fault of it."""
    document = read_yaml_file(path)
    return read_profile(document.data, document.where)


def read_profile(given: Any, where: Where) -> LatencyProfile:
    """The profile in plain values; `where` says where each stands. Raises `ConfigError` with every fault."""
    data = given if isinstance(given, Mapping) else {}
    faults: list[Fault] = []
    name = data.get("profile")
    if not isinstance(name, str) or not name:
        faults.append(_fault(where, ("profile",), "`profile` has no name"))
    load = _load(where, data.get("load"), faults)
    rows = {row: found for kind, row in _KINDS.items() if (found := _seconds(where, data, kind, faults))}
    if faults:
        raise ConfigError(faults=faults)
    return LatencyProfile(str(name), rows, load)


def _load(where: Where, given: Any, faults: list[Fault]) -> tuple[float, ...]:
    if given is None:
        return ()
    figures = [_number(figure) for figure in given] if isinstance(given, list) else []
    found = [figure for figure in figures if figure is not None]
    if len(found) != _HOURS or len(figures) != _HOURS:
        faults.append(_fault(where, ("load",), f"`load` is not {_HOURS} figures above 0"))
    return tuple(found)


def _seconds(where: Where, data: Mapping[str, Any], kind: str, faults: list[Fault]) -> Seconds | None:
    table = data.get("seconds")
    given = table.get(kind) if isinstance(table, dict) else None
    if isinstance(given, list) and len(given) == 4:
        p50, p90, number = _number(given[0]), _number(given[1]), given[3]
        if p50 and p90 and p90 > p50 and given[2] in get_args(Basis) and type(number) is int and number >= 0:
            return Seconds(p50, p90, given[2], number)
    message = f"`{kind}` does not say [p50, p90, basis, observations]"
    faults.append(_fault(where, ("seconds", kind), message))
    return None


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _fault(where: Where, place: tuple[str, ...], message: str) -> Fault:
    hint = "make it with `planner latency fit`"
    return Fault("latency_profile", message, where(place), hint=hint)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
