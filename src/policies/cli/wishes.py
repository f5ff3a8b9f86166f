"""The flags of `planner plan` that say what a workload shall fit into, and what may be given up for it.

Here belong the options and what somebody typed. Reading them, and the fit, belong to `fitting`, which is
imported only where one is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import click

from policies.cli.output import Command, Decorator

_OPTIONS: Final[Sequence[tuple[str, dict[str, Any]]]] = (
    ("--at-most", {"metavar": "AMOUNT", "help": "What all may cost, such as '800 credits' or '60 USD'."}),
    ("--deadline", {"metavar": "TIME", "help": "When all shall be done, such as 6h or 90m."}),
    (
        "--give-up-in-order",
        {"metavar": "FIELDS", "help": "What may be given up for it: num_images,generation_mode,resolution."},
    ),
    ("--floor", {"metavar": "FIELD=VALUE", "multiple": True, "help": "What a field does not fall below."}),
    ("--keep", {"metavar": "LABEL=VALUE", "multiple": True, "help": "Jobs of which nothing is given up."}),
    ("--priority", {"metavar": "LABEL=A,B", "help": "Values of a label, the most important jobs first."}),
    ("--chart", {"metavar": "FILE", "help": "Draw credits against finish time (.svg or .png)."}),
    ("--apply", {"metavar": "FILE", "help": "Write the workload with what fits, else with the savings."}),
    (
        "--apply-also",
        {"metavar": "NAME", "multiple": True, "help": "A saving that makes another picture, by its name."},
    ),
)


def wish_options(command: Command) -> Command:
    """The options on a click command; they arrive as the fields of `Flags`."""
    for name, words in reversed(_OPTIONS):
        option: Decorator = click.option(name, **words)
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Flags:
    """What somebody typed about a fit."""

    at_most: str | None = None
    deadline: str | None = None
    give_up_in_order: str | None = None
    floor: Sequence[str] = ()
    keep: Sequence[str] = ()
    priority: str | None = None
    chart: str | None = None
    apply: str | None = None
    apply_also: Sequence[str] = ()

    @classmethod
    def taken(cls, options: dict[str, Any]) -> Flags:
        """The flags of a fit, taken out of all options of a command."""
        return cls(**{known.name: options.pop(known.name) for known in fields(cls)})

    @property
    def given(self) -> list[str]:
        """The flags that were typed."""
        return [f"--{known.name.replace('_', '-')}" for known in fields(self) if getattr(self, known.name)]

    @property
    def is_wish(self) -> bool:
        """Whether a fit is asked for; a deadline alone asks only whether it is kept."""
        asked = (self.at_most, self.give_up_in_order, self.floor, self.keep, self.priority, self.chart)
        return any(asked)
