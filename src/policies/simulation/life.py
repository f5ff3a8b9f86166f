"""One life of the whole system: its processes, its provider and its ledger, from one seed.

Here belong the course of things and the clock that everybody goes by. What goes wrong stands in
`mischief`, what may not have happened in `audit`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from planner.prices import PriceBook
from planner.request import ModelCreateRequest
from policies.engine import Policy
from policies.guard.batch import Line
from policies.guard.guard import Guard
from policies.ledger.store import Store
from policies.server.sandbox.faults import Faults
from policies.server.sandbox.loading import shipped_provider
from policies.simulation.loop import VirtualLoop
from policies.simulation.mischief import Mischief, Trouble
from policies.simulation.process import CURRENT, Died, Process, Sent, Wire, tasks_of_processes

ACCOUNT: Final = "simulation"
RICH_CREDITS: Final = 10**6
STARTS_MOST: Final = 6
"""How often a process that was ended before its end is started again; the last run of all is calm."""
ENDS: Final = frozenset({*Trouble} - {Trouble.HANGS})
REST_SECONDS: Final = (1.0, 600.0)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the workload; its prompt is its key, because nothing else of a prompt matters here."""

    key: str
    request: ModelCreateRequest
    labels: dict[str, str]


class Life:
    """A ledger in `folder`, a provider, and processes that run the same rows under the same policy."""

    def __init__(
        self, folder: Path, rows: Sequence[Row], policy: Policy, book: PriceBook, mischief: Mischief
    ) -> None:
        self.mischief = mischief
        self.policy = policy
        self.book = book
        self.rows = rows
        self.sent: list[Sent] = []
        self.processes: list[Process] = []
        self.loop = VirtualLoop()
        self._url = f"sqlite:///{folder / 'life.db'}"
        self._jumped = timedelta()
        balance = mischief.balance_credits
        self.provider = shipped_provider(
            seed=mischief.seed,
            faults=mischief.faults,
            balance_credits=RICH_CREDITS if balance is None else balance,
        )
        self.store = Store.open(self._url, clock=self.now)
        self.store.bind(ACCOUNT, Wire.base_url, live=False)

    def now(self) -> datetime:
        """The host's clock, which somebody may set."""
        return self.mischief.starts_at + self._jumped + timedelta(seconds=self.loop.time())

    def open_guard(self) -> Guard:
        """A guard as a new process opens it."""
        return Guard.open(self.policy, self._url, account=ACCOUNT, prices=self.book, clock=self.now)

    def lines(self, guard: Guard) -> list[Line]:
        """The workload as a new process reads it."""
        return [
            Line(row.key, row.request, row.labels, images=row.request.num_images or 1) for row in self.rows
        ]

    def live(self) -> None:
        """From the first start to the end of a last, calm run."""
        self.loop.door = self._door
        self.loop.set_task_factory(tasks_of_processes)
        self.loop.set_exception_handler(_told)
        try:
            self.loop.run_until_complete(self._course())
        finally:
            self.loop.close()

    def close(self) -> None:
        self.store.close()

    # -- the course of things --------------------------------------------------------------------

    async def _course(self) -> None:
        for at, by_seconds in self.mischief.jumps:
            self.loop.call_at(at, self._jump, by_seconds)
        if self.mischief.balance_credits is not None:
            self.loop.call_at(self.mischief.top_up_seconds, self._top_up)
        await asyncio.gather(*map(self._again_and_again, range(self.mischief.processes)))
        self.provider.faults = Faults()
        self._top_up()
        await self._process("last", 0.0).work()

    async def _again_and_again(self, number: int) -> None:
        """Start a process, and start it again when something ended it before its time."""
        for start in range(STARTS_MOST):
            process = self._process(f"{number}.{start}", self.mischief.trouble_odds)
            await asyncio.sleep(process.draw(*REST_SECONDS) if start else process.draw(0.0, 30.0))
            await process.work()
            if process.finished and process.runner is not None and not process.runner.halts:
                return

    def _process(self, name: str, trouble_odds: float) -> Process:
        self.processes.append(Process(self, name, trouble_odds))
        return self.processes[-1]

    @property
    def cut_short(self) -> int:
        """How many POSTs at the most lost their answer because somebody ended the process that sent them."""
        ends = sum(trouble in ENDS for process in self.processes for trouble in process.troubles)
        return ends * self.provider.limits.concurrency

    def _door(self, work: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        process = CURRENT.get()
        done = self.loop.carry_out if process is None else process.transact
        return done(work, *arguments)

    def _jump(self, by_seconds: float) -> None:
        self._jumped += timedelta(seconds=by_seconds)

    def _top_up(self) -> None:
        self.provider.top_up(RICH_CREDITS, self.loop.time())


def _told(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Whatever is left of a dead process says nothing; anything else is a defect."""
    if not isinstance(context.get("exception"), Died):
        loop.default_exception_handler(context)
