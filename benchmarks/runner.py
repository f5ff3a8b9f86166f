"""A look-book at full speed, two ways: `python benchmarks/runner.py [--seeds 5] [--speed 25] [--rows 240]`.

Each run is the real runner over HTTP against a sandbox in a process of its own, with a ledger in a file.
Answers come first: what the ledger settled is the sandbox's bill to the credit, never more than six are
in flight, and the runner is never refused and never asks more than fifty times in ten seconds. Then,
beside a plain loop that asks about every job once a second and keeps the order of the file: the share
of slots busy between the first submission and the last result, status calls for each prediction, and
how long an end goes unnoticed. The times depend on the machine and gate nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from statistics import mean
from typing import Any

import httpx

from planner.latency import Seconds
from planner.pacing import Pacer
from planner.workload import open_workload
from policies.guard import runner as runner_module
from policies.guard.batch import Ending, lines_of, name_pictures, tally
from policies.guard.guard import Guard
from policies.guard.naming import Template
from policies.guard.pictures import PictureFolder
from policies.guard.runner import Runner
from policies.guard.triage import Options
from policies.guard.wire import AsyncWire

SERVE = """
import sys
from policies.server.sandbox.app import serve
serve(speed=float(sys.argv[1]), seed=int(sys.argv[2]), ready=lambda url: print(url, flush=True))
"""
PLAIN_SECONDS = 1.0


class PlainPacer(Pacer[int]):
    """What a loop does that knows nothing: every job is asked about once a second, within the window."""

    __slots__ = ("_asked", "_every_seconds")

    def __init__(self, limits: Any) -> None:
        super().__init__(limits)
        self._asked: dict[int, float] = {}
        self._every_seconds = PLAIN_SECONDS * limits.status.seconds / 10.0

    def started(self, job: int, now: float, expected: Seconds) -> None:
        super().started(job, now, expected)
        self._asked[job] = now

    def finished(self, job: int, now: float, *, telling: bool = True) -> None:
        super().finished(job, now, telling=telling)
        del self._asked[job]

    def polled(self, job: int, now: float) -> None:
        super().polled(job, now)
        self._asked[job] = now

    def next_poll(self, now: float) -> tuple[float, int] | None:
        if not self._asked:
            return None
        job = min(self._asked, key=self._asked.__getitem__)
        return max(self._asked[job] + self._every_seconds, self.look_at(now)), job


class Wire(AsyncWire):
    """Notes when each prediction was first seen to have ended, and counts the status calls."""

    def __init__(self, base_url: str) -> None:
        super().__init__(base_url, "benchmark")
        self.asked = 0
        self.seen: dict[str, float] = {}

    async def get(self, url: str) -> Any:
        reply = await super().get(url)
        if "/v1/status/" in url:
            self.asked += 1
            if b'"completed"' in getattr(reply, "body", b""):
                self.seen.setdefault(url.rsplit("/", 1)[1], time.monotonic())
        return reply


@dataclass(frozen=True)
class Measured:
    """One run, in virtual seconds."""

    busy_share: float
    asked_per_job: float
    unnoticed_seconds: float
    most_asked: int
    refused: int


@contextmanager
def sandbox(speed: float, seed: int) -> Iterator[str]:
    command = [sys.executable, "-c", SERVE, str(speed), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def measure(seed: int, speed: float, rows: int, folder: Path) -> Measured:
    """Run the look-book once, check every answer, and say how well the slots were used."""
    with (
        sandbox(speed, seed) as url,
        Guard.open("starter", f"sqlite:///{folder}/spend.db", speed=speed) as guard,
    ):
        guard.bind(url)
        book = open_workload(str(files("planner") / "data" / "lookbook.csv"))
        lines = lines_of(book.jobs(), guard.store.derived_key)[:rows]
        name_pictures(lines, Template.parse("{key}-{n}"), guard.shoot, {})
        wire = asyncio.run(run(guard, url, lines, folder))
        bill = httpx.get(f"{url}/sandbox/bill").json()
        zero = time.monotonic() - bill["at_seconds"] / speed
        sums = tally(lines)
        assert sums.endings[Ending.COMPLETED] == len(lines)
    assert bill["credits"] == sums.settled_credits, "the ledger and the bill disagree"
    assert bill["most_in_flight"] <= 6
    late = [(wire.seen[one["id"]] - zero) * speed - one["completed_seconds"] for one in bill["predictions"]]
    return Measured(
        bill["busy_share"],
        wire.asked / len(lines),
        mean(late),
        bill["most_status_polls"],
        sum(bill["refused"].values()),
    )


async def run(guard: Guard, url: str, lines: list[Any], folder: Path) -> Wire:
    wire, pictures = Wire(url), PictureFolder(folder / "pictures", speed=guard.store.speed)
    await Runner(guard, wire, lines, pictures, Options()).run()
    await wire.close()
    await pictures.close()
    return wire


@contextmanager
def plainly() -> Iterator[None]:
    """The same runner with a pacer that knows nothing, in the order of the file."""
    kept = runner_module.Pacer, runner_module.order
    runner_module.Pacer = PlainPacer  # type: ignore[misc]
    runner_module.order = lambda expected: [*range(len(expected))]
    try:
        yield
    finally:
        runner_module.Pacer, runner_module.order = kept  # type: ignore[misc]


def show(name: str, found: list[Measured]) -> None:
    busy = mean(one.busy_share for one in found)
    asked = mean(one.asked_per_job for one in found)
    late = mean(one.unnoticed_seconds for one in found)
    most = max(one.most_asked for one in found)
    refused = sum(one.refused for one in found)
    print(f"{name:<28}{busy:>10.2%}{asked:>14.1f}{late:>16.2f} s{most:>14}{refused:>10}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--speed", type=float, default=25.0)
    parser.add_argument("--rows", type=int, default=240)
    given = parser.parse_args()
    paced, plain = [], []
    for seed in range(given.seeds):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
            paced.append(measure(seed, given.speed, given.rows, Path(one)))
            assert paced[-1].refused == 0
            assert paced[-1].most_asked <= 50
            with plainly():
                plain.append(measure(seed, given.speed, given.rows, Path(two)))
    print(f"{given.rows} rows, {given.seeds} seeds, speed {given.speed:g}; all answers agree\n")
    print(
        f"{'':<28}{'slots busy':>10}{'asked per job':>14}{'unnoticed':>18}{'most in 10 s':>14}{'refused':>10}"
    )
    show("the runner", paced)
    show("once a second, file order", plain)


if __name__ == "__main__":
    main()
