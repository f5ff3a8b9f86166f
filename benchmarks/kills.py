"""Killed at twenty random moments: `python benchmarks/kills.py [--kills 20] [--seed 1] [--speed 60]`.

The example look-book is run against a sandbox in a process of its own. Again and again the run is ended
by SIGKILL at a random moment and started anew; the last start may finish. Then the sandbox's bill is held
against the ledger: nothing was paid twice, nothing is lost, and what is unknown was neither resent nor
forgotten and is at most one for each slot and kill. It prints what it found and fails where a law does.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path

import httpx

from policies.ledger.states import State
from policies.ledger.store import Store
from policies.ledger.verify import verify

LOOKBOOK = Path(str(files("planner"))) / "data" / "lookbook.csv"
SLOTS = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--speed", type=float, default=60.0)
    options = parser.parse_args()
    moments = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        provider, url = start_sandbox(folder, options)
        try:
            for _ in range(options.kills):
                running = start_run(folder, url, options.speed)
                time.sleep(moments.uniform(0.3, 3.0))
                running.send_signal(signal.SIGKILL)
                running.wait()
            document = json.loads(start_run(folder, url, options.speed).communicate()[0])
            bill = httpx.get(f"{url}/sandbox/bill", trust_env=False).json()
        finally:
            provider.terminate()
            provider.wait()
        report(folder, document, bill, options.kills)


def start_sandbox(folder: Path, options: argparse.Namespace) -> tuple[subprocess.Popen[str], str]:
    words = ["sandbox", "--speed", str(options.speed), "--seed", str(options.seed), "--json"]
    process = subprocess.Popen(planner(words), cwd=folder, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())["url"]


def start_run(folder: Path, url: str, speed: float) -> subprocess.Popen[str]:
    words = ["run", str(LOOKBOOK), "--policy", "starter", "--base-url", url, "--speed", str(speed), "--json"]
    environment = {"FASHN_API_KEY": "any", "PATH": "/usr/bin:/bin"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(planner(words), cwd=folder, env=environment, text=True, **streams)


def planner(words: list[str]) -> list[str]:
    return [sys.executable, "-m", "policies.cli", *words]


def report(folder: Path, document: dict, bill: dict, kills: int) -> None:
    store = Store.open(f"sqlite:///{folder / 'spend.db'}")
    settled = store.entries(states=[State.SETTLED])
    unknown = store.entries(states=[State.UNKNOWN])
    known = {entry.prediction_id for entry in settled}
    stray = [line for line in bill["predictions"] if line["id"] not in known]
    paid, open_credits = (sum(entry.credits for entry in entries) for entries in (settled, unknown))
    print(f"{kills} kills: {len(settled)} settled, {len(unknown)} unknown of {document['jobs']}")
    print(f"ledger {paid} settled + {open_credits} unknown; the provider's bill {bill['credits']}")
    print(f"most in flight {bill['most_in_flight']}, refusals {bill['refused'] or 'none'}")
    assert document["completed"] + document["unknown"] == document["jobs"] == 240
    assert len({entry.key for entry in (*settled, *unknown)}) == 240, "a job was lost"
    assert bill["accepted"] == len(settled) + len(stray), "a job was paid twice"
    assert len(stray) <= len(unknown) <= SLOTS * kills
    assert sum(line["credits"] for line in stray) == bill["credits"] - paid <= open_credits
    assert bill["most_in_flight"] <= SLOTS
    assert verify(store) == []
    store.close()
    print("nothing paid twice, nothing lost from sight, the ledger holds")


if __name__ == "__main__":
    main()
