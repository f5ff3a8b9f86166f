"""What a provider charged and how hard it was used: the figures that a ledger can be held against."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from policies.server.sandbox.fates import Ending
from policies.server.sandbox.prediction import Prediction
from policies.server.sandbox.service import Service


@dataclass(frozen=True, slots=True)
class BillLine:
    """One accepted prediction. `credits` is what is charged for it by now; None where it has not ended."""

    id: str
    status: str
    credits: int
    images: int
    submitted_seconds: float
    completed_seconds: float | None

    @classmethod
    def of(cls, prediction: Prediction, service: Service, now: float) -> BillLine:
        """What stands on the bill for one prediction."""
        completed = prediction.ended(now) and prediction.fate.ending is not Ending.STUCK
        return cls(
            id=prediction.id,
            status=prediction.status(service, now) or "vanished",
            credits=prediction.charged_credits(now),
            images=prediction.settings.images,
            submitted_seconds=prediction.submitted_seconds,
            completed_seconds=prediction.ends_seconds if completed else None,
        )


@dataclass(frozen=True, slots=True)
class Bill:
    """The provider's side of the story at the virtual instant `at_seconds`.

    `credits` counts what is charged by now, predictions in flight included. `duplicates` are accepted
    predictions whose inputs equal those of an earlier one. `refused` counts refusals by error name, the
    three 429s apart. `most_status_polls` is the most status calls in any window of the status limit,
    refused ones included. `slots_busy_seconds` adds up how long each slot was taken.
    """

    at_seconds: float
    credits: int
    accepted: int
    duplicates: int
    by_status: Mapping[str, int]
    refused: Mapping[str, int]
    most_in_flight: int
    most_status_polls: int
    slots: int
    slots_busy_seconds: float
    first_submitted_seconds: float | None
    last_completed_seconds: float | None
    predictions: tuple[BillLine, ...]

    @classmethod
    def of(
        cls,
        predictions: Collection[Prediction],
        service: Service,
        now: float,
        *,
        refused: Mapping[str, int],
        duplicates: int,
        most_in_flight: int,
        most_status_polls: int,
        slots: int,
    ) -> Bill:
        """The bill of these predictions at `now`."""
        lines = tuple(BillLine.of(prediction, service, now) for prediction in predictions)
        completed = [line.completed_seconds for line in lines if line.completed_seconds is not None]
        return cls(
            at_seconds=now,
            credits=sum(line.credits for line in lines),
            accepted=len(lines),
            duplicates=duplicates,
            by_status=dict(Counter(line.status for line in lines)),
            refused=refused,
            most_in_flight=most_in_flight,
            most_status_polls=most_status_polls,
            slots=slots,
            slots_busy_seconds=sum(min(one.ends_seconds, now) - one.submitted_seconds for one in predictions),
            first_submitted_seconds=min((line.submitted_seconds for line in lines), default=None),
            last_completed_seconds=max(completed, default=None),
            predictions=lines,
        )

    @property
    def busy_share(self) -> float | None:
        """How much of the slots was used between the first submission and the last completion."""
        if self.first_submitted_seconds is None or self.last_completed_seconds is None:
            return None
        span = self.last_completed_seconds - self.first_submitted_seconds
        return self.slots_busy_seconds / (span * self.slots) if span > 0 else None

    def as_json(self) -> dict[str, Any]:
        """The bill as `GET /sandbox/bill` shows it."""
        return {**asdict(self), "busy_share": self.busy_share}
