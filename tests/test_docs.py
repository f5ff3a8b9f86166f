"""The pages tell the truth: policies load and are proven, examples run, and no table leaves anything out."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from planner.loading import shipped_prices
from policies.analysis.lint import lint
from policies.analysis.proof import prove
from policies.cli.main import main
from policies.cli.policy import COMMANDS
from policies.conditions import DERIVED_ATTRIBUTES, FIELD_ATTRIBUTES
from policies.guard.exchange import REFUSALS
from policies.guard.guard import Guard
from policies.loading import parse_policy
from policies.server.sandbox.app import running

DOCS = Path(__file__).parents[1] / "docs"
TEXT = (DOCS / "policy.md").read_text("utf-8")
GUARD = (DOCS / "guard.md").read_text("utf-8")
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def test_the_example_policy_is_read_proven_and_without_remarks() -> None:
    """What people copy from the reference holds what it promises."""
    (example,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    policy = parse_policy(example, "studio.yaml")
    assert prove(policy, shipped_prices(), NOW).proved
    assert [str(remark) for remark in lint(policy, shipped_prices(), NOW)] == []


def test_every_attribute_and_every_command_is_named() -> None:
    """Nothing that a condition may read, and no command about policies, is missing from the reference."""
    missing = [name for name in (*FIELD_ATTRIBUTES, *DERIVED_ATTRIBUTES) if f"`{name}`" not in TEXT]
    missing += [name for name in COMMANDS if f"planner policy {name}" not in TEXT]
    assert missing == []


def test_the_session_of_the_guards_page_runs(tmp_path: Path) -> None:
    """Its examples, one after the other, hold what they assert, against a stand-in for the provider."""
    (policy,) = re.findall(r"```yaml\n(.*?)```", GUARD, re.DOTALL)
    (tmp_path / "studio.yaml").write_text(policy, "utf-8")
    session = "\n".join(re.findall(r"```python\n(.*?)```", GUARD, re.DOTALL))
    with running(speed=500, seed=11) as sandbox:
        environment = {**os.environ, "FASHN_API_KEY": "key", "FASHN_BASE_URL": sandbox.url}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", session],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert sandbox.bill().accepted == 4


def test_every_refusal_is_in_the_guards_table() -> None:
    """No answer of ours is missing from the page, and each stands there with its status."""
    assert [name for _, status, name in REFUSALS if f"| {status} | `{name}` |" not in GUARD] == []


def test_every_command_of_the_peoples_page_is_one_that_is_there(tmp_path: Path) -> None:
    """Each line that a person would copy is understood: it fails, if at all, for want of such a job."""
    page = (DOCS / "people.md").read_text("utf-8")
    lines = re.findall(r"^planner .*$", page, re.MULTILINE)
    lines += re.findall(r"`(planner [^`]* --by[^`]*)`", page)
    assert len(lines) >= 6
    with Guard.open(policy=_policy(tmp_path), ledger=f"sqlite:///{tmp_path}/spend.db"):
        for line in lines:
            done = CliRunner().invoke(
                main, [*shlex.split(line)[1:], "--ledger", f"{tmp_path}/spend.db", "--json"]
            )
            codes = {error["code"] for error in json.loads(done.stdout).get("errors", [])}
            assert codes <= {"no_such_key"}, (line, done.stdout)


def test_the_examples_of_the_planning_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command of the page ends well, in a folder with the lookbook that it speaks of."""
    shutil.copy(DOCS.parent / "tests" / "data" / "lookbook.csv", tmp_path)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```bash\n(.*?)```", (DOCS / "planning.md").read_text("utf-8"), re.DOTALL)
    lines = "".join(blocks).splitlines()
    assert len(lines) >= 7
    for line in lines:
        done = CliRunner().invoke(main, shlex.split(line, comments=True)[1:])
        assert done.exit_code == 0, (line, done.output)


def test_the_examples_of_the_page_about_plans_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other: written, shown, run in part, approved, compared."""
    shutil.copy(DOCS.parent / "tests" / "data" / "lookbook.csv", tmp_path)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```bash\n(.*?)```", (DOCS / "plans.md").read_text("utf-8"), re.DOTALL)
    lines = "".join(blocks).splitlines()
    assert len(lines) == 6
    for line in lines:
        done = CliRunner().invoke(main, shlex.split(line)[1:])
        assert done.exit_code == 0, (line, done.output)


def test_the_matrix_of_the_page_about_workloads_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its example is planned, fitted, written in every format and read again, over a shop's export."""
    page = (DOCS / "workloads.md").read_text("utf-8")
    (matrix,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "shoot.yaml").write_text(matrix, "utf-8")
    shutil.copy(DOCS.parent / "tests" / "data" / "products.csv", tmp_path)
    monkeypatch.chdir(tmp_path)
    lines = "".join(re.findall(r"```bash\n(.*?)```", page, re.DOTALL)).splitlines()
    assert len(lines) == 8
    for line in lines:
        piped, _, command = line.rpartition(" | ")
        given = Path(piped.split()[1]).read_bytes() if piped else None
        done = CliRunner().invoke(main, shlex.split(command, comments=True)[1:], input=given)
        assert done.exit_code == 0, (line, done.output)
    jobs = [json.loads(CliRunner().invoke(main, ["plan", name, "--json"]).stdout)["jobs"] for name in WRITTEN]
    assert len(set(jobs)) == 1


WRITTEN = ("shoot.yaml", "looks.xlsx", "looks.parquet", "looks.csv")


def _policy(folder: Path) -> Path:
    """A policy with the budget that the page raises."""
    file = folder / "studio.yaml"
    budget = "{name: team-month, limit: 5000 credits, per: month, for_each: [team]}"
    file.write_text(
        f"policy: 1\nname: studio\notherwise: allow\nlabels: {{team: any}}\nbudgets: [{budget}]\n"
    )
    return file
