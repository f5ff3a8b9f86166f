"""Many processes, misfortunes and kills on one budget: `python benchmarks/safety.py [--quick] [--readme]`.

Every row of the table is a life of its own: a sandbox in a process of its own that loses answers, fails
and vanishes at the stated rate; one ledger, one account and one budget that is smaller than what the work
costs; and one, four or eight processes of `planner run` that all run the same file. Where things go wrong,
processes are also ended by SIGKILL while jobs are under way, and started again. Then one more run goes on
to the end, and the ledger is held against the sandbox's own journal and bill. `--quick` makes two rows;
`--readme` prints nothing but the table. It fails where a law does.

Left out are faults that only end by hours of waiting (`stuck`, `silent_after`) and those by which the
provider's own price differs from what is asked for (`drift`, `partial`, `charged_failure`): the simulator
has those. Here the ledger and the bill have to agree to the credit.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests import postgres

from planner import quote
from policies.ledger.entries import Entry
from policies.ledger.states import OPEN, TAKEN, Happened, State
from policies.ledger.store import Store
from policies.ledger.verify import verify
from policies.server.sandbox.faults import Faults

PROCESSES, RATES, ENGINES = (1, 4, 8), (0, 5, 20), ("SQLite", "PostgreSQL")
JOBS, SPEED, SLOTS = 80, 200, 6
KILLS = {0: 0, 5: 3, 20: 6}
LOSES = (
    "lost_before",
    "proxy_before",
    "redirect_before",
    "lost_after",
    "proxy_after",
    "redirect_after",
    "no_id",
)
SHARES = dict.fromkeys(LOSES, 1) | {
    "lost_after": 4,
    "proxy_after": 2,
    "server_error": 1,
    "rate_limited": 1,
    "status_error": 2,
    "failed": 3,
    "vanished": 1,
    "unknown_status": 1,
    "slow": 2,
    "missing_header": 2,
    "malformed_header": 1,
}
"""How often each misfortune strikes beside the others; together they are the rate."""

POLICY = """
policy: 1
name: bound
timezone: UTC
otherwise: allow
budgets:
  - {name: shoot, limit: LIMIT credits, per: total, when_exhausted: deny}
