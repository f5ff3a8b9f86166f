"""The three calls of the API through the guard, as steps for a shell: what a transport drives.

Here belongs what a caller's call means to the ledger and which answer it gets: the provider's own, or a
refusal in the provider's shape. A refusal is an answer and never an exception, and it says
`x-should-retry: false`, because the official SDK repeats a POST after nearly everything else.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Generator, Mapping
from functools import partial
from hashlib import blake2b
from threading import Lock
from typing import Any, Final
from uuid import uuid4

from planner.errors import InputError, NoPrice, PlannerError
from policies.guard.answers import NO_RETRY, RUN_ERROR_NAMES, Answer, Reply, read_balance
from policies.guard.guard import WAIT_SECONDS, Guard
from policies.guard.machine import Cancelled, Effect, GetBalance, GetStatus, Job, Submission, Transact, Turned
from policies.guard.outcomes import (
    Denied,
    GuardError,
    KeyConflict,
    NeedsApproval,
    NotInTime,
    OutcomeUnknown,
    OutOfCredits,
    submission_error,
    unknown,
)
from policies.guard.submissions import Call, Unpriced, Wanted, read_call
from policies.guard.wire import is_live
from policies.ledger.entries import Ask, Entry, Stale, Taken, canonical_json
from policies.ledger.states import OPEN, TAKEN, State

_REMEMBERED_MOST: Final = 4096

REFUSALS: Final[tuple[tuple[type[BaseException], int, str], ...]] = (
    (Denied, 403, "PolicyDenied"),
    (NeedsApproval, 403, "NeedsApproval"),
    (Unpriced, 403, "Unpriced"),
    (NoPrice, 403, "Unpriced"),
    (KeyConflict, 409, "KeyConflict"),
    (OutcomeUnknown, 409, "OutcomeUnknown"),
    (OutOfCredits, 429, "OutOfCredits"),
    (NotInTime, 429, "ConcurrencyLimitExceeded"),
    (GuardError, 503, "ProviderUnreachable"),
    (InputError, 400, "BadRequest"),
    (PlannerError, 503, "LedgerUnavailable"),
    (Stale, 503, "LedgerUnavailable"),
)
"""What an error becomes; the first that fits."""


def refusal(error: BaseException) -> Answer:
    """The answer that an error becomes: the provider's shape, and never to be tried again by itself.

    >>> refusal(Denied("not for this team")).body
    b'{"error": "PolicyDenied", "message": "not for this team"}'
    """
    status, name = next((status, name) for kind, status, name in REFUSALS if isinstance(error, kind))
    body = json.dumps({"error": name, "message": str(error)}, ensure_ascii=False)
    return Answer(status, {"content-type": "application/json", **NO_RETRY}, body.encode())


def _known(prediction_id: str) -> Answer:
    body = json.dumps({"id": prediction_id, "error": None})
    return Answer(200, {"content-type": "application/json", **NO_RETRY}, body.encode())


class Attempts:
    """Which key a call without one was given, so that the SDK's own retry of it finds it again.

    An answer of ours is never tried again, but something above the transport may throw one away, such as
    a hook that raises; the SDK then sends the same call with a count, and it must not be paid for twice.
    """

    def __init__(self) -> None:
        self._keys: OrderedDict[str, str] = OrderedDict()
        self._lock = Lock()

    def key(self, call: str, is_repeated: bool) -> str:
        """The key of a call, known by its digest: a new one, or the last one where it is repeated."""
        with self._lock:
            known = self._keys.pop(call, None)
            key = known if known is not None and is_repeated else f"call-{uuid4().hex}"
            self._keys[call] = key
            if len(self._keys) > _REMEMBERED_MOST:
                self._keys.popitem(last=False)
        return key


class Exchange:
    """What one transport, or all that `wrap` put into one client, know beyond a single call.

    Every method is a generator of the machine's effects. Where one returns None, the answer that the
    shell's wire got last is the caller's.
    """

    def __init__(
        self,
        guard: Guard,
        *,
        labels: Mapping[str, str] | None = None,
        shoot: str | None = None,
        wait_seconds: float | None = WAIT_SECONDS,
    ) -> None:
        self.guard = guard
        self._labels = dict(labels or {})
        self._shoot = shoot
        self._wait_seconds = wait_seconds
        self._attempts = Attempts()
        self._unfinished: dict[str, Job] = {}
        """By id: jobs of which this process knows more than the ledger, such as a first 404."""
        self._has_booked = False
        self._bound: set[str] = set()
        """The addresses that the ledger is bound to for good."""

    def read(self, call: Call) -> Wanted:
        """What a call asks for; raises what `read_call` raises."""
        return read_call(call, self.guard.policy.labels)

    # -- POST /v1/run ----------------------------------------------------------------------------

    def submitting(
        self, wanted: Wanted, base_url: str, *, is_repeated: bool = False
    ) -> Generator[Effect, Any, Answer | None]:
        """Decide, hold and send what a call asks for; None where the provider itself has answered."""
        try:
            if base_url not in self._bound:
                yield Transact(partial(self._bind, base_url))
            submission = yield from self._submitting(self._ask(wanted, is_repeated))
        except (PlannerError, Stale) as error:
            return refusal(error)
        return self._answer(submission)

    def _bind(self, base_url: str) -> None:
        """Bind the account; a ledger in which something is booked is bound for good, and need not be asked
        again, which would keep every other writer waiting."""
        has_booked = self._has_booked
        self.guard.bind(base_url)
        if has_booked:
            self._bound.add(base_url)

    def _answer(self, submission: Submission) -> Answer | None:
        match submission:
            case Job():
                self._has_booked = True
                self._keep(submission)
                return None
            case Turned(_, name) if name in RUN_ERROR_NAMES:
                return None
            case Taken(Entry(prediction_id=str(prediction_id))):
                return _known(prediction_id)
            case Taken(entry):
                return refusal(unknown(entry, entry.reason or "it has not been answered yet"))
            case _:
                turned_down = submission_error(submission)
                assert turned_down is not None
                return refusal(turned_down)

    def _ask(self, wanted: Wanted, is_repeated: bool) -> Ask:
        shoot = wanted.shoot or self._shoot or self.guard.shoot
        labels = {**self._labels, **wanted.labels}
        key = wanted.key
        if key is None:
            what = canonical_json([self.guard.store.mac(wanted.request), shoot, labels])
            key = self._attempts.key(blake2b(what.encode(), digest_size=16).hexdigest(), is_repeated)
        return Ask(self.guard.account, shoot, key, wanted.request, labels)

    def _submitting(self, ask: Ask) -> Generator[Effect, Any, Submission]:
        """Submit; a key in flight elsewhere is waited for, and asked for again where it came free."""
        machine = yield Transact(lambda: self.guard.machine)
        while True:
            submission: Submission = yield from machine.submitting(ask, wait_seconds=self._wait_seconds)
            if not isinstance(submission, Taken):
                return submission
            job = machine.adopted(submission.entry)
            yield from machine.sent(job)
            if job.entry.state in TAKEN:
                return Taken(job.entry)

    # -- GET /v1/status/{id} and GET /v1/credits -------------------------------------------------

    def looking(self, prediction_id: str, base_url: str) -> Generator[Effect, Any, None]:
        """Ask for a status as the caller does, and book what the answer says about a job of ours.

        Whatever the ledger cannot take now, the caller gets the answer: it may be a paid picture.
        """
        try:
            job = yield from self._job(prediction_id, base_url)
        except (PlannerError, Stale):
            job = None
        if job is None:
            yield GetStatus(prediction_id)
            return
        try:
            machine = yield Transact(lambda: self.guard.machine)
            yield from machine.booking(job)
            is_open = job.entry.state in OPEN or job.entry.state is State.UNKNOWN
            yield from machine.checking(job) if is_open else machine.revisiting(job)
        except (PlannerError, Stale):
            yield GetStatus(prediction_id)
        self._keep(job)

    def _job(self, prediction_id: str, base_url: str) -> Generator[Effect, Any, Job | None]:
        """The job of an id, where it is one of this provider's and this ledger's."""
        unfinished = self._unfinished.pop(prediction_id, None)
        if unfinished is not None:
            return unfinished
        entry = yield Transact(partial(self.guard.store.by_prediction, prediction_id))
        if entry is None or not (yield Transact(partial(self._is_ours, base_url))):
            return None
        return Job(entry, prediction_id=prediction_id)

    def _is_ours(self, base_url: str) -> bool:
        """Whether the ledger belongs to the provider, or to stand-ins, as that address does (law 23)."""
        kind = "live" if is_live(base_url) else "sandbox"
        return base_url in self._bound or self.guard.store.kind() == kind

    def _keep(self, job: Job) -> None:
        if job.owed or (job.missing and not job.done):
            self._unfinished[job.prediction_id] = job

    def balance(self, base_url: str) -> Generator[Effect, Any, None]:
        """Ask for the balance as the caller does, and note it: one that suffices ends a stop."""
        reply: Reply | Cancelled = yield GetBalance()
        total = None if isinstance(reply, Cancelled) else read_balance(reply)
        if total is None:
            return
        try:
            if (yield Transact(partial(self._is_ours, base_url))):
                yield Transact(partial(self.guard.store.record_balance, self.guard.account, total))
        except PlannerError:
            return  # A balance is told to the caller whether or not it can be noted.
