"""What the stand-in charges: the table, as a value. The numbers stand in `prices.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from policies.server.sandbox.request import Settings


@dataclass(frozen=True, slots=True)
class Prices:
    """Credits for one output image by (mode, resolution), the face surcharge, and the mode billed when
    none was sent."""

    per_image: Mapping[tuple[str, str], int]
    face_credits: int
    omitted_mode: Mapping[str, str]

    def billed_mode(self, settings: Settings) -> str:
        """The mode that was asked for, or the one an omission is billed as."""
        return settings.mode or self.omitted_mode[settings.resolution]

    def image_credits(self, settings: Settings) -> int:
        """Credits for one output image, at the resolution that was asked for."""
        row = self.per_image[self.billed_mode(settings), settings.resolution]
        return row + (self.face_credits if settings.face else 0)

    def credits(self, settings: Settings) -> int:
        """Credits for the whole prediction."""
        return self.image_credits(settings) * settings.images
