"""What a request may go down to, best first, in the order that somebody states.

Here belong the fields that may be given up and the order of the candidates. Which candidate fits an
amount, a rule or a budget belongs to those who ask for one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final, Literal

from planner.errors import InputError
from planner.request import DEFAULTS, ModelCreateRequest
from planner.rungs import LADDERS, floor_faults

Unit = Literal["credits", "microusd"]
Floor = Mapping[str, Any]
"""The least value of a field, by its name."""
NO_FLOOR: Final[Floor] = {}


@dataclass(frozen=True, slots=True)
class Downgrade:
    """How a request may be made smaller."""

    order: tuple[str, ...]
    """The fields that may be given up, the first one first."""
    floor: Floor = field(default_factory=dict)
    """What no field falls below."""
    at_most: int | None = None
    """What the result may cost, in `unit`; None in a budget, where what is left of it decides."""
    unit: Unit = "credits"

    def with_floor(self, floor: Floor) -> Downgrade:
        """The same with another floor as well; of two for one field the higher one holds."""
        return Downgrade(self.order, highest(self.floor, floor), self.at_most, self.unit)


def check_floor(floor: Floor) -> None:
    """Raises `InputError` with everything that is no floor: another field, or a value it cannot have.

    >>> check_floor({"resolution": "2k", "num_images": 1})
    """
    if floor and (faults := [*floor_faults(floor)]):
        raise InputError(faults=faults)


def highest(floor: Floor, other: Floor) -> Floor:
    """Both floors at once.

    >>> highest({"resolution": "1k", "num_images": 2}, {"resolution": "2k"})
    {'resolution': '2k', 'num_images': 2}
    """
    both = dict(floor)
    for name, value in other.items():
        both[name] = max(both.get(name, value), value, key=LADDERS[name].index)
    return both


def together(downgrades: Sequence[Downgrade], floor: Floor) -> Downgrade:
    """How a request goes down where several say so: as the first does, above the floors of all."""
    found = downgrades[0].with_floor(floor)
    for other in downgrades[1:]:
        found = found.with_floor(other.floor)
    return found


def candidates(
    request: ModelCreateRequest, billed_mode: str, downgrade: Downgrade
) -> Iterator[ModelCreateRequest]:
    """Every request it may go down to, the best first; what it is itself stands at the beginning.

    Of two candidates the one with the higher last-named field is better, then the one before it. An
    omitted mode is written out as the mode it is billed as, so that giving up a resolution does not
    change the mode as well. A field that lies below its floor already stays as it is.

    >>> asked = ModelCreateRequest(prompt="x", resolution="2k", num_images=2)
    >>> found = candidates(asked, "quality", Downgrade(("num_images", "generation_mode")))
    >>> [(item.num_images, item.generation_mode) for item in found][:3]
    [(2, 'quality'), (1, 'quality'), (2, 'balanced')]
    """
    fields = request.__dict__
    written = {**fields, "generation_mode": billed_mode}
    last_first = tuple(reversed(downgrade.order))
    choices = [_choices(name, written[name], downgrade.floor) for name in last_first]
    for values in product(*choices):
        changed = {
            name: value
            for name, value in zip(last_first, values, strict=True)
            if value != (DEFAULTS.get(name) if fields[name] is None else fields[name])
        }
        yield ModelCreateRequest.of_checked({**written, **changed})


def _choices(name: str, value: Any, floor: Floor) -> tuple[Any, ...]:
    """What a field may become, from what it is downwards."""
    ladder = LADDERS[name]
    now = ladder.index(DEFAULTS[name] if value is None else value)
    least = ladder.index(floor[name]) if name in floor else 0
    return tuple(reversed(ladder[min(least, now) : now + 1]))
