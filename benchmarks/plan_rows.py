"""How fast a workload file is read and priced, against a plain `csv.DictReader` loop.

    python benchmarks/plan_rows.py [ROWS]

The answer is checked before the time is shown: the credits must equal a count kept while the file is
written. The peer loops over the same file and looks each price up in a dict; it checks nothing,
repairs nothing and finds no repeated key. No time is a pass or a failure.
"""

from __future__ import annotations

import csv
import resource
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
                "prompt": f"full body shot, woman wearing coat {number}, cobbled street in soft light",
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


def plan(path: Path) -> int:
    """What `planner plan` does first: every row read, checked, deduplicated and priced."""
    prices = [quote.credits for quote in quotes(shipped_prices().entry_at())]
    return sum(prices[cell] for cell, _ in open_workload(path).outlines())


def jobs(path: Path) -> int:
    """The same with whole requests and the user's own columns, as `planner run` needs them."""
    prices = [quote.credits for quote in quotes(shipped_prices().entry_at())]
    return sum(prices[price_cell(job.request)] for job in open_workload(path).jobs())


def plain_loop(path: Path) -> int:
    """The least that anybody could do: a dict per row and the price by hand."""
    with path.open(encoding="utf-8", newline="") as stream:
        return sum(map(price, csv.DictReader(stream)))


def seconds(work: Callable[[Path], int], path: Path, credits: int) -> float:
    """The time of the better of two runs, after checking the answer of both."""
    times = []
    for _ in range(2):
        begin = time.perf_counter()
        found = work(path)
        times.append(time.perf_counter() - begin)
        if found != credits:
            raise SystemExit(f"{work.__name__} found {found} credits where {credits} were written")
    return min(times)


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        credits = write_rows(path, rows)
        took = {work.__name__: seconds(work, path, credits) for work in (plain_loop, plan)}
        peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        took["jobs"] = seconds(jobs, path, credits)
    print(f"{rows:,} rows, {credits:,} credits (checked), peak memory of plan {peak_kib / 1024:.0f} MiB")
    for name, time_seconds in took.items():
        print(
            f"{name:<12}{rows / time_seconds:>12,.0f} rows/s {time_seconds / rows * 1e6:>8.2f} µs a row"
            f"{time_seconds / took['plain_loop']:>8.2f} x plain_loop"
        )


if __name__ == "__main__":
    main()
