"""Many lives of one system, each from its own seed, side by side in processes, and their sum.

Here belong what all lives share, running them, and adding up. One life belongs to `life`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from planner.errors import Fault, InputError
from planner.prices import PriceBook
from planner.quoting import quote
from planner.workload import Job
from policies.engine import Policy
from policies.loading import parse_policy
from policies.simulation.audit import Findings, audit
from policies.simulation.life import Life, Row
from policies.simulation.mischief import Mischief

_PICTURE: Final = "https://example.com/reference.png"
_IN_MEMORY: Final = Path("/dev/shm")
"""Where a life's ledger costs no disk: what a commit on disk is worth is for other tests to show."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What all lives share. A policy is its text, because lives may be in other processes."""

    rows: tuple[Row, ...]
    policy: str
    policy_name: str
    book: PriceBook
    fault_rate: float
    most_processes: int

    @classmethod
    def of(
        cls, jobs: Iterable[Job], policy: Policy, book: PriceBook, *, fault_rate: float, most_processes: int
    ) -> Setting:
        """The setting of a workload; raises `InputError` where it has no rows."""
        rows = {row.key: row for row in map(_row, jobs, count(1))}
        if not rows:
            raise InputError(faults=[Fault("empty", "there is nothing to run", hint="name a file with rows")])
        return cls(tuple(rows.values()), policy.text, policy.name, book, fault_rate, most_processes)

    @property
    def enforced(self) -> bool:
        """Whether the policy stops anything."""
        return _parsed(self.policy, self.policy_name).enforced

    def mischief(self, seed: int) -> Mischief:
        """What goes wrong in the life of that seed."""
        after = self.book.checked_at
        credits = sum(quote(row.request, self.book, after).credits for row in self.rows)
        return Mischief.of(
            seed,
            self.fault_rate,
            most_processes=self.most_processes,
            workload_credits=credits,
            after=after,
            zone=_parsed(self.policy, self.policy_name).zone,
        )


def _row(job: Job, number: int) -> Row:
    """A row as a life runs it: without its prompt and its pictures, which change nothing of what is shown."""
    key = job.key or f"row {number}"
    private: dict[str, Any] = {name: _PICTURE for name in _REFERENCES if getattr(job.request, name)}
    return Row(key, replace(job.request, prompt=key, **private), {**job.labels})


_REFERENCES: Final = ("face_reference", "image_reference")


def simulate(setting: Setting, seeds: Sequence[int], *, workers: int = 1) -> Iterator[tuple[int, Findings]]:
    """The life of each seed and what came of it, in the order of the seeds."""
    if workers == 1 or len(seeds) == 1:
        yield from ((seed, lived(setting, seed)) for seed in seeds)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from zip(seeds, pool.map(lived, [setting] * len(seeds), seeds), strict=True)


def lived(setting: Setting, seed: int) -> Findings:
    """One life from beginning to end."""
    policy = _parsed(setting.policy, setting.policy_name)
    within = _IN_MEMORY if _IN_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=within, prefix="planner-life-") as folder:
        life = Life(Path(folder), setting.rows, policy, setting.book, setting.mischief(seed))
        try:
            life.live()
            return audit(life)
        finally:
            life.close()


def total(found: Sequence[Findings]) -> Findings:
    """The sum of what came of many lives; what is broken keeps its order."""
    sums = {name: sum(getattr(one, name) for one in found) for name in Findings.names()}
    return Findings(**sums, broken=tuple(text for one in found for text in one.broken))


@lru_cache(maxsize=4)
def _parsed(text: str, name: str) -> Policy:
    return parse_policy(text, name)
