"""Asking once about jobs that are in no slot: where their pictures are, and what became of an unknown.

Here belongs the queue of such questions and its pace, which leaves the status window to what is in
flight. Those whose pictures expire first are asked first. Nothing is ever sent again because of an answer.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from math import inf
from typing import Final

from planner.errors import OperatorError
from planner.pacing import Pacer
from policies.guard.answers import StatusReading
from policies.guard.batch import Line, expires_us
from policies.guard.crew import Crew
from policies.guard.guard import Guard
from policies.guard.halts import Halt
from policies.guard.machine import Job
from policies.guard.shells import AsyncDoor, adrive
from policies.ledger.states import State

SHARE: Final = 0.5
"""Of the status window that errands take while something is in flight; else they take it all."""


class Errands:
    """Questions about what has ended, one at a time."""

    def __init__(
        self,
        guard: Guard,
        wire: AsyncDoor,
        pacer: Pacer[int],
        crew: Crew,
        answered: Callable[[Line, Job, StatusReading], None],
    ) -> None:
        self._guard = guard
        self._wire = wire
        self._pacer = pacer
        self._crew = crew
        self._answered = answered
        self._queue: list[tuple[int, int, Line]] = []
        self._added = 0
        self._next_at = -inf
        self.is_out = False
        """Whether an answer is being waited for."""

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, line: Line) -> None:
        """Ask about a line when it is its turn."""
        assert line.entry is not None
        self._added += 1
        heappush(self._queue, (expires_us(line.entry), self._added, line))

    def run(self, now: float) -> float:
        """Ask about the next line if it is time; returns when to look again."""
        if not self._queue or self.is_out or self._crew.ends_at_once:
            return inf
        at = max(self._next_at, self._pacer.look_at(now))
        if at > now:
            return at
        self._pacer.looked(now)
        rate = self._pacer.limits.status
        self._next_at = now + rate.seconds / rate.limit / (SHARE if self._pacer.in_flight else 1.0)
        self.is_out = True
        self._crew.start(self._ask(heappop(self._queue)[2]))
        return inf

    async def _ask(self, line: Line) -> None:
        assert line.entry is not None
        machine = self._guard.machine
        job = machine.adopted(line.entry)
        is_unknown = line.entry.state is State.UNKNOWN
        steps = machine.checking(job) if is_unknown else machine.revisiting(job)
        try:
            reading = await adrive(steps, self._wire)
        except OperatorError as error:
            self._crew.halt(Halt.LEDGER, error)
            return
        finally:
            self.is_out = False
        self._crew.look_at_ledger(job)
        self._answered(line, job, reading)
