"""The tasks of a run, what wakes its loop, and why it stops.

Here belongs what every part of a run shares: starting a task beside the loop, halting, and leaving. What
the tasks do belongs to the parts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from math import inf
from typing import Any

from planner.errors import PlannerError
from policies.guard.halts import Halt
from policies.guard.machine import Job


def clock_seconds() -> float:
    """The clock that the event loop's alarms go by, so that a run can live in a loop with another time."""
    return asyncio.get_running_loop().time()


class Crew:
    """Everybody at work on one run."""

    def __init__(self) -> None:
        self.halts: dict[Halt, PlannerError | None] = {}
        """Why nothing more is sent, with what to tell about it."""
        self.owing: list[Job] = []
        """Jobs with steps that the ledger could not take when they happened."""
        self.leaving = False
        """Whether not even what is in flight is waited for."""
        self.defect: BaseException | None = None
        self._tasks: dict[asyncio.Task[None], None] = {}  # in the order in which they began
        self._woken = asyncio.Event()

    # -- stopping --------------------------------------------------------------------------------

    @property
    def stopping(self) -> bool:
        """Whether nothing is sent any more; a run at its limit still sends what it has committed."""
        return any(halt is not Halt.LIMIT for halt in self.halts)

    @property
    def ends_at_once(self) -> bool:
        """Whether only what is in flight is still brought home."""
        return self.stopping and max(self.halts).ends_at_once

    @property
    def interrupted(self) -> bool:
        return Halt.INTERRUPTED in self.halts

    def halt(self, halt: Halt, error: PlannerError | None = None) -> None:
        """Send nothing more; the first error of each kind is the one that is told."""
        self.halts.setdefault(halt, error)
        self.wake()

    def interrupt(self) -> None:
        """Send nothing more and bring home what is in flight; the second time, leave at once."""
        self.leaving = self.leaving or self.interrupted
        self.halt(Halt.INTERRUPTED)

    def look_at_ledger(self, job: Job) -> None:
        """Halt where the ledger could not take what happened to a job; it stays owed."""
        if job.ledger_error is not None:
            self.halt(Halt.LEDGER, job.ledger_error)
            self.owing.append(job)

    # -- working ---------------------------------------------------------------------------------

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a task beside the loop, which is woken when it ends."""
        task = asyncio.create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            # A defect of ours: what is in flight stands in the ledger, and the next run brings it home.
            self.defect, self.leaving = self.defect or error, True
        self.wake()

    def wake(self) -> None:
        """Let the loop look again."""
        self._woken.set()

    def fall_asleep(self) -> None:
        """From here on whatever wakes the loop is something new."""
        self._woken.clear()

    async def woken_by(self, instant: float) -> None:
        """Wait until then, or until somebody wakes the loop."""
        seconds = instant - clock_seconds()
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        alarm = None
        if seconds < inf:
            alarm = asyncio.get_running_loop().call_later(seconds, self._woken.set)
        try:
            await self._woken.wait()
        finally:
            if alarm is not None:
                alarm.cancel()

    async def until(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait until that is done, or somebody wants to leave."""
        waiting = asyncio.ensure_future(work)
        waiting.add_done_callback(lambda _: self.wake())
        while not waiting.done() and not self.leaving:
            self.fall_asleep()
            await self.woken_by(inf)
        waiting.cancel()

    async def dismiss(self) -> None:
        """Cancel what still runs, and wait until what had begun is booked."""
        running = [task for task in self._tasks if not task.done()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
