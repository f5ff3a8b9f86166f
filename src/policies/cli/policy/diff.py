"""`planner policy diff`: what changes when one policy takes the place of another.

Here belong the command, its document and its sentences; `differing` makes the tables. What differs is
found by `policies.analysis`, past requests by `past`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from policies.cli.enforcement import compared, enforcement
from policies.cli.output import (
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
)
from policies.cli.policy.past import Past, past_options, read_past
from policies.cli.settings import at_option, instant_of, price_book, resolve, setting

if TYPE_CHECKING:
    from policies.analysis.cells import CellDiff
    from policies.analysis.diff import TrafficDiff
    from policies.engine import Policy


@click.command(
    epilog=example(
        "planner policy diff studio.yaml new.yaml",
        "planner policy diff studio.yaml new.yaml --history history.csv",
    ),
)
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@past_options
@click.option(
    "--max-cells",
    type=click.IntRange(min=1),
    metavar="N",
    help="Past so many cells only the past is compared.",
)
@setting("prices")
@at_option
@json_option
def command(
    before: str,
    after: str,
    history: str | None,
    ledger: str | None,
    max_cells: int | None,
    prices: str | None,
    at: str | None,
    as_json: bool,
) -> None:
    """What changes between policies A and B, in words and in credits.

    Of all requests that one of the two can tell apart, with nothing spent; and of past requests, where
    --history or --ledger names some.
    """
    from datetime import UTC, datetime

    from policies.analysis.cells import MOST_CELLS, diff_cells
    from policies.analysis.diff import diff_traffic
    from policies.loading import load_policy

    settings = resolve(ledger=ledger, prices=prices)
    old, new, book = load_policy(before), load_policy(after), price_book(settings)
    now = instant_of(at) or datetime.now(UTC)
    cells = diff_cells(old, new, book, now, most_cells=max_cells or MOST_CELLS)
    past = traffic = None
    if history is not None or ledger is not None:
        past = read_past(history, ledger, settings, {*old.labels, *new.labels})
        traffic = diff_traffic(past.requests, old, new, book)
    if as_json:
        say_repairs(past.repairs if past else (), aside=True)
        emit_json("policy-diff", _document(old, new, cells, past, traffic))
        return
    policies = " → ".join(f"{policy.name} ({policy.digest[:8]})" for policy in (old, new))
    say(dim(plain(policies)))
    if told := compared(old, new):
        say(strong(told))
    _say_cells(cells)
    if past and traffic:
        _say_traffic(past, traffic)


def _document(
    old: Policy, new: Policy, cells: CellDiff | None, past: Past | None, traffic: TrafficDiff | None
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "before": {"name": old.name, "digest": old.digest},
        "after": {"name": new.name, "digest": new.digest},
        "enforcement": [enforcement(old), enforcement(new)],
        "cells": cells.as_json() if cells else None,
        "traffic": None,
    }
    if past and traffic:
        document["traffic"] = {
            "past": past.name,
            "period": [at.isoformat() for at in past.span] if past.span else None,
            **traffic.as_json(),
            "repairs": [repair_json(repair) for repair in past.repairs],
        }
    return document


def _say_cells(found: CellDiff | None) -> None:
    """What changes whatever the traffic is; None where there are too many cells to look at."""
    from planner.report.tables import as_text
    from policies.cli.policy.differing import cell_table

    if found is None:
        say("\n" + strong("not decided") + " for all requests: there are too many cells (raise --max-cells)")
        return
    if not found.changed:
        say("\n" + strong("no request is decided in another way") + f" in {counted(found.cells, 'cell')}")
    else:
        say("\n" + strong(f"{found.changed_cells:,} of {counted(found.cells, 'cell')} change"))
        say("\n" + as_text(cell_table(found)))
    for change in found.budgets:
        say(f"{dim('budget')} {plain(change)}")


def _say_traffic(past: Past, found: TrafficDiff) -> None:
    from planner.report.tables import as_text
    from policies.cli.policy.differing import traffic_table

    say("\n" + dim(plain(str(past))))
    say_repairs(past.repairs)
    say(_sentence(found))
    if found.changed:
        say("\n" + as_text(traffic_table(found)))
    say("\n" + strong("What this assumes"))
    for line in found.assumptions:
        say(f"  {line}")


def _sentence(found: TrafficDiff) -> str:
    if not found.changed:
        return strong("nothing changes") + f" for {counted(found.requests, 'past request')}"
    change = found.credits_after - found.credits_before
    credits = (
        f"{credits_text(abs(change))} {'more' if change > 0 else 'fewer'}" if change else "the same credits"
    )
    changed = strong(f"{found.changed_requests:,} of {counted(found.requests, 'past request')} change")
    return f"{changed}: {found.credits_before:,} → {credits_text(found.credits_after)}, {credits}"
