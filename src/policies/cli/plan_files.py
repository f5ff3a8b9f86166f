"""Plan files on the command line: written by `plan -o`, shown, and compared.

Here belong making one from a rehearsal, and how one is shown to people. Its form belongs to
`policies.plan_files`, running one to `planned`.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from planner.errors import InputError, OperatorError, PlannerError
from planner.sheets import find_source
from policies.cli.output import (
    DOT,
    counted,
    credits_text,
    dim,
    emit_json,
    plain,
    say,
    span_text,
    strong,
    styled,
    table,
    usd_text,
)
from policies.cli.pinning import head_of, is_plan, is_plan_file
from policies.plan_files import (
    LeftOut,
    PlanFile,
    PlannedJob,
    pinned_policy,
    pinned_prices,
    read_plan,
)

if TYPE_CHECKING:
    from policies.cli.deciding import Ruling
    from policies.cli.planning import Plan
    from policies.cli.settings import Settings
    from policies.ledger.store import Store

MOST_ROWS: Final = 20
Shows = Callable[[str], str]
"""Makes a text of somebody's harmless where it is shown."""

# -- reading -------------------------------------------------------------------------------------


def plan_in(file: str) -> PlanFile | None:
    """The plan in a file, or None where the file is something else, such as a workload.

    Raises `InputError` for a plan that is damaged or was changed by hand.
    """
    if not is_plan_file(file):
        return None
    try:
        text = Path(file).read_text("utf-8", "replace")
    except OSError:
        return None  # whoever reads it as a workload says what is wrong with it
    return read_plan(text, plain(file))


def known_plan(file: str) -> PlanFile:
    """The plan in a file that has to be one."""
    found = plan_in(file)
    if found is None:
        find_source(file)  # says so where it cannot be read at all
        hint = "`planner plan FILE --policy P -o shoot.plan.json` writes one"
        raise InputError(f"`{plain(file)}` is not a plan file", code="bad_plan", where=plain(file), hint=hint)
    return found


def workload_of(plan: PlanFile, file: str) -> str:
    """The path of a plan's workload, which stands in the plan as seen from its own file."""
    return os.path.normpath(os.path.join(os.path.dirname(file), plan.workload))


# -- writing -------------------------------------------------------------------------------------


def made(file: str, settings: Settings, out: str | None, needs_approval: str | None) -> PlanFile:
    """What the policy lets go of a workload, as a plan; written to `out` where that is given.

    A plan is pinned to a ledger by its salt, its id and its budgets, so one is made where there is none.
    """
    from planner.workload import open_workload
    from policies.cli.planning import plan_file
    from policies.ledger.store import Store
    from policies.loading import load_policy

    if file == "-":
        hint = "save it in a file first: the run reads it again"
        raise InputError("a plan cannot be pinned to standard input", code="bad_plan", hint=hint)
    settings.required_policy()
    _check_target(out, settings)
    is_new = (path := settings.ledger_file) is not None and not path.exists()
    if is_new and out is None:
        raise InputError(
            f"there is no ledger {settings.ledger_name} to pin a plan to",
            code="no_ledger",
            hint="-o PLAN makes it, or name one with --ledger",
        )
    if is_new:
        load_policy(settings.required_policy())
        for _ in open_workload(file, settings.key_column).outlines():
            pass  # a faulty file is refused before anything is made
    Store.open(settings.ledger).close()
    if is_new:
        say(dim(f"made the ledger {settings.ledger_name}, which the plan is pinned to"), aside=True)
    plan = _pinned(out or "", plan_file(file, settings, keeps=True), settings, needs_approval)
    if out is not None:
        _write(out, plan)
    return plan


def _check_target(out: str | None, settings: Settings) -> None:
    """Nothing but a plan is ever written over: not the workload, the ledger or the policy."""
    if out is None:
        return
    ledger = settings.ledger_file
    other = os.path.isfile(out) and os.path.getsize(out) > 0 and not is_plan(head_of(out))
    if other or (ledger is not None and os.path.abspath(out) == os.path.abspath(ledger)):
        message = f"`{plain(out)}` is there and is not a plan"
        raise InputError(message, code="would_overwrite", where="-o", hint="name another file")


