"""A replay as people read it: one line for each policy, then tables, then what was assumed.

Here belong words and columns. The figures come from `policies.analysis`, the layout of a table from
`planner.report`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Final

from planner.money import usd_from_micro
from policies.analysis.figures import NOTHING, Figures
from policies.cli.enforcement import AS_IF_ENFORCED
from policies.cli.output import (
    DOT,
    counted,
    credits_text,
    dim,
    plain,
    say,
    say_repairs,
    strong,
    styled,
    usd_text,
)
from policies.decision import Outcome

if TYPE_CHECKING:
    from planner.report.tables import Cell, Table
    from policies.analysis.replay import Replayed
    from policies.cli.policy.past import Past

MOST_ROWS: Final = 20
"""Rows that a table shows before it says how many more there are; JSON has them all."""
MOST_DAYS: Final = 31
"""Days that are shown one by one; of a longer past, months are."""

_MISSING: Final = "(none)"
_OUTCOMES: Final[Mapping[Outcome, str]] = {
    Outcome.REWRITE: "rewrites",
    Outcome.DOWNGRADE: "makes smaller",
    Outcome.REWRITE_REFUSED: "may not rewrite",
    Outcome.COSTS_MORE: "would cost more",
    Outcome.NOTHING_FITS: "nothing fits",
    Outcome.DENY: "denies",
    Outcome.NEEDS_APPROVAL: "asks",
    Outcome.ALLOW: "allows",
    Outcome.SHADOW: "in shadow, only tells",
    Outcome.OTHERWISE: "nothing else speaks",
    Outcome.BUDGET_FULL: "full",
    Outcome.BUDGET_WARNING: "warns",
    Outcome.LABEL_UNKNOWN: "unknown value",
    Outcome.NOT_EVALUABLE: "cannot be told",
}
"""What a rule, a budget or a label did, in words."""

_Read = Callable[[Figures], "Cell"]
_Rows = Mapping[tuple[str | None, ...], Sequence[Figures]]
_ReadAll = Callable[[Sequence[Figures]], "Cell"]


def say_replays(
    past: Past, replays: Sequence[Replayed], groups: Sequence[tuple[str, ...]], *, brief: bool
) -> None:
    """Print what the past would have come to under each policy, side by side.

    `brief` shows months instead of many days, and of many values the dearest.
    """
    from planner.report.tables import as_text

    names = called(replays)
    say(dim(DOT.join([plain(str(past)), *(_heading(found) for found in replays)])))
    say_repairs(past.repairs)
    say()
    for name, found in zip(names, replays, strict=True):
        say(_sentence(name, found.total))
    if brief and len(replays[0].days) > MOST_DAYS:
        groups = [("month",) if by == ("day",) else by for by in groups]
    most_rows = MOST_ROWS if brief else None
    unsaid = _unsaid(replays[0], groups) if brief else []
    kept = [by for by in groups if by not in unsaid]
    tables = [_totals(replays, names), *(_grouped(replays, names, by, most_rows) for by in kept)]
    for table in (*tables, *(_rules(found, name) for name, found in zip(names, replays, strict=True))):
        if table.rows:
            say("\n" + as_text(table))
    if unsaid:
        say("\n" + dim(f"labels that no request has: {', '.join(name for by in unsaid for name in by)}"))
    say("\n" + strong("What this assumes"))
    for line in dict.fromkeys(line for found in replays for line in found.assumptions):
        say(f"  {line}")


def _unsaid(found: Replayed, groups: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The labels that no past request has; a table by one of them would say nothing."""
    if not found.days:
        return []
    return [by for by in groups if all(group.values == (None,) for group in found.by(*by))]


def called(replays: Sequence[Replayed]) -> list[str]:
    """What the policies are called; two of one name are told apart by their digests."""
    names = [found.policy.name for found in replays]
    return names if len(set(names)) == len(names) else [_known(found) for found in replays]


def _known(found: Replayed) -> str:
    return f"{found.policy.name} ({found.policy.digest[:8]})"


def _heading(found: Replayed) -> str:
    return _known(found) + ("" if found.policy.enforced else f" {AS_IF_ENFORCED}")


def _sentence(name: str, total: Figures) -> str:
    """The whole result in one line."""
    fewer, were = total.fewer_credits, total.were_credits
    change = f"{abs(fewer):,} {'fewer' if fewer >= 0 else 'more'}"
    share = f" ({abs(fewer) / were:.1%})" if were else ""
    amounts = f"{_amount(total.credits, total.microusd, total)} instead of "
    amounts += _amount(were, total.were_microusd, total)
    waiting = counted(total.needs_approval, "needs approval", "need approval")
    stopped = [*([waiting] if total.needs_approval else [])]
    stopped += [f"{total.denied:,} denied"] if total.denied else []
    said = f"{strong(plain(name))}: {amounts}, {styled(change, fg='green' if fewer >= 0 else 'red')}{share}"
    return DOT.join([said, *stopped])


