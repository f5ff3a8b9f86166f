"""Commands over a provider of another process, some of them in processes that can be killed."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import chdir, contextmanager

import httpx
from click.testing import CliRunner

HEADER = "key,prompt,resolution,generation_mode,num_images,seed,team,sku\n"

POLICY = """\
policy: 1
name: studio
timezone: UTC
otherwise: allow
labels: {team: [social, brand]}
budgets:
  - {name: month, limit: 500 credits, per: month}
rules:
  - {name: no-4k, when: {resolution: 4k}, deny: 4k is for billboards}
"""


def workload(path, rows, resolution="2k"):
    """A file of that many rows, every other one for another team."""
    teams = ("social", "brand")
    lines = [
        f"look-{place},dress {place},{resolution},fast,1,{place},{teams[place % 2]},SW-{place}\n"
        for place in range(rows)
    ]
    path.write_text(HEADER + "".join(lines))
    return path


class Sandbox:
    """The sandbox of another process, and its side of the story."""

    def __init__(self, url, speed):
        self.url = url
        self.speed = speed

    def bill(self):
        return httpx.get(f"{self.url}/sandbox/bill", trust_env=False).json()

    def top_up(self, credits):
        httpx.post(f"{self.url}/sandbox/top-up", params={"credits": credits}, trust_env=False)

    def wait_for(self, accepted):
        """Wait until that many predictions were accepted."""
        until = time.monotonic() + 20
        while self.bill()["accepted"] < accepted:
            assert time.monotonic() < until
            time.sleep(0.01)


@contextmanager
def sandbox(speed=100.0, *words):
    """A sandbox in a process of its own."""
    command = ["sandbox", "--speed", str(speed), "--seed", "5", "--json", *words]
    with started(command) as process:
        yield Sandbox(json.loads(process.stdout.readline())["url"], speed)
        process.terminate()


@contextmanager
def started(words, folder=None, **variables):
    """A `planner` command in a process of its own; killed on the way out if it still runs."""
    with subprocess.Popen(
        [sys.executable, "-m", "policies.cli", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        cwd=folder,
        env=environment(**variables),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def environment(**variables):
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("PLANNER_", "FASHN_"))}
    return {**kept, "FASHN_API_KEY": "test-key", **variables}


def planner(folder, *words, **variables):
    """Run a command to its end in this process: its exit code, its stdout and its stderr."""
    from policies.cli.main import main

    quiet = {name: None for name in os.environ if name.startswith(("PLANNER_", "FASHN_"))}
    with chdir(folder):
        found = CliRunner().invoke(
            main, [*map(str, words)], env={**quiet, "FASHN_API_KEY": "test-key", **variables}
        )
    return found.exit_code, found.stdout, found.stderr


def killed(folder, words, when):
    """Run a command, and kill it as soon as `when` returns."""
    with started(words, folder) as process:
        when()
        process.send_signal(signal.SIGKILL)
        process.wait()
