"""The guard as a machine: which step follows which, and nothing that touches a socket or sleeps.

Here belongs the order of things: decide and hold, write the bytes, note the id before anything else,
ask until it ends, book what it cost. Every method is a generator that yields an *effect* and is sent
its result; thin shells (sync, async, the runner, a virtual clock in the tests) carry effects out.

A shell must: carry out a `Transact` to its end once it has begun; send an exception of the ledger back
with `throw`; and answer `CANCELLED` to any other effect as soon as somebody wants to stop, or
`NoAnswer` where bytes of a POST may already have left.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final

from planner.errors import OperatorError
from planner.prices import PriceBook
from policies.decision import Decision
from policies.engine import Policy
from policies.guard.answers import (
    Accepted,
    Again,
    Completed,
    Failed,
    Lost,
    Missing,
    NotSent,
    Odd,
    Refused,
    Reply,
    Running,
    StatusReading,
    Unclear,
    read_balance,
    read_run,
    read_status,
)
from policies.ledger.entries import (
    Admission,
    Admitted,
    Ask,
    Busy,
    Conflict,
    Entry,
    Evidence,
    Stale,
    Step,
    Stopped,
    Taken,
    TurnedDown,
    from_us,
)
from policies.ledger.owners import Owner
from policies.ledger.states import OPEN, Happened, State
from policies.ledger.store import Store

SENDS_MOST: Final = 4
"""How often one admission is written to the wire at the most, the first time included."""
HEADER_READS_MOST: Final = 3
MISSING_MOST: Final = 2
"""404s in a row after which the provider has said that it does not know the id."""
TERMINAL_SECONDS: Final = 24 * 3600.0
"""A prediction that has not ended by then is unknown."""
PAUSES_SECONDS: Final = (1.0, 4.0, 15.0)
"""Before the second, third and fourth try."""
SLOT_PAUSE_SECONDS: Final = 2.0
"""Between two looks for a slot that other processes hold."""
HEADER_PAUSE_SECONDS: Final = 1.0
SENDING_MOST_SECONDS: Final = 300.0
"""How long one call waits for another to get an answer to its POST; real, as time-outs are."""


@dataclass(frozen=True, slots=True)
class Transact:
    """Run one transaction of the ledger and send its result back."""

    call: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Post:
    """Write these bytes to the provider's run endpoint, once; never follow a redirect."""

    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class GetStatus:
    prediction_id: str


