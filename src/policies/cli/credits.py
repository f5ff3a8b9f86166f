"""`planner credits`: the cheapest way to buy a month's credits, and when to buy more.

Here belong its flags, where the figures come from, and its layout; the comparisons are the planner's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from planner.errors import InputError
from policies.cli.output import (
    DOT,
    credits_text,
    dim,
    emit_json,
    example,
    json_option,
    minute_text,
    say,
    strong,
    table,
    usd_text,
)
from policies.cli.settings import resolve, setting

if TYPE_CHECKING:
    from planner.purchasing import Month, Supply
    from policies.cli.settings import Settings

PACE: Final = timedelta(days=28)
"""Whole weeks, because weekends are quiet."""
_MONTH_DAYS: Final = 30


@click.command(
    epilog=example("planner credits --month 3000", "planner credits --ledger spend.db --until 2026-12-24")
)
@click.option("--month", metavar="N", type=click.IntRange(min=0), help="Credits of a month; else the pace.")
@click.option("--balance", metavar="N", type=click.IntRange(min=0), help="Credits that are left.")
@click.option("--until", metavar="INSTANT", help="Until when they should last; default: the month's end.")
@setting("ledger", "account", "timezone")
@json_option
def command(month: int | None, balance: int | None, until: str | None, as_json: bool, **flags: Any) -> None:
    """What a month of credits costs under each of the provider's plans, and how long a balance lasts.

    Without --month the pace of the last four weeks in the ledger is taken, without --balance the last one
    that `planner reconcile` or a run has read.
    """
    from planner.loading import shipped_credit_plans
    from planner.purchasing import break_evens, months

    settings, now = resolve(**flags), datetime.now(UTC)
    known = (
        None if month is not None and balance is not None else _known(settings, now, wants_pace=month is None)
    )
    pace = None if month is not None else _pace(known, settings)
    credits = month if month is not None else _per_month(pace or 0)
    plans = shipped_credit_plans()
    left = balance if balance is not None or known is None else known.balance
    end = _end(until, settings, now)
    found = None if left is None else _supply(left, credits, now, end)
    rows, evens = months(credits, plans), break_evens(plans)
    if as_json:
        emit_json(
            "credits",
            {
                "month_credits": credits,
                "basis": "given" if pace is None else "the last 28 days",
                "plans": [row.as_json(credits) for row in rows],
                "break_evens": [{"plan": even.plan, "from_credits": even.credits} for even in evens],
                "balance": left,
                "until": end.isoformat(),
                "lasts_until": found and found.lasts_until and found.lasts_until.isoformat(),
                "missing_credits": found and found.missing_credits,
            },
        )
        return
    basis = "" if pace is None else dim(" at the pace of the last 28 days")
    best = f"{rows[0].plan} is cheapest: {usd_text(rows[0].usd)}"
    say(strong(f"{credits_text(credits)} a month{DOT}{best}") + basis)
    shown = [_row(row, credits) for row in rows]
    headers = ("plan", "a month", "a used credit", "topped up", "unused", "which cost")
    say("\n" + table(shown, headers, right=(1, 2, 3, 4, 5)))
    say("\n" + dim("cheapest from: " + DOT.join(f"{even.plan} {even.credits:,}" for even in evens)))
    if found is not None and left is not None:
        say("\n" + _supply_text(found, left, end))


def _row(row: Month, credits: int) -> Sequence[str | int]:
    each = row.per_credit_usd(credits)
    wasted = usd_text(row.unused_usd) if row.unused_credits else ""
    used = "" if each is None else f"${each}"
    return row.plan, usd_text(row.usd), used, row.topped_up_credits, row.unused_credits, wasted


def _per_month(pace_credits: int) -> int:
    return -(-pace_credits * _MONTH_DAYS // PACE.days)


def _supply(left: int, month_credits: int, now: datetime, end: datetime) -> Supply:
    from planner.purchasing import supply

    return supply(left, -(-month_credits // _MONTH_DAYS), now, end)


def _supply_text(found: Supply, left: int, end: datetime) -> str:
    until = minute_text(end.isoformat())
    if found.lasts_until is None:
        return f"{credits_text(left)} are left, and last beyond {until}"
    from planner.loading import shipped_credit_plans

    price = shipped_credit_plans()["on-demand"].price
    cost = usd_text(price.usd(found.missing_credits))
    when = minute_text(found.lasts_until.isoformat())
    return (
        f"{credits_text(left)} are left, until {strong(when)} at that pace\n"
        f"buy {strong(credits_text(found.missing_credits))} before then to reach {until}: {cost} on demand"
    )


# -- where the figures come from -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Known:
    """What a ledger knows of an account."""

    pace_credits: int
    """Booked in the last four weeks."""
    balance: int | None
    """The last one that was read."""


def _known(settings: Settings, now: datetime, *, wants_pace: bool) -> _Known | None:
    """What the settings' ledger knows of their account; None where there is no ledger, which is not made."""
    from policies.cli.ledgers import opened
    from policies.ledger.states import TAKEN

    if (path := settings.ledger_file) is not None and not path.exists():
        return None
    with opened(settings.ledger) as store:
        since = now - PACE
        entries = store.entries(states=TAKEN, account=settings.account, since=since) if wants_pace else []
        return _Known(sum(entry.credits for entry in entries), store.balance(settings.account))


def _pace(known: _Known | None, settings: Settings) -> int:
    if known is None:
        hint = "say --month N, or name a ledger with --ledger"
        message = f"there is no ledger {settings.ledger_name} to take a pace from"
        raise InputError(message, code="no_pace", hint=hint)
    return known.pace_credits


def _end(until: str | None, settings: Settings, now: datetime) -> datetime:
    """The instant that is asked about; else the end of the month in the settings' zone."""
    from policies.cli.settings import instant_of
    from policies.ledger.periods import months_around, named_zone

    end = instant_of(until, "--until")
    if end is None:
        return months_around(now, now, named_zone(settings.timezone)).end
    if end <= now:
        raise InputError("that instant is over", code="bad_instant", where="--until")
    return end
