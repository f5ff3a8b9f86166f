"""How long a prediction takes and how long its outputs are kept. The numbers stand in `service.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp

from policies.server.sandbox.draws import normal, unit


@dataclass(frozen=True, slots=True)
class Service:
    """The provider's times in virtual seconds, and the largest body it takes."""

    median_seconds: Mapping[tuple[str, str], float]
    sigma: float
    face_seconds: tuple[float, float]
    another_image: float
    starting_seconds: float
    in_queue_seconds: float
    slow_factor: float
    stuck_slot_seconds: float
    cdn_kept_seconds: float
    private_kept_seconds: float
    largest_body_bytes: int

    def seconds(self, mode: str, resolution: str, face: bool, images: int, *what: object) -> float:
        """The time from submission to the end: lognormal around the median of the cell, a share of that
        for each further image, and an even draw for a face. `what` names the prediction it is drawn for.
        """
        base = self.median_seconds[mode, resolution] * exp(self.sigma * normal(*what, "service"))
        low, high = self.face_seconds
        for_face = low + (high - low) * unit(*what, "face") if face else 0.0
        return base * (1.0 + self.another_image * (images - 1)) + for_face