def _write(target: str, plan: PlanFile) -> None:
    from planner.report.files import write_atomically

    try:
        write_atomically(Path(target), plan.text())
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OperatorError(f"cannot write `{plain(target)}`: {reason}", code="unwritable") from None


def _pinned(target: str, found: Plan, settings: Settings, needs_approval: str | None) -> PlanFile:
    tally = found.tally
    assert tally is not None
    store = tally.rehearsal.store
    assert store is not None
    jobs = tuple(_job(ruling, store) for ruling in tally.rulings if _goes(ruling))
    finish = found.decided_finish()
    credits = sum(job.credits for job in jobs)
    expected = {
        "jobs": len(jobs),
        "images": sum(job.images for job in jobs),
        "credits": credits,
        "usd": str(found.price.usd(credits)),
        "credit_price": found.price.name,
        "finish_seconds": {"p50": round(finish.p50_seconds), "p90": round(finish.p90_seconds)},
    }
    return PlanFile(
        workload=os.path.relpath(found.file, os.path.dirname(target) or "."),
        workload_digest=hashlib.sha256(Path(found.file).read_bytes()).hexdigest(),
        key_column=settings.key_column,
        ledger_id=store.ledger_id,
        account=settings.account,
        shoot=settings.shoot,
        policy=pinned_policy(tally.rehearsal.policy),
        prices=pinned_prices(found.entry),
        expected=expected,
        jobs=jobs,
        left_out=tuple(_left_out(ruling) for ruling in tally.rulings if not _goes(ruling)),
        needs_approval=needs_approval,
    )


def _goes(ruling: Ruling) -> bool:
    return ruling.decision is not None and ruling.verdict.value == "allow"


def _job(ruling: Ruling, store: Store) -> PlannedJob:
    decision, key = ruling.decision, ruling.key
    assert decision is not None
    assert key is not None
    asked, final = store.mac(decision.asked), store.mac(decision.request)
    return PlannedJob.of(key, ruling.job.line, decision, asked, final)


def _left_out(ruling: Ruling) -> LeftOut:
    if ruling.decision is None:
        why = "paid before" if ruling.reused else "key taken"
    else:
        why = "denied" if ruling.verdict.value == "deny" else "needs approval"
    rules = tuple(dict.fromkeys(reason["rule"] for reason in ruling.reasons))
    return LeftOut(ruling.key or "", ruling.job.line, why, rules)


# -- showing -------------------------------------------------------------------------------------


def show(plan: PlanFile, file: str | None, settings: Settings, layout: str, old: PlanFile | None) -> None:
    """A plan for people or programs, with what has moved since it was written as warnings."""
    warnings = moved(plan, file, settings) if file else []
    if layout == "json":
        for warning in warnings:
            say(warning, aside=True)
        document = summary_json(plan) | {"warnings": warnings}
        emit_json("plan-show", document | ({"diff": diff_json(old, plan)} if old else {}))
        return
    if layout == "markdown":
        say(markdown(plan, old, warnings))
        return
    place = f"account {plain(plan.account)}, shoot {plain(plan.shoot)}"
    say(dim(f"plan {plain(file or '(not written)')}{DOT}digest {plan.digest[:16]}{DOT}{place}"))
    for warning in warnings:
        say(f"{styled('warning:', fg='yellow', bold=True)} {warning}")
    say("\n" + strong(_headline(plan)))
    say("\n" + table(_facts(plan), style="plain"))
    for rows, headers, right in _tables(plan):
        say("\n" + table(rows, headers, right=right))
    if old is not None:
        say("\n" + diff_text(old, plan))


