"""Who is at work on an entry: a process that holds an OS lock, or whose lease is fresh on another host.

Here belongs telling a living owner from a dead one. On one machine the kernel gives the lock back when
a process ends, however it ends, so nothing has to be cleaned up and no clock is asked. Another machine
cannot ask the kernel: it goes by the lease that the owner renews in a ledger that many hosts share.
"""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import time
import weakref
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final
from uuid import uuid4

from planner.errors import PlannerError

LEASE: Final = timedelta(seconds=60)
"""How long a host that shows no sign of life keeps its work."""

_RENEWED_SECONDS: Final = 15.0
_SURE_SECONDS: Final = 40.0
"""Since the last renewal: until then no other host has taken anything over."""
_LAST_RENEWAL_SECONDS: Final = 5.0


class Owner:
    """One living owner. It is a new one after a fork, and none after `close`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.id = uuid4().hex
        self.host = socket.gethostname()
        self.pid = os.getpid()
        self._folder = folder
        self._lock: int | None = os.open(_path(folder, self.id), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._ended = threading.Event()
        self._sign_off: Callable[[], object] | None = None
        self._renewing: threading.Thread | None = None
        self._shown_seconds: float | None = None
        _living.add(self)

    @property
    def alive(self) -> bool:
        return self._lock is not None

    @property
    def is_sure(self) -> bool:
        """Whether no other host can have taken its work: false after a standstill, until it has asked."""
        shown = self._shown_seconds
        return shown is None or seconds_up() - shown < _SURE_SECONDS

    def shown(self, seconds: float) -> None:
        """Its lease was renewed, at that second of `seconds_up`."""
        self._shown_seconds = seconds

    def lease(self, renew: Callable[[], bool], sign_off: Callable[[], object]) -> None:
        """Show other hosts that it lives, until it ends; it ends when `renew` says that it was taken over.

        `sign_off` lets them know at once when it is closed.
        """
        self._sign_off = sign_off
        self._renewing = threading.Thread(
            target=self._renew, args=(renew,), daemon=True, name="planner-lease"
        )
        self._renewing.start()

    def _renew(self, renew: Callable[[], bool]) -> None:
        while not self._ended.wait(_RENEWED_SECONDS):
            try:
                if not renew():
                    self.close()
            except PlannerError:
                continue  # the server is away: the lease may still be renewed in time

    def close(self) -> None:
        """End this owner: whatever it still holds may be taken over."""
        if self._lock is None:
            return
        _path(self._folder, self.id).unlink(missing_ok=True)
        self.abandon()
        if self._sign_off is not None:
            try:
                self._sign_off()
            except PlannerError:
                return  # then the others wait until the lease has run out

    def abandon(self) -> None:
        """Let go of the lock as the kernel does for a process that dies, and leave the file."""
        self.end_lease()
        self.let_go()

    def end_lease(self) -> None:
        """Show other hosts no more that it lives; what is under way for that has ended with this."""
        self._ended.set()
        if self._renewing is not None and self._renewing is not threading.current_thread():
            self._renewing.join(_LAST_RENEWAL_SECONDS)

    def let_go(self) -> None:
        """Let go of the lock alone, as a child does that shares its parent's open files."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def seconds_up() -> float:
    """A clock that no person sets and that goes on while this machine sleeps, where it has such a one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def is_alive(folder: Path, owner_id: str) -> bool:
    """Whether the owner of that id still holds its lock."""
    return bool(_is_held(folder, owner_id))


def shows_life(folder: Path, owner_id: str, host: str, fresh: bool) -> bool:
    """The same where owners are on many hosts: the lock says it where it can be asked, else the lease."""
    held = _is_held(folder, owner_id) if host == socket.gethostname() else None
    return fresh if held is None else held


def _is_held(folder: Path, owner_id: str) -> bool | None:
    """Whether somebody holds the lock of that owner; None where there is no such lock here."""
    try:
        handle = os.open(_path(folder, owner_id), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except PermissionError:
        return True  # another person's lock: whoever cannot ask must not take over
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def forget(folder: Path, owner_id: str) -> None:
    """Remove what a dead owner left behind."""
    _path(folder, owner_id).unlink(missing_ok=True)


def _path(folder: Path, owner_id: str) -> Path:
    return folder / f"{owner_id}.lock"


_living: weakref.WeakSet[Owner] = weakref.WeakSet()


def _end_in_child() -> None:
    """A child shares its parent's open files: it lets go of them, and the parent keeps the lock."""
    for owner in tuple(_living):
        owner.let_go()


os.register_at_fork(after_in_child=_end_in_child)
