"""Virtual time from real time: the one clock of a served sandbox."""

from __future__ import annotations

from time import monotonic


class Clock:
    """Virtual seconds that pass `speed` times as fast as real ones, from `start_seconds` on."""

    def __init__(self, speed: float, start_seconds: float = 0.0) -> None:
        self.speed = speed
        self._start_seconds = start_seconds
        self._zero = monotonic()

    def now(self) -> float:
        """The virtual instant."""
        return self._start_seconds + (monotonic() - self._zero) * self.speed
