"""What of a request can be given up, rung by rung, and what is a floor of it.

Here belong the fields, their values in order, and the check of a floor: a policy's `downgrade` and the fit of
a whole workload mean the same by them. What is given up, and for which request, belongs to those two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from planner.errors import Fault
from planner.quoting import COUNTS
from planner.request import GENERATION_MODES, RESOLUTIONS

LADDERS: Final[Mapping[str, tuple[Any, ...]]] = {
    "num_images": COUNTS,
    "generation_mode": GENERATION_MODES,
    "resolution": RESOLUTIONS,
}
"""The fields that can be given up, each with its values from the least to the most."""


def floor_faults(floor: Mapping[str, Any]) -> Iterator[Fault]:
    """A fault for everything that is no floor: another field, or a value it cannot have.

    >>> [fault.message for fault in floor_faults({"seed": 1, "resolution": "2k", "num_images": True})]
    ['`seed` has no floor', '`True` is not a floor of `num_images`']
    """
    for name, value in floor.items():
        if name not in LADDERS:
            message, hint = f"`{name}` has no floor", "only " + ", ".join(LADDERS) + " can be given up"
        elif isinstance(value, bool) or value not in LADDERS[name]:
            message = f"`{value}` is not a floor of `{name}`"
            hint = "use " + ", ".join(map(str, LADDERS[name]))
        else:
            continue
        yield Fault("bad_floor", message, field=name, hint=hint)
