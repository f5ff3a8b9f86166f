"""`planner demo`: the whole tour, from an empty folder to a report."""

import json

import pytest

from tests.policies.cli.processes import planner, workload


@pytest.fixture
def folder(tmp_path):
    """A folder with a small look-book, which the demo uses because it is there."""
    (tmp_path / "tour").mkdir()
    workload(tmp_path / "tour" / "lookbook.csv", 6, "1k")
    return tmp_path


def test_the_tour_shows_each_command_with_its_answer(folder):
    """Plan, run and report in that order, everything in one folder, and what to try next."""
    code, out, err = planner(folder, "demo", "--into", "tour", FASHN_API_KEY="")
    assert code == 0, err
    places = [out.index(text) for text in ("$ planner plan", "$ planner run", "$ planner report")]
    assert places == sorted(places)
    assert "6 of 6 jobs completed" in out
    assert "what to try next" in out
    assert len(list((folder / "tour" / "pictures" / "main").glob("*.png"))) == 6
    assert [path.name for path in folder.iterdir()] == ["tour"]


def test_the_tour_as_a_document_pays_nothing_the_second_time(folder):
    """One document on stdout; every look is reused in a second demo."""
    first = json.loads(planner(folder, "demo", "--into", "tour", "--json")[1])
    second = json.loads(planner(folder, "demo", "--into", "tour", "--json")[1])
    assert (first["schema"], first["run"]["completed"]) == ("planner.demo/1", 6)
    assert (first["run"]["credits"]["this_run"], second["run"]["credits"]["this_run"]) == (6, 0)
    assert second["run"]["reused"] == 6
