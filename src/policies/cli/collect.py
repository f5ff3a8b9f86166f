"""`planner collect`: finish and bring home what other processes left.

Here belong finding that work in the ledger, its flags and what is told about it. Nothing is ever sent.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from policies.cli.output import (
    DOT,
    counted,
    dim,
    emit_errors,
    emit_json,
    example,
    json_option,
    say,
    span_text,
)
from policies.cli.settings import resolve, setting

if TYPE_CHECKING:
    from policies.cli.batches import Provider
    from policies.cli.settings import Settings
    from policies.guard.batch import Line
    from policies.guard.guard import Guard
    from policies.guard.results import Record
    from policies.guard.runner import Runner
    from policies.ledger.entries import Entry

WATCH_SECONDS: Final = 60.0
"""Between two rounds of `--watch`."""


@click.command(epilog=example("planner collect", "planner collect --watch"))
@setting("ledger", "account", "shoot", "prices", "base_url", "pictures")
@click.option("--speed", metavar="N", type=click.FloatRange(min=0, min_open=True), help="Of a stand-in.")
@click.option("--sandbox", is_flag=True, help="What was left in the sandbox.")
@click.option("--watch", is_flag=True, help="Go on until Ctrl-C.")
@json_option
def command(speed: float | None, sandbox: bool, watch: bool, as_json: bool, **flags: Any) -> int:
    """Finish and bring home what other processes left: nothing new is sent or paid for.

    Every shoot of the account is looked after, unless --shoot or --pictures names one.
    """
    from policies.cli.batches import open_known_guard, provider_of, say_mode
    from policies.cli.run import sandboxed

    settings = sandboxed(resolve(**flags), flags) if sandbox else resolve(**flags)
    shoot = settings.shoot if flags.get("shoot") or settings.pictures else None
    with (
        provider_of(settings, sandbox=sandbox, speed=speed) as provider,
        open_known_guard(settings, provider) as guard,
    ):
        say_mode(guard, provider, settings, aside=as_json)
        while True:
            code, interrupted = _collect(guard, provider, settings, shoot, as_json=as_json)
            if interrupted or code or not watch:
                return code
            if not _waited(WATCH_SECONDS / provider.speed):
                return 0


def _waited(seconds: float) -> bool:
    """Whether nobody pressed Ctrl-C meanwhile."""
    try:
        time.sleep(seconds)
    except KeyboardInterrupt:
        return False
    return True


def _collect(
    guard: Guard, provider: Provider, settings: Settings, shoot: str | None, *, as_json: bool
) -> tuple[int, bool]:
    """One round over all shoots; returns the exit code and whether somebody interrupted it."""
    from policies.cli.batches import carry_out, holder_of, pictures_folder, say_halts, write_results
    from policies.cli.summary import Call
    from policies.guard.batch import tally
    from policies.guard.results import check_holder, claim
    from policies.guard.triage import Options

    guard.store.take_over(guard.machine.owner)
    left = _left(guard, shoot)
    for name in left:
        check_holder(pictures_folder(settings, name), holder_of(guard, name))
    code, interrupted, seconds = 0, False, 0.0
    finished: list[Line] = []
    for name, entries in left.items():
        guard.shoot = name
        folder = pictures_folder(settings, name)
        claim(folder, holder_of(guard, name))
        lines = _lines(folder, name, entries)
        runner, took = carry_out(guard, provider, lines, folder, Options())
        if runner.turned_away is not None:
            raise runner.turned_away
        say_halts(runner)
        finished, seconds = [*finished, *lines], seconds + took
        if (unwritten := write_results(folder, name, lines)) is not None:
            emit_errors(unwritten.faults, as_json=False)
            code = 3
        code, interrupted = max(code, _halted(runner)), runner.interrupted
        if runner.halts:
            break
    sums = tally(finished)
    if as_json:
        emit_json("collect", {**sums.as_json(), "seconds": round(seconds, 1)})
    else:
        holds = Call("", settings, sandbox=not provider.live).command("ledger holds", "ledger")
        say(_summary(finished, sums.pictures, seconds, holds))
    return code, interrupted


def _halted(runner: Runner) -> int:
    """What stopped the round; that a job failed is no failure of `collect`."""
    return max(runner.halts).exit_code if runner.halts else 0


def _left(guard: Guard, shoot: str | None) -> dict[str, list[Entry]]:
    """By shoot, the entries with something left to finish or to fetch, one for each take of a key."""
    from policies.ledger.states import State

    owner = guard.machine.owner.id
    found: dict[str, dict[tuple[str, int], Entry]] = {}
    states = (State.ACCEPTED, State.UNKNOWN, State.SETTLED)
    for entry in guard.store.entries(states=states, account=guard.account):
        if shoot in (None, entry.shoot):
            found.setdefault(entry.shoot, {})[entry.key, entry.take] = entry
    left = {
        name: [by_take[place] for place in sorted(by_take) if _is_left(by_take[place], owner)]
        for name, by_take in found.items()
    }
    return {name: entries for name, entries in left.items() if entries}


def _is_left(entry: Entry, owner: str) -> bool:
    from policies.ledger.states import State

    match entry.state:
        case State.ACCEPTED:
            return entry.owner == owner
        case State.UNKNOWN:
            return entry.prediction_id is not None
        case _:
            return entry.outputs_home < entry.outputs and not entry.outputs_lost


def _lines(folder: Path, shoot: str, entries: Iterable[Entry]) -> list[Line]:
    """A line for each entry, with the names and columns that an earlier run noted for its key."""
    from policies.guard.batch import Line, name_pictures
    from policies.guard.naming import DEFAULT_TEMPLATE, Template
    from policies.guard.results import read_records

    records = read_records(folder)
    lines = [
        Line(
            entry.key,
            labels=entry.label_values,
            columns=_columns(records, entry.key),
            images=max(entry.outputs, entry.num_images or 1),
            take=entry.take,
        )
        for entry in entries
    ]
    known: Mapping[str, Sequence[str]] = {key: record.names for key, record in records.items()}
    name_pictures(lines, Template.parse(DEFAULT_TEMPLATE), shoot, known)
    return lines


def _columns(records: Mapping[str, Record], key: str) -> Mapping[str, str]:
    return records[key].columns if key in records else {}


def _summary(lines: Sequence[Line], pictures: int, seconds: float, holds: str) -> str:
    if not lines:
        return "nothing was left to finish or to fetch"
    home = counted(pictures, "picture")
    text = f"{counted(len(lines), 'job')} looked after{DOT}{home} home{DOT}{span_text(seconds)}"
    open_still = [line for line in lines if line.ending.value == "unknown"]
    if open_still:
        hint = f"{holds} lists them"
        text += f"\n{dim('open      ')}{counted(len(open_still), 'job')} unconfirmed: {hint}"
    return text
