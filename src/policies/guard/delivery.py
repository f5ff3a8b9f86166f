"""Bringing the pictures of finished jobs home, beside the loop that starts and asks.

Here belong the queue of pictures, in which those that expire first go first, its workers, and noting in
the ledger what is home. One picture's way belongs to `pictures`. Nothing here may delay a start: a picture
can wait, an empty slot costs time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from planner.errors import OperatorError
from policies.guard.batch import Line, expires_us, names_of
from policies.guard.crew import Crew
from policies.guard.halts import Halt
from policies.guard.machine import Job, Machine
from policies.guard.pictures import PictureFolder
from policies.guard.shells import KnownDoor, adrive

WORKERS: Final = 4
"""Jobs whose pictures are under way at once."""
QUIET_SECONDS: Final = 0.02
QUIET_LOOKS: Final = 25
"""How long a picture waits for starts in progress: at the most half a second."""


_Errand = tuple[int, int, Callable[[], Coroutine[Any, Any, None]]]
"""Until when it has to be done, its number, and what it is."""


class Delivery:
    """The pictures of one run on their way home."""

    def __init__(
        self,
        pictures: PictureFolder | None,
        machine: Machine,
        wire: KnownDoor,
        crew: Crew,
        *,
        is_starting: Callable[[], bool],
        changed: Callable[[], object],
    ) -> None:
        self._pictures = pictures
        self._machine = machine
        self._wire = wire
        self._is_starting = is_starting
        self._crew = crew
        self._changed = changed
        self._queue: asyncio.PriorityQueue[_Errand] = asyncio.PriorityQueue()
        self._added = 0

    def bring(self, line: Line, job: Job) -> None:
        """Bring a job's pictures home as soon as there is quiet."""
        if self._pictures is not None and job.outputs:
            line.pictures_missing = len(job.outputs) - len(line.files)
            self._add(expires_us(job.entry), partial(self._bring, line, job, self._pictures))

    def give_up(self, line: Line, job: Job) -> None:
        """The provider no longer has the pictures: that is noted, and nothing is paid for again."""
        line.pictures_gone, line.pictures_missing = line.pictures_missing, 0
        self._add(0, partial(self._note, job, len(line.files), line.pictures_gone > 0))

    def _add(self, before_us: int, deliver: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do that before whatever may wait longer."""
        self._added += 1
        self._queue.put_nowait((before_us, self._added, deliver))

    async def work(self) -> None:
        """One worker; it works until it is cancelled."""
        while True:
            _, _, deliver = await self._queue.get()
            await self._quiet()
            try:
                await deliver()
            finally:
                self._queue.task_done()
                self._changed()

    async def all_home(self) -> None:
        """Wait until nothing is under way."""
        await self._queue.join()

    async def _quiet(self) -> None:
        for _ in range(QUIET_LOOKS):
            await asyncio.sleep(QUIET_SECONDS)
            if not self._is_starting():
                return

    async def _bring(self, line: Line, job: Job, pictures: PictureFolder) -> None:
        names = names_of(line, len(job.outputs))
        brought = await pictures.bring(
            job.outputs,
            names,
            beside=self._wire.base_url,
            keep=line.reused,
            made_after=_paid_at(job),
        )
        line.files, line.pictures_gone = brought.files, brought.gone
        line.pictures_missing = brought.missing
        line.reason = line.reason or brought.refused
        if brought.unwritable is not None:
            self._crew.halt(Halt.PICTURES, brought.unwritable)
        await self._note(job, len(brought.files), bool(brought.gone))

    async def _note(self, job: Job, home: int, lost: bool) -> None:
        """Note what is home; a ledger that cannot take it now takes it with the next thing it is told."""
        try:
            await adrive(self._machine.noting_outputs(job, home=home, lost=lost), self._wire)
        except OperatorError as error:
            self._crew.halt(Halt.LEDGER, error)
        self._crew.look_at_ledger(job)


def _paid_at(job: Job) -> float:
    """When a job was accepted whose pictures are not known to be home: what is older is not its own.

    A file of that name may be a copy that the row had before it was paid for.
    """
    is_home = job.entry.outputs_home >= len(job.outputs)
    return 0.0 if is_home else (job.entry.accepted_us or 0) / 1e6
