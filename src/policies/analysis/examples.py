"""One concrete request for a cell: fields, labels and an instant that a person can try out.

Here belongs the way back from the cells of a space to what somebody would type. Which cell is worth
showing belongs to those who found it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from planner.request import OPEN_FIELDS, ModelCreateRequest
from policies.contexts import Context
from policies.space import Space


@dataclass(frozen=True, slots=True)
class Example:
    """A request as asked, its labels, and the instant at which it is asked."""

    inputs: Mapping[str, Any]
    labels: Mapping[str, str]
    at: datetime

    def __str__(self) -> str:
        """As a person would write it down; a picture only as being there.

        >>> str(Example({"prompt": "x", "face_reference": "https://…"}, {"team": "a"}, datetime.max))
        'face_reference: present, team: a'
        """
        told = {name: "present" if name in OPEN_FIELDS else value for name, value in self.inputs.items()}
        told = {**{name: value for name, value in told.items() if name != "prompt"}, **self.labels}
        return ", ".join(f"{name}: {value}" for name, value in told.items()) or "a plain request"


def example_of(space: Space, context: Context, request: ModelCreateRequest) -> Example:
    """An example of a request in a context."""
    assert context.at is not None, "every context has an instant"
    declared = {name for policy in space.policies for name in policy.labels}
    given = {name: value for name, value in context.example.items() if value is not None}
    inputs = {**request.inputs(), **{name: value for name, value in given.items() if name not in declared}}
    return Example(inputs, {name: value for name, value in given.items() if name in declared}, context.at)