"""

# Every run is a process of its own, which does not have to import everything anew.
FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(["__main__", "policies.cli.run", "policies.guard.runner"])


@dataclass(frozen=True)
class Cell:
    """What one row of the table is about."""

    processes: int
    rate: int
    engine: str
    seed: int

    @property
    def faults(self) -> str:
        one = self.rate / 100 / sum(SHARES.values())
        return ",".join(f"{name}={share * one:.6f}" for name, share in SHARES.items() if one)

    def __str__(self) -> str:
        return f"{self.processes} processes, {self.rate} %, {self.engine}, seed {self.seed}"


@dataclass(frozen=True)
class Found:
    """What one row of the table says."""

    killed: int
    charged: int
    limit: int
    over_budget: int
    out_of_sight: int
    double: int
    stranded: int
    lost: int


# -- the work ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Work:
    """A file of jobs and a policy whose budget they do not fit into. The seed of a row is its number."""

    file: Path
    policy: Path
    credits: Sequence[int]
    limit: int

    @classmethod
    def written(cls, folder: Path, jobs: int, seed: int) -> Work:
        chance = random.Random(seed)
        rows: list[dict[str, Any]] = [
            {
                "key": f"look-{number:03}",
                "prompt": f"look {number}",
                "seed": number,
                "resolution": chance.choice(["1k", "1k", "2k"]),
                "generation_mode": chance.choice(["fast", "fast", "balanced"]),
                "num_images": chance.choice([1, 1, 2]),
            }
            for number in range(jobs)
        ]
        file, policy = folder / "looks.csv", folder / "bound.yaml"
        with file.open("w", newline="") as stream:
            table = csv.DictWriter(stream, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
        inputs = [{name: value for name, value in row.items() if name != "key"} for row in rows]
        credits = [quote(one).credits for one in inputs]
        limit = sum(credits) * 3 // 5
        policy.write_text(POLICY.replace("LIMIT", str(limit)))
        return cls(file, policy, credits, limit)


@contextmanager
def sandbox(folder: Path, cell: Cell) -> Iterator[str]:
    words = ["sandbox", "--speed", str(SPEED), "--seed", str(cell.seed), "--faults", cell.faults]
    command = [sys.executable, "-m", "policies.cli", *words, "--state", str(folder / "journal"), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()


class Crew:
    """The processes of one row of the table: each is `planner run` with the same words."""

    def __init__(self, folder: Path, work: Work, ledger: str, url: str) -> None:
        words = ["run", str(work.file), "--policy", str(work.policy), "--ledger", ledger, "--base-url", url]
        self._words = [*words, "--speed", str(SPEED), "--no-pictures", "--yes", "--json"]
        self._folder = folder
        self._url = url
        self._started = 0
        self.killed = 0

    def start(self) -> Run:
        self._started += 1
        told = self._folder / f"told-{self._started}"
        process = FORKING.Process(target=run, args=(self._words, str(self._folder), str(told)), daemon=True)
        process.start()
        return Run(process, told)

    def race(self, processes: int, kills: Sequence[int], chance: random.Random) -> None:
        """Run them to their ends; one is killed and started again whenever so many jobs were accepted."""
        running = [self.start() for _ in range(processes)]
        for accepted in kills:
            while any(one.is_alive for one in running) and billed(self._url)["accepted"] < accepted:
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.05))
            place = chance.randrange(processes)
            if running[place].is_alive:
                running[place].kill()
                running[place] = self.start()
                self.killed += 1
        for one in running:
            one.document()


@dataclass(frozen=True)
class Run:
    """One process, and the file of what it tells."""

    process: ForkServerProcess
    told: Path

    @property
    def is_alive(self) -> bool:
        return self.process.is_alive()

    def kill(self) -> None:
        """By SIGKILL, which no process hears."""
        self.process.kill()
        self.process.join()

    def document(self) -> dict[str, Any]:
        """What it says at its end."""
        self.process.join(180)
        assert self.process.exitcode in (0, 1), (self.process.exitcode, self.told.read_text())
        document: dict[str, Any] = json.loads(self.told.read_text())
        return document


def run(words: Sequence[str], folder: str, told: str) -> None:
    """What a process does: the command, with its output in a file."""
    from policies.cli.main import main

    os.chdir(folder)
    os.dup2(os.open(told, os.O_WRONLY | os.O_CREAT), 1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    sys.argv = ["planner", *words]
    os.environ["FASHN_API_KEY"] = "any"
    main()


def billed(url: str) -> dict[str, Any]:
    bill: dict[str, Any] = httpx.get(f"{url}/sandbox/bill", trust_env=False).json()
    return bill


def live(cell: Cell, jobs: int) -> Found:
    """One row of the table, from its first process to what was found."""
    chance = random.Random(cell.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        work = Work.written(folder, jobs, cell.seed)
        ledger = f"sqlite:///{folder}/spend.db" if cell.engine == "SQLite" else postgres.new_url()
        kills = sorted(chance.randrange(1, jobs // 2) for _ in range(KILLS[cell.rate]))
        with sandbox(folder, cell) as url:
            crew = Crew(folder, work, ledger, url)
            crew.race(cell.processes, kills, chance)
            document, bill = crew.start().document(), billed(url)
        journal = [json.loads(line) for line in (folder / "journal").read_text().splitlines()]
        return Audit(cell, work, ledger, journal).held_against(document, bill, crew.killed)


# -- the ledger and the bill ---------------------------------------------------------------------


class Audit:
    """Both sides of one life. The provider's is read from its journal, which knows of every prediction."""

    def __init__(self, cell: Cell, work: Work, ledger: str, journal: Sequence[dict[str, Any]]) -> None:
        self.cell, self.work, self.journal = cell, work, journal
        store = Store.open(ledger)
        self.differences = verify(store)
        self.entries, self.events = store.entries(), store.events()
        store.close()
        self.accepted = [event["prediction"] for event in journal if event["event"] == "accepted"]
        self.unknown = [entry for entry in self.entries if entry.state is State.UNKNOWN]

    def held_against(self, document: dict[str, Any], bill: dict[str, Any], killed: int) -> Found:
        charged = {line["id"]: line["credits"] for line in bill["predictions"]}
        stands_for = self._stands_for()
        counted = sum(entry.credits for entry in self.entries if entry.state in TAKEN)
        sight = {id: stands_for[id].credits if id in stands_for else 0 for id in charged}
        of_unknown = {entry.id: id for id, entry in stands_for.items()}
        found = Found(
            killed=killed,
            charged=bill["credits"],
            limit=self.work.limit,
            over_budget=max(0, max(self._counted(), self._debited()) - self.work.limit),
            out_of_sight=sum(max(0, credits - sight[id]) for id, credits in charged.items()),
            double=sum(1 for _ in self._double()),
            stranded=sum(
                entry.credits - (charged[of_unknown[entry.id]] if entry.id in of_unknown else 0)
                for entry in self.unknown
            ),
            lost=sum(entry.prediction_id is None for entry in self.unknown),
        )
        self._check(document, bill, found, counted)
        return found

    def _check(self, document: dict[str, Any], bill: dict[str, Any], found: Found, counted: int) -> None:
        told = ("completed", "failed", "denied", "unknown")
        assert found.over_budget == found.out_of_sight == found.double == 0, found
        assert found.stranded <= found.lost * max(self.work.credits), found
        assert found.lost <= self._struck() + SLOTS * found.killed, (found, self._struck())
        assert counted == bill["credits"] + found.stranded, (counted, bill["credits"], found)
        assert sum(document[name] for name in told) == document["jobs"] == len(self.work.credits), document
        assert document["denied"] > 0, "the budget did not bind"
        assert bill["most_in_flight"] <= SLOTS
        assert bill["duplicates"] == len(self.accepted) - len({line["digest"] for line in self.accepted})
        assert not [entry for entry in self.entries if entry.state in OPEN], "something was left open"
        assert self.differences == [], self.differences

    def _stands_for(self) -> dict[str, Entry]:
        """By prediction, the entry that counts it: the one with its id, else an unknown one of its key."""
        strays = defaultdict(list)
        for entry in self.unknown:
            if entry.prediction_id is None:
                strays[entry.key].append(entry)
        taken = [entry for entry in self.entries if entry.state in TAKEN]
        found = {entry.prediction_id: entry for entry in taken if entry.prediction_id is not None}
        ids = {entry.prediction_id for entry in self.entries}
        for line in self.accepted:
            if line["id"] not in ids and strays[_key(line)]:
                found[line["id"]] = strays[_key(line)].pop()
        return found

    def _counted(self) -> int:
        """The most that ever counted in the ledger."""
        most, counts = 0, Counter[int]()
        for event in self.events:
            counts[event.entry] = event.credits if event.state in TAKEN else 0
            most = max(most, counts.total())
        return most

    def _debited(self) -> int:
        """The most that the provider ever had debited, what it gave back later included."""
        most, debited = 0, 0
        fates = {line["id"]: line["fate"] for line in self.accepted}
        for event in self.journal:
            if event["event"] == "accepted":
                debited += event["prediction"]["fate"]["debit_credits"]
            elif event["event"] == "ended":
                fate = fates[event["id"]]
                debited -= fate["debit_credits"] - fate["charge_credits"]
            most = max(most, debited)
        return most

    def _double(self) -> Iterator[str]:
        """Predictions that began while an earlier one of their row ran, or after it had cost something."""
        place = {
            (event["event"], event.get("id") or event["prediction"]["id"]): number
            for number, event in enumerate(self.journal)
            if event["event"] in ("accepted", "ended")
        }
        of_row = defaultdict(list)
        for line in self.accepted:
            of_row[_key(line)].append(line)
        for key, lines in of_row.items():
            for one, next_one in pairwise(lines):
                ended = place.get(("ended", one["id"]), len(self.journal))
                if one["fate"]["charge_credits"] or ended > place["accepted", next_one["id"]]:
                    yield key

    def _struck(self) -> int:
        """After how many submissions the sandbox let nobody know; its luck is a function of their number."""
        faults = Faults.parse(self.cell.faults)
        sent = sum(event.happened in (Happened.ADMITTED, Happened.SENT) for event in self.events)
        calls = ((self.cell.seed, 0, "run", number) for number in range(1, sent + 1))
        return sum(any(faults.strikes(name, *call) for name in LOSES) for call in calls)


