"""Who is at work on an entry: a process that holds an OS lock, and nobody else.

Here belongs telling a living owner from a dead one on one machine. The kernel gives the lock back when
a process ends, however it ends, so nothing has to be cleaned up and no clock is asked.
"""

from __future__ import annotations

import fcntl
import os
import socket
import weakref
from pathlib import Path
from uuid import uuid4


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
        _living.add(self)

    @property
    def alive(self) -> bool:
        return self._lock is not None

    def close(self) -> None:
        """End this owner: whatever it still holds may be taken over."""
        if self._lock is not None:
            _path(self._folder, self.id).unlink(missing_ok=True)
        self.abandon()

    def abandon(self) -> None:
        """Let go of the lock as the kernel does for a process that dies, and leave the file."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def is_alive(folder: Path, owner_id: str) -> bool:
    """Whether the owner of that id still holds its lock."""
    try:
        handle = os.open(_path(folder, owner_id), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
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
        owner.abandon()


os.register_at_fork(after_in_child=_end_in_child)
