"""What `run`, `collect` and `demo` share: carrying a batch out while somebody watches, and its results.

Here belong signals, the progress bar, the first line and the files beside the pictures. What is run
belongs to the commands, how to `guard.runner`.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from planner.errors import ConfigError, Fault, PlannerError
from policies.cli.output import credits_text, emit_errors, mode_line, plain, say, styled

if TYPE_CHECKING:
    from planner.prices import PriceBook
    from policies.cli.settings import Settings
    from policies.engine import Policy
    from policies.guard.batch import Line
    from policies.guard.guard import Guard
    from policies.guard.results import Holder, Record
    from policies.guard.runner import Runner
    from policies.guard.triage import Options

SANDBOX_ACCOUNT: Final = "sandbox"
SANDBOX_LEDGER: Final = "sqlite:///sandbox.db"
SANDBOX_KEY: Final = "sandbox"
_REFRESHES: Final = 5
_INTERRUPTED: Final = 130


@dataclass(frozen=True, slots=True)
class Provider:
    """Whom a command talks to."""

    base_url: str
    api_key: str
    speed: float
    live: bool


@contextmanager
def provider_of(settings: Settings, *, sandbox: bool, speed: float | None) -> Iterator[Provider]:
    """The provider under the settings: the real one, a stand-in, or a sandbox started for this command.

    Raises `ConfigError` without a key, and for `--speed` with the provider's own address.
    """
    from policies.guard.wire import is_live, provider_address, provider_key

    if sandbox:
        from policies.cli.sandboxes import DEFAULT_SPEED, sandbox_beside

        if (ledger := settings.ledger_file) is None:
            raise ConfigError(
                "the sandbox needs a ledger file", code="bad_ledger", hint="--ledger sandbox.db"
            )
        ledger.parent.mkdir(parents=True, exist_ok=True)
        with sandbox_beside(ledger, speed or DEFAULT_SPEED) as url:
            yield Provider(url, SANDBOX_KEY, speed or DEFAULT_SPEED, live=False)
        return
    address = provider_address(settings.base_url)
    live = is_live(address)
    if live and speed not in (None, 1.0):
        raise ConfigError("the provider itself has no `--speed`", code="live_speed", hint="leave it out")
    yield Provider(address, provider_key(None), speed or 1.0, live)


def open_guard(settings: Settings, provider: Provider, policy: str | Policy, book: PriceBook) -> Guard:
    """The guard over the settings' ledger, which is known to be of the provider's kind before the policy
    comes in force in it. A policy that is named by its file is looked at between two decisions."""
    from policies.guard.guard import Guard
    from policies.ledger.store import Store

    store = Store.open(settings.ledger)
    try:
        store.bind(settings.account, provider.base_url, live=provider.live)
    finally:
        store.close()
    return Guard.open(
        policy,
        settings.ledger,
        account=settings.account,
        shoot=settings.shoot,
        prices=book,
        speed=provider.speed,
    )


def open_known_guard(settings: Settings, provider: Provider) -> Guard:
    """The guard over a ledger that is there, under a policy in force there: nothing is decided."""
    from policies.cli.settings import price_book
    from policies.ledger.store import Store

    store = Store.open(settings.ledger, speed=provider.speed, create=False)
    try:
        known = store.policies_in_force()
    finally:
        store.close()
    policy = next(iter(known.values()), settings.policy or "starter")
    return open_guard(settings, provider, policy, price_book(settings))


def pictures_folder(settings: Settings, shoot: str) -> Path:
    """Where the pictures of a shoot are kept."""
    from policies.guard.naming import safe_name

    return Path(settings.pictures) if settings.pictures else Path("pictures") / safe_name(shoot)


def say_mode(guard: Guard, provider: Provider, settings: Settings, *, aside: bool) -> None:
    """The line that says LIVE or SANDBOX."""
    line = mode_line(
        live=provider.live,
        account=guard.account,
        ledger=settings.ledger_name,
        policy=guard.policy.name,
        digest=guard.policy.digest,
        month_credits=_month_credits(guard),
    )
    say(line, aside=aside)
    Refusals(guard).tell()


class Refusals:
    """Says on stderr, once for each, why the policy that was asked for is not the one that decides."""

    def __init__(self, guard: Guard, told: PlannerError | None = None) -> None:
        self._guard = guard
        self._told = told

    def tell(self) -> None:
        """Say what has not been said; to be called as often as there is something new in a run."""
        error = self._guard.policy_error
        if error is not None and (self._told is None or error.faults != self._told.faults):
            label = styled("policy:", fg="yellow", bold=True)
            for fault in error.faults:
                say(f"{label} {plain(str(fault))}", aside=True)
        self._told = error


def _month_credits(guard: Guard) -> int:
    """What counts in the current month of the policy's zone, over all budgets."""
    from policies.ledger.states import TAKEN

    zone = guard.policy.zone
    month = guard.store.now().astimezone(zone).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return sum(entry.credits for entry in guard.store.entries(states=TAKEN, since=month))


# -- before anything is sent ---------------------------------------------------------------------


