"""The README tells the truth: its examples run, and the output it shows is the output there is."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
LOOKBOOK = ROOT / "tests" / "data" / "lookbook.csv"

BLOCKS = re.findall(r"(<!-- (?P<mark>[^>]*) -->\n)?```(?P<kind>\w+)\n(?P<text>.*?)```", README, re.DOTALL)
EXAMPLES = [(kind, text) for _, mark, kind, text in BLOCKS if not mark]
SHOWN = {mark.removeprefix("output: "): text for _, mark, _, text in BLOCKS if mark.startswith("output: ")}


def planner(arguments: list[str], folder: Path) -> str:
    command = [sys.executable, "-m", "policies.cli", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    return done.stderr + done.stdout if "run" in arguments else done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A studio's folder with 24 looks, in which the journeys follow each other."""
    place = tmp_path_factory.mktemp("studio")
    looks = LOOKBOOK.read_text("utf-8").splitlines(keepends=True)[:25]
    (place / "looks.csv").write_text("".join(looks), "utf-8")
    shutil.copy(LOOKBOOK, place / "lookbook.csv")
    return place


@pytest.mark.parametrize(
    "line", [line for kind, text in EXAMPLES if kind == "bash" for line in text.splitlines()]
)
def test_every_command_of_the_readme_runs(folder: Path, line: str) -> None:
    """Each command of the journeys, in their order, ends with exit code 0."""
    program, *arguments = shlex.split(line, comments=True)
    assert program == "planner"
    if "--sandbox" in arguments:
        arguments += ["--speed", "200"]
    assert planner(arguments, folder)


@pytest.mark.parametrize("text", [text for kind, text in EXAMPLES if kind == "python"])
def test_every_python_example_runs(folder: Path, text: str) -> None:
    """Each Python example holds what it asserts."""
    command = [sys.executable, "-c", text]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_the_policy_of_the_readme_loads(folder: Path) -> None:
    """The policy that is shown is one that can be used."""
    (text,) = [text for kind, text in EXAMPLES if kind == "yaml"]
    (folder / "studio.yaml").write_text(text, "utf-8")
    assert planner(["check", "looks.csv", "--policy", "studio.yaml"], folder)


def test_the_plan_that_is_shown_is_the_plan_there_is(folder: Path) -> None:
    """The first screen's plan is what the command prints, to the letter."""
    (command,) = [command for command in SHOWN if command.startswith("planner plan")]
    assert planner(shlex.split(command)[1:], folder).strip() == SHOWN[command].strip()


def test_the_run_that_is_shown_is_the_run_there_is(folder: Path) -> None:
    """The first screen's run is what the command prints; only how long it took may differ."""
    (command,) = [command for command in SHOWN if command.startswith("planner run")]
    place = folder / "shown"
    place.mkdir()
    shutil.copy(folder / "lookbook.csv", place)
    printed = planner([*shlex.split(command)[1:], "--yes"], place)
    assert untimed(printed) == untimed(SHOWN[command])


def untimed(text: str) -> list[str]:
    """The lines without durations, such as `34 s` and `1 min 2 s`, and without the space they took."""
    return [re.sub(r"\d+ min( \d+ s)?|\d+ s", "…", line).rstrip() for line in text.strip().splitlines()]
