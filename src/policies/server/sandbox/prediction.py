"""One accepted prediction: what a caller sees of it at any instant. Everything is derived from its fate.

Here belong status words, outputs and how long they are kept. Who may ask and how often belongs to
`provider`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from policies.server.sandbox.fates import RUN_TIME_ERRORS, TERMINAL, Ending, Fate
from policies.server.sandbox.request import Settings
from policies.server.sandbox.service import Service

UNDOCUMENTED: Final = "superseded"
"""The word an `unknown_status` ends in: it stands in no document of the provider."""


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """What one output shows: enough to draw it, nothing of what was written or uploaded."""

    id: str
    index: int
    outputs: int
    mode: str
    digest: str
    settings: Settings


@dataclass(frozen=True, slots=True)
class Prediction:
    """An accepted prediction. Instants are virtual seconds; `mode` is the mode billed."""

    number: int
    id: str
    digest: str
    mode: str
    settings: Settings
    fate: Fate
    submitted_seconds: float
    from_subscription_credits: int

    @property
    def ends_seconds(self) -> float:
        """When it leaves its slot."""
        return self.submitted_seconds + self.fate.seconds

    def ended(self, now: float) -> bool:
        """Has it left its slot?"""
        return now >= self.ends_seconds

    def terminal(self, now: float) -> bool:
        """Is it in one of the documented terminal states?"""
        return self.ended(now) and self.fate.ending in TERMINAL

    def charged_credits(self, now: float) -> int:
        """What the account is charged for it so far: debited at once, partly or wholly given back."""
        return self.fate.charge_credits if self.ended(now) else self.fate.debit_credits

    def status(self, service: Service, now: float) -> str | None:
        """The status word, or None once the prediction has vanished."""
        if self.ended(now) and self.fate.ending is not Ending.STUCK:
            return self._last_word()
        elapsed = now - self.submitted_seconds
        if elapsed < service.starting_seconds:
            return "starting"
        return "in_queue" if elapsed < service.in_queue_seconds else "processing"

    def _last_word(self) -> str | None:
        match self.fate.ending:
            case Ending.VANISHED:
                return None
            case Ending.UNKNOWN_STATUS:
                return UNDOCUMENTED
            case ending:
                return ending.value

    def error(self, now: float) -> dict[str, str] | None:
        """The run-time error of a failed prediction."""
        if self.fate.error_name is None or not self.ended(now):
            return None
        return {"name": self.fate.error_name, "message": RUN_TIME_ERRORS[self.fate.error_name]}

    def spec(self, index: int) -> OutputSpec:
        """What output `index`, counted from 0, shows."""
        return OutputSpec(self.id, index, self.fate.outputs, self.mode, self.digest, self.settings)

    def kept(self, service: Service, now: float) -> bool:
        """Are its outputs there to be fetched: finished, and not yet expired?"""
        private = self.settings.private
        kept_seconds = service.private_kept_seconds if private else service.cdn_kept_seconds
        completed = self.fate.ending is Ending.COMPLETED and self.ended(now)
        return completed and now < self.ends_seconds + kept_seconds

    def as_json(self) -> dict[str, Any]:
        """The prediction as it stands in a state file."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Prediction:
        """The prediction that `as_json` wrote."""
        fate = Fate(**{**value["fate"], "ending": Ending(value["fate"]["ending"])})
        return cls(**{**value, "settings": Settings(**value["settings"]), "fate": fate})
