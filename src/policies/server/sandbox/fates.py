"""What will become of a prediction: decided once, when it is accepted, from the seed and its number.

Here belongs what each fault does to a prediction. What the caller sees of it, and when, belongs to
`prediction`. Not known about the real provider and decided here: a prediction with fewer outputs is
charged for those that came, and one that never ends or ends unheard of stays charged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from policies.server.sandbox.draws import pick, unit
from policies.server.sandbox.faults import Faults
from policies.server.sandbox.prices import Prices
from policies.server.sandbox.request import Settings
from policies.server.sandbox.service import Service

RUN_TIME_ERRORS: Final[Mapping[str, str]] = {
    "ImageLoadError": "a reference image could not be loaded",
    "ContentModerationError": "the content was blocked by moderation",
    "InputValidationError": "the inputs do not go together",
    "PoseError": "no pose could be found in the reference",
    "ThirdPartyError": "a third party could not process the request",
    "3rdPartyProviderError": "a third party could not process the request",
    "UnavailableError": "the model is not available at the moment",
    "PipelineError": "the pipeline stopped unexpectedly",
    "InternalServerError": "something went wrong on the server",
}


class Ending(StrEnum):
    """How a prediction ends. The last three are not statuses of the API but things that happen."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"
    TIME_OUT = "time_out"
    STUCK = "stuck"
    VANISHED = "vanished"
    UNKNOWN_STATUS = "unknown_status"


What = tuple[int, int]
"""The seed and the number of the prediction that something is drawn for."""

UNSUCCESSFUL: Final = frozenset({Ending.FAILED, Ending.CANCELED, Ending.TIME_OUT})
TERMINAL: Final = UNSUCCESSFUL | {Ending.COMPLETED}


@dataclass(frozen=True, slots=True)
class Fate:
    """The end of a prediction. `debit_credits` is taken at once, `charge_credits` is what stays taken."""

    ending: Ending
    seconds: float
    debit_credits: int
    charge_credits: int
    outputs: int
    error_name: str | None


def decide(
    settings: Settings, prices: Prices, service: Service, faults: Faults, seed: int, number: int
) -> Fate:
    """The fate of the prediction with this number."""
    what = (seed, number)
    ending = _ending(faults, what)
    drift = _drift(prices.credits(settings), faults, what)
    outputs = _outputs(settings.images, ending, faults, what)
    debit = prices.credits(settings) + drift
    charge = prices.image_credits(settings) * outputs + drift if ending is Ending.COMPLETED else debit
    if ending in UNSUCCESSFUL and not faults.strikes("charged_failure", *what):
        charge = 0
    return Fate(
        ending=ending,
        seconds=_seconds(settings, ending, prices, service, faults, what),
        debit_credits=debit,
        charge_credits=charge,
        outputs=outputs,
        error_name=pick(tuple(RUN_TIME_ERRORS), *what, "error") if ending is Ending.FAILED else None,
    )


def _ending(faults: Faults, what: What) -> Ending:
    for ending in (
        Ending.STUCK,
        Ending.VANISHED,
        Ending.UNKNOWN_STATUS,
        Ending.FAILED,
        Ending.CANCELED,
        Ending.TIME_OUT,
    ):
        if faults.strikes(ending.value, *what):
            return ending
    return Ending.COMPLETED


def _drift(credits: int, faults: Faults, what: What) -> int:
    if not faults.strikes("drift", *what):
        return 0
    return pick((-1, 1), *what, "direction") if credits > 1 else 1


def _outputs(images: int, ending: Ending, faults: Faults, what: What) -> int:
    if ending is not Ending.COMPLETED:
        return 0
    if images == 1 or not faults.strikes("partial", *what):
        return images
    return 1 + int(unit(*what, "outputs") * (images - 1))


def _seconds(
    settings: Settings,
    ending: Ending,
    prices: Prices,
    service: Service,
    faults: Faults,
    what: What,
) -> float:
    if ending is Ending.STUCK:
        return service.stuck_slot_seconds
    mode = prices.billed_mode(settings)
    seconds = service.seconds(mode, settings.resolution, settings.face, settings.images, *what)
    return seconds * service.slow_factor if faults.strikes("slow", *what) else seconds
