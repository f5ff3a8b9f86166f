"""How full the budgets of a ledger are: as a table for people, and as elements of a document.

Here belongs what several commands show of a counter. What counts in it belongs to `policies.ledger`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from policies.cli.output import plain, table, usd_text

if TYPE_CHECKING:
    from policies.budgets import Allowance
    from policies.ledger.entries import Counter


def budget_json(counter: Counter) -> dict[str, Any]:
    """One element of `budgets`: amounts in the budget's unit, credits or micro-dollars."""
    allowance = counter.allowance
    end = allowance.end.isoformat() if allowance.end else None
    return {
        "policy": counter.policy,
        "name": allowance.budget,
        "scope": dict(allowance.scope),
        "window": [allowance.start.isoformat(), end],
        "unit": allowance.unit,
        "limit": allowance.limit,
        "granted": counter.granted,
        "settled": counter.settled,
        "held": counter.held,
        "unknown": counter.unknown,
    }


def budgets_text(counters: Sequence[Counter]) -> str:
    """A row for each counter; the policy is named where there are several."""
    several = len({counter.policy for counter in counters}) > 1
    rows = []
    for counter in counters:
        unit, most = counter.allowance.unit, counter.allowance.limit + counter.granted
        used = counter.settled + counter.held + counter.unknown
        name = f"{counter.policy}: {counter.allowance.budget}" if several else counter.allowance.budget
        share = f"{100 * used // most} %" if most else ""
        parts = [amount_text(unit, value) for value in (counter.settled, counter.held, counter.unknown, most)]
        rows.append((name, scope_text(counter.allowance), *parts, share))
    headers = ["budget", "for", "charged", "reserved", "unconfirmed", "of", "used"]
    return table(rows, headers, right=range(2, 7))


def scope_text(allowance: Allowance) -> str:
    """Whose allowance it is, in words."""
    values = (plain(value) if value is not None else "(none)" for _, value in allowance.scope)
    return ", ".join(values) or "all"


def amount_text(unit: str, amount: int) -> str:
    """An amount in a budget's unit, for people."""
    from planner.money import usd_from_micro

    return f"{amount:,}" if unit == "credits" else usd_text(usd_from_micro(amount))
