"""`planner report`: the document, the four forms, and what is refused."""

import csv
import io
import json
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from policies.cli.main import main
from policies.cli.report import report_table
from policies.ledger.entries import Evidence
from policies.ledger.states import Happened
from policies.server.sandbox.faults import Faults
from tests.policies.ledger.books import studio

FIGURES = {"settled", "estimated", "held", "unknown", "usd", "jobs", "failed"}
"""What the contract names in every row."""


@pytest.fixture(scope="module")
def books(tmp_path_factory):
    with studio(tmp_path_factory.mktemp("books")) as found:
        found.job("a", {"team": "social", "campaign": "spring"}, resolution="2k")
        found.job("b", {"team": "brand"}, faults=Faults(missing_header=1.0), resolution="4k")
        found.job("c", {"team": "=brand"}, faults=Faults(failed=1.0))
        found.job("d", {"team": "social"}, rate_microusd=48_800)
        found.lost("e", {"team": "brand"}, num_images=2)
        found.world.now = datetime(2026, 12, 1, 9, tzinfo=UTC)
        found.job("f", {"team": "social"}, faults=Faults(drift=1.0))
        yield found


@pytest.fixture
def planner(books, monkeypatch, tmp_path):
    """Runs the command over those books, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLANNER_LEDGER", str(books.path))
    return lambda *words: CliRunner().invoke(main, ["report", *words])


def document(result):
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_the_document_has_exactly_the_shape_of_the_contract(planner):
    """Schema, period, zone, rows and total; figures are whole numbers, money is a text."""
    found = document(planner("--by", "team,campaign", "--period", "2026-11", "--format", "json"))
    assert found["schema"] == "planner.report/1"
    assert found["period"] == ["2026-11-01T00:00:00+00:00", "2026-12-01T00:00:00+00:00"]
    assert found["timezone"] == "UTC"
    assert found["kind"] == "sandbox"
    assert [row["labels"] for row in found["rows"]] == [
        {"team": "=brand", "campaign": None},
        {"team": "brand", "campaign": None},
        {"team": "social", "campaign": "spring"},
        {"team": "social", "campaign": None},
    ]
    for row in (*found["rows"], found["total"]):
        assert row.keys() >= FIGURES
        assert all(type(row[name]) is int for name in FIGURES - {"usd"})
        assert type(row["usd"]) is str
    shown = {name: found["total"][name] for name in FIGURES}
    assert shown == {
        "settled": 10, "estimated": 5, "held": 0, "unknown": 2, "usd": "0.7238", "jobs": 5, "failed": 1,
    }  # fmt: skip


def test_json_and_format_json_are_the_same(planner):
    """One document, whichever way it is asked for."""
    assert planner("--json").stdout == planner("--format", "json").stdout


def test_without_by_it_is_by_team_where_a_policy_has_teams(planner):
    """The question that is asked most needs no flag."""
    assert document(planner("--json"))["by"] == ["team"]
    assert document(planner("--json", "--by", ""))["by"] == []


def test_the_zone_decides_the_month(planner):
    """A zone of its own, and the period's ends are told in it."""
    found = document(planner("--json", "--period", "2026-11", "--timezone", "Europe/Berlin"))
    assert found["period"] == ["2026-11-01T00:00:00+01:00", "2026-12-01T00:00:00+01:00"]
    assert found["timezone"] == "Europe/Berlin"


def test_the_table_says_what_is_certain_and_what_is_not(planner):
    """Charged, unconfirmed, estimated and the price difference, in the words of the product."""
    said = planner("--period", "2026-11..2026-12").stdout
    assert said.startswith("SANDBOX · Spending by team · 2026-11-01 to 2026-12-31 · UTC\n")
    header = said.split("\n")[2].split("  ")
    assert [word.strip() for word in header if word.strip()] == [
        "team", "charged", "estimated", "unconfirmed", "price difference", "USD", "jobs", "failed",
    ]  # fmt: skip
    assert "At least 12 and at most 14 credits" in said
    assert "2 unconfirmed; see `planner ledger holds`" in said
    assert "5 credits are estimated" in said
    assert "The provider charged 1 credit more than the prices say." in said
    assert "held" not in said
    assert "reserved" not in said


