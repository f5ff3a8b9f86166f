"""How long it takes until something useful happens: whole processes, medians, against bare ones.

    python benchmarks/startup.py [RUNS]

Each line is the wall time of a process of its own. The answer of the first quote is checked before its
time is shown. Runs take turns, so that a busy moment of the machine hits all of them alike. No time is
a pass or a failure; only the ratios mean anything.
"""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

QUOTE = "import planner; print(planner.quote({'prompt': 'x', 'resolution': '2k'}).credits)"
MODEL = "from pydantic import BaseModel\nclass M(BaseModel):\n    x: int\nprint(M(x=4).x)"
MAIN = "from policies.cli.main import main; main({words!r})"
WORK = {
    "interpreter alone": ("pass", ""),
    "import planner": ("import planner", ""),
    "import pydantic": ("import pydantic", ""),
    "pydantic, first validation": (MODEL, "4\n"),
    "import planner, first quote": (QUOTE, "4\n"),
    "import click": ("import click", ""),
    "planner --help": (MAIN.format(words=["--help"]), "Usage: planner"),
    "planner quote --json": (MAIN.format(words=["quote", "--resolution", "2k", "--json"]), '{"schema"'),
}
RATIOS = (
    ("import planner, first quote", "import pydantic", "which loads its models lazily"),
    ("import planner, first quote", "pydantic, first validation", ""),
    ("planner --help", "import click", ""),
    ("planner quote --json", "import planner, first quote", ""),
)


def run_ms(script: str, expected: str) -> float:
    """The milliseconds of one process, after checking that it said what it should."""
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    elapsed = time.perf_counter() - begin
    if not done.stdout.startswith(expected):
        raise SystemExit(f"`{script}` said {done.stdout[:80]!r}")
    return elapsed * 1000


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    taken: dict[str, list[float]] = {name: [] for name in WORK}
    for script, expected in WORK.values():
        run_ms(script, expected)  # once unmeasured: byte code is compiled, files are in the cache
    for _ in range(runs):
        for name, (script, expected) in WORK.items():
            taken[name].append(run_ms(script, expected))
    found = {name: median(times) for name, times in taken.items()}
    bare = found["interpreter alone"]
    print(f"{'median of ' + str(runs):<30} {'ms':>8} {'over the interpreter':>22}")
    for name, milliseconds in found.items():
        print(f"{name:<30} {milliseconds:>8.1f} {milliseconds - bare:>22.1f}")
    for name, peer, note in RATIOS:
        print(f"{name} / {peer}: {found[name] / found[peer]:.2f}  {note}".rstrip())


if __name__ == "__main__":
    main()
