"""`planner check`: what a policy says to every row of a file, before anything is spent.

Here belong its totals and its four layouts: a table, Markdown for a pull request, annotations for
GitHub, and JSON. How rows are decided belongs to `deciding`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import click

from planner.errors import Fault, PlannerError
from policies.cli.output import (
    DOT,
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
    from datetime import datetime

    from planner.money import CreditPrice
    from planner.notes import Repair
    from policies.alternatives import Alternatives
    from policies.cli.deciding import Ruling
    from policies.engine import Policy

    Row = tuple[Ruling, Alternatives]
    Joined = Callable[[Sequence[str]], str]
    """Makes one cell of several ways."""

MOST_ROWS: Final = 50
"""Rows that a table shows before it says how many more there are; JSON has them all."""
CELL_CHARS: Final = 72
"""How wide the last column of the table may grow."""
OR: Final = f"{DOT}or "
"""Between several ways in one line."""
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


@dataclass(slots=True)
class Checked:
    """Every row's ruling, with what would pass instead, and the sums over them."""

    file: str
    policy: Policy
    note: str
    """What the budgets start from."""
    ledger: str | None
    at: datetime
    price: CreditPrice
    rulings: list[Row] = field(default_factory=list)
    repairs: Sequence[Repair] = ()

    @property
    def passed(self) -> bool:
        return all(ruling.verdict == "allow" for ruling, _ in self.rulings)

    @property
    def totals(self) -> dict[str, Any]:
        """The `totals` of the document; rewritten and reused rows are among the allowed."""
        rulings = [ruling for ruling, _ in self.rulings]
        allowed = [ruling for ruling in rulings if ruling.verdict == "allow"]
        credits = sum(ruling.credits for ruling in allowed)
        return {
            "allowed": len(allowed),
            "rewritten": sum(bool(ruling.changes) for ruling in allowed),
            "needs_approval": sum(ruling.verdict == "needs_approval" for ruling in rulings),
            "denied": sum(ruling.verdict == "deny" for ruling in rulings),
            "reused": sum(ruling.reused for ruling in allowed),
            "credits": credits,
            "usd": str(self.price.usd(credits)),
        }


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
    say(_opening(found), aside=True)
    say_repairs(found.repairs, aside=True)
    emit_json(
        "check",
        {
            "totals": found.totals,
            "decisions": [ruling.as_json(passing) for ruling, passing in found.rulings],
            "policy": {"name": found.policy.name, "digest": found.policy.digest},
            "ledger": found.ledger,
            "at": found.at.isoformat(),
            "repairs": [repair_json(repair) for repair in found.repairs],
        },
    )


def _table(found: Checked) -> None:
    say(dim(_opening(found)))
    say_repairs(found.repairs)
    for rows, headers, right in _tables(found, _cell):
        say("\n" + table(rows, headers, right=right))
    say("\n" + _summary(found, coloured=True))


def _markdown(found: Checked) -> None:
    say(f"### {_summary(found)}\n\n{_opening(found)}")
    for rows, headers, right in _tables(found, OR.join):
        say("\n" + table(rows, headers, style="github", right=right))
    for repair in found.repairs:
        say(f"\nrepaired: {repair}")


def _tables(
    found: Checked, joined: Joined
) -> Iterator[tuple[list[Sequence[Any]], Sequence[str], Sequence[int]]]:
    """The rows that are stopped and why, and what was rewritten: rows, headers, columns flush right."""
    refused = [item for item in found.rulings if item[0].verdict != "allow"]
    if refused:
        yield (
            _refused_rows(refused, joined),
            ("line", "key", "verdict", "credits", "stopped by", "would pass"),
            (0, 3),
        )
        yield _stopping_rows(refused), ("stopped by", "rows", "because", "where"), (1,)
    if saved := _saved_rows(found):
        yield saved, ("rewritten by", "rows", "saved", "because"), (1, 2)


def _github(found: Checked) -> None:
    from policies.cli.passing import ways

    refused = (item for item in found.rulings if item[0].verdict != "allow")
    for ruling, passing in refused:
        level = "error" if ruling.verdict == "deny" else "warning"
        why = "; ".join(f"{reason['because']} ({reason['where']})" for reason in _stopping(ruling))
        hint = f"would pass: {OR.join(ways(passing))}" if passing.found else passing.why
        say(_annotation(level, ruling.job.where, f"{_words(ruling)}: {why}; {hint}"))
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
    if totals["needs_approval"]:
        parts.append((f"{totals['needs_approval']:,} need approval", "yellow"))
    if totals["denied"]:
        parts.append((f"{totals['denied']:,} denied", "red"))
    said = [styled(text, fg=colour) if coloured else text for text, colour in parts]
    credits = credits_text(totals["credits"])
    said += [strong(credits) if coloured else credits, usd_text(found.price.usd(totals["credits"]))]
    shadow = "" if found.policy.enforced else " (shadow: this is what goes, not what was found)"
    return DOT.join(said) + shadow


def _refused_rows(refused: Sequence[Row], joined: Joined) -> list[Sequence[Any]]:
    from policies.cli.passing import ways

    rows: list[Sequence[Any]] = []
    for ruling, passing in refused[:MOST_ROWS]:
        rules = ", ".join(dict.fromkeys(reason["rule"] for reason in _stopping(ruling)))
        what = joined(ways(passing) or [f"nothing: {passing.why}"])
        rows.append((ruling.job.line, ruling.key, _words(ruling), ruling.credits, rules, what))
    if len(refused) > MOST_ROWS:
        rows.append(("…", f"{len(refused) - MOST_ROWS:,} more", "", None, "", ""))
    return rows


def _stopping_rows(refused: Iterable[Row]) -> list[Sequence[Any]]:
    """What stopped rows: how many each, and the reason as the first of them has it."""
    rows: Counter[str] = Counter()
    first: dict[str, Mapping[str, str]] = {}
    for ruling, _ in refused:
        reasons = {reason["rule"]: reason for reason in _stopping(ruling)}
        rows.update(reasons.keys())
        first = reasons | first
    return [(rule, n, first[rule]["because"], first[rule]["where"]) for rule, n in rows.most_common()]


def _stopping(ruling: Ruling) -> list[Mapping[str, str]]:
    """The reasons that stopped a row: what only rewrote it or warned is left out."""
    quiet = ("rewrite", "allow", "budget_warning")
    return [reason for reason in ruling.reasons if reason["outcome"] not in quiet]


def _words(ruling: Ruling) -> str:
    return "denied" if ruling.verdict == "deny" else "needs approval"


def _cell(ways: Sequence[str]) -> str:
    """Several ways, each on a line of its own and none too wide for a terminal."""
    from textwrap import wrap

    lines = [f"or {way}" if place else way for place, way in enumerate(ways)]
    return "\n".join("\n".join(wrap(line, CELL_CHARS, break_on_hyphens=False)) for line in lines)


def _saved_rows(found: Checked) -> list[Sequence[Any]]:
    """For each rule that rewrote an allowed row: how many, what it saved, and why."""
    jobs: dict[str, set[str]] = {}
    saved: dict[str, int] = {}
    because: dict[str, str] = {}
    for ruling, _ in found.rulings:
        said = {reason["rule"]: reason["because"] for reason in ruling.reasons}
        for change in ruling.changes if ruling.verdict == "allow" else ():
            because.setdefault(change.rule, said.get(change.rule, ""))
            jobs.setdefault(change.rule, set()).add(ruling.job.where)
            saved[change.rule] = saved.get(change.rule, 0) + change.credits_saved
    return [(rule, len(where), saved[rule], because.get(rule, "")) for rule, where in jobs.items()]


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
