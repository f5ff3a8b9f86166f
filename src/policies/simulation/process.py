"""One process of a life: a guard and a run of its own, and everything that can befall it at any step.

A step is a transaction of the ledger or a call to the provider. Before and after each of them the
process may die as a process dies: the kernel takes its lock back, and nothing else of it happens. Here
belong its two doors, to the ledger and to the provider. When processes begin belongs to `life`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Final

from policies.guard.answers import Answer, Lost, NoAnswer, Reply, read_run
from policies.guard.guard import Guard
from policies.guard.runner import Runner
from policies.guard.triage import Options
from policies.server.sandbox import answers
from policies.simulation.mischief import Trouble

if TYPE_CHECKING:
    from policies.simulation.life import Life

TRANSACTION_SECONDS: Final = (0.0005, 0.005)
ONE_WAY_SECONDS: Final = (0.01, 0.08)
SLOW_LOOKS: Final = 0.2
"""How many looks take time, so that something may happen meanwhile; all would take most of the work."""
SILENCE_SECONDS: Final = 60.0
"""How long a caller waits for an answer that does not come."""
HANGING_SECONDS: Final = (30.0, 900.0)
KEY: Final = "Bearer simulation"


class Died(Exception):
    """The process is gone; whatever of its code still runs reaches neither ledger nor provider."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One paid POST as it reached the provider."""

    key: str
    at_seconds: float
    prediction_id: str | None
    is_told: bool
    """Whether the caller was told what became of it."""


class Process:
    """One run of the whole workload by one process; `work` returns when it ended, however it did."""

    def __init__(self, life: Life, name: str, trouble_odds: float) -> None:
        self.life = life
        self.name = name
        self.dead = False
        self.runner: Runner | None = None
        self.troubles: list[Trouble] = []
        self.defect: BaseException | None = None
        """What its run failed with where no run should."""
        self._odds = trouble_odds
        self._chance = Random(f"{life.mischief.seed} {name}")
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._guard: Guard | None = None
        self._main: asyncio.Task[None] | None = None

    @property
    def finished(self) -> bool:
        """Whether its run came to its own end, with or without something in its way."""
        return not self.dead and Trouble.CANCELLED not in self.troubles

    async def work(self) -> None:
        context = copy_context()
        context.run(CURRENT.set, self)
        self._main = self.life.loop.create_task(self._run(), context=context)
        await asyncio.wait({self._main})
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))
        if self._guard is not None:
            # What is dead signs nothing off: only its connections go.
            (self._guard.store if self.dead else self._guard).close()
        if not self.dead and not self._main.cancelled():
            self.defect = self._main.exception()

    async def _run(self) -> None:
        self._guard = guard = self.life.open_guard()
        self.runner = Runner(guard, Wire(self), self.life.lines(guard), None, Options())
        await self.runner.run()

    def has_task(self, task: asyncio.Task[Any]) -> None:
        """Remember a task of this process until it is done."""
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    def draw(self, least: float, most: float) -> float:
        """A number of seconds by this process's own chance."""
        return self._chance.uniform(least, most)

    # -- steps -----------------------------------------------------------------------------------

    def transact(self, work: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        """A transaction of the ledger: done at once, and known a little later."""
        self._alive()
        trouble = self._trouble()
        if trouble is Trouble.DIES_BEFORE:
            return self._die()
        done = self.life.loop.carry_out(work, *arguments)
        if trouble is Trouble.DIES_AFTER:
            _heard(done)
            return self._die()
        known: asyncio.Future[Any] = self.life.loop.create_future()
        seconds = self._chance.uniform(*TRANSACTION_SECONDS) + self._hanging(trouble)
        self.life.loop.call_later(seconds, _hand_over, done, known)
        return known

    async def call(self, ask: Callable[[], Reply], *, is_paid: bool = False) -> Reply:
        """A call to the provider, which takes its way there; most looks are there at once."""
        self._alive()
        trouble = self._trouble()
        if trouble is Trouble.DIES_BEFORE:
            await self._die()
        if is_paid or trouble is not None or self._chance.random() < SLOW_LOOKS:
            await asyncio.sleep(self._chance.uniform(*ONE_WAY_SECONDS) + self._hanging(trouble))
            self._alive()
        reply = ask()
        if trouble is Trouble.DIES_AFTER:
            await self._die()
        return reply

    async def way_back(self) -> None:
        """An answer takes its time, too; whoever is cut off meanwhile has sent and heard nothing."""
        await asyncio.sleep(self._chance.uniform(*ONE_WAY_SECONDS))

    def _alive(self) -> None:
        if self.dead:
            raise Died

    def _trouble(self) -> Trouble | None:
        if self._chance.random() >= self._odds:
            return None
        trouble: Trouble = self._chance.choice([*Trouble])
        self.troubles.append(trouble)
        if trouble is Trouble.INTERRUPTED and self.runner is not None:
            self.runner.interrupt()
        if trouble is Trouble.CANCELLED and self._main is not None:
            self._main.cancel()
        return trouble

    def _hanging(self, trouble: Trouble | None) -> float:
        return self._chance.uniform(*HANGING_SECONDS) if trouble is Trouble.HANGS else 0.0

    def _die(self) -> asyncio.Future[Any]:
        self.dead = True
        if self._guard is not None:
            self._guard.machine.owner.abandon()
        self.life.loop.call_soon(self._cut_off)
        return self.life.loop.create_future()

    def _cut_off(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()


def _hand_over(done: asyncio.Future[Any], known: asyncio.Future[Any]) -> None:
    error = done.exception()
    if known.done():
        return
    if error is not None:
        known.set_exception(error)
    else:
        known.set_result(done.result())


def _heard(done: asyncio.Future[Any]) -> None:
    done.exception()


CURRENT: Final[ContextVar[Process | None]] = ContextVar("process", default=None)
"""The process that the running task belongs to."""


class Wire:
    """The provider as one process reaches it."""

    base_url = "http://simulation.invalid"
    credits_url = "credits"

    def __init__(self, process: Process) -> None:
        self._process = process
        self._life = process.life

    def status_url(self, prediction_id: str) -> str:
        return prediction_id

    async def run(self, body: bytes) -> Reply:
        """The paid POST, once."""
        silent = False

        def post() -> Reply:
            nonlocal silent
            answer = self._life.provider.run(body, KEY, self._life.loop.time())
            silent = answer.silent
            reply = NoAnswer("ReadError") if answer.cut else _heard_as(answer)
            key = json.loads(body)["inputs"]["prompt"]
            is_told = not isinstance(read_run(reply), Lost)
            self._life.sent.append(Sent(key, self._life.loop.time(), answer.accepted, is_told))
            return reply

        reply = await self._process.call(post, is_paid=True)
        await self._process.way_back()
        if silent:
            await asyncio.sleep(SILENCE_SECONDS)
        return reply

    async def get(self, url: str) -> Reply:
        def ask() -> Reply:
            provider, now = self._life.provider, self._life.loop.time()
            is_balance = url == self.credits_url
            return _heard_as(provider.credits(KEY, now) if is_balance else provider.status(url, KEY, now))

        return await self._process.call(ask)


def _heard_as(answer: answers.Answer) -> Answer:
    return Answer(answer.status, answer.headers, answer.body)


def tasks_of_processes(loop: asyncio.AbstractEventLoop, coroutine: Any, **settings: Any) -> asyncio.Task[Any]:
    """A loop's task factory: each task is known to the process it belongs to."""
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **settings)
    context = settings.get("context")
    process = CURRENT.get() if context is None else context.get(CURRENT)
    if process is not None:
        process.has_task(task)
    return task