def _key(line: dict[str, Any]) -> str:
    return f"look-{line['settings']['seed']:03}"


# -- the table -----------------------------------------------------------------------------------

COLUMNS = (
    "processes",
    "faults",
    "ledger",
    "jobs",
    "kills",
    "credits charged",
    "over budget",
    "out of sight",
    "double submissions",
    "answers lost",
    "credits stranded",
)
HEAD = f"| {' | '.join(COLUMNS)} |\n|{'---:|' * 2}---|{'---:|' * 8}"


def row(cell: Cell, jobs: int, found: Found) -> str:
    charged = f"{found.charged} of {found.limit}"
    about = (cell.processes, f"{cell.rate} %", cell.engine, jobs, found.killed, charged)
    figures = (found.over_budget, found.out_of_sight, found.double, found.lost, found.stranded)
    return f"| {' | '.join(map(str, (*about, *figures)))} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--quick", action="store_true", help="two rows")
    parser.add_argument("--readme", action="store_true", help="nothing but the table")
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    cells = [
        Cell(processes, rate, engine, given.seed + number)
        for number, (processes, rate, engine) in enumerate(
            (processes, rate, engine) for processes in PROCESSES for rate in RATES for engine in ENGINES
        )
    ]
    if given.quick:
        cells = [cells[5], cells[-2]]
    began = time.monotonic()
    print(HEAD)
    for cell in cells:
        print(row(cell, given.jobs, live(cell, given.jobs)), flush=True)
    if not given.readme:
        print(f"\nevery law held, and every ledger verifies · {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
