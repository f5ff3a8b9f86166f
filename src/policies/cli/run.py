"""`planner run`: send a file within its budgets, and bring every picture home.

Here belong its flags, the question before spending and the summary after it. Which rows go and when is
decided by the guard and its runner.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.errors import Fault, InputError
from policies.cli.output import (
    DOT,
    counted,
    credits_text,
    dim,
    emit_errors,
    emit_json,
    example,
    json_option,
    say,
    say_repairs,
    strong,
)
from policies.cli.settings import price_book, resolve, setting

if TYPE_CHECKING:
    from planner.notes import Repair
    from planner.workload import Job
    from policies.cli.batches import Provider
    from policies.cli.deciding import Ruling
    from policies.cli.planned import PlannedRun
    from policies.cli.retaking import Retaking
    from policies.cli.settings import Settings
    from policies.cli.summary import Call
    from policies.engine import Policy
    from policies.guard.batch import Choice, Line
    from policies.guard.guard import Guard
    from policies.guard.naming import Template
    from policies.guard.runner import Runner
    from policies.guard.triage import Options


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the flags of one call ask for, beside the settings."""

    file: str
    sandbox: bool
    speed: float | None
    pictures: bool
    name: str
    choice: Choice
    options: Options
    retake: Sequence[str]
    """The keys of which another take is wished for."""
    skip_bad: bool
    yes: bool
    dry_run: bool
    as_json: bool
    planned: PlannedRun | None = None
    """The plan that is run, where FILE is one; then `file` is its workload."""

    @property
    def named(self) -> str:
        """FILE as it was given."""
        return self.planned.file if self.planned else self.file


@click.command(
    epilog=example(
        "planner run lookbook.csv --policy studio.yaml --sandbox",
        'planner run lookbook.csv --policy studio.yaml --where team=social --name "{sku}/{key}-{n}"',
    )
)
@click.argument("file", metavar="FILE")
@setting("policy", "ledger", "account", "shoot", "prices", "key_column", "base_url", "pictures")
@click.option("--speed", metavar="N", type=click.FloatRange(min=0, min_open=True), help="Of a stand-in.")
@click.option("--sandbox", is_flag=True, help="Against a local stand-in: nothing is charged.")
@click.option("--no-pictures", is_flag=True, help="Leave the pictures where they are; no results either.")
@click.option("--name", metavar="TEMPLATE", default="{key}-{n}", help='Such as "{sku}/{key}-{n}".')
@click.option("--first", metavar="N", type=click.IntRange(min=1), help="Only the first N rows.")
@click.option("--only", metavar="KEY", multiple=True, help="Only the row with this key; repeatable.")
@click.option("--where", metavar="LABEL=VALUE", multiple=True, help="Only rows with this label; repeatable.")
@click.option("--retake", metavar="KEY|changed|failed", multiple=True, help="Make another take; repeatable.")
@click.option("--max-credits", metavar="N", type=click.IntRange(min=0), help="Stop before this run passes N.")
@click.option("--skip-bad", is_flag=True, help="Run the good rows of a file that has faults.")
@click.option("--yes", is_flag=True, help="Do not ask before spending.")
@click.option("--dry-run", is_flag=True, help="Decide, and send nothing.")
@json_option
def command(
    file: str,
    speed: float | None,
    sandbox: bool,
    no_pictures: bool,
    name: str,
    first: int | None,
    only: Sequence[str],
    where: Sequence[str],
    retake: Sequence[str],
    max_credits: int | None,
    skip_bad: bool,
    yes: bool,
    dry_run: bool,
    as_json: bool,
    **flags: Any,
) -> int:
    """Send FILE within its budgets, at the full speed the limits allow, and bring every picture home.

    A row that was paid for is never paid for again: the same command goes on where it stopped, whatever
    stopped it. `--retake` makes another take beside what is there: KEY of that row, with another seed;
    `changed` of rows whose request was changed; `failed` of rows that ran and failed.
    """
    from policies.cli.batches import before_sending

    with before_sending(as_json=as_json):
        from policies.cli.plan_files import plan_in
        from policies.cli.planned import PlannedRun
        from policies.guard.batch import Choice
        from policies.guard.triage import Options
        from policies.ledger.entries import clean_key

        wishes = Wishes(
            file=file,
            sandbox=sandbox,
            speed=speed,
            pictures=not no_pictures,
            name=name,
            choice=Choice.of(where, only, first),
            options=Options(
                retake_failed="failed" in retake,
                retake_changed="changed" in retake,
                max_credits=max_credits,
            ),
            retake=[*dict.fromkeys(clean_key(key) for key in retake if key not in ("changed", "failed"))],
            skip_bad=skip_bad,
            yes=yes,
            dry_run=dry_run,
            as_json=as_json,
        )
        if sandbox and flags["base_url"]:
            raise InputError(
                "`--sandbox` is an address of its own", where="--base-url", hint="leave one of them out"
            )
        settings = sandboxed(resolve(**flags), flags) if sandbox else resolve(**flags)
        if (plan := plan_in(file)) is not None:
            planned = PlannedRun(plan, file)
            refuse_beside_plan(wishes)
            settings = planned.settings(settings, sandbox=sandbox)
            wishes = replace(wishes, file=planned.workload, planned=planned)
    return _rehearse(wishes, settings) if dry_run else _run(wishes, settings)


