"""The guarded clients: submit, wait, create and result, for threads and for an event loop.

Both are thin: they turn arguments into an ask, drive the machine through their shell, and raise what
it ended with. Neither ever sends anything that was not decided and held first.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from planner.request import ModelCreateRequest, parse_request
from policies.downgrading import NO_FLOOR, Floor
from policies.guard.guard import Guard
from policies.guard.machine import Effect, Job, Submission
from policies.guard.outcomes import GuardError, Result, result_of, submission_error
from policies.guard.shells import adrive, drive
from policies.guard.webhooks import Body, Heard, hearing
from policies.guard.wire import AsyncWire, Wire, provider_address, provider_key
from policies.ledger.entries import Ask, Taken, clean_key

Request = ModelCreateRequest | Mapping[str, Any]


class _Desk:
    """What both clients share: from arguments to steps, and from their end to a job."""

    def __init__(self, guard: Guard, base_url: str | None) -> None:
        self.guard = guard
        self.base_url = provider_address(base_url)
        guard.bind(self.base_url)

    def submitting(
        self,
        request: Request,
        labels: Mapping[str, str] | None,
        key: str | None,
        shoot: str | None,
        allow_rewrite: bool,
        floor: Floor,
        wait_seconds: float | None,
    ) -> Generator[Effect, Any, Submission]:
        ask = Ask(
            account=self.guard.account,
            shoot=shoot or self.guard.shoot,
            key=f"call-{uuid4().hex}" if key is None else clean_key(key),
            request=parse_request(request),
            labels=dict(labels or {}),
            allow_rewrite=allow_rewrite,
            floor=floor,
        )
        return self.guard.machine.submitting(ask, wait_seconds=wait_seconds)

    def job(self, submission: Submission) -> Job:
        """The job to wait for; raises what turned it down."""
        error = submission_error(submission)
        if error is not None:
            raise error
        if isinstance(submission, Taken):
            return self.guard.machine.adopted(submission.entry)
        assert isinstance(submission, Job)
        return submission

    def known(self, key: str, shoot: str | None) -> Job:
        """The job of a key that was used before."""
        entry = self.guard.store.latest(self.guard.account, shoot or self.guard.shoot, clean_key(key))
        if entry is None:
            raise GuardError(f"the ledger has no entry for the key `{key}`", hint="submit it first")
        return self.guard.machine.adopted(entry)

    def awaiting(self, job: Job) -> Generator[Effect, Any, None]:
        return self.guard.machine.awaiting(job, self.guard.pause_seconds)


@dataclass(frozen=True, slots=True)
class Submitted:
    """A prediction on its way. `key` and `prediction_id` are all another process needs."""

    job: Job
    _client: GuardedClient

    @property
    def key(self) -> str:
        return self.job.entry.key

    @property
    def prediction_id(self) -> str:
        return self.job.prediction_id

    def wait(self) -> Result:
        """Wait for its end; raises `PredictionFailed` or `OutcomeUnknown`."""
        return self._client._wait(self.job)


class GuardedClient:
    """The guard for threads; the key and the address come from the arguments or the environment.

    `create(request, labels=…, key=…)` is `submit(…).wait()`. A key that was paid for answers with what
    it has, and is never paid for again. Raises `Denied`, `NeedsApproval`, `KeyConflict`,
    `OutOfCredits`, `OutcomeUnknown`, `PredictionFailed` and the rest of `outcomes`.
    """

    def __init__(self, guard: Guard, *, api_key: str | None = None, base_url: str | None = None) -> None:
        self._wire = Wire(provider_address(base_url), provider_key(api_key))
        self._desk = _Desk(guard, base_url)

    def submit(
        self,
        request: Request,
        *,
        labels: Mapping[str, str] | None = None,
        key: str | None = None,
        shoot: str | None = None,
        allow_rewrite: bool = True,
        floor: Floor = NO_FLOOR,
        wait_seconds: float | None = None,
    ) -> Submitted:
        """Decide, hold and send; waits at most `wait_seconds` for a slot (None: as long as it takes).

        Without a key the call is a key of its own: calling twice pays twice.
        """
        steps = self._desk.submitting(request, labels, key, shoot, allow_rewrite, floor, wait_seconds)
        return Submitted(self._desk.job(drive(steps, self._wire)), self)

    def create(
        self,
        request: Request,
        *,
        labels: Mapping[str, str] | None = None,
        key: str | None = None,
        shoot: str | None = None,
        allow_rewrite: bool = True,
        floor: Floor = NO_FLOOR,
    ) -> Result:
        """A picture, decided, held, sent, waited for and settled."""
        submitted = self.submit(
            request, labels=labels, key=key, shoot=shoot, allow_rewrite=allow_rewrite, floor=floor
        )
        return submitted.wait()

    def result(self, key: str, *, shoot: str | None = None) -> Result:
        """What became of a key, in this process or any other; waits where it is in flight."""
        return self._wait(self._desk.known(key, shoot))

    def on_webhook(self, body: Body) -> Heard:
        """Ask the provider about the prediction that a webhook names, and book what the provider says.

        A forged or malformed body, or an unknown id, changes nothing, and what comes back says so.
        Raises `OperatorError` where the ledger cannot be used: let it become a 500, and it comes again.
        """
        return drive(hearing(self._desk.guard, body), self._wire)

    def _wait(self, job: Job) -> Result:
        drive(self._desk.awaiting(job), self._wire)
        return result_of(job)

    def close(self) -> None:
        self._wire.close()

    def __enter__(self) -> GuardedClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class AsyncSubmitted:
    """A prediction on its way, for an event loop."""

    job: Job
    _client: AsyncGuardedClient

    @property
    def key(self) -> str:
        return self.job.entry.key

    @property
    def prediction_id(self) -> str:
        return self.job.prediction_id

    async def wait(self) -> Result:
        """Wait for its end; raises `PredictionFailed` or `OutcomeUnknown`."""
        return await self._client._wait(self.job)


class AsyncGuardedClient:
    """The guard for an event loop; what `GuardedClient` says holds here too.

    A cancelled call books what may have been sent before the cancellation is raised.
    """

    def __init__(self, guard: Guard, *, api_key: str | None = None, base_url: str | None = None) -> None:
        self._wire = AsyncWire(provider_address(base_url), provider_key(api_key))
        self._desk = _Desk(guard, base_url)

    async def submit(
        self,
        request: Request,
        *,
        labels: Mapping[str, str] | None = None,
        key: str | None = None,
        shoot: str | None = None,
        allow_rewrite: bool = True,
        floor: Floor = NO_FLOOR,
        wait_seconds: float | None = None,
    ) -> AsyncSubmitted:
        """Decide, hold and send; waits at most `wait_seconds` for a slot (None: as long as it takes)."""
        steps = self._desk.submitting(request, labels, key, shoot, allow_rewrite, floor, wait_seconds)
        return AsyncSubmitted(self._desk.job(await adrive(steps, self._wire)), self)

    async def create(
        self,
        request: Request,
        *,
        labels: Mapping[str, str] | None = None,
        key: str | None = None,
        shoot: str | None = None,
        allow_rewrite: bool = True,
        floor: Floor = NO_FLOOR,
    ) -> Result:
        """A picture, decided, held, sent, waited for and settled."""
        submitted = await self.submit(
            request, labels=labels, key=key, shoot=shoot, allow_rewrite=allow_rewrite, floor=floor
        )
        return await submitted.wait()

    async def result(self, key: str, *, shoot: str | None = None) -> Result:
        """What became of a key, in this process or any other; waits where it is in flight."""
        return await self._wait(self._desk.known(key, shoot))

    async def on_webhook(self, body: Body) -> Heard:
        """Ask the provider about the prediction that a webhook names; see `GuardedClient.on_webhook`."""
        return await adrive(hearing(self._desk.guard, body), self._wire)

    async def _wait(self, job: Job) -> Result:
        await adrive(self._desk.awaiting(job), self._wire)
        return result_of(job)

    async def close(self) -> None:
        await self._wire.close()

    async def __aenter__(self) -> AsyncGuardedClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
