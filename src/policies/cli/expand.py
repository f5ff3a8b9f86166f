"""`planner expand`: a workload's rows, a matrix written out, shown or written as any table file.

Here belong its flags and its layout; `planner.matrix` expands, `planner.writing` knows the formats.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from policies.cli.output import (
    DOT,
    counted,
    credits_text,
    dim,
    emit_json,
    example,
    json_option,
    plain,
    say,
    say_repairs,
    strong,
    table,
    usd_text,
)
from policies.cli.settings import chosen_credit_price, price_book, pricing_instant, resolve, setting
from policies.cli.targets import check_pictures, check_target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from planner.workload import Job, Workload

_SHOWN_ROWS = 10
_WIDEST = 48


@click.command(
    epilog=example(
        "planner expand shoot.yaml",
        "planner expand shoot.yaml -o looks.xlsx",
        "cat looks.csv | planner expand - -o looks.parquet",
    )
)
@click.argument("file", metavar="FILE")
@click.option("-o", "--output", metavar="FILE", help="Write the rows: .csv, .xlsx, .jsonl or .parquet.")
@click.option("--first", type=click.IntRange(min=1), metavar="N", help="Only the first N rows.")
@setting("prices", "credit_price", "key_column")
@json_option
def command(
    file: str,
    output: str | None,
    first: int | None,
    prices: str | None,
    credit_price: str | None,
    key_column: str | None,
    as_json: bool,
) -> None:
    """FILE's rows; without -o its counts, its price and the first of its rows."""
    from planner.quoting import quotes
    from planner.workload import open_workload

    settings = resolve(prices=prices, credit_price=credit_price, key_column=key_column)
    workload = open_workload(file, settings.key_column)
    if output is not None:
        written = _write(workload, Path(output), first)
        say_repairs(workload.repairs, aside=True)
        if as_json:
            emit_json("expand", {"jobs": written, "output": output})
        else:
            say(f"{counted(written, 'row')} written to {plain(output)}")
        return
    book = price_book(settings)
    entry = book.entry_at(pricing_instant(book))
    found = _counted(workload)
    sums = _sums(found, [quote.credits for quote in quotes(entry)])
    shown = [*islice(_rows(workload.jobs()), first or _SHOWN_ROWS)]
    usd = chosen_credit_price(settings).usd(sums.credits)
    if as_json:
        rows = [dict(row) for row in shown]
        emit_json("expand", {"jobs": sums.jobs, "images": sums.images, "credits": sums.credits,
                             "usd": str(usd), "price_book": entry.id, "rows": rows})  # fmt: skip
        return
    say(dim(f"{plain(file)}{DOT}prices {entry.id}"))
    totals = [counted(sums.jobs, "job"), counted(sums.images, "image"), credits_text(sums.credits)]
    say("\n" + strong(DOT.join([*totals, usd_text(usd)])))
    if shown:
        say("\n" + table([[_short(text) for text in row.values()] for row in shown], [*map(plain, shown[0])]))
    if workload.matrix() is not None:
        say(dim("\ncounted without expanding; `planner plan` finds pictures that are asked for twice"))
    if sums.jobs > len(shown):
        say(dim(f"\nand {sums.jobs - len(shown):,} more; -o FILE writes them all"))


@dataclass(frozen=True, slots=True)
class _Sums:
    jobs: int
    images: int
    credits: int


def _counted(workload: Workload) -> Mapping[int, int]:
    """How many jobs fall into each price cell; those of a matrix are counted without expanding it."""
    from collections import Counter

    matrix = workload.matrix()
    return Counter(cell for cell, _ in workload.outlines()) if matrix is None else matrix.cells()


def _sums(found: Mapping[int, int], prices: Sequence[int]) -> _Sums:
    from planner.quoting import CELLS

    images = sum(jobs * CELLS[cell][3] for cell, jobs in found.items())
    return _Sums(sum(found.values()), images, sum(jobs * prices[cell] for cell, jobs in found.items()))


def _rows(jobs: Iterator[Job]) -> Iterator[Mapping[str, str]]:
    """The user's own columns of each job."""
    return (job.columns for job in jobs)


def _write(workload: Workload, output: Path, first: int | None) -> int:
    """Write the rows, all of one header: that of the first row, and for JSON lines that of any row."""
    from planner.writing import write_sheet

    check_target(workload, output, "-o")
    header, written = _header(workload), 0

    def texts() -> Iterator[list[str]]:
        nonlocal written
        for job in islice(workload.jobs(), first):
            if job.request.is_local:
                check_pictures(workload, output, "-o")
            written += 1
            yield [job.columns.get(name, "") for name in header]

    write_sheet(output, header, texts())
    return written


def _header(workload: Workload) -> list[str]:
    """The names of all columns: a table says them in its first row, JSON lines anywhere."""
    rows = _rows(workload.jobs())
    top = next(rows, {})
    names = dict.fromkeys(top)
    if workload.name.lower().endswith((".jsonl", ".ndjson")):
        names = dict.fromkeys(chain(names, (name for row in rows for name in row)))
    return [*names]


def _short(text: str) -> str:
    line = plain(text)
    return line if len(line) <= _WIDEST else line[: _WIDEST - 1] + "…"
