"""How fast `planner plan` reads and prices a workload file, against a plain `csv.DictReader` loop.

    python benchmarks/plan_rows.py [--rows N | --million]

Every answer is checked before a time is shown: jobs and credits must equal a count kept while the file
is written. The peer loops over the same file in the same run and looks each price up in a dict; it
checks nothing, repairs nothing, finds no repeated key or picture and knows no finish time. The whole
process is also run on a tenth of the rows, to show what memory grows by. No time is a pass or a failure.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from planner.loading import shipped_prices
from planner.quoting import price_cell, quotes
from planner.workload import open_workload

HEADER = (
    "key", "prompt", "resolution", "generation_mode", "aspect_ratio", "face_reference", "num_images",
    "seed", "team", "campaign", "stage", "sku",
)  # fmt: skip
CREDITS = {"fast": (1, 2, 3), "balanced": (2, 3, 4), "quality": (3, 4, 5)}
"""Written out once more, so that the check does not rest on the price book it checks."""
FACE = 3


GARMENTS = ("a linen dress", "a camel coat", "white jeans", "a crêpe blouse", "a black technical parka")
PLACES = (
    "cobbled street, soft light",
    "studio with a grey backdrop",
    "café terrace, morning",
    "rooftop at dusk",
)
RUNS = 2


def price(row: dict[str, str]) -> int:
    """The price of a row of this file, by hand."""
    tier = {"": 0, "1k": 0, "2k": 1, "4k": 2}[row["resolution"]]
    mode = row["generation_mode"] or ("quality" if tier else "fast")
    each = CREDITS[mode][tier] + (FACE if row["face_reference"] else 0)
    return each * int(row["num_images"] or 1)


def write_rows(path: Path, rows: int) -> int:
    """A file of that many rows, every tenth without a key; its credits are returned."""
    random, credits = Random(7), 0
    with path.open("w", encoding="utf-8", newline="") as stream:
        sheet = csv.DictWriter(stream, HEADER)
        sheet.writeheader()
        for number in range(rows):
            row = {
                "key": f"look-{number:07}" if number % 10 else "",
                "prompt": f"look {number}, woman in {random.choice(GARMENTS)}, {random.choice(PLACES)}",
                "resolution": random.choice(("", "1k", "2k", "4k")),
                "generation_mode": random.choice(("", "fast", "balanced", "quality")),
                "aspect_ratio": random.choice(("", "1:1", "3:4", "16:9")),
                "face_reference": random.choice(("", "", f"https://example.com/{random.randrange(9)}.png")),
                "num_images": random.choice(("", "", "1", "2", "4")),
                "seed": random.choice(("", str(random.randrange(2**32)))),
                "team": random.choice(("ecommerce", "social", "brand")),
                "campaign": f"campaign-{random.randrange(20)}",
                "stage": random.choice(("draft", "production")),
                "sku": f"SW-{random.randrange(1000)}",
            }
            sheet.writerow(row)
            credits += price(row)
    return credits


def plain_loop(path: Path) -> int:
    """The least that anybody could do: a dict per row and the price by hand."""
    with path.open(encoding="utf-8", newline="") as stream:
        return sum(map(price, csv.DictReader(stream)))


def outlines(path: Path) -> int:
    """The pass of `planner plan`: every row read, checked, deduplicated and priced."""
    prices = [quote.credits for quote in quotes(shipped_prices().entry_at())]
    return sum(prices[cell] for cell, _ in open_workload(path).outlines())


def jobs(path: Path) -> int:
    """The same with whole requests and the user's own columns, as `planner run` needs them."""
    prices = [quote.credits for quote in quotes(shipped_prices().entry_at())]
    return sum(prices[price_cell(job.request)] for job in open_workload(path).jobs())


def seconds(work: Callable[[Path], int], path: Path, credits: int) -> float:
    """The time of the best run, after checking the answer of each."""
    times = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        found = work(path)
        times.append(time.perf_counter() - begin)
        if found != credits:
            raise SystemExit(f"{work.__name__} found {found} credits where {credits} were written")
    return min(times)


def process(path: Path, rows: int, credits: int) -> tuple[float, float]:
    """Seconds and peak MiB of the whole command from its start to its end, after checking its answer."""
    words = [sys.executable, "-c", "from policies.cli.main import main; main()", "plan", str(path), "--json"]
    runs = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        with subprocess.Popen(words, stdout=subprocess.PIPE) as command:
            assert command.stdout is not None
            answer = command.stdout.read()
            _, status, usage = os.wait4(command.pid, 0)
            command.returncode = os.waitstatus_to_exitcode(status)
        runs.append((time.perf_counter() - begin, usage.ru_maxrss / 1024))
        found = json.loads(answer)
        if (found["jobs"], found["credits"]) != (rows, credits):
            raise SystemExit(f"planner plan found {found['credits']} credits where {credits} were written")
    return min(runs)


def asked_rows() -> int:
    parser = argparse.ArgumentParser(description="Times `planner plan`; see the top of this file.")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--rows", type=int, default=100_000, help="rows of the file (100,000)")
    size.add_argument("--million", dest="rows", action="store_const", const=1_000_000, help="1,000,000 rows")
    return int(parser.parse_args().rows)


def main() -> None:
    rows = asked_rows()
    with TemporaryDirectory() as folder:
        tenth, whole = Path(folder) / "tenth.csv", Path(folder) / "whole.csv"
        _, small_mib = process(tenth, rows // 10, write_rows(tenth, rows // 10))
        credits = write_rows(whole, rows)
        took = {work.__name__: seconds(work, whole, credits) for work in (plain_loop, outlines, jobs)}
        took["planner plan"], mib = process(whole, rows, credits)
    print(f"{rows:,} rows, {credits:,} credits (checked)")
    for name, time_seconds in took.items():
        print(
            f"{name:<13}{time_seconds:>8.2f} s {time_seconds / rows * 1e6:>7.2f} µs a row"
            f"{time_seconds / took['plain_loop']:>7.2f} x plain_loop"
        )
    grown = (mib - small_mib) * 2**20 / (rows - rows // 10)
    print(
        f"planner plan: peak {small_mib:.0f} MiB at {rows // 10:,} rows, {mib:.0f} MiB at {rows:,}", end=": "
    )
    print(f"{grown:.0f} bytes a row")


if __name__ == "__main__":
    main()
