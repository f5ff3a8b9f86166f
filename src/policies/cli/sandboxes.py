"""A sandbox beside a command: a process of its own that ends with the command, whatever ends that.

Here belongs starting and ending it. It keeps its state in a file next to the ledger, so that the same
command goes on with the same account after a crash.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from planner.errors import OperatorError

DEFAULT_SPEED: Final = 20.0
STATE_NAME: Final = "sandbox-state.jsonl"
_TRIES: Final = 4
_PAUSE_SECONDS: Final = 0.5

# It lives in a session of its own, or Ctrl-C would end it before the last pictures are home; so it has
# to notice by itself that nobody holds the other end of its standard input any more.
_CHILD: Final = """
import os, signal, sys, threading
def ends_with_parent():
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=ends_with_parent, daemon=True).start()
from policies.cli.main import main
main()
"""


def state_file(ledger: Path) -> Path:
    """Where the sandbox of that ledger keeps its state.

    >>> str(state_file(Path("shoots/sandbox.db")))
    'shoots/sandbox-state.jsonl'
    """
    return ledger.with_name(STATE_NAME if ledger.stem == "sandbox" else f"{ledger.stem}-{STATE_NAME}")


@contextmanager
def sandbox_beside(ledger: Path, speed: float) -> Iterator[str]:
    """The address of a sandbox that runs as long as the block; raises `OperatorError` if none starts."""
    process, url = _started(ledger, speed)
    try:
        yield url
    finally:
        _end(process)


def _started(ledger: Path, speed: float) -> tuple[subprocess.Popen[str], str]:
    words = ["sandbox", "--speed", str(speed), "--state", str(state_file(ledger)), "--json"]
    faults: list[dict[str, str]] = []
    for _ in range(_TRIES):
        process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        document = json.loads(process.stdout.readline() or "{}")
        if "url" in document:
            return process, document["url"]
        _end(process)
        faults = document.get("errors", [])
        if not faults or faults[0]["code"] != "state_unavailable":
            break
        # The sandbox of a run that was killed a moment ago has not noticed yet.
        time.sleep(_PAUSE_SECONDS)
    if faults and faults[0]["code"] == "state_unavailable":
        hint = "start `planner sandbox` by itself and give its address to both with --base-url"
        faults = [{**faults[0], "hint": hint}]
    why = faults[0] if faults else {"message": "the sandbox did not start", "hint": ""}
    raise OperatorError(why["message"], code=why.get("code", "sandbox_unavailable"), hint=why["hint"])


def _end(process: subprocess.Popen[str]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