def _amount(credits: int, microusd: int, total: Figures) -> str:
    money = _money(microusd, total)
    return credits_text(credits) + (f" ({money})" if money else "")


def _money(microusd: int, figures: Figures) -> str | None:
    return None if figures.unpriced else usd_text(usd_from_micro(microusd))


# -- tables --------------------------------------------------------------------------------------


def _totals(replays: Sequence[Replayed], names: Sequence[str]) -> Table:
    """The past in the first column, then each policy; what is zero everywhere is left out."""
    from planner.report.tables import Column, Table

    totals = [found.total for found in replays]
    past = totals[0]
    rows: list[tuple[str, Cell, _Read]] = [
        ("requests", past.requests, lambda total: total.requests),
        ("allowed", None, lambda total: total.allowed),
        ("need approval", None, lambda total: total.needs_approval),
        ("denied", None, lambda total: total.denied),
        ("go in another form", None, lambda total: total.rewritten),
        ("credits", past.were_credits, lambda total: total.credits),
        ("credits saved by rewrites", None, lambda total: total.saved_credits),
        ("credits that wait", None, lambda total: total.waiting_credits),
        ("credits denied", None, lambda total: total.denied_credits),
        ("price difference", None, lambda total: total.price_difference),
        ("USD", _money(past.were_microusd, past), lambda total: _money(total.microusd, total)),
    ]
    shown = [(what, were, *map(read, totals)) for what, were, read in rows if were or any(map(read, totals))]
    figures = [Column(name, name, figure=True) for name in ("as it was", *names)]
    return Table((Column("", ""), *figures), tuple(shown))


def _grouped(
    replays: Sequence[Replayed], names: Sequence[str], by: tuple[str, ...], most_rows: int | None
) -> Table:
    """A row for each value, with the columns that have something to say."""
    from planner.report.tables import Column, Table

    found = [{group.values: group.figures for group in each.by(*by)} for each in replays]
    # Two policies may live in two zones, and then a day of one may be missing in the other.
    every = {values: [groups.get(values, NOTHING) for groups in found] for values in chain(*found)}
    columns = [(title, read) for title, read in _columns(names) if any(map(read, every.values()))]
    rows = [
        (*(_MISSING if text is None else text for text in values), *(read(row) for _, read in columns))
        for values, row in _dearest(every, most_rows).items()
    ]
    if len(rows) < len(every):
        rows.append((f"… {len(every) - len(rows):,} more", *(None for _ in (*by[1:], *columns))))
    titles = [Column(name, name.replace("_", " ")) for name in by]
    return Table((*titles, *(Column(title, title, figure=True) for title, _ in columns)), tuple(rows))


def _dearest(every: _Rows, most: int | None) -> _Rows:
    """The rows that cost most, in the order in which they stood."""
    if most is None or len(every) <= most:
        return every
    kept = sorted(every, key=lambda values: every[values][0].were_credits, reverse=True)[:most]
    return {values: every[values] for values in every if values in kept}


def _columns(names: Sequence[str]) -> Iterator[tuple[str, _ReadAll]]:
    """The columns of a grouping: of one policy all figures, of two what tells them apart."""
    yield "requests", lambda row: row[0].requests
    yield "as it was", lambda row: row[0].were_credits
    for place, name in enumerate(names):
        yield name, _at(place, lambda figures: figures.credits)
    if len(names) > 1:
        for place, name in enumerate(names):
            yield (
                f"{name} asks or denies",
                _at(place, lambda figures: figures.denied + figures.needs_approval),
            )
        return
    yield "fewer", lambda row: row[0].fewer_credits
    yield "rewritten", lambda row: row[0].rewritten
    yield "need approval", lambda row: row[0].needs_approval
    yield "denied", lambda row: row[0].denied


def _at(place: int, read: _Read) -> _ReadAll:
    return lambda row: read(row[place])


def _rules(found: Replayed, name: str) -> Table:
    """What each rule, budget and label had to say, the most spoken of first."""
    from planner.report.tables import Column, Table

    rows: list[tuple[Cell, ...]] = [
        (rule.rule, _OUTCOMES[rule.outcome], rule.requests, rule.credits, rule.where)
        for rule in found.rules
        if rule.outcome is not Outcome.ALLOW
    ]
    columns = (
        Column("rule", f"rules of {name}"),
        Column("outcome", "what it does"),
        Column("requests", "requests", figure=True),
        Column("credits", "credits", figure=True),
        Column("where", "where"),
    )
    return Table(columns, tuple(rows[:MOST_ROWS]))