@contextmanager
def before_sending(*, as_json: bool) -> Iterator[None]:
    """Until something is sent, a no, Ctrl-C or SIGTERM leave at once with 130, and that is said.

    The handlers are set whatever the process inherited: one that was started with Ctrl-C ignored would
    not hear it at the question.
    """
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, _leave) for number in signals}
    try:
        yield
    except (KeyboardInterrupt, click.Abort):
        if as_json:
            emit_errors([Fault("interrupted", "interrupted: nothing was sent")], as_json=True)
        else:
            say("nothing was sent", aside=True)
        raise click.exceptions.Exit(_INTERRUPTED) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def holder_of(guard: Guard, shoot: str) -> Holder:
    """Whose pictures this guard brings home in a shoot."""
    from policies.guard.results import Holder

    return Holder(guard.store.ledger_id, guard.account, shoot)


# -- carrying out --------------------------------------------------------------------------------


def carry_out(
    guard: Guard, provider: Provider, lines: Sequence[Line], folder: Path | None, options: Options
) -> tuple[Runner, float]:
    """Run the lines to their end; returns the runner, which knows how it went, and the seconds it took.

    The first Ctrl-C, and a SIGTERM, send nothing more and bring home what is in flight; the second
    leaves at once.
    """
    began = time.monotonic()
    with _progress(lines) as changed:
        runner = asyncio.run(_carry_out(guard, provider, lines, folder, options, changed))
    return runner, time.monotonic() - began


async def _carry_out(
    guard: Guard,
    provider: Provider,
    lines: Sequence[Line],
    folder: Path | None,
    options: Options,
    changed: Callable[[Runner], object],
) -> Runner:
    from policies.guard.pictures import PictureFolder
    from policies.guard.runner import Runner
    from policies.guard.wire import AsyncWire

    wire = AsyncWire(provider.base_url, provider.api_key)
    pictures = None if folder is None else PictureFolder(folder, speed=provider.speed)
    refusals = Refusals(guard, told=guard.policy_error)

    def look() -> None:
        refusals.tell()
        changed(runner)

    runner = Runner(guard, wire, lines, pictures, options, look)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _interrupt, runner)
    try:
        await runner.run()
    finally:
        await wire.close()
        if pictures is not None:
            await pictures.close()
    return runner


def _interrupt(runner: Runner) -> None:
    if runner.interrupted:
        say("leaving at once: what may have been sent stays counted", aside=True)
    else:
        flying = runner.in_flight
        home = f", {flying} in flight are brought home" if flying else ""
        say(f"stopping: nothing more is sent{home} (again: leave at once)", aside=True)
    runner.interrupt()


@contextmanager
def _progress(lines: Sequence[Line]) -> Iterator[Callable[[Runner], object]]:
    """A bar on a terminal, nothing in a pipe."""
    import sys

    if not sys.stderr.isatty() or not lines:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (
        BarColumn(bar_width=None, complete_style="cyan", finished_style="green"),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, refresh_per_second=_REFRESHES) as progress:
        task = progress.add_task("", total=len(lines))

        def changed(runner: Runner) -> None:
            done, text = _standing(runner)
            progress.update(task, completed=done, description=text)

        yield changed


def _standing(runner: Runner) -> tuple[int, str]:
    """How far a run is: rows that ended, and the rest in words."""
    from policies.guard.batch import Ending, tally

    now = tally(runner.lines)
    ended = now.jobs - now.endings[Ending.NOT_STARTED] - now.endings[Ending.UNKNOWN]
    parts = [f"{runner.in_flight} in flight", credits_text(now.settled_credits), f"{now.pictures} pictures"]
    return ended, " · ".join(parts)


def say_halts(runner: Runner) -> None:
    """One line for each thing that stopped the run, on stderr."""
    for error in runner.halts.values():
        if error is not None:
            emit_errors(error.faults, as_json=False)


# -- results -------------------------------------------------------------------------------------


def plan_results(folder: Path, holder: Holder, lines: Iterable[Line]) -> None:
    """Note whose pictures they are and what those of each key are called, before anything is sent."""
    from policies.guard.results import Record, claim, joined, read_records, write_records

    claim(folder, holder)
    earlier = read_records(folder)
    new = [Record.of(line) for line in lines if line.key not in earlier]
    if new:
        write_records(folder, joined(earlier, [*earlier.values(), *new]))


def _is_newer(line: Line, earlier: Record) -> bool:
    """Whether a line speaks for its key: no take that came to nothing, none that others followed."""
    if line.request is None and line.take < earlier.take:
        return False
    return line.take == 1 or line.is_something


def write_results(folder: Path, shoot: str, lines: Iterable[Line]) -> PlannerError | None:
    """Write the three files beside the pictures; what stops that is returned, not raised."""
    from policies.guard.contact import write_page
    from policies.guard.results import Record, joined, read_records, write_records, write_table

    earlier = read_records(folder)
    told = (line for line in lines if line.key not in earlier or _is_newer(line, earlier[line.key]))
    records = joined(earlier, map(Record.of, told))
    try:
        write_records(folder, records)
        write_table(folder, records)
        write_page(folder, shoot, records)
    except PlannerError as error:
        return error
    return None
