"""What the tests of the command line share: running it in this process, in an empty folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from policies.cli.main import main
from policies.cli.settings import SETTINGS

DATA = Path(__file__).parents[2] / "data"


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout; more than one, or none, is an error."""
        return json.loads(self.out)

    @property
    def codes(self) -> list[str]:
        return [error["code"] for error in self.document["errors"]]


Run = Callable[..., Ran]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty working folder, with none of the variables that the command reads."""
    for setting in SETTINGS.values():
        monkeypatch.delenv(setting.variable, raising=False)
    monkeypatch.delenv("PLANNER_DEBUG", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def planner(folder) -> Run:
    """Runs the command line with those words."""

    def run(*words: object, stdin: str | None = None) -> Ran:
        found = CliRunner().invoke(main, [str(word) for word in words], input=stdin)
        return Ran(found.exit_code, found.stdout, found.stderr)

    return run
