"""The two shells that carry out the machine's effects: one for threads, one for an event loop.

Here belongs carrying out, stopping cleanly, and nothing else: both follow the three duties that
`machine` asks of a shell. A transaction that has begun is always finished; whoever interrupts a POST
gets the interruption back only after what may have been sent is booked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from typing import Any, Protocol, TypeVar

from policies.guard.answers import NoAnswer, Reply
from policies.guard.machine import CANCELLED, Effect, GetBalance, GetStatus, Pause, Post, Transact

T = TypeVar("T")


class _Addresses(Protocol):
    def status_url(self, prediction_id: str) -> str: ...

    @property
    def credits_url(self) -> str: ...


class SyncDoor(_Addresses, Protocol):
    """A way to the provider for threads: `wire.Wire`, or a caller's own transport."""

    def run(self, body: bytes) -> Reply: ...

    def get(self, url: str) -> Reply: ...


class AsyncDoor(_Addresses, Protocol):
    """A way to the provider for an event loop."""

    async def run(self, body: bytes) -> Reply: ...

    async def get(self, url: str) -> Reply: ...


class KnownDoor(AsyncDoor, Protocol):
    """A way to a provider whose address people may be told."""

    @property
    def base_url(self) -> str: ...


def drive(steps: Generator[Effect, Any, T], wire: SyncDoor) -> T:
    """Carry a machine's steps out in this thread; an interruption is raised when they are booked."""
    stop: BaseException | None = None
    result: Any = None
    error: BaseException | None = None
    while True:
        try:
            effect = steps.send(result) if error is None else steps.throw(error)
        except StopIteration as finished:
            if stop is not None:
                raise stop from None
            returned: T = finished.value
            return returned
        result, error = None, None
        if stop is not None and not isinstance(effect, Transact):
            result = CANCELLED
            continue
        try:
            result = _carry_out(effect, wire)
        except Exception as failure:
            error = failure
        except BaseException as interruption:
            stop = interruption
            if isinstance(effect, Transact):
                raise
            result = NoAnswer("cancelled") if isinstance(effect, Post) else CANCELLED


def _carry_out(effect: Effect, wire: SyncDoor) -> Any:
    match effect:
        case Transact(call):
            return call()
        case Post(body):
            return wire.run(body)
        case GetStatus(prediction_id):
            return wire.get(wire.status_url(prediction_id))
        case GetBalance():
            return wire.get(wire.credits_url)
        case Pause(seconds):
            return time.sleep(seconds)


async def adrive(steps: Generator[Effect, Any, T], wire: AsyncDoor) -> T:
    """Carry a machine's steps out in an event loop; a cancellation is raised when they are booked."""
    stop: BaseException | None = None
    result: Any = None
    error: BaseException | None = None
    while True:
        try:
            effect = steps.send(result) if error is None else steps.throw(error)
        except StopIteration as finished:
            if stop is not None:
                raise stop from None
            returned: T = finished.value
            return returned
        result, error = None, None
        if stop is not None and not isinstance(effect, Transact):
            result = CANCELLED
            continue
        try:
            if isinstance(effect, Transact):
                transaction, interruption = await _finished(effect)
                stop = stop or interruption
                result = transaction.result()
            else:
                result = await _acarry_out(effect, wire)
        except Exception as failure:
            error = failure
        except asyncio.CancelledError as interruption:
            stop = interruption
            result = NoAnswer("cancelled") if isinstance(effect, Post) else CANCELLED


async def _finished(effect: Transact) -> tuple[asyncio.Future[Any], BaseException | None]:
    """A transaction that has ended, in a thread, and the cancellation that came meanwhile."""
    running = asyncio.ensure_future(asyncio.to_thread(effect.call))
    interruption: BaseException | None = None
    while not running.done():
        try:
            await asyncio.wait({running})
        except asyncio.CancelledError as cancelled:
            interruption = cancelled
    return running, interruption


async def _acarry_out(effect: Post | GetStatus | GetBalance | Pause, wire: AsyncDoor) -> Any:
    match effect:
        case Post(body):
            return await wire.run(body)
        case GetStatus(prediction_id):
            return await wire.get(wire.status_url(prediction_id))
        case GetBalance():
            return await wire.get(wire.credits_url)
        case Pause(seconds):
            return await asyncio.sleep(seconds)
