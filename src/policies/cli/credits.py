"""`planner credits`: the cheapest way to buy a month's credits, and when to buy more.

Here belong its flags, where the figures come from, and its layout; the comparisons are the planner's.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    from policies.ledger.store import Store

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
    pace = None if month is not None else _pace(settings, now)
    credits = month if month is not None else _per_month(pace or 0)
    plans = shipped_credit_plans()
    left = balance if balance is not None else _last_balance(settings)
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


def _pace(settings: Settings, now: datetime) -> int:
    """The credits that the ledger has booked for the account in the last four weeks."""
    from policies.ledger.states import TAKEN

    store = _store(settings)
    if store is None:
        hint = "say --month N, or name a ledger with --ledger"
        message = f"there is no ledger {settings.ledger_name} to take a pace from"
        raise InputError(message, code="no_pace", hint=hint)
    try:
        entries = store.entries(states=TAKEN, account=settings.account, since=now - PACE)
    finally:
        store.close()
    return sum(entry.credits for entry in entries)


def _last_balance(settings: Settings) -> int | None:
    store = _store(settings)
    if store is None:
        return None
    try:
        return store.balance(settings.account)
    finally:
        store.close()


def _store(settings: Settings) -> Store | None:
    from policies.ledger.store import Store

    if (path := settings.ledger_file) is not None and not path.exists():
        return None
    return Store.open(settings.ledger, create=False)


def _end(until: str | None, settings: Settings, now: datetime) -> datetime:
    """The instant that is asked about; else the end of the month in the settings' zone."""
    from policies.cli.settings import instant_of
    from policies.ledger.periods import named_zone

    if (end := instant_of(until, "--until")) is not None:
        if end <= now:
            raise InputError("that instant is over", code="bad_instant", where="--until")
        return end
    local = now.astimezone(named_zone(settings.timezone))
    first = local.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + timedelta(days=32)).replace(day=1).astimezone(UTC)