def test_the_same_figures_stand_in_every_form(planner):
    """Table, Markdown, CSV and JSON agree on every row."""
    settled = {
        row["labels"]["team"]: row["settled"] for row in document(planner("--by", "team", "--json"))["rows"]
    }
    rows = list(csv.DictReader(io.StringIO(planner("--by", "team", "--format", "csv").stdout)))
    assert {row["team"].removeprefix("'"): int(row["settled"]) for row in rows} == settled
    for form in ("table", "markdown"):
        said = planner("--by", "team", "--format", form).stdout
        for team, credits in settled.items():
            line = next(line for line in said.split("\n") if line.strip("| ").startswith(team))
            assert line.replace("|", " ").split()[1] == str(credits)


def test_csv_texts_are_no_formulas(planner):
    """A team that is called like a formula is opened as a text."""
    assert "\n'=brand,0," in planner("--format", "csv").stdout


@pytest.mark.parametrize("form", ["table", "markdown", "csv", "json"])
def test_a_file_holds_what_the_screen_would(planner, form, tmp_path):
    """Written whole; stdout stays empty."""
    result = planner("--format", form, "-o", str(tmp_path / "out"))
    assert (result.exit_code, result.stdout) == (0, "")
    text = (tmp_path / "out").read_text()
    shown = planner("--format", form).stdout
    assert (json.loads(text) == json.loads(shown)) if form == "json" else text.rstrip() == shown.rstrip()


@pytest.mark.parametrize(
    ("words", "code", "exit_code"),
    [
        (("--period", "2026-13"), "bad_period", 2),
        (("--timezone", "Mars"), "bad_timezone", 2),
        (("--by", "teem"), "unknown_label", 2),
        (("--ledger", "missing.db"), "no_ledger", 2),
        (("--format", "pdf"), "usage", 2),
        (("-o", "nowhere/report.csv"), "file", 3),
    ],
)
def test_what_cannot_be_reported_is_said_in_one_line(planner, words, code, exit_code, tmp_path):
    """With a code and a hint; no ledger is made, and with --json it is the errors document."""
    result = planner(*words)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.strip().split("\n")) == 1
    errors = json.loads(planner(*words, "--json").stdout)["errors"]
    assert [error["code"] for error in errors] == [code]
    assert list(tmp_path.iterdir()) == []


def test_an_empty_ledger_is_reported_as_nothing(tmp_path):
    """Exit 0 and zeros: there is nothing wrong with having spent nothing."""
    with studio(tmp_path) as found:
        result = CliRunner().invoke(main, ["report", "--json", "--ledger", str(found.path)])
    assert document(result)["rows"] == []
    assert document(result)["total"]["usd"] == "0.00"


def test_what_a_person_settled_is_told_apart(tmp_path):
    """A line of its own, no price difference, no guess; the spreadsheet has a column for each figure."""
    with studio(tmp_path) as found:
        for key, credits in (("a", 2), ("b", 4)):
            entry = found.lost(key, resolution="2k", num_images=2).entry
            found.store.record(entry, (Happened.SETTLED_BY, Evidence(credits=credits)))
        words = ["report", "--ledger", str(found.path)]
        said = CliRunner().invoke(main, words).stdout
        row = CliRunner().invoke(main, [*words, "--format", "csv"]).stdout
    assert "Settled by hand: 2 jobs, 6 credits." in said
    assert "The provider charged" not in said
    assert "stand at their price" not in said
    [figures] = csv.DictReader(io.StringIO(row))
    assert (figures["settled_by_hand_jobs"], figures["settled_by_hand_credits"]) == ("2", "6")


def test_other_commands_can_show_the_table(books):
    """`report_table` over an open ledger is the screen's text."""
    assert report_table(books.store).startswith("SANDBOX · Spending by team · ")
    assert len(report_table(books.store, by=()).split("\n")[4].split()) == 8
