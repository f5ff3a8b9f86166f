"""`planner report`: where the credits of a period went, by team, campaign, setting, month or day.

Here belong the columns and the words that people read. The figures come from `ledger.rows`, their
layout from `planner.report`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import click

from policies.cli.output import DOT, counted, credits_text, emit_json, example, json_option, say, usd_text
from policies.cli.settings import resolve, setting

if TYPE_CHECKING:
    from planner.report.tables import Cell, Table
    from policies.ledger.periods import Period
    from policies.ledger.rows import Figures, Report, Value
    from policies.ledger.store import Store

FORMATS: Final = ("table", "markdown", "csv", "json")


@click.command(
    epilog=example(
        "planner report --by team,campaign --period 2026-10",
        "planner report --by month --period 2026 --format csv -o spend.csv",
    )
)
@setting("ledger")
@click.option("--by", metavar="NAMES", help="Labels, settings, and year, quarter, month, week or day.")
@click.option("--period", metavar="PERIOD", help="2026-10, 2026-10-03, 2026-Q3, 2026 or FROM..TO.")
@setting("timezone")
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="A file to write instead of the screen."
)
@json_option
def command(
    ledger: str | None,
    by: str | None,
    period: str | None,
    timezone: str | None,
    form: str,
    output: Path | None,
    as_json: bool,
) -> None:
    """Where the credits of a month went.

    Every job counts in the month in which it was booked, at the rate of that moment, so a figure does
    not change when prices do. Without --period the report covers the whole ledger.
    """
    from policies.ledger.periods import named_zone, parse_period
    from policies.ledger.store import Store

    settings = resolve(ledger=ledger, timezone=timezone)
    zone = named_zone(settings.timezone)
    span = None if period is None else parse_period(period, zone)
    store = Store.open(settings.ledger, create=False)
    try:
        found = _report(store, by, span, zone)
    finally:
        store.close()
    form = "json" if as_json else form
    if output is not None:
        from planner.report.files import write_atomically

        write_atomically(output, _written(found, form))
        say(f"written to {output}", aside=True)
    elif form == "json":
        emit_json("report", found.as_json())
    else:
        say(_written(found, form).rstrip("\n"))


def _report(store: Store, by: str | None, period: Period | None, zone: ZoneInfo) -> Report:
    from policies.ledger.rows import declared_labels, report

    if by is not None:
        names = [name.strip() for name in by.split(",") if name.strip()]
    else:
        names = ["team"] if "team" in declared_labels(store) else []
    return report(store, names, period, zone)


def report_table(
    store: Store, by: Sequence[str] = ("team",), period: Period | None = None, zone: ZoneInfo | None = None
) -> str:
    """The report for people over an open ledger: title, table, and what is not certain yet."""
    from policies.ledger.periods import named_zone
    from policies.ledger.rows import report

    return _written(report(store, by, period, zone or named_zone(None)), "table").rstrip("\n")


def _written(found: Report, form: str) -> str:
    """The whole text of a report; all forms tell the same figures."""
    from planner.report.tables import as_csv, as_markdown, as_text

    match form:
        case "json":
            import json

            whole = {"schema": "planner.report/1", **found.as_json()}
            return json.dumps(whole, ensure_ascii=False, indent=2) + "\n"
        case "csv":
            return as_csv(full_table(found))
        case "markdown":
            parts = [f"**{title(found)}**", as_markdown(people_table(found)), *remarks(found)]
        case _:
            parts = [title(found), as_text(people_table(found)), "\n".join(remarks(found))]
    return "\n\n".join(part for part in parts if part) + "\n"


# -- the table that people read ------------------------------------------------------------------

_MISSING: Final = "(none)"
_Read = Callable[["Figures"], "Cell"]


def title(found: Report) -> str:
    by = f" by {', '.join(found.by)}" if found.by else ""
    sandbox = ["SANDBOX"] if found.kind == "sandbox" else []
    return DOT.join([*sandbox, f"Spending{by}", found.period.days(found.zone), found.zone.key])


def people_table(found: Report) -> Table:
    """The columns that have something to say: what is zero everywhere is left out."""
    from planner.report.tables import Column, Table

    every = [*(row.figures for row in found.rows), found.total]
    shown = [column for column in _people_columns() if column[1] in _ALWAYS or any(map(column[2], every))]
    groups = [Column(name, name.replace("_", " ")) for name in found.by] or [Column("", "")]
    columns = [*groups, *(Column(name, said, figure=True) for name, said, _ in shown)]

    def cells(group: Sequence[Cell], figures: Figures) -> tuple[Cell, ...]:
        return (*group, *(read(figures) for _, _, read in shown))

    total = cells(["total", *[None] * (len(groups) - 1)], found.total)
    if not found.by:
        return Table(tuple(columns), (total,))
    return Table(
        tuple(columns), tuple(cells([*map(_named, row.group)], row.figures) for row in found.rows), total
    )


_ALWAYS: Final = ("charged", "USD", "jobs")


def _people_columns() -> tuple[tuple[str, str, _Read], ...]:
    return (
        ("settled", "charged", lambda figures: figures.settled),
        ("estimated", "estimated", lambda figures: figures.estimated),
        ("held", "reserved", lambda figures: figures.held),
        ("unknown", "unconfirmed", lambda figures: figures.unknown),
        ("price_difference", "price difference", lambda figures: _signed(figures.price_difference)),
        ("usd", "USD", lambda figures: _usd(figures.usd_micro)),
        ("jobs", "jobs", lambda figures: figures.jobs),
        ("failed", "failed", lambda figures: figures.failed),
        ("denied", "denied", lambda figures: figures.denied),
        ("waiting", "waiting", lambda figures: figures.waiting),
    )


def full_table(found: Report) -> Table:
    """Every figure, under the names of the JSON document, for a spreadsheet."""
    from planner.report.tables import Column, Table

    names = list(_flat(found.total.as_json()))
    columns = [
        *(Column(name, name) for name in found.by),
        *(Column(name, name, figure=True) for name in names),
    ]
    rows = [(*row.group, *_amounts(row.figures.as_json())) for row in found.rows]
    return Table(tuple(columns), tuple(rows))


def _amounts(figures: dict[str, Any]) -> list[Cell]:
    """Money as a number: a text that starts with a sign would be taken for a formula."""
    from decimal import Decimal

    return [Decimal(value) if isinstance(value, str) else value for value in _flat(figures).values()]


def _flat(figures: dict[str, Any]) -> dict[str, Any]:
    """A column for each figure.

    >>> _flat({"settled": 6, "settled_by_hand": {"jobs": 2, "credits": 6}})
    {'settled': 6, 'settled_by_hand_jobs': 2, 'settled_by_hand_credits': 6}
    """
    flat: dict[str, Any] = {}
    for name, value in figures.items():
        if isinstance(value, dict):
            flat |= {f"{name}_{part}": number for part, number in value.items()}
        else:
            flat[name] = value
    return flat


def _named(value: Value) -> Cell:
    """A group's value for people; a number is a setting here and not an amount."""
    if value is None:
        return _MISSING
    return value if isinstance(value, bool) else str(value)


