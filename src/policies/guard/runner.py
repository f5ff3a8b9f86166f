"""The batch runner: one loop that starts, asks and brings home at the speed the limits allow.

Here belongs the loop and what it decides about rows: which goes next, which is tried again, when there
is nothing left to do. Everything that takes time is a task beside the loop, driving the machine's steps.
Whatever fails, what is in flight is brought home and what is paid is kept.

    triage  what each row needs        flights   asking about what is in flight
    purse   the run's own limit        errands   asking about what has ended
    crew    tasks, halts, leaving      delivery  pictures on their way home
    reuse   what is home already
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from math import inf
from typing import Final, assert_never

from planner.errors import OperatorError, PlannerError
from planner.loading import shipped_latency
from planner.pacing import Limits, Pacer, Rate, order
from planner.quoting import quote
from planner.request import PictureChanged
from policies.guard.answers import TRANSIENT_FAILURES, Answer, Completed, Missing, NotSent, StatusReading
from policies.guard.batch import Ending, Line, conclude, drifts
from policies.guard.crew import Crew, clock_seconds
from policies.guard.delivery import WORKERS, Delivery
from policies.guard.errands import Errands
from policies.guard.flights import Flights
from policies.guard.guard import Guard
from policies.guard.halts import TURNED_AWAY, Halt
from policies.guard.machine import (
    SLOT_PAUSE_SECONDS,
    Effect,
    Job,
    NotStarted,
    Pause,
    Post,
    Submission,
    Turned,
    Unknown,
)
from policies.guard.outcomes import submission_error, unauthorized, unreachable
from policies.guard.pictures import PictureFolder
from policies.guard.purse import Purse
from policies.guard.reuse import Reuse
from policies.guard.shells import KnownDoor, adrive
from policies.guard.supervision import supervised
from policies.guard.triage import Options, Step, Triage
from policies.ledger.drift import Drift
from policies.ledger.entries import Ask, Conflict, Entry, Stale, Stopped, Taken, TurnedDown
from policies.ledger.states import OPEN, TAKEN, Happened, State

RETRY_PAUSES_SECONDS: Final = (15.0, 60.0)
"""Before a job that failed for a passing reason is tried a second and a third time."""
HOUSEKEEPING_SECONDS: Final = (2.0, 30.0)
"""Between two looks at what other processes do: at first, and when they have brought nothing for long."""
SILENCE_SECONDS: Final = 300.0
"""Real time without one usable answer after which a run leaves: what is in flight stands in the ledger."""
LEAST_PAUSE_SECONDS: Final = 0.1
"""Virtual pauses are never shorter than this: they cost a transaction each."""


class Runner:
    """Runs the lines of one batch, once."""

    def __init__(
        self,
        guard: Guard,
        wire: KnownDoor,
        lines: Sequence[Line],
        pictures: PictureFolder | None,
        options: Options,
        changed: Callable[[], object] = lambda: None,
    ) -> None:
        self.lines = lines
        self.turned_away: PlannerError | None = None
        """Why the provider would not even be asked; then nothing was sent."""
        self.inherited = 0
        """Jobs of dead owners, not in this batch, that were brought to their end."""
        self._guard = guard
        self._machine = guard.machine
        self._store = guard.store
        self._wire = wire
        self._changed = changed
        self._by_key: dict[str, list[Line]] = {}
        for line in lines:
            self._by_key.setdefault(line.key, []).append(line)
        self._crew = Crew()
        self._pacer: Pacer[int] = Pacer(_limits(guard))
        self._triage = Triage(guard.store, guard.machine.owner, pictures, options)
        self._purse = Purse(guard, options.max_credits)
        self._reuse = Reuse(guard, pictures, lines)
        self._twins: list[Line] = []
        """They ask for the same as rows that go before them, and are looked at once those have ended."""
        self._flights = Flights(guard, wire, self._pacer, self._crew, self._landed)
        self._errands = Errands(guard, wire, self._pacer, self._crew, self._answered)
        self._delivery = Delivery(
            pictures, guard.machine, wire, self._crew, is_starting=lambda: self._sending > 0, changed=changed
        )
        self._queue: deque[Line] = deque()
        self._later: list[tuple[float, int, Line]] = []
        self._elsewhere: dict[int, Line] = {}
        self._sending = 0
        self._is_crowded = False
        """Whether others held the slot that was asked for last."""
        self._busy_until = self._housekeeping_at = -inf
        self._quiet_seconds = HOUSEKEEPING_SECONDS[0]

    # -- what others may do and know -------------------------------------------------------------

    def interrupt(self) -> None:
        """Send nothing more and bring home what is in flight; the second time, leave at once."""
        self._crew.interrupt()

    @property
    def interrupted(self) -> bool:
        return self._crew.interrupted

    @property
    def halts(self) -> dict[Halt, PlannerError | None]:
        """Why nothing more was sent, with what to tell about it."""
        return self._crew.halts

    @property
    def drifts(self) -> list[Drift]:
        """What was charged differently from what the price book says."""
        return drifts(self.lines, self._guard.book)

    @property
    def in_flight(self) -> int:
        return len(self._flights) + self._sending

    @property
    def exit_code(self) -> int:
        """The code of the gravest halt, else 1 where a row did not complete, else 0."""
        if self.halts:
            return max(self.halts).exit_code
        return int(any(line.ending is not Ending.COMPLETED for line in self.lines))

    # -- the loop --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Bring every line to its end; returns when nothing is left to do, or after a halt."""
        self._sort(*await asyncio.to_thread(self._survey))
        if self._has_work and await self._knock():
            for _ in range(WORKERS):
                self._crew.start(self._delivery.work())
            try:
                await self._loop()
                await self._crew.until(self._delivery.all_home())
            finally:
                await self._crew.dismiss()
            await self._close_books()
        if self._crew.defect is not None:
            raise self._crew.defect

    @property
    def _has_work(self) -> bool:
        return bool(self._queue or self._elsewhere or len(self._flights) or len(self._errands))

    async def _knock(self) -> bool:
        """Whether the provider is there and knows the key, asked before anything is sent."""
        reply = await self._wire.get(self._wire.credits_url)
        if isinstance(reply, NotSent):
            self.turned_away = unreachable(self._wire.base_url, reply.reason)
        elif isinstance(reply, Answer) and reply.status == 401:
            self.turned_away = unauthorized()
        return self.turned_away is None

    async def _loop(self) -> None:
        while not self._crew.leaving:
            self._crew.fall_asleep()
            now = clock_seconds()
            next_at = min(
                self._start(now), self._flights.ask(now), self._errands.run(now), self._keep_house(now)
            )
            if self._all_ended():
                if not await self._let_twins_go():
                    return
                continue
            if self._flights.unheard_seconds(now) > SILENCE_SECONDS:
                self._crew.halt(Halt.PROVIDER, unreachable(self._wire.base_url, "no answer for minutes"))
                self._crew.leaving = True
            await self._crew.woken_by(next_at)

    def _all_ended(self) -> bool:
        if self.in_flight or self._errands.is_out:
            return False
        if not self._crew.stopping and (self._queue or self._later):
            return False
        return self._crew.ends_at_once or not (len(self._errands) or self._elsewhere)

    async def _let_twins_go(self) -> bool:
        """Give rows that ask for the same as earlier ones what those brought home; whether more is to do."""
        if not self._twins or self._crew.stopping:
            return False
        await self._crew.until(self._delivery.all_home())
        try:
            to_send, self._twins = await asyncio.to_thread(self._reuse.sort, self._twins)
        except OperatorError as error:
            halt = Halt.PICTURES if error.code == "unwritable" else Halt.LEDGER
            self._crew.halt(halt, error)
            return False
        self._queue.extend(to_send)
        self._changed()
        return bool(to_send)

    # -- sorting ---------------------------------------------------------------------------------

    def _survey(self) -> tuple[dict[Step, list[Line]], list[Entry]]:
        """What every line needs, and which predictions are ours to watch, by what the ledger knows."""
        adopted = self._store.take_over(self._machine.owner)
        self._share(self._store.count_owners()[0])
        found = self._triage.sort(self.lines, self._known())
        found[Step.SEND], self._twins = self._reuse.sort(found[Step.SEND])
        accepted = self._store.entries(states=[State.ACCEPTED])
        own = [entry for entry in accepted if entry.owner == self._machine.owner.id]
        return found, [*{entry.id: entry for entry in (*adopted, *own)}.values()]

    def _sort(self, found: dict[Step, list[Line]], to_watch: list[Entry]) -> None:
        """Put every line where what it needs is done."""
        to_send = found.pop(Step.SEND)
        self._queue.extend(to_send[place] for place in order([*map(self._expected_seconds, to_send)]))
        for step, lines in found.items():
            for line in lines:
                self._take_on(line, step)
        for entry in to_watch:
            self._adopt(entry)

    def _known(self) -> dict[str, dict[int, Entry]]:
        return self._store.takes(self._guard.account, self._guard.shoot)

    def _expected_seconds(self, line: Line) -> float:
        assert line.request is not None
        return shipped_latency().of(quote(line.request, self._guard.book)).p50_seconds

    def _take_on(self, line: Line, step: Step) -> None:
        match step:
            case Step.SEND:
                self._queue.append(line)
            case Step.WAIT:
                assert line.entry is not None
                self._elsewhere[line.entry.id] = line
            case Step.ASK:
                self._errands.add(line)
            case Step.NOTHING:
                self._changed()
            case _:
                assert_never(step)

    def _adopt(self, entry: Entry) -> None:
        """Watch a prediction that an earlier owner sent."""
        ours = (entry.account, entry.shoot) == (self._guard.account, self._guard.shoot)
        lines = self._by_key.get(entry.key, ()) if ours else ()
        line = next((line for line in lines if line.take == entry.take), None)
        if line is not None:
            line.conclude(entry, reused=True)
            self._elsewhere.pop(entry.id, None)
        self._flights.adopt(line, entry)

    # -- starting --------------------------------------------------------------------------------

    def _start(self, now: float) -> float:
        """Send what may be sent now; returns when to look again."""
        while self._later and self._later[0][0] <= now:
            self._queue.append(heappop(self._later)[2])
        while self._queue and not self._crew.stopping:
            if self._is_crowded and self._sending:
                return inf  # one asks for all: a slot that is not there costs a transaction each time
            at = self._pacer.start_at(now, slots_elsewhere=self._sending)
            if at is None:
                return inf
            if (at := max(at, self._busy_until)) > now:
                return at
            if self._may_spend(self._queue[0]):
                self._sending += 1
                self._crew.start(self._submit(self._queue.popleft()))
        return self._later[0][0] if self._later and not self._crew.stopping else inf

    def _may_spend(self, line: Line) -> bool:
        try:
            if self._purse.takes(line):
                return True
            self._crew.halt(Halt.LIMIT)
            self._queue.clear()
        except OperatorError as error:
            self._crew.halt(Halt.LEDGER, error)
        return False

    async def _submit(self, line: Line) -> None:
        try:
            ask = await self._asked(line)
            steps = supervised(self._machine.submitting(ask, wait_seconds=0.0), self._is_refused)
            self._submitted(line, await adrive(steps, self._wire))
        except PictureChanged as error:
            line.refuse(error.faults[0].message)
            self._purse.settle(line)
        except OperatorError as error:
            self._crew.halt(Halt.LEDGER, error)
        except Stale:
            # Somebody took this owner for dead and ended what it held: the ledger knows how.
            known = await asyncio.to_thread(self._known)
            if (entry := known.get(line.key, {}).get(line.take)) is not None:
                line.conclude(entry, reused=False)
        finally:
            self._sending -= 1
            self._changed()

    async def _asked(self, line: Line) -> Ask:
        """What a line asks for; its local pictures are at hand before anything is held for it."""
        request = line.request
        assert request is not None
        if request.is_local:
            request = await asyncio.to_thread(request.held)
        place = (self._guard.account, self._guard.shoot, line.key)
        return Ask(*place, request, line.labels, take=line.take, planned=line.planned)

    def _is_refused(self, effect: Effect) -> bool:
        """Nothing is sent, and nothing waits to be sent, once the run stops."""
        return self._crew.stopping and isinstance(effect, Post | Pause)

    def _submitted(self, line: Line, submission: Submission) -> None:
        match submission:
            case Job(entry=entry):
                self._is_crowded = False
                self._crew.look_at_ledger(submission)
                line.conclude(entry, reused=False)
                line.ending = Ending.UNKNOWN
                self._flights.watch(line, submission)
            case NotStarted(reason):
                self._queue.appendleft(line)
                if reason != "cancelled":
                    self._is_crowded = True
                    self._busy_until = clock_seconds() + self._pause(SLOT_PAUSE_SECONDS)
            case Taken(entry):
                self._take_on(line, self._triage.known(line, entry))
            case TurnedDown(entry):
                line.conclude(entry, reused=False)
                line.reason = _told(submission)
            case Conflict():
                line.refuse("KeyConflict")
            case Turned(entry, name):
                line.conclude(entry, reused=False)
                line.ending, line.reason = Ending.FAILED, name
                self._turned_away(name, submission)
            case Unknown(entry, reason):
                line.conclude(entry, reused=False)
                line.ending, line.reason = Ending.UNKNOWN, reason
            case Stopped():
                self._queue.appendleft(line)
                self._crew.halt(Halt.OUT_OF_CREDITS, submission_error(submission))
            case _:
                assert_never(submission)
        self._purse.settle(line)

    def _turned_away(self, name: str, submission: Submission) -> None:
        halt = TURNED_AWAY.get(name)
        if halt is Halt.PROVIDER:
            self._crew.halt(halt, unreachable(self._wire.base_url, name))
        elif halt is not None:
            self._crew.halt(halt, submission_error(submission))

    # -- ending ----------------------------------------------------------------------------------

    def _landed(self, line: Line | None, job: Job) -> None:
        """A job in flight has come to its end, and its slot is free."""
        self._busy_until = -inf
        if line is None:
            self.inherited += 1
            return
        conclude(line, job, reused=line.reused)
        self._purse.settle(line)
        if job.ended is not Happened.FAILED or not self._tried_again(line):
            self._delivery.bring(line, job)
        self._changed()

    def _tried_again(self, line: Line) -> bool:
        """A failure of the passing kind is tried again after a pause, a bounded number of times."""
        if line.reason not in TRANSIENT_FAILURES or line.retries >= len(RETRY_PAUSES_SECONDS):
            return False
        at = clock_seconds() + RETRY_PAUSES_SECONDS[line.retries] / self._store.speed
        line.retries += 1
        heappush(self._later, (at, id(line), line))
        return True

    def _answered(self, line: Line, job: Job, reading: StatusReading) -> None:
        """The provider was asked about a line that had ended earlier."""
        conclude(line, job, reused=True)
        if job.outputs:
            self._delivery.bring(line, job)
        elif line.ending is Ending.COMPLETED and isinstance(reading, Completed | Missing):
            self._delivery.give_up(line, job)
        self._changed()

    # -- other processes -------------------------------------------------------------------------

    def _keep_house(self, now: float) -> float:
        """Look every now and then at what other processes do."""
        if now >= self._housekeeping_at:
            self._housekeeping_at = now + self._pause(self._quiet_seconds)
            self._crew.start(self._look_around())
        return self._housekeeping_at

    async def _look_around(self) -> None:
        try:
            adopted, elsewhere, owners = await asyncio.to_thread(self._news)
        except OperatorError as error:
            self._crew.halt(Halt.LEDGER, error)
            return
        ended = [entry for entry in elsewhere if entry.state not in OPEN]
        least, most = HOUSEKEEPING_SECONDS
        self._quiet_seconds = least if adopted or ended else min(most, 1.5 * self._quiet_seconds)
        self._share(owners)
        for entry in adopted:
            self._adopt(entry)
        for entry in ended:
            if (line := self._elsewhere.pop(entry.id, None)) is not None:
                self._take_on(line, self._triage.known(line, entry))

    def _news(self) -> tuple[tuple[Entry, ...], list[Entry], int]:
        living, gone = self._store.count_owners()
        adopted = self._store.take_over(self._machine.owner) if gone else ()
        waited_for = tuple(self._elsewhere)
        elsewhere = self._store.entries(ids=waited_for) if waited_for else []
        return adopted, elsewhere, living

    def _share(self, owners: int) -> None:
        """Poll with our part of the status window only: every living owner asks about its own."""
        self._pacer.share(1 / max(1, owners))

    def _pause(self, seconds: float) -> float:
        return max(LEAST_PAUSE_SECONDS, seconds / self._store.speed)

    # -- the end ---------------------------------------------------------------------------------

    async def _close_books(self) -> None:
        """Book what is still owed, and learn what became of submissions that were cut short."""
        try:
            for job in self._crew.owing:
                await adrive(self._machine.booking(job), self._wire)
            if self._crew.leaving:
                known = await asyncio.to_thread(self._known)
                for line in self.lines:
                    self._cut_short(line, known.get(line.key, {}).get(line.take))
        except OperatorError as error:
            self._crew.halt(Halt.LEDGER, error)

    def _cut_short(self, line: Line, entry: Entry | None) -> None:
        if entry is None or entry.state not in TAKEN or entry.owner != self._machine.owner.id:
            return
        if line.entry is None or line.entry.id < entry.id:
            line.conclude(entry, reused=False)


def _limits(guard: Guard) -> Limits:
    """The account's limits, as fast as the ledger's speed says."""
    profile = guard.store.limits(guard.account)
    run = Rate(profile["run_limit"], float(profile["run_seconds"]))
    return Limits(profile["concurrency"], run, Limits().status).scaled(guard.store.speed)


def _told(submission: Submission) -> str:
    error = submission_error(submission)
    return "" if error is None else error.faults[0].message