def summary_json(plan: PlanFile) -> dict[str, Any]:
    """A plan without its digests of single rows."""
    return {
        "digest": plan.digest,
        "workload": plan.workload,
        "account": plan.account,
        "shoot": plan.shoot,
        "policy": {"name": plan.policy_name, "digest": plan.policy["digest"]},
        "price_entry": plan.prices["entry"],
        "expected": dict(plan.expected),
        "needs_approval": plan.needs_approval,
        "jobs": [
            {"key": job.key, "line": job.line, "credits": job.credits, "fields": dict(job.fields)}
            for job in plan.jobs
        ],
        "left_out": [row.as_json() for row in plan.left_out],
    }


def moved(plan: PlanFile, file: str, settings: Settings) -> list[str]:
    """What a run of the plan would refuse now, as far as can be told without spending; nothing is raised."""
    from policies.cli.planned import standing

    try:
        _, faults = standing(plan, file, settings)
    except PlannerError as error:
        faults = [*error.faults]
    return [str(fault) for fault in faults]


def _headline(plan: PlanFile, shown: Shows = plain) -> str:
    expected = plan.expected
    money = f"{usd_text(Decimal(expected['usd']))} ({shown(expected['credit_price'])})"
    jobs, images = counted(expected["jobs"], "job"), counted(expected["images"], "image")
    return f"{jobs}{DOT}{images}{DOT}{credits_text(expected['credits'])}{DOT}{money}"


def _facts(plan: PlanFile, shown: Shows = plain) -> list[tuple[str, str]]:
    finish = plan.expected["finish_seconds"]
    facts = [
        ("workload", shown(plan.workload)),
        ("policy", f"{shown(plan.policy_name)} ({shown(plan.policy['digest'][:8])})"),
        ("prices", shown(plan.prices["entry"])),
        ("done in", f"{span_text(finish['p50'])}, nine of ten runs within {span_text(finish['p90'])}"),
    ]
    if plan.needs_approval:
        facts.append(("needs", f"an approval of {shown(plan.needs_approval)}"))
    return facts


Shown = tuple[Sequence[Sequence[Any]], Sequence[str], Sequence[int]]


def _tables(plan: PlanFile, shown: Shows = plain) -> list[Shown]:
    found: list[Shown] = [
        (_kinds(plan.jobs, shown), ("what is sent", "jobs", "images", "credits"), (1, 2, 3))
    ]
    if plan.left_out:
        reasons = Counter((row.why, ", ".join(row.rules)) for row in plan.left_out)
        left = [(number, shown(why), shown(rules)) for (why, rules), number in reasons.items()]
        found.append((left, ("left out", "why", "by"), (0,)))
    return found


def _kinds(jobs: Iterable[PlannedJob], shown: Shows) -> list[tuple[str, int, int, int]]:
    """The jobs by what is asked for, the costliest kind first."""
    sums: dict[str, tuple[int, int, int]] = {}
    for job in jobs:
        number, images, credits = sums.get(kind := _kind(job.fields, shown), (0, 0, 0))
        sums[kind] = number + 1, images + job.images, credits + job.credits
    return sorted(((kind, *found) for kind, found in sums.items()), key=lambda row: (-row[3], row[0]))


def _kind(fields: Mapping[str, Any], shown: Shows) -> str:
    face = " with a face" if fields["face_reference"] else ""
    mode, resolution = fields["generation_mode"] or "mode omitted", fields["resolution"] or "1k"
    return shown(f"{mode} at {resolution}{face}")


# -- comparing -----------------------------------------------------------------------------------


def diff_json(old: PlanFile, new: PlanFile) -> dict[str, Any]:
    """What changed from one plan to another, in jobs, credits and time."""
    before, after = ({job.key: job for job in plan.jobs} for plan in (old, new))
    both = [key for key in after if key in before]
    changed = [key for key in both if _gist(before[key]) != _gist(after[key])]
    times = [plan.expected["finish_seconds"] for plan in (old, new)]
    return {
        "added": [key for key in after if key not in before],
        "removed": [key for key in before if key not in after],
        "changed": [
            {"key": key, "credits": [before[key].credits, after[key].credits],
             "fields": _changed(before[key].fields, after[key].fields)}
            for key in changed
        ],
        "credits": [old.expected["credits"], new.expected["credits"]],
        "seconds": {name: [times[0][name], times[1][name]] for name in ("p50", "p90")},
        "policy": [old.policy["digest"], new.policy["digest"]],
        "prices": [old.prices["entry"], new.prices["entry"]],
    }  # fmt: skip


