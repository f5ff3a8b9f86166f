"""`planner approvals`: the jobs that wait for a person, and what the person says.

Here belong the three commands and their words. What an approval is bound to and how it is used up
belongs to `policies.ledger.approvals`. A name is a statement, not a login.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from planner.errors import Fault, InputError
from policies.cli.ledgers import opened, said
from policies.cli.output import (
    DOT,
    Command,
    Decorator,
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
from policies.cli.settings import instant_of, setting

if TYPE_CHECKING:
    from policies.engine import Policy
    from policies.ledger.approvals import Answer, Asked, Waiting
    from policies.ledger.entries import Entry
    from policies.ledger.store import Store

GOOD_FOR: Final = timedelta(days=7)
"""How long an approval lasts where nobody says."""


@click.group(
    epilog=example("planner approvals list", "planner approvals approve look-17 --by Ana --because OK")
)
def command() -> None:
    """See which jobs wait for a person, and answer them."""


# -- list ----------------------------------------------------------------------------------------


@command.command("list", epilog=example("planner approvals list", "planner approvals list --json"))
@setting("ledger")
@json_option
def list_(ledger: str | None, as_json: bool) -> None:
    """The jobs that wait: what each would cost, what asks for an approval, and who may give it."""
    with opened(ledger) as store:
        known, now = store.policies_in_force(), store.now()
        rows = [_job_json(job, known.get(job.entry.policy), now) for job in store.waiting()]
    if as_json:
        emit_json("approvals-list", {"waiting": rows})
    elif not rows:
        say("no job waits for an approval")
    else:
        _say_jobs(rows)


def _job_json(job: Waiting, policy: Policy | None, now: datetime) -> dict[str, Any]:
    from policies.ledger.approvals import asked_by

    entry = job.entry
    return {
        "key": entry.key,
        "account": entry.account,
        "shoot": entry.shoot,
        "labels": entry.label_values,
        "fields": entry.closed_fields,
        "credits": entry.quoted_credits,
        "asked_by": [_asked_json(asked, policy) for asked in asked_by(entry)],
        "since": entry.booked_at.isoformat(),
        "answer": next((_answer_json(answer, now) for answer in job.answers), None),
    }


def _asked_json(asked: Asked, policy: Policy | None) -> dict[str, str]:
    rule, outcome = asked
    return {"rule": rule, "outcome": outcome, "approver": _approvers(policy).get(rule, "")}


def _approvers(policy: Policy | None) -> dict[str, str]:
    """Who can be asked, by the name of the rule or budget; nobody where the policy was retired."""
    if policy is None:
        return {}
    found = {rule.name: rule.finding.approver for rule in policy.rules}
    found |= {item.budget.name: item.budget.approver for item in policy.budgets}
    return found | ({"otherwise": policy.otherwise.approver} if policy.otherwise else {})


def _answer_json(answer: Answer, now: datetime) -> dict[str, Any]:
    return {
        "approved": answer.approved,
        "by": answer.who,
        "because": answer.because,
        "at": answer.at.isoformat(),
        "most_credits": answer.most_credits if answer.approved else None,
        "until": answer.until.isoformat() if answer.approved else None,
        "standing": not answer.approved or (answer.used_by is None and now < answer.until),
    }


def _say_jobs(rows: Sequence[dict[str, Any]]) -> None:
    shown = [
        (
            plain(row["key"]),
            row["credits"],
            ", ".join(plain(value) for value in row["labels"].values()),
            ", ".join(plain(asked["rule"]) for asked in row["asked_by"]),
            ", ".join(dict.fromkeys(plain(asked["approver"]) for asked in row["asked_by"])),
            minute_text(row["since"]),
            _answer_text(row["answer"]),
        )
        for row in rows
    ]
    say(table(shown, ["key", "credits", "for", "asked by", "may answer", "since", "answer"], right=(1,)))
    say()
    say(f"{counted(len(rows), 'job')}, {credits_text(sum(row['credits'] for row in rows))}; nothing is held")
    say(dim('answer with `planner approvals approve KEY --by NAME --because "…"`, or `deny`'))


def _answer_text(answer: dict[str, Any] | None) -> str:
    if answer is None:
        return ""
    if not answer["approved"]:
        return f"denied by {plain(answer['by'])}"
    ends = f"until {minute_text(answer['until'])}" if answer["standing"] else "used up or over"
    return f"approved by {plain(answer['by'])}, {ends}"


# -- approve and deny ----------------------------------------------------------------------------


def _answering(command: Command) -> Command:
    """What both answers have in common."""
    decorators: list[Decorator] = [
        click.argument("keys", metavar="KEY...", nargs=-1),
        click.option("--all", "everything", is_flag=True, help="Every job that waits."),
        click.option("--plan", "plan_file", metavar="PLAN", help="Not jobs, but this very plan file."),
        click.option("--because", required=True, metavar="TEXT", help="Why; kept with the job."),
        click.option(
            "--by", "--by-name", "who", required=True, metavar="NAME", help="Who says so; kept too."
        ),
        setting("ledger", "account", "shoot"),
        json_option,
    ]
    for decorate in reversed(decorators):
        command = decorate(command)
    return command


@command.command(
    epilog=example(
        'planner approvals approve look-17 --by "Ana" --because "the client asked for it"',
        'planner approvals approve --all --until 2026-12-01 --by "Ana" --because "end of the season"',
    )
)
@click.option("--most", type=click.IntRange(1, 999_999), metavar="N", help="Up to so many credits each.")
@click.option("--until", metavar="INSTANT", help="It ends then; default: in seven days.")
@_answering
def approve(
    keys: Sequence[str],
    everything: bool,
    plan_file: str | None,
    because: str,
    who: str,
    ledger: str | None,
    account: str | None,
    shoot: str | None,
    as_json: bool,
    most: int | None,
    until: str | None,
) -> None:
    """Let waiting jobs go, each once: the next run sends them.

    An approval is for the very request, labels and price that wait. Every deny rule and every other
    budget is tried again when it goes; a full budget is granted what this one job lacks.
    """
    who, because = said(who, "--by"), said(because, "--because")
    with opened(ledger) as store:
        ends = instant_of(until, "--until") or store.now() + GOOD_FOR
        if ends <= store.now():
            raise InputError("that instant is over", code="bad_instant", where="--until")
        if plan_file is not None:
            if keys or everything or most is not None:
                raise click.UsageError("--plan is a whole plan: leave keys, --all and --most out.")
            _answer_plan(store, plan_file, who, because, ends, as_json, approved=True)
            return
        found = _meant(store, keys, everything, account, shoot)
        if most is not None:
            _check_most(found, most)
        for entry in found:
            store.answer(entry, approved=True, who=who, because=because, until=ends, most_credits=most)
    _tell(found, "approved", who, because, ends, most, as_json)


@command.command(
    epilog=example('planner approvals deny look-17 --by "Ana" --because "the shoot is off"'),
)
@_answering
def deny(
    keys: Sequence[str],
    everything: bool,
    plan_file: str | None,
    because: str,
    who: str,
    ledger: str | None,
    account: str | None,
    shoot: str | None,
    as_json: bool,
) -> None:
    """Say no to waiting jobs: as they stand they are denied from now on, until somebody approves them."""
    who, because = said(who, "--by"), said(because, "--because")
    with opened(ledger) as store:
        if plan_file is not None:
            if keys or everything:
                raise click.UsageError("--plan is a whole plan: leave keys and --all out.")
            _answer_plan(store, plan_file, who, because, store.now(), as_json, approved=False)
            return
        found = _meant(store, keys, everything, account, shoot)
        for entry in found:
            store.answer(entry, approved=False, who=who, because=because, until=store.now())
    _tell(found, "denied", who, because, None, None, as_json)


def _answer_plan(
    store: Store, file: str, who: str, because: str, until: datetime, as_json: bool, *, approved: bool
) -> None:
    """Keep what is said to a plan file; it holds for this very text, in the ledger that it is pinned to."""
    from policies.cli.plan_files import known_plan
    from policies.cli.planned import wrong_ledger

    plan = known_plan(file)
    if (elsewhere := wrong_ledger(plan, file, store)) is not None:
        raise InputError(faults=[elsewhere])
    store.plans.answer(plan.digest, approved=approved, who=who, because=because, until=until)
    verb, credits = "approved" if approved else "denied", plan.expected["credits"]
    if as_json:
        told = {"digest": plan.digest, "credits": credits, "until": until.isoformat() if approved else None}
        document = {"by": who, "because": because, "plan": told}
        emit_json(f"approvals-{'approve' if approved else 'deny'}", document)
        return
    ends = f" until {minute_text(until.isoformat())}" if approved else ""
    jobs = f"{counted(len(plan.jobs), 'job')}, {credits_text(credits)}"
    say(strong(f"plan {plan.digest[:16]}: {verb} by {plain(who)}{ends}") + f"{DOT}{jobs}")


def _meant(
    store: Store, keys: Collection[str], everything: bool, account: str | None, shoot: str | None
) -> list[Entry]:
    """The waiting entries that are meant; raises with all faults at once."""
    if bool(keys) is everything:
        raise click.UsageError("Name the keys, or say --all.")
    waiting = [
        job.entry
        for job in store.waiting()
        if account in (None, job.entry.account) and shoot in (None, job.entry.shoot)
    ]
    if everything:
        return waiting
    faults = [fault for key in keys for fault in _problems(key, waiting)]
    if faults:
        raise InputError(faults=faults)
    return [entry for entry in waiting if entry.key in keys]


def _problems(key: str, waiting: Sequence[Entry]) -> list[Fault]:
    places = {(entry.account, entry.shoot) for entry in waiting if entry.key == key}
    if not places:
        hint = "`planner approvals list` shows those that do"
        return [Fault("no_such_key", f"no job `{key}` waits for an approval", "", hint=hint)]
    if len(places) > 1:
        listed = ", ".join(f"--account {name} --shoot {place}" for name, place in sorted(places))
        message = f"`{key}` waits in {len(places)} places"
        return [Fault("unclear_key", message, "", hint=f"say which: {listed}")]
    return []


def _check_most(found: Sequence[Entry], most: int) -> None:
    short = [entry for entry in found if entry.quoted_credits > most]
    if short:
        costs = ", ".join(f"`{entry.key}` costs {credits_text(entry.quoted_credits)}" for entry in short)
        raise InputError(f"--most {most} would let nothing go: {costs}", code="too_few", where="--most")


def _tell(
    found: Sequence[Entry],
    verb: str,
    who: str,
    because: str,
    until: datetime | None,
    most: int | None,
    as_json: bool,
) -> None:
    if as_json:
        answers = [
            {
                "key": entry.key,
                "account": entry.account,
                "shoot": entry.shoot,
                "most_credits": (most or entry.quoted_credits) if until else None,
                "until": until and until.isoformat(),
            }
            for entry in found
        ]
        emit_json(
            f"approvals-{'approve' if until else 'deny'}", {"by": who, "because": because, verb: answers}
        )
        return
    for entry in found:
        say(f"{plain(entry.key)}: {verb}, {credits_text(entry.quoted_credits)}")
    total = counted(len(found), "job")
    ends = f" until {minute_text(until.isoformat())}; the next run sends what fits" if until else ""
    say(strong(f"{total} {verb} by {plain(who)}{ends}") if found else "no job waits for an approval")
