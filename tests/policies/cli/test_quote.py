"""`planner quote`: every price of the table from the command line, and how a price is explained."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import pytest

from .conftest import DATA

with (DATA / "credits.csv").open(encoding="utf-8", newline="") as stream:
    ROWS = list(csv.DictReader(stream))


def words_of(row):
    """The flags that ask for the request of a row; an empty cell is an omitted flag."""
    flags = {
        "--generation-mode": row["generation_mode"],
        "--resolution": row["resolution"],
        "--num-images": row["num_images"],
        "--face-reference": "https://example.com/face.png" if row["face_reference"] == "yes" else "",
    }
    return [word for flag, value in flags.items() if value for word in (flag, value)]


def test_the_table_is_whole():
    """The table of known prices has all 160 rows that the tests below go through."""
    assert len(ROWS) == 160


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "/".join(row.values()))
def test_every_price_of_the_table(planner, row):
    """Credits, billed mode and lines of every combination are those of the provider's table."""
    found = planner("quote", *words_of(row), "--json")
    assert found.code == 0
    document = found.document
    assert document["credits"] == int(row["credits"])
    assert document["billed_mode"] == row["billed_mode"]
    assert sum(line["total"] for line in document["lines"]) == document["credits"]
    assert all(line["credits"] * line["times"] == line["total"] for line in document["lines"])


@pytest.mark.parametrize("row", ROWS[::40])
def test_the_installed_command_says_the_same(folder, row):
    """A process of its own prints exactly one document with the price of the table."""
    command = [sys.executable, "-m", "policies.cli", "quote", *words_of(row), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["credits"] == int(row["credits"])
    assert done.stderr == ""


def test_the_document_has_the_shape_others_rely_on(planner):
    """All fields of the quote document, for the request of the README."""
    face = ("--face-reference", "https://example.com/face.png")
    found = planner(
        "quote", "--resolution", "2k", "--generation-mode", "quality", "--num-images", 2, *face, "--json"
    )
    assert found.document == {
        "schema": "planner.quote/1",
        "credits": 14,
        "usd": "1.05",
        "credit_price": "0.0750",
        "billed_mode": "quality",
        "price_book": "fashn@2026-05-01",
        "lines": [
            {"what": "quality at 2k", "credits": 4, "times": 2, "total": 8},
            {"what": "face reference", "credits": 3, "times": 2, "total": 6},
        ],
        "seconds": {"p50": 110.5, "p90": 140.4, "basis": "estimated"},
    }


def test_people_see_lines_total_money_and_time(planner):
    """The same price for people: what it is made of, what it costs, and how long it takes."""
    out = planner("quote", "--resolution", "2k", "--num-images", "2").out
    assert out.startswith("8 credits · $0.60 at $0.0750 a credit, on-demand\n")
    assert "quality at 2k (mode omitted)" in out
    assert out.endswith("(estimated) · prices fashn@2026-05-01\n")


def test_all_faults_come_at_once_with_their_flags(planner):
    """Each wrong value is told with the flag it came from and what would be right."""
    found = planner(
        "quote", "--resolution", "8k", "--num-images", "9", "--face-reference", "me.png", "--json"
    )
    assert found.code == 2
    wheres = [error["where"] for error in found.document["errors"]]
    assert wheres == ["--face-reference", "--resolution", "--num-images"]


def test_another_credit_price_changes_only_the_money(planner):
    """A plan or an own figure is what the credits are multiplied with, exactly."""
    tier, own = (planner("quote", "--credit-price", price, "--json") for price in ("tier-1", "0.041"))
    assert (tier.document["usd"], tier.document["credit_price"]) == ("0.0674", "0.0674")
    assert (own.document["usd"], own.document["credit_price"]) == ("0.041", "0.0410")


def test_outside_the_price_book_there_is_no_price(planner):
    """A day before the first entry is an error with code `no_price`, not a guess."""
    found = planner("quote", "--at", "2020-01-01", "--json")
    assert (found.code, found.codes) == (2, ["no_price"])


def test_an_own_price_file_extends_the_book(planner, folder):
    """A dated entry of the user's own holds from its day on, and the shipped one before it."""
    credits = "\n".join(f"      {mode}: {{1k: 7, 2k: 8, 4k: 9}}" for mode in ("fast", "balanced", "quality"))
    (folder / "prices.yaml").write_text(
        "price_book: fashn\nchecked: 2026-11-22\nentries:\n  - from: 2027-01-01\n    credits:\n"
        f"{credits}\n    face_reference: 3\n    omitted_mode: {{1k: fast, 2k: fast, 4k: fast}}\n"
    )
    words = ("quote", "--prices", "prices.yaml", "--json", "--at")
    assert planner(*words, "2026-12-31").document["credits"] == 1
    assert planner(*words, "2027-01-01").document["credits"] == 7


def test_a_prompt_is_never_repeated(planner):
    """Neither a price nor a fault quotes the prompt."""
    for words in (["--json"], ["--seed", "x"], ["--seed", "x", "--json"], []):
        found = planner("quote", "--prompt", "a very secret coat", *words)
        assert "secret" not in found.out + found.err