def _gist(job: PlannedJob) -> tuple[Any, ...]:
    return job.final, job.credits, dict(job.labels)


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {name: [before.get(name), after[name]] for name in after if before.get(name) != after[name]}


def diff_rows(old: PlanFile, new: PlanFile) -> list[tuple[str, str, str, str]]:
    """What, before, after and the difference: of jobs, credits and time."""
    found = diff_json(old, new)
    rows = [
        ("jobs", len(old.jobs), len(new.jobs)),
        ("images", old.expected["images"], new.expected["images"]),
        ("credits", *found["credits"]),
    ]
    shown = [(what, f"{was:,}", f"{now:,}", f"{now - was:+,}") for what, was, now in rows]
    was, now = found["seconds"]["p50"]
    sign = "+" if now >= was else "-"
    return [*shown, ("done in", span_text(was), span_text(now), sign + span_text(abs(now - was)))]


def diff_text(old: PlanFile, new: PlanFile) -> str:
    """The differences as a table and in words."""
    headers = ("", "before", "after", "change")
    return table(diff_rows(old, new), headers, right=(1, 2, 3)) + "\n" + _moves(old, new)


def _moves(old: PlanFile, new: PlanFile, shown: Shows = plain) -> str:
    found = diff_json(old, new)
    parts = [
        f"{len(found[name]):,} {name}: {_some([*_keys(found[name], shown)])}"
        for name in ("added", "removed", "changed")
        if found[name]
    ]
    if found["policy"][0] != found["policy"][1]:
        parts.append("another text of the policy")
    if found["prices"][0] != found["prices"][1]:
        parts.append(f"another price entry: {shown(found['prices'][1])}")
    return "\n".join(parts) or "the same jobs"


def _keys(found: Iterable[Any], shown: Shows) -> Iterable[str]:
    return (shown(item if isinstance(item, str) else item["key"]) for item in found)


def _some(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - 5:,} more" if len(keys) > 5 else ""
    return ", ".join(keys[:5]) + more


# -- for a pull request --------------------------------------------------------------------------


def markdown(plan: PlanFile, old: PlanFile | None, warnings: Sequence[str]) -> str:
    """A plan as it can stand in the text of a pull request."""
    facts = table(_facts(plan, inert), ("plan", f"`{plan.digest[:16]}`"), style="github")
    parts = [f"### {_headline(plan, inert)}", facts]
    parts += [f"> **Warning:** {inert(warning)}" for warning in warnings]
    tables = _tables(plan, inert)
    parts += [table(rows, headers, style="github", right=right) for rows, headers, right in tables]
    if old is not None:
        headers = ("", "before", "after", "change")
        changes = _moves(old, plan, inert).replace("\n", "  \n")
        parts += ["#### Since the last plan", table(diff_rows(old, plan), headers, style="github"), changes]
    rows = [
        (job.line, inert(job.key), _kind(job.fields, inert), job.images, job.credits)
        for job in plan.jobs[:MOST_ROWS]
    ]
    more = [("…", f"{len(plan.jobs) - MOST_ROWS:,} more", "", "", "")] if len(plan.jobs) > MOST_ROWS else []
    jobs = table([*rows, *more], ("line", "key", "what is sent", "images", "credits"), style="github")
    parts.append(f"<details><summary>{counted(len(plan.jobs), 'job')}</summary>\n\n{jobs}\n\n</details>")
    return "\n\n".join(parts)


def inert(text: str) -> str:
    """A text of somebody's as Markdown shows it and does nothing with it.

    >>> inert("</details> @all [a](b) a|b")
    '&#60;/details&#62; &#64;all &#91;a](b) a&#124;b'
    """
    return "".join(f"&#{ord(letter)};" if letter in _ACTIVE else letter for letter in plain(text))


_ACTIVE: Final = frozenset("\\`|<>&[*@")
