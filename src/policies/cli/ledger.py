"""`planner ledger`: how it stands, what is open, ending what nobody knows, and whether it holds.

Here belong the four commands and their words: reserved, charged, not charged, unconfirmed. What they
read and do belongs to `policies.ledger`. None of them makes a ledger where there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from policies.cli import importing, upgrade
from policies.cli.allowances import budget_json, budgets_text
from policies.cli.ledgers import opened, said
from policies.cli.output import (
    DOT,
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
    table,
)
from policies.cli.settings import resolve, setting

if TYPE_CHECKING:
    from policies.engine import Policy
    from policies.ledger.entries import Entry
    from policies.ledger.store import Store

DOES_NOT_HOLD: Final = 1


@click.group(epilog=example("planner ledger show", "planner ledger holds", "planner ledger verify"))
def command() -> None:
    """Look into the ledger."""


command.add_command(upgrade.command)
command.add_command(importing.command)


# -- show ----------------------------------------------------------------------------------------


@command.command(epilog=example("planner ledger show", "planner ledger show --ledger spend.db --json"))
@setting("ledger")
@json_option
def show(ledger: str | None, as_json: bool) -> None:
    """What was charged, what is reserved or unconfirmed, and how full each budget is."""
    from policies.ledger.rows import standing

    with opened(ledger) as store:
        counters = store.counters(store.now())
        document = {
            **standing(store),
            "kind": store.kind(),
            "policies": [_policy_json(policy) for policy in store.policies_in_force().values()],
            "budgets": list(map(budget_json, counters)),
        }
        shown = str(store.path)
    if as_json:
        emit_json("ledger-show", document)
        return
    say(strong(f"{shown}{DOT}{(document['kind'] or 'not used yet').upper()}"))
    say()
    say(_standing_text(document))
    if counters:
        say()
        say(budgets_text(counters))
    if document["policies"]:
        say()
        say(dim(f"in force: {', '.join(map(_policy_text, document['policies']))}"))


def _policy_json(policy: Policy) -> dict[str, Any]:
    return {"name": policy.name, "digest": policy.digest, "enforced": policy.enforced}


def _policy_text(policy: dict[str, Any]) -> str:
    mode = "" if policy["enforced"] else ", in shadow"
    return f"{plain(policy['name'])} ({policy['digest'][:8]}{mode})"


def _standing_text(document: dict[str, Any]) -> str:
    counts = document["counts"]
    jobs = {**counts, **document["stopped_jobs"]}
    said = [
        ("charged", "settled", _estimated_text(document["estimated"])),
        ("reserved", "held", ""),
        ("unconfirmed", "unknown", "see `planner ledger holds`" if counts["unknown"] else ""),
        ("not charged", "released", "given back"),
        ("denied", "denied", _attempts_text(counts["denied"], jobs["denied"])),
        ("waiting for approval", "waiting", _attempts_text(counts["waiting"], jobs["waiting"])),
    ]
    rows = [
        (word, document.get(name), jobs[name], note)
        for word, name, note in said
        if counts[name] or name == "settled"
    ]
    return table(rows, ["", "credits", "jobs", ""], right=(1, 2))


def _estimated_text(credits: int) -> str:
    return f"{credits:,} of it estimated" if credits else ""


def _attempts_text(entries: int, jobs: int) -> str:
    """Every run tries a job again that was turned down."""
    return counted(entries, "attempt") if entries != jobs else ""


# -- holds ---------------------------------------------------------------------------------------

_SCREEN_WORDS: Final = {
    "held": "reserved, not sent",
    "sending": "reserved, being sent",
    "accepted": "reserved, running",
    "unknown": "unconfirmed",
}


@command.command(epilog=example("planner ledger holds", "planner ledger holds --json"))
@setting("ledger")
@json_option
def holds(ledger: str | None, as_json: bool) -> None:
    """What is reserved or unconfirmed, since when, and what to do about it."""
    from policies.ledger.states import OPEN, State

    with opened(ledger) as store:
        found = store.entries(states=OPEN | {State.UNKNOWN})
        rows = [_hold_json(store, entry) for entry in found]
    if as_json:
        emit_json("ledger-holds", {"holds": rows})
    elif not rows:
        say("nothing is reserved or unconfirmed")
    else:
        say(_holds_text(rows))


def _hold_json(store: Store, entry: Entry) -> dict[str, Any]:
    alive = store.is_at_work(entry)
    return {
        "key": entry.key,
        "account": entry.account,
        "shoot": entry.shoot,
        "take": entry.take,
        "state": entry.state.value,
        "shown": _SCREEN_WORDS[entry.state],
        "credits": entry.credits,
        "since": entry.booked_at.isoformat(),
        "owner_alive": alive,
        "prediction_id": entry.prediction_id,
        "reason": entry.reason,
        "next": _next_step(entry, alive),
    }


def _next_step(entry: Entry, alive: bool) -> str:
    """What a person can do about it."""
    if alive:
        return "a process is at work on it: wait"
    if entry.state.value != "unknown":
        return "its process is gone: `planner collect` takes it over"
    if entry.prediction_id:
        return "`planner collect` asks the provider again; if that ends nothing, settle it"
    return "find it in the provider's dashboard, then `planner ledger settle KEY` with what it cost"


def _holds_text(rows: Sequence[dict[str, Any]]) -> str:
    places = {(row["account"], row["shoot"]) for row in rows}
    several = len(places) > 1
    shown = [
        (
            plain(f"{row['account']}/{row['shoot']}/{row['key']}" if several else row["key"]),
            row["shown"],
            row["credits"],
            minute_text(row["since"]),
            row["prediction_id"] or "",
            row["reason"] or "",
        )
        for row in rows
    ]
    steps = dict.fromkeys((row["shown"], row["next"]) for row in rows)
    total = f"{counted(len(rows), 'job')}, {credits_text(sum(row['credits'] for row in rows))}"
    headers = ["key", "state", "credits", "since", "prediction", "reason"]
    notes = [dim(f"{word}: {step}") for word, step in steps]
    return "\n".join([table(shown, headers, right=(2,)), "", total, *notes])


# -- settle --------------------------------------------------------------------------------------


@command.command(
    epilog=example(
        'planner ledger settle look-17 --charged 4 --because "in the dashboard" --by "Name"',
        'planner ledger settle look-18 --not-charged --because "balance did not move" --by "Name"',
    )
)
@click.argument("key")
@click.option("--charged", type=click.IntRange(1, 999_999), metavar="N", help="It cost that many credits.")
@click.option("--not-charged", is_flag=True, help="It cost nothing.")
@click.option("--because", required=True, metavar="TEXT", help="How you know; kept with the job.")
@click.option("--by", "who", required=True, metavar="NAME", help="Who says so; kept with the job.")
@setting("ledger", "account", "shoot")
@json_option
def settle(
    key: str,
    charged: int | None,
    not_charged: bool,
    because: str,
    who: str,
    ledger: str | None,
    account: str | None,
    shoot: str | None,
    as_json: bool,
) -> None:
    """End an unconfirmed job: a named person says what it cost.

    Only what is unconfirmed can be settled. If the provider says something else later, the difference
    is booked beside it.
    """
    if (charged is None) is not not_charged:
        raise click.UsageError("Give either --charged N or --not-charged.")
    testimony = {"by": said(who, "--by"), "because": said(because, "--because")}
    with opened(ledger) as store:
        entry = _unconfirmed(store, key, account, shoot)
        after = _end(store, entry, charged, testimony)
    document = {
        "key": after.key,
        "account": after.account,
        "shoot": after.shoot,
        "take": after.take,
        "state": after.state.value,
        "credits": after.credits,
        "held": entry.credits,
        **testimony,
    }
    if as_json:
        emit_json("ledger-settle", document)
    else:
        end = "not charged" if charged is None else f"charged, {credits_text(after.credits)}"
        say(f"{plain(after.key)}: {end} (was unconfirmed, {credits_text(entry.credits)})")


def _unconfirmed(store: Store, key: str, account: str | None, shoot: str | None) -> Entry:
    """The unconfirmed entry that is meant; account and shoot need naming only where that is unclear."""
    from planner.errors import InputError
    from policies.ledger.states import State

    found = [
        entry
        for entry in store.entries(states=[State.UNKNOWN], account=account)
        if entry.key == key and shoot in (None, entry.shoot)
    ]
    if not found:
        raise _nothing_to_settle(store, key, account, shoot)
    places = sorted({(entry.account, entry.shoot) for entry in found})
    if len(places) > 1:
        listed = ", ".join(f"--account {name} --shoot {place}" for name, place in places)
        raise InputError(
            f"`{key}` is unconfirmed in {len(places)} places", code="unclear_key", hint=f"say which: {listed}"
        )
    return found[0]


def _nothing_to_settle(store: Store, key: str, account: str | None, shoot: str | None) -> Exception:
    from planner.errors import InputError

    settings = resolve(account=account, shoot=shoot)
    entry = store.latest(settings.account, settings.shoot, key)
    if entry is None:
        hint = "`planner ledger holds` lists what can be settled"
        return InputError(f"the ledger has no unconfirmed job `{key}`", code="no_such_key", hint=hint)
    word = _SCREEN_WORDS.get(entry.state) or {"settled": "charged", "released": "not charged"}.get(
        entry.state, entry.state.value
    )
    return InputError(
        f"`{key}` is not unconfirmed but {word}", code="not_unconfirmed", hint="it needs no settling"
    )


def _end(store: Store, entry: Entry, charged: int | None, testimony: dict[str, str]) -> Entry:
    from planner.errors import InputError
    from policies.ledger.entries import Evidence, Stale
    from policies.ledger.states import Happened

    happened = Happened.RELEASED_BY if charged is None else Happened.SETTLED_BY
    try:
        return store.record(entry, (happened, Evidence(credits=charged, detail=testimony)))
    except Stale:
        raise InputError(
            f"`{entry.key}` was ended by somebody else meanwhile",
            code="not_unconfirmed",
            hint="look again with `planner ledger holds`",
        ) from None


# -- verify --------------------------------------------------------------------------------------


@command.command(epilog=example("planner ledger verify", "planner ledger verify --ledger spend.db --json"))
@setting("ledger")
@json_option
def verify(ledger: str | None, as_json: bool) -> int:
    """Derive every state and every counter again from the events; exit 1 when something differs."""
    from policies.ledger.verify import verify as differences_of

    with opened(ledger) as store:
        found = differences_of(store)
        checked = len(store.entries())
    if as_json:
        differences = [difference.as_json() for difference in found]
        emit_json("ledger-verify", {"holds": not found, "entries": checked, "differences": differences})
    elif found:
        for difference in found:
            say(plain(str(difference)))
        say()
        say(f"{counted(len(found), 'difference')} in {counted(checked, 'entry', 'entries')}")
    else:
        jobs = counted(checked, "entry", "entries")
        say(f"the ledger holds: {jobs} derived again from events, and every counter from its entries")
    return DOES_NOT_HOLD if found else 0
