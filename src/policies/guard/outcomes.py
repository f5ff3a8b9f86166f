"""What a caller of the guard gets: a result, or an error that says what happened to the money.

Here belong the shapes and nothing that acts. The exceptions tell apart whose turn it is:

    GuardError
    ├── Denied, NeedsApproval      the policy; nothing was held or sent
    ├── KeyConflict                the caller: the key belongs to another request
    ├── NotAccepted                the provider did not take it; nothing was charged
    │   ├── OutOfCredits
    │   └── Unauthorized
    ├── PredictionFailed           it ran and failed; free unless `entry.credits` says otherwise
    ├── OutcomeUnknown             nobody knows; counted, and never sent again by itself
    └── NotInTime                  no slot, or not ended, within the time that was given
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from planner.errors import PlannerError, ProviderError
from policies.decision import Decision, Verdict
from policies.guard.machine import Job, NotStarted, Submission, Turned, Unknown
from policies.ledger.entries import Conflict, Entry, Stopped, Taken, TurnedDown
from policies.ledger.states import Happened, State


@dataclass(frozen=True, slots=True)
class Result:
    """A picture that was paid for: where it is, and what it cost."""

    key: str
    prediction_id: str
    outputs: tuple[str, ...] = field(repr=False)
    """Addresses of the pictures, or `data:` texts; empty when the provider no longer has them."""
    credits: int
    estimated: bool
    """The provider did not say what it cost: `credits` is the quote until it does."""
    decision: Decision | None = field(repr=False)
    """None where the key was paid for earlier."""
    entry: Entry = field(repr=False)


class GuardError(PlannerError):
    """What was asked for did not become a picture."""

    code: ClassVar[str] = "guard"
    exit_code: ClassVar[int] = 1

    def __init__(
        self, message: str, *, hint: str = "", entry: Entry | None = None, decision: Decision | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.entry = entry
        self.decision = decision


class Denied(GuardError):
    """The policy does not allow it; nothing was held or sent."""

    code = "denied"


class NeedsApproval(GuardError):
    """A person has to allow it first; nothing was held or sent."""

    code = "needs_approval"


class KeyConflict(GuardError):
    """The key is taken by another request."""

    code = "key_conflict"


class NotAccepted(GuardError):
    """The provider did not take the request; nothing was charged."""

    code = "not_accepted"


class OutOfCredits(NotAccepted):
    """The provider says that the balance does not suffice."""

    code = "out_of_credits"
    exit_code = 4


class Unauthorized(NotAccepted):
    """The provider does not know the key."""

    code = "unauthorized"
    exit_code = 2


class PredictionFailed(GuardError):
    """It ran and failed."""

    code = "prediction_failed"


class OutcomeUnknown(GuardError):
    """It may be running and will then be billed: it stays counted and is never sent again by itself."""

    code = "outcome_unknown"


class NotInTime(GuardError):
    """Nothing was lost: the same key goes on where this stopped."""

    code = "not_in_time"


def submission_error(submission: Submission) -> GuardError | None:
    """The error of a submission that is not on its way, or None."""
    match submission:
        case Job() | Taken():
            return None
        case TurnedDown(entry, decision):
            return turned_down(entry, decision)
        case Conflict(entry):
            return KeyConflict(
                f"the key `{entry.key}` is taken by another request",
                hint="use another key, or send the request that the key was first used with",
                entry=entry,
            )
        case Turned(entry, name):
            return not_accepted(entry, name)
        case Unknown(entry, reason):
            return unknown(entry, reason)
        case Stopped(needed_credits):
            return OutOfCredits(
                f"the account has fewer than {needed_credits} credit{'s' * (needed_credits != 1)}",
                hint="top up, then run it again",
            )
        case NotStarted(reason):
            return NotInTime(f"not started: {reason}", hint="nothing was sent; the same call goes on")


def turned_down(entry: Entry, decision: Decision) -> GuardError:
    """The policy's no, in its own words."""
    reasons = [
        f"{item.rule}: {item.because}" for item in decision.findings if item.verdict is decision.verdict
    ]
    text = "; ".join(reasons) or "the policy does not allow it"
    if decision.verdict is Verdict.NEEDS_APPROVAL:
        who = ", ".join(decision.approvers) or "a person"
        return NeedsApproval(text, hint=f"ask {who}", entry=entry, decision=decision)
    return Denied(text, entry=entry, decision=decision)


def not_accepted(entry: Entry, name: str) -> NotAccepted:
    """The provider's no."""
    match name:
        case "OutOfCredits":
            return OutOfCredits(
                "the provider says OutOfCredits", hint="top up, then run it again", entry=entry
            )
        case "UnauthorizedAccess":
            return unauthorized(entry)
        case _:
            return NotAccepted(f"the provider did not take it: {name}", entry=entry)


def unauthorized(entry: Entry | None = None) -> Unauthorized:
    return Unauthorized("the provider does not know the API key", hint="check FASHN_API_KEY", entry=entry)


def unreachable(base_url: str, reason: str) -> ProviderError:
    return ProviderError(
        f"`{base_url}` cannot be reached: {reason}",
        hint="check the address and the network, then run the same command again",
    )


def unknown(entry: Entry, reason: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"nobody knows what became of `{entry.key}`: {reason}",
        hint="it stays counted; end it with `planner ledger settle` once you know",
        entry=entry,
    )


def result_of(job: Job) -> Result:
    """The result of a job that has ended; raises what it ended with otherwise."""
    error = _ending_error(job)
    if error is not None:
        raise error
    return Result(
        job.entry.key,
        job.prediction_id,
        job.outputs,
        charged_credits(job),
        job.entry.estimated,
        job.decision,
        job.entry,
    )


def _ending_error(job: Job) -> GuardError | None:
    """Why there is no picture; what the ledger could not book yet is known to the job."""
    entry = job.entry
    reason = job.reason or entry.reason
    if entry.state is State.UNKNOWN or job.ended is Happened.VANISHED:
        return unknown(entry, reason or "no answer")
    if entry.state is State.DENIED:
        return Denied(
            f"the policy denied `{entry.key}`", hint="submit it again to have it decided", entry=entry
        )
    if entry.state is State.WAITING:
        return NeedsApproval(f"`{entry.key}` waits for an approval", entry=entry)
    if entry.state is State.RELEASED and not entry.prediction_id:
        return not_accepted(entry, reason or "released")
    if job.ended is Happened.FAILED or entry.state is State.RELEASED or (reason and _paid(job)):
        return PredictionFailed(f"the prediction of `{entry.key}` failed: {reason}", entry=entry)
    if not _paid(job):
        return NotInTime(f"`{entry.key}` has not ended yet", hint="ask again", entry=entry)
    return None


def _paid(job: Job) -> bool:
    return job.entry.state is State.SETTLED or job.ended in (Happened.CHARGED, Happened.ESTIMATED)


def charged_credits(job: Job) -> int:
    """What it cost, from what is still owed to the ledger where the ledger could not take it."""
    for _, evidence in reversed(job.owed):
        if evidence.credits is not None:
            return evidence.credits
    return job.entry.credits