def _signed(credits: int) -> str:
    return f"{credits:+,}" if credits else ""


def _usd(micro: int) -> Cell:
    from planner.money import usd_from_micro

    return usd_from_micro(micro)


def remarks(found: Report) -> list[str]:
    """What is not certain yet, and what to do about it."""
    from planner.money import usd_from_micro

    total, said = found.total, []
    if total.held or total.unknown:
        open_parts = [
            f"{credits:,} {word}"
            for credits, word in ((total.held, "reserved"), (total.unknown, "unconfirmed"))
            if credits
        ]
        least, most = usd_from_micro(total.usd_micro), usd_from_micro(total.usd_at_most_micro)
        said.append(
            f"At least {total.settled:,} and at most {credits_text(total.at_most)} "
            f"({usd_text(least)} to {usd_text(most)}): {', '.join(open_parts)}; see `planner ledger holds`."
        )
    if total.by_hand_jobs:
        said.append(f"Settled by hand: {counted(total.by_hand_jobs, 'job')}, {credits_text(total.by_hand)}.")
    if guessed := total.estimated - total.by_hand:
        said.append(
            f"Of what was charged, {credits_text(guessed)} {'is' if guessed == 1 else 'are'} "
            "estimated: the provider has not said what those jobs cost, so they stand at their price."
        )
    if total.price_difference:
        side = "more" if total.price_difference > 0 else "less"
        said.append(
            f"The provider charged {credits_text(abs(total.price_difference))} {side} than the prices say."
        )
    if total.saved_by_rewrites > 0:
        said.append(f"Rewrites by the policy saved {credits_text(total.saved_by_rewrites)}.")
    return said
