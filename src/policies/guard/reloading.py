"""The policy that a guard decides by, and its file: looked at between two decisions.

Here belong the cheap look at the files that a policy is built from, and what follows from it: a changed
policy comes in force in the ledger, a broken one is refused and the old one stays. How a policy is read
belongs to `policies.loading`, which text is in force to the ledger.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from planner.errors import ConfigError, InputError, PlannerError
from policies.engine import Policy
from policies.ledger.store import Store
from policies.loading import load_policy

SETTLED_SECONDS: Final = 2.0
"""How long after a change a file may change once more without another time: the coarsest clock of a
file system ticks every two seconds."""

Mark = tuple[int, int, int] | None
"""A file's time of change in nano-seconds, its size and its inode; None where it cannot be looked at."""


class PolicyFile:
    """A policy file, read when it has changed.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "small.yaml"
    >>> _ = path.write_text("policy: 1\\nname: small\\notherwise: allow\\n")
    >>> file = PolicyFile(path)
    >>> file.read().name, file.has_changed()
    ('small', False)
    >>> _ = path.write_text("policy: 1\\nname: larger\\notherwise: allow\\n")
    >>> file.has_changed(), file.read().name
    (True, 'larger')
    >>> folder.cleanup()
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sources: tuple[Path, ...] = (path,)
        self._seen: _Look | None = None

    def read(self) -> Policy:
        """The policy as it stands now; raises what `load_policy` raises."""
        while True:
            # Looked at before it is read: what changes meanwhile is seen the next time.
            self._seen = _Look.at(self._sources)
            policy = load_policy(self.path)
            sources = policy.sources or self._sources
            if sources == self._sources:
                return policy
            # What it is built from is known only now, and may have changed since it was read.
            self._sources = sources

    def has_changed(self) -> bool:
        """Whether one of its files is another one than when it was last read, readable or not."""
        seen = self._seen
        if seen is None or _marks(self._sources) != seen.marks:
            return True
        if seen.settled:
            return False
        now = _Look.at(self._sources)
        if now.contents != seen.contents:
            return True
        self._seen = now
        return False


@dataclass(frozen=True, slots=True)
class _Look:
    """How some files were found."""

    marks: tuple[Mark, ...]
    settled: bool
    """Whether a later change cannot but leave another mark."""
    contents: bytes
    """A digest of what they hold."""

    @classmethod
    def at(cls, paths: Sequence[Path]) -> _Look:
        before = time.time() - SETTLED_SECONDS
        marks = _marks(paths)
        settled = all(mark is None or mark[0] < before * 1e9 for mark in marks)
        return cls(marks, settled, _contents(paths))


def _marks(paths: Sequence[Path]) -> tuple[Mark, ...]:
    return tuple(map(_mark, map(str, paths)))


def _mark(path: str) -> Mark:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _contents(paths: Sequence[Path]) -> bytes:
    digest = hashlib.sha256()
    for path in paths:
        try:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError:
            digest.update(b"unreadable")
    return digest.digest()


class PolicyInUse:
    """What a guard decides by: the policy that was asked for, as far as the ledger has it in force.

    May be asked from several threads at once.
    """

    def __init__(self, store: Store, wanted: Policy, file: PolicyFile | None = None) -> None:
        """Brings `wanted` in force; with its `file` it is looked at before every decision."""
        self._store = store
        self._file = file
        self._looking = threading.Lock()
        self._pending: Policy | None = None
        self._turned_back: Policy | None = None
        """What was asked for where the ledger goes on with another text; it may be activated yet."""
        self.error: PlannerError | None = None
        """Why the policy that was asked for is not the one that decides; None where it is."""
        self.policy = self._brought(wanted)

    def now(self) -> Policy:
        """The policy for the next decision; a changed file takes effect here.

        Raises `OperatorError` where the ledger cannot take it; then the next decision tries again.
        """
        if self._file is not None or self._turned_back is not None:
            with self._looking:
                if self._file is not None:
                    self._look(self._file)
                if self._turned_back is not None:
                    self.policy = self._brought(self._turned_back)
        return self.policy

    def _look(self, file: PolicyFile) -> None:
        try:
            if file.has_changed():
                self._pending = file.read()
            if self._pending is not None:
                self.policy = self._brought(self._pending)
                self._pending = None
        except (InputError, ConfigError) as error:
            self.error, self._pending = error, None

    def _brought(self, wanted: Policy) -> Policy:
        found = self._store.bring_in_force(wanted)
        same = found.digest == wanted.digest
        self._turned_back = None if same else wanted
        self.error = None if same else _turned_back(wanted, found, self._file)
        return wanted if same else found


def _turned_back(wanted: Policy, found: Policy, file: PolicyFile | None) -> ConfigError:
    return ConfigError(
        f"this text of `{wanted.name}` ({wanted.digest[:8]}) was replaced earlier:"
        f" {found.digest[:8]} stays in force",
        code="policy_replaced",
        where="" if file is None else str(file.path),
        hint="`planner policy activate FILE` brings it back",
    )
