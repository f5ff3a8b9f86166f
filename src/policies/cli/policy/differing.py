"""What changes between two policies, as people read it: verdicts first, and each kind of change once.

Here belong the rows and what becomes one of them; the document has every difference by itself. What
differs is found by `policies.analysis`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Final, TypeVar

from policies.decision import Verdict

if TYPE_CHECKING:
    from planner.report.tables import Cell, Column, Table
    from policies.analysis.cells import CellDiff, ChangedCells
    from policies.analysis.diff import Changed, Difference, TrafficDiff

MOST_ROWS: Final = 40
"""Differences that are shown before it is said how many more there are; JSON has them all."""
MOST_WAYS: Final = 3
"""In how many ways rules may rewrite before all of them become one row."""

One = TypeVar("One", "ChangedCells", "Changed")


def cell_table(found: CellDiff) -> Table:
    """What changes whatever the traffic is: verdicts, then what is rewritten, the most cells first."""
    from planner.report.tables import Column

    rows = [
        (_is_rewrite(group), -cells, _cell_row(group, cells))
        for group in _merged(found.changed)
        for cells in [sum(one.cells for one in group)]
    ]
    figures = [Column("cells", "cells", figure=True), Column("credits", "credits each", figure=True)]
    return _table(rows, (Column("what", "what changes"), *figures, Column("example", "such as")))


def traffic_table(found: TrafficDiff) -> Table:
    """What changes for past requests: verdicts, then what is rewritten, the most credits first."""
    from planner.report.tables import Column

    rows = [
        (_is_rewrite(group), -abs(sum(map(_change, group))), _traffic_row(group))
        for group in _merged(found.changed)
    ]
    figures = [Column(name, name, figure=True) for name in ("requests", "before", "after", "change")]
    return _table(rows, (Column("what", "what changes"), *figures, Column("first", "first at")))


def _table(rows: list[tuple[bool, int, tuple[Cell, ...]]], columns: tuple[Column, ...]) -> Table:
    from planner.report.tables import Table

    shown = [row for _, _, row in sorted(rows, key=lambda row: row[:2])]
    if len(shown) > MOST_ROWS:
        more = f"… {len(shown) - MOST_ROWS:,} more"
        shown[MOST_ROWS:] = [(more, *(None for _ in columns[1:]))]
    return Table(columns, tuple(shown))


# -- one row -------------------------------------------------------------------------------------


def _cell_row(group: Sequence[ChangedCells], cells: int) -> tuple[Cell, ...]:
    least = min(one.least_credits for one in group)
    most = max(one.most_credits for one in group)
    span = f"{least:+}" if least == most else f"{least:+} to {most:+}"
    # Where fewer rules have a say the request as asked shows best what the row speaks of.
    plainest = min(group, key=lambda one: _rules(one.difference))
    return _words(group, least, most), cells, span, plainest.example


def _traffic_row(group: Sequence[Changed]) -> tuple[Cell, ...]:
    changes = [_change(one) for one in group]
    return (
        _words(group, min(changes), max(changes)),
        sum(one.requests for one in group),
        sum(one.credits_before for one in group),
        sum(one.credits_after for one in group),
        f"{sum(changes):+,}",
        min(group, key=lambda one: one.first_at).first,
    )


def _change(one: Changed) -> int:
    return one.credits_after - one.credits_before


def _words(group: Sequence[One], least: int, most: int) -> str:
    """What all of them say; of many ways in which rules rewrite, how many there are."""
    ways = {str(one.difference) for one in group}
    difference = group[0].difference
    if len(ways) == 1:
        return ways.pop()
    if difference.after.verdict is Verdict.NEEDS_APPROVAL:
        told = f"waits in {len(ways)} other forms"
    elif least < 0 >= most:
        told = f"goes smaller in {len(ways)} ways"
    elif least >= 0 < most:
        told = f"goes larger in {len(ways)} ways"
    else:
        told = f"goes in {len(ways)} other forms"
    return f"{told} {_by(difference)}"


# -- what becomes one row ------------------------------------------------------------------------


def _merged(changed: Iterable[One]) -> list[list[One]]:
    """Differences of the same words together, and many rewrites by the same rules."""
    words: dict[str, list[One]] = {}
    for one in changed:
        words.setdefault(str(one.difference), []).append(one)
    rules: dict[tuple[Verdict, str], list[list[One]]] = {}
    found = []
    for group in words.values():
        difference = group[0].difference
        if difference.changes_verdict:
            found.append(group)
        else:
            rules.setdefault((difference.after.verdict, _by(difference)), []).append(group)
    for groups in rules.values():
        found += [list(chain(*groups))] if len(groups) > MOST_WAYS else groups
    return found


def _is_rewrite(group: Sequence[One]) -> bool:
    return not group[0].difference.changes_verdict


def _by(difference: Difference) -> str:
    """The rules that make the difference; where they are the same on both sides, all of them."""
    return difference.by or "by " + ", ".join(f"`{rule}`" for rule in difference.after.rules)


def _rules(difference: Difference) -> int:
    return len(difference.before.rules) + len(difference.after.rules)
