"""Real finish times against the simulator's band: `python benchmarks/finish.py [--runs 20] [--speed 60]`.

Each run is the real runner over HTTP against a sandbox in a process of its own, with a ledger in a file.
Each is predicted from the runs before it, a few of which come first: service times are fitted to what
their ledgers saw, and what a slot spends on a job besides running it is taken from the ledgers of the
latest, because it depends on the machine; nothing is set by hand. At least nine of ten runs must end in
the simulator's band from p1 to p99. Times are virtual seconds, from the first submission to the last end
that the ledger knows.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from statistics import mean

from planner.capacity import Capacity, look_delay_seconds, simulate
from planner.learning import Observation, fit
from planner.loading import shipped_latency, shipped_prices
from planner.pacing import Limits
from planner.quoting import price_cell
from planner.workload import open_workload
from policies.guard.batch import Ending, lines_of, tally
from policies.guard.guard import Guard
from policies.guard.runner import Runner
from policies.guard.triage import Options
from policies.guard.wire import AsyncWire
from policies.ledger.entries import from_us
from runner import sandbox

POLICY = "policy: 1\nname: open\notherwise: allow\n"
LEAST_SHARE = 0.9
LATEST = 4


@dataclass(frozen=True)
class Run:
    """What the ledger says of one run, in virtual seconds."""

    finish_seconds: float
    observations: Sequence[Observation]
    travel_seconds: float
    """From an end until the next job in its slot is accepted, on average."""


def run(seed: int, speed: float, jobs: int) -> Run:
    """Run the first jobs of the look-book once; every one must complete."""
    with tempfile.TemporaryDirectory() as name, sandbox(speed, seed) as url:
        folder = Path(name)
        (folder / "open.yaml").write_text(POLICY, "utf-8")
        ledger = f"sqlite:///{folder}/spend.db"
        with Guard.open(str(folder / "open.yaml"), ledger, speed=speed) as guard:
            guard.bind(url)
            lines = lines_of(book().jobs(), guard.store.derived_key)[:jobs]
            asyncio.run(drive(guard, url, lines))
            assert tally(lines).endings[Ending.COMPLETED] == jobs
            return read(guard, speed)


async def drive(guard: Guard, url: str, lines: list) -> None:
    wire = AsyncWire(url, "benchmark")
    await Runner(guard, wire, lines, None, Options()).run()
    await wire.close()


def read(guard: Guard, speed: float) -> Run:
    """When the jobs of a ledger were sent, accepted and seen to have ended."""
    entries = sorted(guard.store.entries(), key=lambda entry: entry.accepted_us)
    first, ends = min(entry.sent_us for entry in entries), sorted(entry.ended_us for entry in entries)
    free = [first] * Limits().concurrency + ends
    travel = mean(entry.accepted_us - at for entry, at in zip(entries, free, strict=False))
    return Run(
        (ends[-1] - first) * speed / 1e6,
        [
            Observation(
                (entry.billed_mode, entry.resolution or "1k", entry.face_reference, entry.num_images or 1),
                from_us(entry.accepted_us).hour,
                (entry.ended_us - entry.accepted_us) * speed / 1e6,
            )
            for entry in entries
        ],
        travel * speed / 1e6,
    )


def book():
    return open_workload(str(files("planner") / "data" / "lookbook.csv"))


def predicted(earlier: Sequence[Run], cells: bytes) -> Capacity:
    """What the simulator says, having learned from earlier runs; what a ledger observes holds the looks."""
    profile = fit([one for run in earlier for one in run.observations], shipped_latency(), "sandbox")
    travel = mean(run.travel_seconds for run in earlier[-LATEST:]) - look_delay_seconds(Limits())
    return simulate(cells, profile.by_cell(shipped_prices().entry_at()), travel_seconds=travel)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--earlier", type=int, default=6)
    parser.add_argument("--speed", type=float, default=60.0)
    parser.add_argument("--jobs", type=int, default=60)
    given = parser.parse_args()
    cells = bytes(price_cell(job.request) for job in book().jobs())[: given.jobs]
    earlier = [run(1000 + seed, given.speed, given.jobs) for seed in range(given.earlier)]
    print(f"{given.jobs} jobs at speed {given.speed:g}; {given.earlier} runs to learn from came first\n")
    print(f"{'':<8}{'p1':>8}{'p50':>8}{'p99':>8}{'real':>8}{'besides':>11}")
    within = 0
    for seed in range(given.runs):
        band = predicted(earlier, cells)
        found = run(seed, given.speed, given.jobs)
        inside = band.p1_seconds <= found.finish_seconds <= band.p99_seconds
        within += inside
        figures = (band.p1_seconds, band.p50_seconds, band.p99_seconds, found.finish_seconds)
        told = "".join(f"{figure:>8.0f}" for figure in figures)
        besides = f"{found.travel_seconds:>9.2f} s"
        print(f"seed {seed:>3}{told}{besides}{'' if inside else '   outside'}", flush=True)
        earlier.append(found)
    print(f"\n{within} of {given.runs} runs lie between p1 and p99")
    assert within >= LEAST_SHARE * given.runs


if __name__ == "__main__":
    main()