def refuse_beside_plan(wishes: Wishes) -> None:
    """What would send something else than a plan holds does not go with one."""
    given = {
        "--retake": wishes.retake or wishes.options.retake_changed or wishes.options.retake_failed,
        "--skip-bad": wishes.skip_bad,
    }
    faults = [
        Fault("beside_plan", f"`{flag}` does not go with a plan file", flag, hint="run the workload itself")
        for flag, value in given.items()
        if value
    ]
    if faults:
        raise InputError(faults=faults)


def sandboxed(settings: Settings, flags: Mapping[str, Any]) -> Settings:
    """The settings of a sandbox: an account and a ledger of its own, unless a flag names others."""
    from policies.cli.batches import SANDBOX_ACCOUNT, SANDBOX_LEDGER

    account = settings.account if flags.get("account") else SANDBOX_ACCOUNT
    ledger = settings.ledger if flags.get("ledger") else SANDBOX_LEDGER
    return replace(settings, account=account, ledger=ledger)


@dataclass(frozen=True, slots=True)
class Read:
    """What the file holds."""

    jobs: Sequence[Job]
    repairs: Sequence[Repair]
    left_out: Sequence[str]
    """The lines that had faults and were skipped."""


def read_jobs(wishes: Wishes, settings: Settings) -> Read:
    """The jobs of the file; without `--skip-bad` a file with faults raises them all and sends nothing."""
    from planner.workload import open_workload

    workload = open_workload(wishes.file, settings.key_column)
    jobs = list(workload.jobs(skip_bad=wishes.skip_bad))
    if workload.faults:
        emit_errors(workload.faults, as_json=False)
    left_out = dict.fromkeys(fault.where.rpartition(":")[2] for fault in workload.faults)
    return Read(jobs, workload.repairs, [*left_out])


# -- deciding only -------------------------------------------------------------------------------


