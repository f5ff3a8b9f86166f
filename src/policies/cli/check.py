"""`planner check`: what a policy says to every row of a file, before anything is spent.

Here belong the command and its four layouts: a table, Markdown for a pull request, annotations for
GitHub, and JSON. How rows are decided belongs to `deciding`, what they add up to belongs to `checked`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from planner.errors import Fault, PlannerError
from policies.cli.output import (
    DOT,
    counted,
    credits_text,
    dim,
    emit_json,
    example,
    json_option,
    plain,
    repair_json,
    say,
    say_repairs,
    strong,
    styled,
    table,
    usd_text,
)
from policies.cli.settings import (
    at_option,
    chosen_credit_price,
    instant_of,
    price_book,
    resolve,
    setting,
)

if TYPE_CHECKING:
    from policies.cli.checked import Checked, Row

    Joined = Callable[[Sequence[str]], str]
    """Makes one cell of several ways."""
    Shown = tuple[Sequence[Sequence[Any]], Sequence[str], Sequence[int]]
    """A table: rows, headers, columns flush right."""

MOST_ROWS: Final = 50
"""Rows that a table shows before it says how many more there are; JSON has them all."""
CELL_CHARS: Final = 72
"""How wide the last column of the table may grow."""
OR: Final = f"{DOT}or "
"""Between several ways in one line."""
STOPPED_IN_SHADOW: Final = "in shadow: these would be denied or wait"
REWRITTEN_IN_SHADOW: Final = "in shadow: these would be rewritten"
FORMATS: Final = ("table", "markdown", "github", "json")


@click.command(
    epilog=example(
        "planner check lookbook.csv --policy studio.yaml",
        "planner check lookbook.csv --policy studio.yaml --format github",
        "planner check lookbook.csv --policy studio.yaml --spent team-month/social=4990",
    )
)
@click.argument("file", metavar="FILE|-")
@setting("policy", "ledger", "account", "shoot", "prices", "credit_price", "key_column")
@at_option
@click.option(
    "--spent",
    multiple=True,
    metavar="BUDGET[/SCOPE]=AMOUNT",
    help="As if so much were spent there, whatever the ledger says.",
)
@click.option("--no-rewrite", is_flag=True, help="Deny where a rule would change the request.")
@click.option("--format", "layout", type=click.Choice(FORMATS), default="table", help="How it is shown.")
@json_option
def command(
    file: str,
    at: str | None,
    spent: tuple[str, ...],
    no_rewrite: bool,
    layout: str,
    as_json: bool,
    **flags: Any,
) -> int:
    """What a policy says to every row of FILE, or of standard input; nothing is spent or written."""
    layout = "json" if as_json else layout
    try:
        found = _check(file, flags, at=at, spent=spent, allow_rewrite=not no_rewrite, layout=layout)
    except PlannerError as error:
        if layout == "github":
            say("\n".join(_annotation("error", fault.where, str(_unplaced(fault))) for fault in error.faults))
        raise
    _LAYOUTS[layout](found)
    return 0 if found.passed else 1


def _check(
    file: str,
    flags: Mapping[str, Any],
    *,
    at: str | None,
    spent: Sequence[str],
    allow_rewrite: bool,
    layout: str,
) -> Checked:
    """Every row decided; what would pass instead is looked for only where the layout shows it."""
    from datetime import UTC, datetime

    from planner.workload import open_workload
    from policies.cli.checked import Checked
    from policies.cli.deciding import NOTHING, rehearsal

    settings = resolve(**flags)
    now = instant_of(at) or datetime.now(UTC)
    book = price_book(settings)
    workload = open_workload(file, settings.key_column)
    jobs = list(workload.jobs())
    with rehearsal(settings, book, now, allow_rewrite=allow_rewrite, spent=spent) as (rehearsed, note):
        policy = rehearsed.policy
        price = chosen_credit_price(settings, policy.credit_price)
        ledger = settings.ledger_name if rehearsed.has_ledger else None
        found = Checked(file, policy, note, ledger, now, price, repairs=workload.repairs)
        refused = 0
        for job in jobs:
            ruling = rehearsed.ruling(job)
            refused += ruling.verdict != "allow"
            shown = ruling.verdict != "allow" and (layout == "github" or refused <= MOST_ROWS)
            passing = rehearsed.would_pass(ruling) if shown or layout == "json" else NOTHING
            found.rulings.append((ruling, passing))
    return found


# -- layouts -------------------------------------------------------------------------------------


def _json(found: Checked) -> None:
    from policies.cli.enforcement import enforcement

    say(_opening(found), aside=True)
    say_repairs(found.repairs, aside=True)
    emit_json(
        "check",
        {
            "totals": found.totals,
            "decisions": [ruling.as_json(passing) for ruling, passing in found.rulings],
            "policy": {"name": found.policy.name, "digest": found.policy.digest},
            "enforcement": enforcement(found.policy),
            "shadowed": found.shadowed,
            "ledger": found.ledger,
            "at": found.at.isoformat(),
            "repairs": [repair_json(repair) for repair in found.repairs],
        },
    )


def _table(found: Checked) -> None:
    say(dim(_opening(found)))
    say_repairs(found.repairs)
    for heading, tables in _sections(found, _cell):
        if heading:
            say("\n" + strong(heading))
        for rows, headers, right in tables:
            say("\n" + table(rows, headers, right=right))
    say("\n" + _summary(found, coloured=True))


def _markdown(found: Checked) -> None:
    say(f"### {_summary(found)}\n\n{_opening(found)}")
    for heading, tables in _sections(found, OR.join):
        if heading:
            say(f"\n#### {heading}")
        for rows, headers, right in tables:
            say("\n" + table(rows, headers, style="github", right=right))
    for repair in found.repairs:
        say(f"\nrepaired: {repair}")


def _github(found: Checked) -> None:
    from policies.cli.passing import changes_text, ways

    for row in _refused(found.rows()):
        level = "error" if row.verdict == "deny" else "warning"
        passing = row.passing
        hint = f"would pass: {OR.join(ways(passing))}" if passing.found else passing.why
        say(_annotation(level, row.job.where, f"{_words(row)}: {_why(row)}; {hint}"))
    for row in found.rows(in_shadow=True):
        if row.verdict != "allow":
            would = "be denied" if row.verdict == "deny" else "wait for approval"
            say(_annotation("warning", row.job.where, f"in shadow: it would {would}: {_why(row)}"))
        elif row.changes:
            told = f"in shadow: it would be rewritten: {changes_text(row.changes)}"
            say(_annotation("notice", row.job.where, told))
    say(f"{_opening(found)}\n{_summary(found)}")


_LAYOUTS: Final = {"table": _table, "markdown": _markdown, "github": _github, "json": _json}


def _opening(found: Checked) -> str:
    """The first line: which policy, and what its budgets start from."""
    return f"{plain(found.file)}{DOT}policy {found.policy.name} ({found.policy.digest[:8]}){DOT}{found.note}"


def _summary(found: Checked, *, coloured: bool = False) -> str:
    totals = found.totals
    allowed = f"{totals['allowed']:,} allowed"
    if totals["rewritten"]:
        allowed += f" ({totals['rewritten']:,} rewritten)"
    parts = [(allowed, "green")]
    if totals["reused"]:
        parts.append((f"{totals['reused']:,} paid before, free now", "cyan"))
    if waiting := totals["needs_approval"]:
        parts.append((counted(waiting, "needs approval", "need approval"), "yellow"))
    if totals["denied"]:
        parts.append((f"{totals['denied']:,} denied", "red"))
    said = [styled(text, fg=colour) if coloured else text for text, colour in parts]
    credits = credits_text(totals["credits"])
    said += [strong(credits) if coloured else credits, usd_text(found.price.usd(totals["credits"]))]
    shadow = "" if found.policy.enforced else " (shadow: this is what goes, not what was found)"
    return DOT.join(said) + shadow


# -- tables --------------------------------------------------------------------------------------


def _sections(found: Checked, joined: Joined) -> Iterator[tuple[str, list[Shown]]]:
    """What is stopped or rewritten, and in shadow under a heading what would be."""
    from policies.cli.checked import causes, savings

    policy, rows, shadowed = found.policy, list(found.rows()), list(found.rows(in_shadow=True))
    if refused := _refused(rows):
        why = causes(policy, refused), ("stopped by", "rows", "because", "where"), (1,)
        yield "", [_refused_table(refused, joined), why]
    if saved := savings(policy, rows):
        yield "", [(saved, ("rewritten by", "rows", "saved", "because"), (1, 2))]
    if refused := _refused(shadowed):
        why = causes(policy, refused), ("by", "rows", "because", "where"), (1,)
        yield STOPPED_IN_SHADOW, [_shadow_table(refused), why]
    if saved := savings(policy, shadowed):
        yield REWRITTEN_IN_SHADOW, [(saved, ("by", "rows", "would save", "because"), (1, 2))]


def _refused(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row.verdict != "allow"]


def _refused_table(refused: Sequence[Row], joined: Joined) -> Shown:
    from policies.cli.passing import ways

    rows: list[Sequence[Any]] = []
    for row in refused[:MOST_ROWS]:
        what = joined(ways(row.passing) or [f"nothing: {row.passing.why}"])
        rows.append((row.job.line, row.key, _words(row), row.credits, _rules(row), what))
    if len(refused) > MOST_ROWS:
        rows.append(("…", f"{len(refused) - MOST_ROWS:,} more", "", None, "", ""))
    return rows, ("line", "key", "verdict", "credits", "stopped by", "would pass"), (0, 3)


def _shadow_table(refused: Sequence[Row]) -> Shown:
    """The rows that go although the policy would stop them; nothing has to be changed for them to pass."""
    rows: list[Sequence[Any]] = [
        (row.job.line, row.key, "be denied" if row.verdict == "deny" else "wait", row.credits, _rules(row))
        for row in refused[:MOST_ROWS]
    ]
    if len(refused) > MOST_ROWS:
        rows.append(("…", f"{len(refused) - MOST_ROWS:,} more", "", None, ""))
    return rows, ("line", "key", "it would", "credits", "by"), (0, 3)


def _rules(row: Row) -> str:
    return ", ".join(dict.fromkeys(reason["rule"] for reason in row.stopping))


def _why(row: Row) -> str:
    return "; ".join(f"{reason['because']} ({reason['where']})" for reason in row.stopping)


def _words(row: Row) -> str:
    return "denied" if row.verdict == "deny" else "needs approval"


def _cell(ways: Sequence[str]) -> str:
    """Several ways, each on a line of its own and none too wide for a terminal."""
    from textwrap import wrap

    lines = [f"or {way}" if place else way for place, way in enumerate(ways)]
    return "\n".join("\n".join(wrap(line, CELL_CHARS, break_on_hyphens=False)) for line in lines)


def _annotation(level: str, where: str, message: str) -> str:
    """A line that GitHub shows at a line of a file in a pull request.

    >>> _annotation("error", "looks/a,b.csv:12", "100% over")
    '::error file=looks/a%2Cb.csv,line=12::100%25 over'
    """
    escaped = message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    name, _, line = where.rpartition(":")
    if not line.isdecimal():
        return f"::{level}::{escaped}"
    for character, code in (("%", "%25"), (":", "%3A"), (",", "%2C")):
        name = name.replace(character, code)
    return f"::{level} file={name},line={line}::{escaped}"


def _unplaced(fault: Fault) -> Fault:
    return Fault(fault.code, fault.message, "", fault.field, fault.hint)
