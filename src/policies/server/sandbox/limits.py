"""How much the provider lets through at once and in a while: limits as values, windows as counters.

Here belongs counting calls in virtual time. What a refused call is told belongs to `provider`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Predictions at once, and (calls, seconds) for each endpoint."""

    concurrency: int = 6
    run: tuple[int, float] = (50, 60.0)
    status: tuple[int, float] = (50, 10.0)
    credits: tuple[int, float] = (30, 10.0)


class RateWindow:
    """At most so many calls in any stretch of so many seconds.

    A call counts until exactly `seconds` after it. Refused calls do not count; whether they do at the
    real provider is not known. `most_attempts` counts refused ones too: how hard callers really pushed.

    >>> window = RateWindow(1, 10.0)
    >>> window.take(0.0), window.take(9.9), window.take(10.0)
    (True, False, True)
    >>> window.most_attempts
    2
    """

    __slots__ = ("_attempts", "_calls", "_seconds", "_taken", "most_attempts")

    def __init__(self, calls: int, seconds: float) -> None:
        self._calls = calls
        self._seconds = seconds
        self._taken: deque[float] = deque()
        self._attempts: deque[float] = deque()
        self.most_attempts = 0

    def take(self, now: float) -> bool:
        """Counts a call at `now`, if there is room for it."""
        self._attempt(now)
        self._forget(self._taken, now)
        if len(self._taken) >= self._calls:
            return False
        self._taken.append(now)
        return True

    def _attempt(self, now: float) -> None:
        self._forget(self._attempts, now)
        self._attempts.append(now)
        self.most_attempts = max(self.most_attempts, len(self._attempts))

    def _forget(self, calls: deque[float], now: float) -> None:
        while calls and now - calls[0] >= self._seconds:
            calls.popleft()