def _rehearse(wishes: Wishes, settings: Settings) -> int:
    """What a run would do now, row by row, with nothing held, sent or written."""
    from policies.cli.deciding import rehearsal
    from policies.cli.retaking import retaking
    from policies.cli.summary import Call, left_out_text
    from policies.guard.batch import Line

    read = read_jobs(wishes, settings)
    policy = None if wishes.planned is None else wishes.planned.checked(settings)
    with rehearsal(settings, price_book(settings), datetime.now(UTC), policy=policy) as (rehearsed, note):
        # Without a ledger there is no salt to derive keys with: such rows are known by their place.
        lines = [
            Line(rehearsed.key_of(job) or job.where, job.request, labels=job.labels) for job in read.jobs
        ]
        by_key = {line.key: job for line, job in zip(lines, read.jobs, strict=True)}
        if wishes.planned is not None:
            lines = [line for line in lines if line.key in wishes.planned.keys]
        rows = wishes.choice.of_lines(lines)
        place = (settings.account, settings.shoot)
        again = retaking(rehearsed.store, place, rows, wishes.retake, wishes.options, wishes.pictures)
        chosen = [rehearsed.ruling(by_key[line.key], again.request_of(line.key)) for line in rows]
    verdicts = [_expected(ruling) for ruling in chosen]
    credits = sum(ruling.credits for ruling in chosen if ruling.verdict.value == "allow")
    document = {
        "jobs": len(chosen),
        "completed": verdicts.count("reused"),
        "failed": verdicts.count("conflict"),
        "denied": verdicts.count("deny"),
        "needs_approval": verdicts.count("needs_approval"),
        "unknown": 0,
        "not_started": verdicts.count("allow"),
        "reused": verdicts.count("reused"),
        "left_out": len(read.left_out),
        "credits": {"quoted": credits, "settled": 0, "unknown": 0, "this_run": 0},
        "seconds": 0.0,
        "dry_run": True,
    }
    say(dim(f"dry run: nothing is sent{DOT}{note}"), aside=wishes.as_json)
    say_repairs(read.repairs, aside=wishes.as_json)
    again.tell(aside=wishes.as_json)
    if read.left_out:
        say(left_out_text(read.left_out), aside=wishes.as_json)
    if wishes.as_json:
        emit_json("run", document)
    else:
        would = f"{document['not_started']:,} would be sent for {credits_text(credits)}"
        waiting = counted(verdicts.count("needs_approval"), "needs approval", "need approval")
        held = f"{document['denied']:,} denied, {waiting}"
        say(f"{would}{DOT}{document['reused']:,} paid before{DOT}{held}")
        if document["denied"] or document["needs_approval"]:
            check = Call(wishes.named, settings, wishes.sandbox).check
            say(dim(f"{check} says why, and what would pass"))
    return int(any(document[name] for name in ("failed", "denied", "needs_approval")))


def _expected(ruling: Ruling) -> str:
    if ruling.decision is None:
        return "reused" if ruling.reused else "conflict"
    return ruling.verdict.value


# -- running -------------------------------------------------------------------------------------


def _run(wishes: Wishes, settings: Settings) -> int:
    from policies.cli.batches import before_sending, carry_out, pictures_folder
    from policies.cli.summary import Call

    folder = pictures_folder(settings, settings.shoot) if wishes.pictures else None
    with ExitStack() as opened:
        with before_sending(as_json=wishes.as_json):
            read = read_jobs(wishes, settings)
            template = _template(wishes, read.jobs)
            guard, provider = opened.enter_context(_opened(wishes, settings))
            lines, again = _prepared(wishes, settings, template, guard, provider, read, folder)
        if wishes.planned is not None:
            wishes.planned.begin(guard)
        runner, seconds = carry_out(guard, provider, lines, folder, again.options(wishes.options))
        most = wishes.options.max_credits
        call = Call(wishes.named, settings, wishes.sandbox, wishes.speed, most, read.left_out)
        code = finish(runner, seconds, folder, call, as_json=wishes.as_json)
        again.forget(guard, runner)
        if wishes.planned is not None:
            wishes.planned.end(guard)
    return code


def _template(wishes: Wishes, jobs: Sequence[Job]) -> Template:
    from policies.guard.naming import Template

    return Template.parse(wishes.name, {name for job in jobs for name in (*job.columns, *job.labels)})


def _prepared(
    wishes: Wishes,
    settings: Settings,
    template: Template,
    guard: Guard,
    provider: Provider,
    read: Read,
    folder: Path | None,
) -> tuple[list[Line], Retaking]:
    """The chosen rows, once it is clear that they may be sent and whose their pictures will be."""
    from policies.cli.batches import holder_of, plan_results, say_mode
    from policies.cli.retaking import refuse_copies, retaking
    from policies.guard.results import check_holder

    lines, chosen = _lines(wishes, template, guard, read.jobs, folder)
    holder = holder_of(guard, guard.shoot)
    if folder is not None:
        check_holder(folder, holder, (name for line in lines for name in line.names))
    say_mode(guard, provider, settings, aside=wishes.as_json)
    say_repairs(read.repairs, aside=wishes.as_json)
    place = (guard.account, guard.shoot)
    again = retaking(guard.store, place, lines, wishes.retake, wishes.options, wishes.pictures)
    if folder is not None:
        refuse_copies(again, folder)
    again.tell(aside=wishes.as_json)
    if not wishes.yes and sys.stdin.isatty() and sys.stderr.isatty():
        _ask(guard, lines, chosen, again)
    if folder is not None:
        plan_results(folder, holder, lines)
    again.remember(guard)
    return lines, again


