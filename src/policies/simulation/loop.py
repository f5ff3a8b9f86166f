"""An event loop in virtual time: an hour passes as soon as nothing is left to do before its end.

Here belong the loop's clock, and carrying out in place what the code under it hands to a thread, so that
one seed always gives one course of things. What passes through the door belongs to `process`.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from typing import Any, Protocol


class Door(Protocol):
    """Who carries out what would be a thread's work, and how many virtual seconds that takes."""

    def __call__(self, work: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]: ...


class Standstill(Exception):
    """Everybody waits, and for nothing that time could bring."""


class _Selector(selectors.DefaultSelector):
    """Waits for nothing: the time that a real one would wait is what passes."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Standstill
        self.seconds += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose time is virtual and whose threads are none.

    >>> loop = VirtualLoop()
    >>> loop.run_until_complete(asyncio.sleep(3600)), round(loop.time())
    (None, 3600)
    >>> loop.close()
    """

    def __init__(self) -> None:
        self._passing = _Selector()
        self.door: Door = self.carry_out
        super().__init__(self._passing)

    def time(self) -> float:
        return self._passing.seconds

    def carry_out(self, work: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        """Do it now; the future holds what came of it."""
        future = self.create_future()
        try:
            future.set_result(work(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Any, *args: Any
    ) -> asyncio.Future[Any]:
        return self.door(func, *args)
