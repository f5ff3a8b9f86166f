"""`planner ledger import`: what was spent before, in the ledger and in the reports."""

import json
import re
from pathlib import Path

from tests.policies.cli.processes import planner

HISTORY = Path(__file__).parents[2] / "data" / "history.csv"
HEAD = "submitted_at,status,resolution,credits_quoted,credits_used,prediction_id,team,note\n"


def imported(folder, *words):
    code, out, _ = planner(folder, "ledger", "import", *words, "--json")
    return code, json.loads(out)


def test_the_history_is_booked_and_reported(tmp_path):
    """Twelve thousand rows; the same command again changes nothing; a month is reported by team."""
    code, found = imported(tmp_path, HISTORY)
    assert (code, found["schema"], found["new"], found["estimated"]) == (
        0,
        "planner.ledger-import/1",
        12_000,
        225,
    )
    code, again = imported(tmp_path, HISTORY)
    assert (code, again["new"], again["known"]) == (0, 0, 12_000)
    _, out, _ = planner(tmp_path, "report", "--by", "team", "--period", "2026-10", "--json")
    report = json.loads(out)
    assert report["total"]["settled"] == sum(row["settled"] for row in report["rows"]) > 20_000
    assert planner(tmp_path, "ledger", "verify")[0] == 0


def test_labels_are_those_that_are_named_else_all(tmp_path):
    """Named ones only; without any, and without a policy in force, every column that has no other meaning."""
    (tmp_path / "past.csv").write_text(HEAD + "2026-11-01T10:00:00Z,completed,2k,4,4,p1,social,x\n")
    assert imported(tmp_path, "past.csv", "--ledger", "some.db", "--labels", "Team")[0] == 0
    assert imported(tmp_path, "past.csv", "--ledger", "all.db")[0] == 0
    for ledger, note in (("some.db", ""), ("all.db", "x")):
        words = ["report", "--by", "team,note", "--period", "2026-11", "--json", "--ledger", ledger]
        (row,) = json.loads(planner(tmp_path, *words)[1])["rows"]
        assert row["labels"]["team"] == "social"
        assert (row["labels"]["note"] or "") == note


def test_bad_rows_are_named_by_their_lines(tmp_path):
    """Every fault of the file at once, exit 2, and nothing is booked."""
    (tmp_path / "past.csv").write_text(
        HEAD + "2026-11-01T10:00:00Z,completed,8k,4,4,p1,social,x\nyesterday,completed,2k,4,4,p2,social,x\n"
    )
    code, found = imported(tmp_path, "past.csv")
    assert code == 2
    assert [error["where"] for error in found["errors"]] == ["past.csv:2", "past.csv:3"]
    assert planner(tmp_path, "ledger", "show", "--json")[1].count('"settled": 0') >= 1


def test_people_read_what_is_an_estimate(tmp_path):
    """The sum, and how much of it nobody has confirmed."""
    (tmp_path / "past.csv").write_text(HEAD + "2026-11-01T10:00:00Z,completed,2k,4,,p1,social,x\n")
    code, out, _ = planner(tmp_path, "ledger", "import", "past.csv")
    assert code == 0
    assert "1 past request booked, 4 credits" in out
    assert re.search(r"1 +settled at their quote", out)
