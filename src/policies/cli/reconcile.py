"""`planner reconcile`: ask about what is open, read the balance, and hold the ledger against it.

Here belong its flags and words. What is decided by two readings belongs to `policies.guard.reconciling`.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import click

from policies.cli.output import (
    counted,
    credits_text,
    dim,
    emit_json,
    example,
    json_option,
    minute_text,
    plain,
    say,
    strong,
)
from policies.cli.settings import resolve, setting

if TYPE_CHECKING:
    from policies.guard.reconciling import Reconciled
    from policies.ledger.observations import Bracket, Observation

DIFFERS: Final = 1
NO_BALANCE: Final = 3


@click.command(epilog=example("planner reconcile", "planner reconcile --exclusive --json"))
@setting("ledger", "account", "prices", "base_url")
@click.option("--exclusive", is_flag=True, help="Nobody else spends from this account.")
@click.option("--speed", metavar="N", type=click.FloatRange(min=0, min_open=True), help="Of a stand-in.")
@click.option("--sandbox", is_flag=True, help="The sandbox and its ledger.")
@json_option
def command(exclusive: bool, speed: float | None, sandbox: bool, as_json: bool, **flags: Any) -> int:
    """Hold the ledger against the provider's balance; exit 1 where they differ.

    Two readings make a bracket: what the balance went down by is compared with what was booked between
    them. Where both say that the account is used by this ledger alone (--exclusive), nothing was in
    flight and no credits were added, a bracket settles unconfirmed jobs; else it proposes what to do.
    """
    from policies.cli.batches import open_known_guard, provider_of, say_mode
    from policies.cli.run import sandboxed
    from policies.guard.reconciling import reconciling
    from policies.guard.shells import drive
    from policies.guard.wire import Wire

    settings = sandboxed(resolve(**flags), flags) if sandbox else resolve(**flags)
    with (
        provider_of(settings, sandbox=sandbox, speed=speed) as provider,
        open_known_guard(settings, provider) as guard,
        closing(Wire(provider.base_url, provider.api_key)) as wire,
    ):
        say_mode(guard, provider, settings, aside=as_json)
        found = drive(reconciling(guard.machine, guard.account, exclusive=exclusive), wire)
    if as_json:
        emit_json("reconcile", _document(found))
    else:
        _say(found)
    if found.balance is None:
        return NO_BALANCE
    return DIFFERS if found.difference else 0


def _document(found: Reconciled) -> dict[str, Any]:
    balance, bracket = found.balance, found.bracket
    return {
        "ended": [entry.key for entry in found.ended],
        "open_jobs": found.open_jobs,
        "balance": balance
        and {"total": balance.total, "subscription": balance.subscription, "on_demand": balance.on_demand},
        "bracket": bracket and _bracket_json(bracket),
        "settled": [{"key": entry.key, "credits": entry.credits} for entry in found.settled],
        "difference": found.difference,
        "findings": [finding.as_json() for finding in found.findings],
    }


def _bracket_json(bracket: Bracket) -> dict[str, Any]:
    return {
        "from": _reading_json(bracket.before),
        "to": _reading_json(bracket.after),
        "charged": bracket.charged_credits,
        "booked": bracket.booked_credits,
        "difference": bracket.difference,
        "unconfirmed": bracket.unknown_credits,
        "doubts": list(bracket.doubts),
    }


def _reading_json(reading: Observation) -> dict[str, Any]:
    return {"at": reading.at.isoformat(), "total": reading.balance.total, "in_flight": reading.in_flight}


def _say(found: Reconciled) -> None:
    if found.ended:
        say(f"{counted(len(found.ended), 'job')} brought to an end")
    if found.open_jobs:
        say(f"{counted(found.open_jobs, 'job')} still open: `planner ledger holds` lists them")
    if found.balance is None:
        say("the provider did not say the balance: nothing was compared")
    elif found.bracket is None:
        say(strong(f"balance {credits_text(found.balance.total)}, the first reading"))
        say(dim("the next `planner reconcile` compares with it"))
    else:
        _say_bracket(found, found.bracket)


def _say_bracket(found: Reconciled, bracket: Bracket) -> None:
    since = minute_text(bracket.before.at.isoformat())
    went, booked = credits_text(bracket.charged_credits), credits_text(bracket.booked_credits)
    say(strong(f"balance {credits_text(bracket.after.balance.total)}"))
    say(f"since {since} it went down by {went}; the ledger booked {booked}")
    for entry in found.settled:
        say(f"{plain(entry.key)}: charged, {credits_text(entry.credits)} (was unconfirmed)")
    for finding in found.findings:
        keys = f" ({', '.join(map(plain, finding.keys))})" if finding.keys else ""
        say(f"{finding.kind.value.replace('_', ' ')}: {finding.words}{keys}")
    if not found.difference:
        say("nothing is left to explain")
    else:
        say(f"{credits_text(abs(found.difference))} {'more' if found.difference > 0 else 'less'} than booked")
    if found.findings and bracket.doubts:
        say(dim(f"not decided: {'; '.join(bracket.doubts)}"))
    if bracket.unknown and not found.settled:
        say(dim("once you know: `planner ledger settle KEY --charged N | --not-charged --because … --by …`"))