@contextmanager
def _opened(wishes: Wishes, settings: Settings) -> Iterator[tuple[Guard, Provider]]:
    """The guard and the provider; nothing is made on disk before the policy and the key are found good."""
    from policies.cli.batches import open_guard, provider_of
    from policies.loading import load_policy

    book = price_book(settings)
    policy: str | Policy
    if wishes.planned is not None:
        checked = wishes.planned.checked(settings)
        policy = settings.policy or checked
    else:
        policy = settings.required_policy()
        load_policy(policy)  # The guard reads it again, and whenever it changes.
    with (
        provider_of(settings, sandbox=wishes.sandbox, speed=wishes.speed) as provider,
        open_guard(settings, provider, policy, book) as guard,
    ):
        yield guard, provider


def _lines(
    wishes: Wishes, template: Template, guard: Guard, jobs: Sequence[Job], folder: Path | None
) -> tuple[list[Line], list[Job]]:
    """The chosen rows, with the names of their pictures, and the jobs they come from."""
    from policies.guard.batch import lines_of, name_pictures
    from policies.guard.results import read_records

    lines = lines_of(jobs, guard.store.derived_key)
    records = {} if folder is None else read_records(folder)
    name_pictures(lines, template, guard.shoot, {key: record.names for key, record in records.items()})
    by_key = {line.key: job for line, job in zip(lines, jobs, strict=True)}
    if wishes.planned is not None:
        wishes.planned.bind(guard, lines, jobs)
        lines = [line for line in lines if line.planned is not None]
    chosen = wishes.choice.of_lines(lines)
    return chosen, [by_key[line.key] for line in chosen]


def _ask(guard: Guard, lines: Sequence[Line], jobs: Sequence[Job], again: Retaking) -> None:
    """Show what it will cost and ask once; a no sends nothing."""
    from policies.cli.deciding import Rehearsal, taken_keys

    rehearsed = Rehearsal(
        guard.policy,
        guard.book,
        guard.store.now(),
        store=guard.store,
        taken=taken_keys(guard.store, guard.account, guard.shoot),
        counted=guard.store.usage(guard.policy),
        account=guard.account,
        shoot=guard.shoot,
    )
    rulings = [
        rehearsed.ruling(job, again.request_of(line.key)) for line, job in zip(lines, jobs, strict=True)
    ]
    going = [ruling for ruling in rulings if ruling.decision and ruling.verdict.value == "allow"]
    if not going:
        return
    credits = sum(ruling.credits for ruling in going)
    stopped = sum(ruling.verdict.value != "allow" for ruling in rulings)
    also = f", {counted(stopped, 'row')} will not go" if stopped else ""
    takes = counted(again.sent, "another take", "other takes")
    retakes = f" ({takes} of what is there)" if again.sent else ""
    text = f"send {counted(len(going), 'job')}{retakes} for up to {strong(credits_text(credits))}{also}?"
    click.confirm(text, abort=True, err=True)


def finish(runner: Runner, seconds: float, folder: Path | None, call: Call, *, as_json: bool) -> int:
    """Write the results, tell how it went, and say so in the exit code."""
    from policies.cli.batches import say_halts, write_results
    from policies.cli.summary import summary
    from policies.guard.batch import tally

    if runner.turned_away is not None:
        raise runner.turned_away
    unwritten = None if folder is None else write_results(folder, call.settings.shoot, runner.lines)
    say_halts(runner)
    if unwritten is not None and runner.exit_code not in (3, 130):
        emit_errors(unwritten.faults, as_json=False)
    sums = tally(runner.lines)
    if as_json:
        more = {
            "left_out": len(call.left_out),
            "seconds": round(seconds, 1),
            "stopped_by": max(runner.halts).name.lower() if runner.halts else None,
            "drift": [drift.as_json() for drift in runner.drifts],
            "retakes": [line.take_json() for line in runner.lines if line.is_retaken],
        }
        emit_json("run", {**sums.as_json(), **more})
    else:
        say(summary(runner, sums, seconds, folder, call))
    return 3 if unwritten is not None and runner.exit_code in (0, 1) else runner.exit_code
