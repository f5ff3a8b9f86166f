"""The predictions in flight: when to ask about which, and noticing that one has ended.

Here belongs the pacer's other half: it says whom to ask and when, this asks. What an ended job means
for its row belongs to `runner`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from math import inf
from typing import Any

from planner.errors import OperatorError
from planner.pacing import Pacer
from policies.guard.answers import StatusReading, Unclear
from policies.guard.batch import Line
from policies.guard.crew import Crew, clock_seconds
from policies.guard.guard import Guard
from policies.guard.halts import Halt
from policies.guard.machine import Effect, GetStatus, Job
from policies.guard.shells import AsyncDoor, adrive
from policies.guard.supervision import supervised
from policies.ledger.entries import Entry
from policies.ledger.states import Happened


@dataclass(slots=True)
class Flight:
    """A job in flight; without a line it is work of a dead owner that is not in this batch."""

    job: Job
    line: Line | None
    being_asked: bool = False


class Flights:
    """What this process has in flight."""

    def __init__(
        self,
        guard: Guard,
        wire: AsyncDoor,
        pacer: Pacer[int],
        crew: Crew,
        ended: Callable[[Line | None, Job], None],
    ) -> None:
        self._guard = guard
        self._wire = wire
        self._pacer = pacer
        self._crew = crew
        self._ended = ended
        self._flights: dict[int, Flight] = {}
        self._unheard_since: float | None = None

    def unheard_seconds(self, now: float) -> float:
        """For how long every question has been in vain; 0 while answers come."""
        return 0.0 if self._unheard_since is None else now - self._unheard_since

    def __len__(self) -> int:
        return len(self._flights)

    def watch(self, line: Line, job: Job) -> None:
        """A prediction that was just accepted: it takes a slot and is asked about."""
        self._flights[job.entry.id] = Flight(job, line)
        self._pacer.started(job.entry.id, clock_seconds(), self._guard.expected(job.entry))

    def adopt(self, line: Line | None, entry: Entry) -> None:
        """A prediction that an earlier owner sent."""
        since = (self._guard.store.now() - entry.booked_at).total_seconds()
        self._flights[entry.id] = Flight(self._guard.machine.adopted(entry), line)
        self._pacer.adopted(entry.id, clock_seconds() - since, self._guard.expected(entry))

    def ask(self, now: float) -> float:
        """Ask about those that the pacer names; returns when to look again."""
        while (due := self._pacer.next_poll(now)) is not None:
            instant, flight_id = due
            if instant > now:
                return instant
            flight = self._flights[flight_id]
            if flight.being_asked:
                return inf
            flight.being_asked = True
            self._pacer.polled(flight_id, now)
            self._crew.start(self._check(flight_id, flight))
        return inf

    async def _check(self, flight_id: int, flight: Flight) -> None:
        job = flight.job
        try:
            steps = self._counted(self._guard.machine.checking(job), flight_id)
            self._heard(await adrive(steps, self._wire))
        except OperatorError as error:
            self._crew.halt(Halt.LEDGER, error)
        finally:
            flight.being_asked = False
        self._crew.look_at_ledger(job)
        if job.done:
            del self._flights[flight_id]
            told = job.ended in (Happened.CHARGED, Happened.ESTIMATED) and not job.reason
            self._pacer.finished(flight_id, clock_seconds(), telling=told)
            self._ended(flight.line, job)

    def _heard(self, reading: StatusReading) -> None:
        if not isinstance(reading, Unclear):
            self._unheard_since = None
        elif self._unheard_since is None:
            self._unheard_since = clock_seconds()

    def _counted(self, steps: Generator[Effect, Any, Any], flight_id: int) -> Generator[Effect, Any, Any]:
        """A check's steps; status calls after the first, which the pacer chose, are counted as well."""
        calls = 0

        def counts(effect: Effect) -> bool:
            nonlocal calls
            if isinstance(effect, GetStatus):
                calls += 1
                if calls > 1:
                    self._pacer.polled(flight_id, clock_seconds())
            return False

        return supervised(steps, counts)
