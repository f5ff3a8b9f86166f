"""Conditions with a name: which there are, and in what order they have to be read.

Here belong the names, the circles in which they may not go, and reading each after those it calls. How
one condition is read belongs to `parsing`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final

from policies.conditions import RESERVED, Named, Vocabulary
from policies.parsing import Problem, Reader, plain

MOST_NAMED: Final = 1_000


def named_conditions(
    data: Mapping[str, Any], vocabulary: Vocabulary
) -> tuple[Mapping[str, Named | None], list[Problem]]:
    """Every named condition, None where it is faulty, and all that is wrong with them.

    >>> text = {"late": {"any": ["night", {"weekday": "sunday"}]}, "night": {"credits": {"above": 4}}}
    >>> found, problems = named_conditions(text, Vocabulary())
    >>> list(found), problems
    (['night', 'late'], [])
    """
    if len(data) > MOST_NAMED:
        return dict.fromkeys(data), [Problem((), f"there are more than {MOST_NAMED} conditions", "use fewer")]
    problems = [problem for name in data if (problem := _unfit(name, vocabulary))]
    order, circles = _order(data)
    problems += circles
    found: dict[str, Named | None] = {problem.place[0]: None for problem in circles}  # type: ignore[misc]
    for name in order:
        reader = Reader(replace(vocabulary, named=found), "named")
        found[name] = reader.named(data[name])
        problems += [Problem((name, *item.place), item.message, item.hint) for item in reader.problems]
    return found, problems


def _unfit(name: str, vocabulary: Vocabulary) -> Problem | None:
    if name in RESERVED or name in ("present", "absent"):
        return Problem((name,), f"`{name}` cannot name a condition", "conditions already read it")
    if name in vocabulary.labels:
        return Problem((name,), f"`{name}` cannot name a condition", "a label is called so")
    if not re.fullmatch(r"[^\W\d][\w -]{0,79}", name):
        hint = "use a letter, then up to 79 letters, digits, spaces, `-` and `_`"
        return Problem((name,), f"`{plain(name)}` is not a name", hint)
    return None


def _order(data: Mapping[str, Any]) -> tuple[list[str], list[Problem]]:
    """The names, each after those that it calls; and one problem for every circle, at its first name."""
    calls = {name: [called for called in _called(item) if called in data] for name, item in data.items()}
    problems: list[Problem] = []
    while True:
        try:
            return [name for name in TopologicalSorter(calls).static_order() if name in calls], problems
        except CycleError as error:
            circle = error.args[1][:0:-1]
            first = min(circle, key=list(data).index)
            turned = [*circle[circle.index(first) :], *circle[: circle.index(first)], first]
            shown = " → ".join(turned)
            message = f"`{first}` goes round in a circle: {shown}"
            problems.append(Problem((first,), message, "let one of them do without the next"))
            del calls[first]


def _called(data: Any) -> Iterator[str]:
    """The names that a condition calls."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict):
        yield from _called(data.get("not"))
        for key in ("any", "all"):
            items = data.get(key)
            for item in items if isinstance(items, list) else ():
                yield from _called(item)