@dataclass(frozen=True, slots=True)
class GetBalance:
    pass


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait that long; virtual seconds are already divided by the speed."""

    seconds: float


Effect = Transact | Post | GetStatus | GetBalance | Pause

Pauses = Callable[[Entry, datetime], float]
"""How many seconds to wait before the next look at an entry, at that instant."""


class Cancelled:
    """The answer to an effect that was not carried out because somebody wants to stop."""


CANCELLED: Final = Cancelled()


@dataclass(slots=True)
class Job:
    """One prediction that is ours to bring home.

    `entry` is what is durably in the ledger. `owed` are steps that the ledger could not take yet: a
    disk that is full must not lose a paid result (law 22), so they are booked with the next step.
    """

    entry: Entry
    decision: Decision | None = None
    prediction_id: str = ""
    owed: list[Step] = field(default_factory=list)
    outputs: tuple[str, ...] = field(default=(), repr=False)
    ended: Happened | None = None
    """How it ended, once it did."""
    reason: str | None = None
    missing: int = 0
    header_reads: int = 0
    ledger_error: OperatorError | None = None

    @property
    def done(self) -> bool:
        return self.ended is not None


@dataclass(frozen=True, slots=True)
class Turned:
    """The provider did not take it; its hold was given back."""

    entry: Entry
    name: str

    @property
    def stops_the_run(self) -> bool:
        return self.name in ("OutOfCredits", "UnauthorizedAccess")


@dataclass(frozen=True, slots=True)
class Unknown:
    """It may be running; counted until evidence or a named person ends it."""

    entry: Entry
    reason: str


@dataclass(frozen=True, slots=True)
class NotStarted:
    """Nothing was booked or sent: somebody wanted to stop, or no slot came in time."""

    reason: str


Submission = Job | TurnedDown | Taken | Conflict | Turned | Unknown | Stopped | NotStarted


class Machine:
    """The guard's steps over one ledger, one policy and one owner.

    `policy` may be a function: it is asked inside a `Transact`, right before each decision.
    """

    def __init__(
        self,
        store: Store,
        policy: Policy | Callable[[], Policy],
        book: PriceBook,
        owner: Owner,
        *,
        rate_microusd: int,
    ) -> None:
        self.store = store
        self._policy: Callable[[], Policy] = (lambda: policy) if isinstance(policy, Policy) else policy
        self.book = book
        self.owner = owner
        self.rate_microusd = rate_microusd
        """What a credit costs where the policy does not say."""

    # -- from an ask to an id --------------------------------------------------------------------

    def submitting(
        self, ask: Ask, *, wait_seconds: float | None = None
    ) -> Generator[Effect, Any, Submission]:
        """Decide, hold, send, and note the id; waits for a slot at most `wait_seconds`."""
        while True:
            admission = yield from self._admitting(ask, wait_seconds)
            if not isinstance(admission, Admitted):
                return admission
            submission = yield from self._sending(admission)
            if submission is not None:
                return submission

    def _admitting(
        self, ask: Ask, wait_seconds: float | None
    ) -> Generator[Effect, Any, Admitted | TurnedDown | Taken | Conflict | Stopped | NotStarted]:
        waited, looks, asked_balance = 0.0, 0, False
        while True:
            admission: Admission = yield Transact(partial(self._admit, ask))
            if isinstance(admission, Stopped) and not asked_balance:
                asked_balance = True
                if (yield from self._balance_suffices(ask.account, admission)):
                    continue
            if not isinstance(admission, Busy):
                return admission
            pause = self._busy_seconds(admission)
            if wait_seconds is not None and waited + pause > wait_seconds:
                return NotStarted("no slot came in time")
            waited += pause
            if (yield Pause(pause)) is CANCELLED:
                return NotStarted("cancelled")
            if admission.until is None:
                yield from self._making_room(ask.account, looks)
                looks += 1

    def _making_room(self, account: str, looks: int) -> Generator[Effect, Any, None]:
        """Look for a slot that is taken for nothing: by a dead owner, or by a job nobody asks about.

        Asking is free and harmless, so anybody may bring an accepted entry to its end; one at a time,
        because the status window is everybody's.
        """
        yield Transact(partial(self.store.take_over, self.owner))
        accepted = yield Transact(partial(self.store.entries, states=[State.ACCEPTED], account=account))
        if accepted:
            yield from self.checking(self.adopted(accepted[looks % len(accepted)]))

    def _admit(self, ask: Ask) -> Admission:
        return self.store.admit(ask, self._policy(), self.book, self.owner, rate_microusd=self.rate_microusd)

    def _resend(self, entry: Entry) -> Entry | Busy:
        return self.store.resend(entry, self._policy())

    def _busy_seconds(self, busy: Busy) -> float:
        if busy.until is None:
            return SLOT_PAUSE_SECONDS / self.store.speed
        return max(0.0, (busy.until - self.store.now()).total_seconds()) + 0.001

    def _balance_suffices(self, account: str, stopped: Stopped) -> Generator[Effect, Any, bool]:
        reply = yield GetBalance()
        total = None if reply is CANCELLED else read_balance(reply)
        if total is None:
            return False
        yield Transact(partial(self.store.record_balance, account, total))
        return total >= stopped.needed_credits

    def _sending(self, admitted: Admitted) -> Generator[Effect, Any, Submission | None]:
        """Write the decided bytes until there is an answer; None: it has to be decided again."""
        entry, body = admitted.entry, admitted.request.body()
        while True:
            if not self.owner.is_sure:
                # It stood still since its admission: another host may have its work by now.
                yield Transact(partial(self.store.reassure, entry, self.owner))
            reply = yield Post(body)
            cancelled = reply is CANCELLED
            match read_run(NotSent("cancelled") if cancelled else reply):
                case Accepted(prediction_id):
                    return (yield from self._accepted(admitted, entry, prediction_id))
                case Lost(reason):
                    entry = yield from self._book(entry, Happened.LOST, Evidence(reason=reason))
                    return Unknown(entry, reason)
                case Refused(name):
                    entry = yield Transact(
                        partial(self.store.refuse, entry, name, stop_account=name == "OutOfCredits")
                    )
                    return Turned(entry, name)
                case Again(name):
                    returned = (Happened.RETURNED, Evidence(reason=name))
            if cancelled:
                given_up = (Happened.CANCELLED, Evidence(reason="cancelled"))
                yield Transact(partial(self.store.record, entry, returned, given_up))
                return NotStarted("cancelled")
            if entry.sends >= SENDS_MOST:
                refused = (Happened.REFUSED, Evidence(reason=name))
                entry = yield Transact(partial(self.store.record, entry, returned, refused))
                return Turned(entry, name)
            entry = yield Transact(partial(self.store.record, entry, returned))
            resent = yield from self._resending(entry, PAUSES_SECONDS[entry.sends - 1] / self.store.speed)
            if not isinstance(resent, Entry):
                return resent
            entry = resent

    def _resending(
        self, entry: Entry, pause_seconds: float
    ) -> Generator[Effect, Any, Entry | NotStarted | None]:
        while True:
            if (yield Pause(pause_seconds)) is CANCELLED:
                given_up = (Happened.CANCELLED, Evidence(reason="cancelled"))
                yield Transact(partial(self.store.record, entry, given_up))
                return NotStarted("cancelled")
            found = yield Transact(partial(self._resend, entry))
            if isinstance(found, Busy):
                pause_seconds = self._busy_seconds(found)
                continue
            resent: Entry = found
            return resent if resent.state is State.SENDING else None

    def _book(self, entry: Entry, happened: Happened, evidence: Evidence) -> Generator[Effect, Any, Entry]:
        """Book what happened where the ledger can take it; else its next owner finds it as it stands."""
        try:
            booked: Entry = yield Transact(partial(self.store.record, entry, (happened, evidence)))
        except (OperatorError, Stale):
            return entry
        return booked

    def _accepted(self, admitted: Admitted, entry: Entry, prediction_id: str) -> Generator[Effect, Any, Job]:
        job = Job(entry, admitted.decision, prediction_id)
        yield from self._note(job, Happened.ACCEPTED, Evidence(prediction_id=prediction_id))
        return job

    # -- from an id to its end -------------------------------------------------------------------

    def adopted(self, entry: Entry) -> Job:
        """A job for an entry with an id that is in the ledger already."""
        return Job(entry, prediction_id=entry.prediction_id or "")

    def checking(self, job: Job) -> Generator[Effect, Any, StatusReading]:
        """Ask once what became of it, and book it when it has ended."""
        reading = yield from self._asking(job)
        yield from self._conclude(job, reading)
        return reading

    def _asking(self, job: Job) -> Generator[Effect, Any, StatusReading]:
        reply: Reply | Cancelled = yield GetStatus(job.prediction_id)
        if isinstance(reply, Cancelled):
            return Unclear("cancelled")
        return read_status(reply, job.prediction_id)

    def _conclude(self, job: Job, reading: StatusReading) -> Generator[Effect, Any, None]:
        if not isinstance(reading, Missing | Unclear):
            job.missing = 0
        match reading:
            case Completed():
                yield from self._completed(job, reading)
            case Failed(name, None) | Odd(name, None, terminal=True):
                if not (yield from self._reading_again(job)):
                    yield from self._end(job, Happened.VANISHED, Evidence(reason=name))
            case Failed(name, credits):
                happened = Happened.CHARGED if credits else Happened.FAILED
                yield from self._end(job, happened, Evidence(credits=credits, reason=name))
            case Odd(word, credits, terminal):
                happened = Happened.CHARGED if credits and terminal else Happened.VANISHED
                yield from self._end(job, happened, Evidence(credits=credits, reason=word))
            case Missing():
                job.missing += 1
                if job.missing >= MISSING_MOST:
                    yield from self._end(job, Happened.VANISHED, Evidence(reason="NotFound"))
            case Running() | Unclear():
                if self._overdue(job):
                    yield from self._end(job, Happened.VANISHED, Evidence(reason="not ended in time"))

    def _completed(self, job: Job, reading: Completed) -> Generator[Effect, Any, None]:
        job.outputs = reading.outputs
        outputs = len(reading.outputs)
        if reading.credits is not None:
            evidence = Evidence(credits=reading.credits, outputs=outputs)
            yield from self._end(job, Happened.CHARGED, evidence)
            return
        if not (yield from self._reading_again(job)):
            yield from self._end(job, Happened.ESTIMATED, Evidence(outputs=outputs))

    def _reading_again(self, job: Job) -> Generator[Effect, Any, bool]:
        """Ask again for a cost that could not be read; False when it was read often enough."""
        job.header_reads += 1
        if job.header_reads >= HEADER_READS_MOST:
            return False
        if (yield Pause(HEADER_PAUSE_SECONDS / self.store.speed)) is not CANCELLED:
            yield from self.checking(job)
        return True

    def _overdue(self, job: Job) -> bool:
        entry = job.entry
        since = from_us(entry.accepted_us or entry.booked_us)
        return (self.store.now() - since).total_seconds() > TERMINAL_SECONDS / self.store.speed

    def _end(self, job: Job, happened: Happened, evidence: Evidence) -> Generator[Effect, Any, None]:
        job.ended, job.reason = happened, evidence.reason
        if job.entry.state is State.UNKNOWN and happened is Happened.VANISHED:
            return
        yield from self._note(job, happened, evidence)

    def _note(self, job: Job, happened: Happened, evidence: Evidence) -> Generator[Effect, Any, None]:
        """Book a step with all that is owed."""
        job.owed.append((happened, evidence))
        yield from self.booking(job)

    def booking(self, job: Job) -> Generator[Effect, Any, None]:
        """Book what is owed; what the ledger cannot take now stays owed."""
        if not job.owed:
            return
        try:
            job.entry = yield Transact(partial(self._booked, job))
        except OperatorError as error:
            job.ledger_error = error
            return
        job.owed.clear()
        job.ledger_error = None

    def _booked(self, job: Job) -> Entry:
        try:
            return self.store.record(job.entry, *job.owed)
        except Stale:
            # Somebody else moved it meanwhile; what we know is booked on what it is now.
            return self.store.replay(job.entry.id, job.owed)

    def noting_outputs(self, job: Job, *, home: int, lost: bool = False) -> Generator[Effect, Any, None]:
        """Note how many pictures are home, beside the state."""
        if job.entry.state is State.SETTLED or job.owed:
            yield from self._note(job, Happened.OUTPUTS, Evidence(outputs_home=home, outputs_lost=lost))

    def awaiting(self, job: Job, pauses: Pauses) -> Generator[Effect, Any, None]:
        """Bring a job to its end, whoever is at work on it, and learn where its pictures are.

        Another call or process that is sending is waited for; if its owner is dead, its work is taken
        over. Once there is an id, anybody may ask about it.
        """
        yield from self.sent(job)
        if job.entry.state is State.ACCEPTED:
            yield from self.waiting(job, pauses)
        elif job.entry.state is State.UNKNOWN and job.prediction_id:
            yield from self.checking(job)
        elif job.entry.state is State.SETTLED and not job.outputs:
            yield from self.revisiting(job)

    def sent(self, job: Job) -> Generator[Effect, Any, None]:
        """Wait, and not without end, until it is no longer being sent, whoever sends it."""
        paused = 0.0
        while job.entry.state in (State.HELD, State.SENDING):
            pause = SLOT_PAUSE_SECONDS / self.store.speed
            if paused > SENDING_MOST_SECONDS or (yield Pause(pause)) is CANCELLED:
                return
            paused += pause
            yield Transact(partial(self.store.take_over, self.owner))
            job.entry = yield Transact(partial(self.store.entry, job.entry.id))
            job.prediction_id = job.entry.prediction_id or ""

    def revisiting(self, job: Job) -> Generator[Effect, Any, StatusReading]:
        """Ask again about a settled job: where its pictures are, and what it cost if that is missing."""
        reading = yield from self._asking(job)
        if isinstance(reading, Completed):
            job.outputs = reading.outputs
            if job.entry.estimated and reading.credits is not None:
                yield from self._note(job, Happened.ADJUSTED, Evidence(credits=reading.credits))
        return reading

    def waiting(self, job: Job, pauses: Pauses) -> Generator[Effect, Any, None]:
        """Ask until it has ended, as often as `pauses` says; returns early when cancelled."""
        while not job.done:
            if (yield Pause(pauses(job.entry, self.store.now()))) is CANCELLED:
                return
            yield from self.checking(job)


def in_flight_elsewhere(entry: Entry, owner: Owner) -> bool:
    """Whether another owner is at work on it."""
    return entry.state in OPEN and entry.owner != owner.id
