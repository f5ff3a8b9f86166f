"""`planner expand`, and the other commands on a matrix."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from planner.workload import read_workload
from policies.cli.main import main
from tests.planner.test_matrix import SHOOT, written

POLICY = "policy: 1\nname: studio\notherwise: allow\nlabels: {team: any}\n"


def run(*words: str, stdin: bytes | None = None):
    return CliRunner().invoke(main, words, input=stdin)


@pytest.mark.parametrize("suffix", [".csv", ".xlsx", ".jsonl", ".parquet"])
def test_a_matrix_written_out_is_the_same_jobs(tmp_path: Path, suffix: str) -> None:
    """The file that it writes asks for what the matrix asks for, under the same keys."""
    shoot, out = written(tmp_path, SHOOT), tmp_path / f"looks{suffix}"
    done = run("expand", shoot, "-o", str(out), "--json")
    assert done.exit_code == 0, done.output
    expected = read_workload(shoot)
    assert json.loads(done.stdout)["jobs"] == len(expected)
    assert [(j.key, j.request) for j in read_workload(out)] == [(j.key, j.request) for j in expected]


def test_counts_price_and_first_rows(tmp_path: Path) -> None:
    """Without -o it says what a plan says of jobs and credits, and shows as many rows as asked."""
    shoot = written(tmp_path, SHOOT)
    found, plan = (
        json.loads(run(*words, shoot, "--json").stdout) for words in (["expand", "--first", "3"], ["plan"])
    )
    assert {name: found[name] for name in ("jobs", "images", "credits")} == {
        name: plan[name] for name in ("jobs", "images", "credits")
    }
    assert len(found["rows"]) == 3
    assert found["schema"] == "planner.expand/1"
    assert f"{found['jobs']:,} jobs" in run("expand", shoot).output


def test_a_pipe_is_written_as_a_table(tmp_path: Path) -> None:
    """Standard input works as a file does."""
    out = tmp_path / "x.xlsx"
    done = run("expand", "-", "-o", str(out), stdin=b"key,prompt,team\na,=1+1,brand\n")
    assert done.exit_code == 0, done.output
    assert [(job.key, job.request.prompt) for job in read_workload(out)] == [("a", "=1+1")]


@pytest.mark.parametrize("taken", ["products.csv", "looks.csv"])
def test_what_is_read_is_never_written_over(tmp_path: Path, taken: str) -> None:
    """Neither the workload nor the products of a matrix, under whatever spelling of the path."""
    shoot = written(tmp_path, SHOOT)
    (tmp_path / "looks.csv").write_text("prompt\na coat\n", "utf-8")
    before = (tmp_path / taken).read_bytes()
    read = shoot if taken == "products.csv" else str(tmp_path / taken)
    done = run("expand", read, "-o", str(tmp_path / ".." / tmp_path.name / taken))
    assert (done.exit_code, (tmp_path / taken).read_bytes()) == (2, before)


def test_local_pictures_stay_beside_their_workload(tmp_path: Path) -> None:
    """A path counts from the workload's folder, so a copy elsewhere would name nothing."""
    (tmp_path / "face.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 8)
    looks, elsewhere = tmp_path / "looks.csv", tmp_path / "elsewhere"
    looks.write_text("prompt,face_reference\na coat,face.png\n", "utf-8")
    elsewhere.mkdir()
    assert run("expand", str(looks), "-o", str(elsewhere / "rows.csv")).exit_code == 2
    assert run("expand", str(looks), "-o", str(tmp_path / "rows.xlsx")).exit_code == 0
    assert not [*elsewhere.iterdir()]


def test_check_and_run_take_a_matrix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command that takes a workload takes this one."""
    monkeypatch.chdir(tmp_path)
    shoot = written(tmp_path, SHOOT)
    (tmp_path / "studio.yaml").write_text(POLICY, "utf-8")
    jobs = len(read_workload(shoot))
    checked = run("check", shoot, "--policy", "studio.yaml", "--format", "json")
    assert json.loads(checked.stdout)["totals"]["allowed"] == jobs
    dry = run("run", shoot, "--policy", "studio.yaml", "--sandbox", "--dry-run", "--json")
    assert dry.exit_code == 0, dry.output
    assert f"{jobs}" in dry.output
