"""The state file: one line of JSON for each event, written before its answer leaves.

Here belongs the file: its lock, its torn last line, its order. What the events mean belongs to
`provider`. After a crash the virtual clock stands at the last event; it stands still while nobody runs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from io import BufferedRandom
from pathlib import Path
from typing import Any, Final

from planner.errors import ConfigError, OperatorError

FORMAT: Final = 1


class Journal:
    """An open state file. `born` is its first event, with the seed and the balance of a new account.

    Raises `OperatorError` when the file cannot be opened or another sandbox has it, `ConfigError` when
    it is not a state file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _opened(path)
        try:
            _lock(self._file, path)
            self.events: tuple[dict[str, Any], ...] = tuple(self._read())
        except BaseException:
            self._file.close()
            raise

    @property
    def born(self) -> dict[str, Any] | None:
        """The first event, or None in a new file."""
        return self.events[0] if self.events else None

    def append(self, event: dict[str, Any]) -> None:
        """Adds an event. When this returns it survives a crash of the process and of the machine."""
        self._file.write(json.dumps(event, separators=(",", ":")).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file and gives up its lock."""
        self._file.close()

    def _read(self) -> Iterator[dict[str, Any]]:
        """The events of the file. A last line without its end was never answered for: it is cut away."""
        good = 0
        for number, line in enumerate(self._file, start=1):
            if not line.endswith(b"\n"):
                break
            event = self._event(line, number)
            if number == 1 and event.get("format") != FORMAT:
                raise self._unreadable(number)
            yield event
            good += len(line)
        self._file.seek(good)
        self._file.truncate()

    def _event(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            event = json.loads(line)
        except ValueError:
            raise self._unreadable(number) from None
        if not (isinstance(event, dict) and "event" in event and "at" in event):
            raise self._unreadable(number)
        return event

    def _unreadable(self, number: int) -> ConfigError:
        where = f"{self._path}:{number}"
        return ConfigError("this is not a state file of the sandbox", code="bad_state", where=where)


def _opened(path: Path) -> BufferedRandom:
    try:
        path.touch()
        return path.open("r+b")
    except OSError as error:
        raise _unavailable(path, error.strerror or str(error), "name a file that can be written") from error


def _lock(file: BufferedRandom, path: Path) -> None:
    """Takes the file for this process alone, where the system can."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise _unavailable(path, "another sandbox has it", "stop that one, or name another file") from error


def _unavailable(path: Path, why: str, hint: str) -> OperatorError:
    return OperatorError(
        f"the state file `{path}` cannot be used: {why}", code="state_unavailable", hint=hint
    )
