"""The batch runner: one loop that starts, asks and brings home at the speed the limits allow.

Here belongs *when*: the loop owns the pacer in real seconds, and everything that takes time is a task
beside it. *What* happens to a job is the machine's, whose steps these tasks drive; what became of each
row is kept in its `Line`. Whatever fails, what is in flight is brought home and what is paid is kept.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from heapq import heappop, heappush
from math import inf
from typing import Any, Final, TypeVar

from planner.errors import OperatorError, PlannerError
from planner.loading import shipped_latency
from planner.pacing import Limits, Pacer, Rate, order
from planner.quoting import quote
from planner.request import ModelCreateRequest
from policies.decision import Verdict
from policies.guard.answers import (
    TRANSIENT_FAILURES,
    Answer,
    Completed,
    Missing,
    NotSent,
    StatusReading,
)
from policies.guard.batch import Ending, Line, ending_of
from policies.guard.guard import Guard
from policies.guard.machine import (
    CANCELLED,
    SLOT_PAUSE_SECONDS,
    Effect,
    GetStatus,
    Job,
    NotStarted,
    Pause,
    Post,
    Submission,
    Turned,
    Unknown,
    in_flight_elsewhere,
)
from policies.guard.outcomes import charged_credits, submission_error, unauthorized, unreachable
from policies.guard.pictures import PictureFolder
from policies.guard.shells import adrive
from policies.guard.wire import AsyncWire
from policies.ledger.entries import Ask, Conflict, Entry, Stale, Stopped, Taken, TurnedDown
from policies.ledger.states import OPEN, TAKEN, Happened, State

T = TypeVar("T")

RETRY_PAUSES_SECONDS: Final = (15.0, 60.0)
"""Before a job that failed for a passing reason is tried a second and a third time."""
HOUSEKEEPING_SECONDS: Final = 2.0
"""Between two looks at what other processes do; virtual, and never under `LEAST_PAUSE_SECONDS`."""
LEAST_PAUSE_SECONDS: Final = 0.1
DOWNLOADS: Final = 4
"""Pictures under way at once; they never delay a start or a poll."""
QUIET_SECONDS: Final = 0.02
QUIET_LOOKS: Final = 25
"""How long a picture waits for starts in progress, at the most half a second."""
ERRAND_SHARE: Final = 0.5
"""Of the status window, for asking about jobs that have ended, while others are in flight."""


class Halt(IntEnum):
    """Why nothing more is sent; the later one decides about the exit code."""

    LIMIT = 1
    """`--max-credits` is reached."""
    OUT_OF_CREDITS = 4
    UNAUTHORIZED = 5
    PROVIDER = 6
    """The provider cannot be reached."""
    PICTURES = 7
    LEDGER = 8
    INTERRUPTED = 9

    @property
    def exit_code(self) -> int:
        return _EXIT_CODES[self]

    @property
    def ends_at_once(self) -> bool:
        """Nothing but what is in flight is still brought home."""
        return self >= Halt.PROVIDER


_EXIT_CODES: Final = {
    Halt.LIMIT: 1,
    Halt.OUT_OF_CREDITS: 4,
    Halt.UNAUTHORIZED: 2,
    Halt.PROVIDER: 3,
    Halt.PICTURES: 3,
    Halt.LEDGER: 3,
    Halt.INTERRUPTED: 130,
}
_HALTS: Final = {
    "OutOfCredits": Halt.OUT_OF_CREDITS,
    "UnauthorizedAccess": Halt.UNAUTHORIZED,
    "NotFound": Halt.PROVIDER,
    "ConnectError": Halt.PROVIDER,
    "ConnectTimeout": Halt.PROVIDER,
    "PoolTimeout": Halt.PROVIDER,
    "ProxyError": Halt.PROVIDER,
}
"""Names under which a request is turned away that every other one would be turned away for, too."""


@dataclass(slots=True)
class Flight:
    """A job in flight; without a line it is work of a dead owner that is not in this batch."""

    job: Job
    line: Line | None
    being_asked: bool = False


@dataclass(frozen=True, slots=True)
class Options:
    """How a batch is run."""

    retake_keys: frozenset[str] = frozenset()
    retake_failed: bool = False
    retake_changed: bool = False
    max_credits: int | None = None


class Runner:
    """Runs the lines of one batch, once."""

    def __init__(
        self,
        guard: Guard,
        wire: AsyncWire,
        lines: Sequence[Line],
        pictures: PictureFolder | None,
        options: Options = Options(),
        changed: Callable[[], object] = lambda: None,
    ) -> None:
        self.lines = lines
        self.halts: dict[Halt, PlannerError | None] = {}
        """Why nothing more is sent, with what to tell about it."""
        self.turned_away: PlannerError | None = None
        """Why the provider would not even be asked to; then nothing was sent."""
        self.inherited = 0
        """Jobs of dead owners, not in this batch, that were brought to their end."""
        self._guard = guard
        self._machine = guard.machine
        self._store = guard.store
        self._speed = guard.store.speed
        self._wire = wire
        self._pictures = pictures
        self._options = options
        self._changed = changed
        self._pacer: Pacer[int] = Pacer(_limits(guard))
        self._by_key = {line.key: line for line in lines}
        self._queue: deque[Line] = deque()
        self._later: list[tuple[float, int, Line]] = []
        self._elsewhere: dict[int, Line] = {}
        self._errands: deque[Line] = deque()
        self._flights: dict[int, Flight] = {}
        self._committed: dict[str, int] = {}
        self._owing: list[Job] = []
        self._downloads: asyncio.Queue[tuple[Line, Job]] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()
        self._sending = 0
        self._errands_out = 0
        self._busy_until = self._errand_at = self._housekeeping_at = -inf
        self._leaving = False
        self._defect: BaseException | None = None

    # -- what others may do ----------------------------------------------------------------------

    def interrupt(self) -> None:
        """Send nothing more and bring home what is in flight; the second time, leave at once."""
        self._leaving = self._leaving or self.interrupted
        self._halt(Halt.INTERRUPTED)

    @property
    def interrupted(self) -> bool:
        return Halt.INTERRUPTED in self.halts

    @property
    def in_flight(self) -> int:
        return len(self._flights) + self._sending

    @property
    def stopping(self) -> bool:
        return bool(self.halts)

    @property
    def exit_code(self) -> int:
        """The code of the gravest halt, else 1 where a row did not complete, else 0."""
        if self.halts:
            return max(self.halts).exit_code
        return int(any(line.ending is not Ending.COMPLETED for line in self.lines))

    def _halt(self, halt: Halt, error: PlannerError | None = None) -> None:
        self.halts.setdefault(halt, error)
        self._woken.set()

    # -- the loop --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Bring every line to its end; returns when nothing is left to do, or after a halt."""
        await asyncio.to_thread(self._sort)
        if self._has_work and await self._knock():
            for _ in range(DOWNLOADS):
                self._spawn(self._download())
            try:
                await self._loop()
                await self._until_home()
            finally:
                await _ended(self._tasks)
            await self._close_books()
        if self._defect is not None:
            raise self._defect

    @property
    def _has_work(self) -> bool:
        return bool(self._queue or self._flights or self._errands or self._elsewhere)

    async def _knock(self) -> bool:
        """Whether the provider is there and knows the key, asked before anything is sent."""
        reply = await self._wire.get(self._wire.credits_url)
        if isinstance(reply, NotSent):
            self.turned_away = unreachable(self._wire.base_url, reply.reason)
        elif isinstance(reply, Answer) and reply.status == 401:
            self.turned_away = unauthorized()
        return self.turned_away is None and not self.stopping

    async def _loop(self) -> None:
        while not self._leaving:
            self._woken.clear()
            now = time.monotonic()
            next_at = min(self._start(now), self._ask(now), self._run_errands(now), self._keep_house(now))
            if self._all_ended():
                return
            await self._woken_by(next_at)

    async def _woken_by(self, instant: float) -> None:
        """Wait until then, or until a task has something to tell."""
        seconds = instant - time.monotonic()
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waking = None
        if seconds < inf:
            waking = asyncio.get_running_loop().call_later(seconds, self._woken.set)
        try:
            await self._woken.wait()
        finally:
            if waking is not None:
                waking.cancel()

    def _all_ended(self) -> bool:
        if self._flights or self._sending or self._errands_out:
            return False
        if not self.stopping and (self._queue or self._later):
            return False
        at_once = self.stopping and max(self.halts).ends_at_once
        return at_once or not (self._errands or self._elsewhere)

    async def _until_home(self) -> None:
        """Wait for the last pictures; a second interruption ends it."""
        joining = asyncio.ensure_future(self._downloads.join())
        while not joining.done() and not self._leaving:
            self._woken.clear()
            waking = asyncio.ensure_future(self._woken.wait())
            await asyncio.wait({joining, waking}, return_when=asyncio.FIRST_COMPLETED)
            waking.cancel()
        joining.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # A defect of ours: what is in flight stands in the ledger, and the next run brings it home.
            self._defect, self._leaving = self._defect or error, True
        self._woken.set()

    def _supervised(
        self, steps: Generator[Effect, Any, T], polled: int | None = None
    ) -> Generator[Effect, Any, T]:
        """A machine's steps that start nothing once the run stops, and whose status calls are counted.

        The first call about the flight `polled` is counted already.
        """
        counted = polled is None
        result: Any = None
        error: Exception | None = None
        while True:
            try:
                effect = steps.send(result) if error is None else steps.throw(error)
            except StopIteration as finished:
                returned: T = finished.value
                return returned
            result, error = None, None
            if isinstance(effect, GetStatus):
                if counted and polled is not None and polled in self._flights:
                    self._pacer.polled(polled, time.monotonic())
                counted = True
            if self.stopping and isinstance(effect, Post):
                result = CANCELLED
                continue
            try:
                result = yield effect
            except Exception as failure:
                error = failure
            if self.stopping and polled is None and isinstance(effect, Pause):
                result = CANCELLED

    # -- before the first submission -------------------------------------------------------------

    def _sort(self) -> None:
        """Tell by the ledger what is to be done with each line: send, ask, wait for, or nothing."""
        store, owner = self._store, self._machine.owner
        adopted = store.take_over(owner)
        known = store.of_shoot(self._guard.account, self._guard.shoot)
        self._share(store.living_owners())
        to_send = [line for line in self.lines if self._is_to_send(line, known.get(line.key))]
        expected = [self._expected_seconds(line.request) for line in to_send if line.request]
        self._queue.extend(to_send[place] for place in order(expected))
        own = [entry for entry in store.entries(states=[State.ACCEPTED]) if entry.owner == owner.id]
        for entry in {entry.id: entry for entry in (*adopted, *own)}.values():
            self._adopt(entry)

    def _expected_seconds(self, request: ModelCreateRequest) -> float:
        return shipped_latency().of(quote(request, self._guard.book)).p50_seconds

    def _is_to_send(self, line: Line, entry: Entry | None) -> bool:
        """Whether a line has to be decided and sent; what else it needs is noted."""
        if entry is None:
            return line.request is not None
        if line.request is None:
            self._know(line, entry)
            return False
        conflict = entry.state in TAKEN and entry.asked_mac != self._store.mac(line.request)
        retake = line.key in self._options.retake_keys or (conflict and self._options.retake_changed)
        if retake and entry.state not in OPEN:
            line.take = entry.take + (entry.state in TAKEN)
            return True
        line.take = entry.take
        if conflict:
            _conclude_conflict(line, entry)
            return False
        return self._know(line, entry)

    def _know(self, line: Line, entry: Entry) -> bool:
        """Take over what the ledger knows; True where nothing stands in the way of sending."""
        ending = ending_of(entry)
        if ending in (Ending.DENIED, Ending.NEEDS_APPROVAL, Ending.NOT_STARTED):
            return True
        if ending is Ending.FAILED and entry.state is State.RELEASED and self._options.retake_failed:
            return True
        line.conclude(entry, reused=True)
        if in_flight_elsewhere(entry, self._machine.owner):
            self._elsewhere[entry.id] = line
        elif entry.state is State.UNKNOWN and entry.prediction_id:
            self._errands.append(line)
        elif ending is Ending.COMPLETED:
            self._look_for_pictures(line, entry)
        return False

    def _look_for_pictures(self, line: Line, entry: Entry) -> None:
        if self._pictures is None:
            return
        line.files = self._pictures.home(line.names[: entry.outputs])
        missing = entry.outputs - len(line.files)
        if missing and entry.outputs_lost:
            line.pictures_gone = missing
        elif missing:
            line.pictures_missing = missing
            self._errands.append(line)

    def _adopt(self, entry: Entry) -> None:
        """Watch a prediction that an earlier owner sent."""
        line = self._by_key.get(entry.key) if self._is_ours(entry) else None
        if line is not None:
            line.conclude(entry, reused=True)
            self._elsewhere.pop(entry.id, None)
        since = (self._store.now() - entry.booked_at).total_seconds()
        self._flights[entry.id] = Flight(self._machine.adopted(entry), line)
        self._pacer.adopted(entry.id, time.monotonic() - since, self._guard.expected(entry))

    def _is_ours(self, entry: Entry) -> bool:
        return (entry.account, entry.shoot) == (self._guard.account, self._guard.shoot)

    # -- starting --------------------------------------------------------------------------------

    def _start(self, now: float) -> float:
        """Send what may be sent now; returns when to look again."""
        while self._later and self._later[0][0] <= now:
            self._queue.append(heappop(self._later)[2])
        while self._queue and not self.stopping:
            at = self._pacer.start_at(now, slots_elsewhere=self._sending)
            if at is None:
                return inf
            if (at := max(at, self._busy_until)) > now:
                return at
            if not self._may_spend(self._queue[0]):
                break
            self._sending += 1
            self._spawn(self._submit(self._queue.popleft()))
        return self._later[0][0] if self._later and not self.stopping else inf

    def _may_spend(self, line: Line) -> bool:
        """Whether what it will cost keeps this run within `max_credits`; it is committed if so."""
        most = self._options.max_credits
        if most is None or line.request is None:
            return True
        try:
            decision = self._guard.check(line.request, line.labels)
        except OperatorError as error:
            self._halt(Halt.LEDGER, error)
            return False
        cost = decision.credits if decision.verdict is Verdict.ALLOW else 0
        if sum(self._committed.values()) + cost > most:
            self._halt(Halt.LIMIT)
            return False
        self._committed[line.key] = cost
        return True

    async def _submit(self, line: Line) -> None:
        assert line.request is not None
        ask = Ask(
            account=self._guard.account,
            shoot=self._guard.shoot,
            key=line.key,
            request=line.request,
            labels=line.labels,
            take=line.take,
        )
        steps = self._machine.submitting(ask, wait_seconds=0.0)
        try:
            self._submitted(line, await adrive(self._supervised(steps), self._wire))
        except OperatorError as error:
            self._halt(Halt.LEDGER, error)
        except Stale:
            # Another process took this owner for dead and ended what it held: the ledger knows how.
            await self._look_up(line)
        finally:
            self._sending -= 1
            self._changed()

    async def _look_up(self, line: Line) -> None:
        entry = await asyncio.to_thread(self._store.latest, self._guard.account, self._guard.shoot, line.key)
        if entry is not None:
            line.conclude(entry, reused=False)

    def _submitted(self, line: Line, submission: Submission) -> None:
        match submission:
            case Job(entry=entry):
                self._watch(line, submission)
                return
            case NotStarted(reason):
                self._queue.appendleft(line)
                if reason != "cancelled":
                    self._busy_until = time.monotonic() + self._pause(SLOT_PAUSE_SECONDS)
                self._committed.pop(line.key, None)
                return
            case Taken(entry):
                if self._know(line, entry):
                    self._queue.appendleft(line)
            case TurnedDown(entry):
                line.conclude(entry, reused=False)
                line.reason = _told(submission)
            case Conflict(entry):
                _conclude_conflict(line, entry)
            case Turned(entry, name):
                self._turned(line, entry, name, submission)
            case Unknown(entry, reason):
                line.conclude(entry, reused=False)
                line.ending, line.reason = Ending.UNKNOWN, reason
            case Stopped():
                self._queue.appendleft(line)
                self._halt(Halt.OUT_OF_CREDITS, submission_error(submission))
        self._committed[line.key] = line.credits if line.entry and not line.reused else 0

    def _turned(self, line: Line, entry: Entry, name: str, submission: Submission) -> None:
        line.conclude(entry, reused=False)
        line.ending, line.reason = Ending.FAILED, name
        if name in _HALTS:
            away = _HALTS[name] is Halt.PROVIDER
            error = unreachable(self._wire.base_url, name) if away else submission_error(submission)
            self._halt(_HALTS[name], error)

    def _watch(self, line: Line, job: Job) -> None:
        """A prediction is on its way: it takes a slot and is asked about."""
        now = time.monotonic()
        self._note_ledger(job)
        line.conclude(job.entry, reused=False)
        line.ending = Ending.UNKNOWN
        self._committed[line.key] = job.entry.credits
        self._flights[job.entry.id] = Flight(job, line)
        self._pacer.started(job.entry.id, now, self._guard.expected(job.entry))

    # -- asking ----------------------------------------------------------------------------------

    def _ask(self, now: float) -> float:
        """Ask about the flights that the pacer names; returns when to look again."""
        while (due := self._pacer.next_poll(now)) is not None:
            instant, flight_id = due
            if instant > now:
                return instant
            flight = self._flights[flight_id]
            if flight.being_asked:
                return inf
            flight.being_asked = True
            self._pacer.polled(flight_id, now)
            self._spawn(self._check(flight_id, flight))
        return inf

    async def _check(self, flight_id: int, flight: Flight) -> None:
        job = flight.job
        try:
            await adrive(self._supervised(self._machine.checking(job), flight_id), self._wire)
        except OperatorError as error:
            self._halt(Halt.LEDGER, error)
        finally:
            flight.being_asked = False
        self._note_ledger(job)
        if job.done:
            del self._flights[flight_id]
            telling = job.ended in (Happened.CHARGED, Happened.ESTIMATED) and not job.reason
            self._pacer.finished(flight_id, time.monotonic(), telling=telling)
            self._busy_until = -inf
            self._ended(flight.line, job)

    def _ended(self, line: Line | None, job: Job) -> None:
        """A job in flight has come to its end."""
        if line is None:
            self.inherited += 1
        else:
            self._conclude(line, job, reused=line.reused)
            self._committed[line.key] = 0 if line.reused else line.credits
            if job.ended is Happened.FAILED and self._try_again(line):
                return
        if job.outputs and line is not None and self._pictures is not None:
            line.pictures_missing = len(job.outputs)
            self._downloads.put_nowait((line, job))
        self._changed()

    def _conclude(self, line: Line, job: Job, *, reused: bool) -> None:
        """What became of a line, even where the ledger could not be told yet."""
        line.conclude(job.entry, reused=reused)
        if job.owed:
            line.credits = charged_credits(job)
            line.reason = job.reason or ""
            match job.ended:
                case Happened.VANISHED | None:
                    line.ending = Ending.UNKNOWN
                case Happened.FAILED:
                    line.ending, line.credits = Ending.FAILED, 0
                case _:
                    line.ending = Ending.COMPLETED if job.outputs or not job.reason else Ending.FAILED

    def _try_again(self, line: Line) -> bool:
        """A failure of the passing kind is tried again after a pause, a bounded number of times."""
        if line.reason not in TRANSIENT_FAILURES or line.retries >= len(RETRY_PAUSES_SECONDS):
            return False
        if self.stopping:
            return False
        at = time.monotonic() + RETRY_PAUSES_SECONDS[line.retries] / self._speed
        line.retries += 1
        heappush(self._later, (at, id(line), line))
        return True

    def _note_ledger(self, job: Job) -> None:
        if job.ledger_error is not None:
            self._halt(Halt.LEDGER, job.ledger_error)
            self._owing.append(job)

    # -- errands: asking about what has ended ----------------------------------------------------

    def _run_errands(self, now: float) -> float:
        """Ask where missing pictures are, and what became of an unknown; one at a time."""
        at_once = self.stopping and max(self.halts).ends_at_once
        if not self._errands or self._errands_out or at_once:
            return inf
        at = max(self._errand_at, self._pacer.look_at(now))
        if at > now:
            return at
        self._pacer.looked(now)
        rate = self._pacer.limits.status
        self._errand_at = now + rate.seconds / rate.limit / (ERRAND_SHARE if self._flights else 1.0)
        self._errands_out += 1
        self._spawn(self._revisit(self._errands.popleft()))
        return inf

    async def _revisit(self, line: Line) -> None:
        entry = line.entry
        assert entry is not None
        job = self._machine.adopted(entry)
        unknown = entry.state is State.UNKNOWN
        steps = self._machine.checking(job) if unknown else self._machine.revisiting(job)
        try:
            reading = await adrive(self._supervised(steps), self._wire)
        except OperatorError as error:
            self._halt(Halt.LEDGER, error)
            return
        finally:
            self._errands_out -= 1
        self._note_ledger(job)
        self._conclude(line, job, reused=True)
        self._revisited(line, job, reading)

    def _revisited(self, line: Line, job: Job, reading: StatusReading) -> None:
        if job.outputs and self._pictures is not None:
            line.pictures_missing = len(job.outputs)
            self._downloads.put_nowait((line, job))
        elif line.ending is Ending.COMPLETED and isinstance(reading, Completed | Missing):
            self._lost(line, job)
        self._changed()

    def _lost(self, line: Line, job: Job) -> None:
        """The provider no longer has the pictures: said so, and never paid for again."""
        line.pictures_gone, line.pictures_missing = line.pictures_missing, 0
        self._spawn(self._note_outputs(job, home=len(line.files), lost=True))

    # -- pictures --------------------------------------------------------------------------------

    async def _download(self) -> None:
        """One of the workers that bring pictures home."""
        while True:
            line, job = await self._downloads.get()
            await self._quiet()
            try:
                await self._bring(line, job)
            finally:
                self._downloads.task_done()
                self._changed()

    async def _quiet(self) -> None:
        """Let a start that is due go first, so that no slot waits for a disk or a download."""
        for _ in range(QUIET_LOOKS):
            await asyncio.sleep(QUIET_SECONDS)
            if not self._sending:
                return

    async def _bring(self, line: Line, job: Job) -> None:
        assert self._pictures is not None
        brought = await self._pictures.bring(job.outputs, names_of(line, len(job.outputs)))
        line.files, line.pictures_gone = brought.files, brought.gone
        line.pictures_missing = brought.missing
        if brought.unwritable is not None:
            self._halt(Halt.PICTURES, brought.unwritable)
        await self._note_outputs(job, home=len(brought.files), lost=bool(brought.gone))

    async def _note_outputs(self, job: Job, *, home: int, lost: bool = False) -> None:
        try:
            await adrive(self._machine.noting_outputs(job, home=home, lost=lost), self._wire)
        except OperatorError as error:
            self._halt(Halt.LEDGER, error)
        self._note_ledger(job)

    # -- other processes -------------------------------------------------------------------------

    def _keep_house(self, now: float) -> float:
        """Look every now and then at what other processes do."""
        if now >= self._housekeeping_at:
            self._housekeeping_at = now + self._pause(HOUSEKEEPING_SECONDS)
            self._spawn(self._look_around())
        return self._housekeeping_at

    async def _look_around(self) -> None:
        try:
            adopted, elsewhere, owners = await asyncio.to_thread(self._news)
        except OperatorError as error:
            self._halt(Halt.LEDGER, error)
            return
        self._share(owners)
        for entry in adopted:
            self._adopt(entry)
        for entry in elsewhere:
            if entry.state not in OPEN and (line := self._elsewhere.pop(entry.id, None)) is not None:
                if self._know(line, entry) and line.request is not None:
                    self._queue.append(line)
                self._changed()

    def _news(self) -> tuple[tuple[Entry, ...], list[Entry], int]:
        adopted = self._store.take_over(self._machine.owner)
        elsewhere = [self._store.entry(entry_id) for entry_id in tuple(self._elsewhere)]
        return adopted, elsewhere, self._store.living_owners()

    def _share(self, owners: int) -> None:
        """Poll with our part of the status window only: every living owner asks about its own."""
        self._pacer.share(1 / max(1, owners))

    def _pause(self, seconds: float) -> float:
        return max(LEAST_PAUSE_SECONDS, seconds / self._speed)

    # -- the end ---------------------------------------------------------------------------------

    async def _close_books(self) -> None:
        """Book what is still owed, and learn what became of submissions that were cut short."""
        for job in self._owing:
            await self._book(job)
        if self._leaving:
            known = await asyncio.to_thread(self._store.of_shoot, self._guard.account, self._guard.shoot)
            for line in self.lines:
                self._cut_short(line, known.get(line.key))

    def _cut_short(self, line: Line, entry: Entry | None) -> None:
        if entry is None or entry.state not in TAKEN or (line.entry and line.entry.id >= entry.id):
            return
        if entry.owner == self._machine.owner.id:
            line.conclude(entry, reused=False)

    async def _book(self, job: Job) -> None:
        try:
            await adrive(self._machine.booking(job), self._wire)
        except OperatorError as error:
            self._halt(Halt.LEDGER, error)


def _limits(guard: Guard) -> Limits:
    """The account's limits, as fast as the ledger's speed says."""
    profile = guard.store.limits(guard.account)
    run = Rate(profile["run_limit"], float(profile["run_seconds"]))
    return Limits(profile["concurrency"], run, Limits().status).scaled(guard.store.speed)


def _conclude_conflict(line: Line, entry: Entry) -> None:
    line.ending, line.entry, line.credits = Ending.FAILED, None, 0
    line.reason = "KeyConflict"


def _told(submission: Submission) -> str:
    error = submission_error(submission)
    return "" if error is None else error.faults[0].message


def names_of(line: Line, outputs: int) -> tuple[str, ...]:
    """The names of that many pictures; a take after the first keeps beside the ones before it."""
    suffix = f"-take{line.take}" if line.take > 1 else ""
    names = line.names[:outputs]
    more = tuple(f"{line.names[-1]}~{number}" for number in range(2, 2 + outputs - len(names)))
    return tuple(name + suffix for name in (*names, *more))


async def _ended(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel what still runs and wait until what had begun is booked."""
    running = [task for task in tasks if not task.done()]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
