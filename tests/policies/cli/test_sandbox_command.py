"""`planner sandbox`: one line with its address, a clean end, and a clear word without the extra."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import contextmanager

import httpx
import pytest


@contextmanager
def sandbox(*words):
    """A sandbox in a process of its own; yields the process and its first line."""
    command = [sys.executable, "-m", "policies.cli", "sandbox", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process, process.stdout.readline()
    finally:
        process.kill()
        process.communicate()


def test_one_line_names_the_address_and_ctrl_c_ends_it(folder):
    """The line holds a URL that answers; an interrupt ends the process without another word."""
    with sandbox("--speed", "20", "--balance", "77") as (process, line):
        url = next(word for word in line.split() if word.startswith("http://"))
        headers = {"authorization": "Bearer any-key"}
        assert httpx.get(f"{url}/v1/credits", headers=headers).json()["credits"]["total"] == 77
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
        assert (process.returncode, out, err) == (0, "", "")


def test_with_json_the_line_is_a_document(folder):
    """Scripts read the address from one JSON document."""
    with sandbox("--json") as (_, line):
        document = json.loads(line)
        assert document["schema"] == "planner.sandbox/1"
        assert document["url"].startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--faults", "lost_afer=1"], "did you mean `lost_after`?"),
        (["--speed", "0"], "the speed must be above 0"),
        (["--port", "70000"], "70000"),
    ],
)
def test_wrong_flags_are_told_before_anything_is_served(planner, words, part):
    """A figure or a name that makes no sense is one line and code 2."""
    found = planner("sandbox", *words)
    assert (found.code, found.out) == (2, "")
    assert part in found.err


@pytest.mark.parametrize("missing", ["uvicorn", "starlette"])
def test_without_the_extra_the_hint_is_a_command(folder, missing):
    """Where a library of the extra is missing, the error says what to install."""
    script = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from policies.cli.main import main\nmain(['sandbox', '--json'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 2, done.stdout + done.stderr
    (error,) = json.loads(done.stdout)["errors"]
    assert error["code"] == "missing_extra"
    assert "pip install 'fashn-planner[sandbox]'" in error["hint"]
