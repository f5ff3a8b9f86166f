"""How things look: tables, amounts, the line that says LIVE or SANDBOX, and the one JSON document.

Here belongs layout and nothing that knows what it shows. With `--json`, stdout is exactly one document
and everything meant for people goes to stderr. Colour is for terminals only, and never with `NO_COLOR`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from planner.errors import Fault

if TYPE_CHECKING:
    from planner.notes import Repair

DOT: Final = " · "
Command = Callable[..., Any]
Decorator = Callable[[Command], Command]
Cell = str | int | None


# -- JSON ----------------------------------------------------------------------------------------


def json_option(command: Command) -> Command:
    """The option `--json`, which arrives as `as_json`."""
    decorate: Decorator = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
    return decorate(command)


def wants_json(words: Sequence[str]) -> bool:
    """Whether a command line asks for JSON, even one that cannot be parsed.

    >>> wants_json(["check", "x.csv", "--format", "json"]), wants_json(["plan", "--", "--json"])
    (True, False)
    """
    options = words[: words.index("--")] if "--" in words else words
    if "--json" in options or "--format=json" in options:
        return True
    return ("--format", "json") in pairwise(options)


def emit_json(command: str, document: Mapping[str, Any]) -> None:
    """Print the one document of a command; it names its shape, `planner.COMMAND/1`, first."""
    import json

    whole = {"schema": f"planner.{command}/1", **document}
    indent = 2 if sys.stdout.isatty() else None
    click.echo(spelt_out(json.dumps(whole, ensure_ascii=False, indent=indent)))


def spelt_out(document: str) -> str:
    r"""A JSON document in which nothing is left that a terminal would act on: it is written as `\uXXXX`.

    >>> spelt_out('["größe", "\x9b2J"]')
    '["größe", "\\u009b2J"]'
    """
    if document.isprintable():
        return document
    return "".join(c if c.isprintable() or c == "\n" else _escape(c) for c in document)


def _escape(letter: str) -> str:
    import json

    return json.dumps(letter)[1:-1]


def emit_errors(faults: Iterable[Fault], *, as_json: bool) -> None:
    """Tell what is wrong: the `errors` document, or one line for each fault on stderr."""
    if as_json:
        emit_json("errors", {"errors": [fault.as_json() for fault in faults]})
        return
    label = styled("error:", fg="red", bold=True)
    lines = (f"{label} {plain(str(fault))}" for fault in faults)
    click.echo("\n".join(lines), err=True)


# -- lines ---------------------------------------------------------------------------------------


def example(*lines: str) -> str:
    """The end of a `--help`: commands to copy."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def styled(text: str, **style: Any) -> str:
    """A text in colour, unless `NO_COLOR` is set; `click.echo` removes it where there is no terminal."""
    return text if os.environ.get("NO_COLOR") else click.style(text, **style)


def dim(text: str) -> str:
    return styled(text, dim=True)


def strong(text: str) -> str:
    return styled(text, bold=True)


def plain(text: str) -> str:
    r"""A text of the user's as one line that no terminal acts on.

    >>> plain("summer\x1b[2J\nshoot")
    'summer [2J shoot'
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def say(text: str = "", *, aside: bool = False) -> None:
    """Print for people; `aside` puts it on stderr, where it does not mix with a document."""
    click.echo(text, err=aside)


def mode_line(
    *,
    live: bool,
    account: str,
    ledger: str,
    policy: str,
    digest: str,
    month_credits: int,
) -> str:
    """What each command that spends says first.

    >>> click.unstyle(mode_line(live=True, account="main", ledger="spend.db", policy="studio",
    ...                         digest="9f31c04e77", month_credits=1240))
    'LIVE · account main · ledger spend.db · policy studio (9f31c04e) · this month 1,240 credits'
    """
    mode = styled("LIVE", fg="yellow", bold=True) if live else styled("SANDBOX", fg="cyan", bold=True)
    known = f"policy {plain(policy)} ({digest[:8]})"
    month = f"this month {credits_text(month_credits)}"
    return DOT.join([mode, f"account {plain(account)}", f"ledger {plain(ledger)}", known, month])


def say_repairs(repairs: Iterable[Repair], *, aside: bool = False) -> None:
    """Count what was read differently from how it stood in the file."""
    for repair in repairs:
        say(dim(f"repaired: {repair}"), aside=aside)


def repair_json(repair: Repair) -> dict[str, Any]:
    """A repair as it stands in a document."""
    return {"what": repair.what, "count": repair.count, "where": repair.example_where}


# -- amounts -------------------------------------------------------------------------------------


def credits_text(credits: int) -> str:
    """
    >>> credits_text(1), credits_text(1240)
    ('1 credit', '1,240 credits')
    """
    return counted(credits, "credit")


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """
    >>> counted(1, "job"), counted(12000, "job")
    ('1 job', '12,000 jobs')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def usd_text(usd: Decimal) -> str:
    """Dollars for people, to the cent; less than a dollar keeps every digit. JSON has the exact amount.

    >>> usd_text(Decimal("1234.5")), usd_text(Decimal("75.7576")), usd_text(Decimal("0.075"))
    ('$1,234.50', '$75.76', '$0.075')
    """
    cents = usd.quantize(Decimal("0.01"), ROUND_HALF_UP)
    return f"${usd if usd < 1 and usd != cents else cents:,}"


def span_text(seconds: float) -> str:
    """A length of time for people, to two units.

    >>> span_text(44.6), span_text(372), span_text(7260), span_text(200_000)
    ('45 s', '6 min 12 s', '2 h 1 min', '2 d 7 h')
    """
    whole = round(seconds)
    for big, unit, small, rest in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= big:
            more = whole % big // small
            return f"{whole // big} {unit}" + (f" {more} {rest}" if more else "")
    return f"{whole} s"


def minute_text(instant: str) -> str:
    """An instant of a document, in UTC, to the minute.

    >>> minute_text("2026-11-22T23:27:05.120000+00:00")
    '2026-11-22 23:27Z'
    """
    return f"{instant[:16]}Z".replace("T", " ")


# -- tables --------------------------------------------------------------------------------------


def table(
    rows: Iterable[Sequence[Cell]],
    headers: Sequence[str] = (),
    *,
    style: Literal["plain", "simple", "github"] = "simple",
    right: Iterable[int] = (),
) -> str:
    """Rows as aligned text; whole numbers get thousands separators, `right` are columns flush right.

    >>> print(table([["quality at 2k", 2, 1240]], ["what", "times", "credits"], right=(1, 2)))
    what             times    credits
    -------------  -------  ---------
    quality at 2k        2      1,240
    """
    from tabulate import tabulate

    shown = [[_cell(value, style) for value in row] for row in rows]
    width = max((len(row) for row in shown), default=len(headers))
    flush = set(right)
    align = ["right" if place in flush else "left" for place in range(width)]
    return tabulate(shown, headers, tablefmt=style, colalign=align if shown else None, disable_numparse=True)


def _cell(value: Cell, style: str) -> str:
    match value:
        case None:
            return ""
        case int():
            return f"{value:,}"
        case _:
            return plain(value).replace("\\", "\\\\").replace("|", "\\|") if style == "github" else value
