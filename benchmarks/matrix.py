"""How fast `planner plan` expands and plans a matrix, against a plain `itertools.product` loop.

    python benchmarks/matrix.py [--products N]

500 products x 20 poses x 10 ratios x 10 seeds are 1,000,000 jobs. The answer is checked against a formula
before a time is shown. The peer makes a dict for each combination in the same run, and nothing else: it
checks nothing and finds no repeated key or picture. No time is a pass or a failure.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

from planner.request import ASPECT_RATIOS
from planner.workload import open_workload

POSES, SEEDS = 20, 10
CREDITS_EACH = 4
"""Of `quality` at 2k, written out once more, so that the check does not rest on the price book."""


def write_matrix(folder: Path, products: int) -> Path:
    """A matrix over that many products."""
    rows = "".join(f"NL-{number},Linen dress {number},Dresses\n" for number in range(products))
    (folder / "products.csv").write_text("Variant SKU,Title,Type\n" + rows, "utf-8")
    matrix = {
        "workload": 1,
        "products": "products.csv",
        "each": {
            "pose": [f"pose-{number}" for number in range(POSES)],
            "aspect_ratio": [*ASPECT_RATIOS],
            "seed": [*range(SEEDS)],
        },
        "key": "{variant_sku}-{pose}-{aspect_ratio}-{seed}",
        "prompt": "{title}, {pose}, studio light",
        "defaults": {"resolution": "2k", "generation_mode": "quality"},
        "labels": {"team": "ecommerce", "type": "{type}"},
    }
    path = folder / "shoot.yaml"
    path.write_text(json.dumps(matrix), "utf-8")
    return path


def plain_loop(products: int) -> int:
    """The least that anybody could do."""
    jobs = 0
    for item, pose, ratio, seed in product(range(products), range(POSES), ASPECT_RATIOS, range(SEEDS)):
        row = {
            "key": f"NL-{item}-pose-{pose}-{ratio}-{seed}",
            "prompt": f"Linen dress {item}, pose-{pose}, studio light",
            "resolution": "2k", "generation_mode": "quality", "aspect_ratio": ratio, "seed": seed,
        }  # fmt: skip
        jobs += len(row) > 0
    return jobs


def process(path: Path) -> tuple[float, float, dict[str, int]]:
    """Seconds, peak MiB and answer of the whole command."""
    words = [sys.executable, "-c", "from policies.cli.main import main; main()", "plan", str(path), "--json"]
    begin = time.perf_counter()
    with subprocess.Popen(words, stdout=subprocess.PIPE) as command:
        assert command.stdout is not None
        answer = command.stdout.read()
        _, status, usage = os.wait4(command.pid, 0)
        command.returncode = os.waitstatus_to_exitcode(status)
    return time.perf_counter() - begin, usage.ru_maxrss / 1024, json.loads(answer)


def main() -> None:
    parser = argparse.ArgumentParser(description="Times a matrix; see the top of this file.")
    parser.add_argument("--products", type=int, default=500, help="products of the matrix (500)")
    products = int(parser.parse_args().products)
    jobs = products * POSES * len(ASPECT_RATIOS) * SEEDS
    with TemporaryDirectory() as folder:
        path = write_matrix(Path(folder), products)
        took, mib, found = process(path)
        begin = time.perf_counter()
        matrix = open_workload(path).matrix()
        counted = sum(matrix.cells().values()) if matrix else 0
        count_took = time.perf_counter() - begin
    if (found["jobs"], found["credits"], counted) != (jobs, jobs * CREDITS_EACH, jobs):
        raise SystemExit(f"planner plan found {found['jobs']:,} jobs and {found['credits']:,} credits")
    begin = time.perf_counter()
    plain_loop(products)
    plain_took = time.perf_counter() - begin
    print(f"{jobs:,} jobs, {jobs * CREDITS_EACH:,} credits (checked)")
    print(f"planner plan   {took:>8.2f} s, {mib:.0f} MiB, {took / plain_took:.1f} x plain_loop")
    print(f"plain_loop     {plain_took:>8.2f} s")
    print(f"counted only   {count_took:>8.3f} s, nothing expanded")


if __name__ == "__main__":
    main()
