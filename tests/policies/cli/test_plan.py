"""`planner plan`: a file as credits, money and time, and what a policy makes of it."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal

import pytest

from .conftest import DATA

HEADER = "key,prompt,resolution,generation_mode,num_images,face_reference\n"


@pytest.fixture
def plan(planner, folder):
    """Plans rows of a file; returns its document."""

    def run(rows, *words):
        (folder / "rows.csv").write_text(HEADER + rows, "utf-8")
        found = planner("plan", "rows.csv", "--json", *words)
        assert found.code == 0, found.out
        return found.document

    return run


def test_the_document_has_the_shape_others_rely_on(plan):
    """All promised fields, for a file small enough to add up by hand."""
    document = plan("a,x,2k,quality,2,\nb,y,,,,https://example.com/f.png\n")
    assert document["schema"] == "planner.plan/1"
    assert (document["jobs"], document["images"], document["credits"]) == (2, 3, 12)
    assert document["usd"]["on-demand"] == "0.90"
    assert set(document["usd"]) == {"on-demand", "tier-1", "tier-2", "tier-3"}
    assert document["best_credit_price"] == "on-demand"
    finish = document["finish_seconds"]
    assert 0 < finish["lower_bound"] <= finish["p50"] <= finish["p90"]
    assert document["limited_by"] == "concurrency"
    assert [group["credits"] for group in document["groups"]] == [8, 4]
    assert {group["seconds"]["basis"] for group in document["groups"]} == {"estimated", "documented"}
    assert [item["same_picture"] for item in document["savings"]] == [False]
    assert (document["decided"], document["fit"]) == (None, None)


def test_the_excel_file_costs_108_and_counts_its_repairs(planner):
    """A spreadsheet as it is has the same price as a clean one, and every repair is counted."""
    found = planner("plan", DATA / "lookbook-excel.csv", "--json")
    assert found.code == 0
    assert (found.document["credits"], found.document["jobs"]) == (108, 24)
    assert {repair["count"] for repair in found.document["repairs"]} == {8, 34, 11, 2}
    assert found.err.count("repaired: ") == 4
    assert planner("plan", DATA / "lookbook-excel.csv").out.count("repaired: ") == 4


def test_groups_add_up_to_the_whole(planner):
    """Jobs, images and credits of the groups are those of the file."""
    document = planner("plan", DATA / "lookbook.csv", "--json").document
    for name in ("jobs", "images", "credits"):
        assert sum(group[name] for group in document["groups"]) == document[name]
    assert document["jobs"] == 240


def test_faults_of_the_file_are_all_told(planner):
    """A plan of half a file would be wrong: faults exit 2, as in a check."""
    found = planner("plan", DATA / "messy.csv", "--json")
    assert found.code == 2
    assert len(found.document["errors"]) == 13


def test_savings_with_the_same_picture_come_first(plan):
    """A repeated request and a capped 4k are free gains; a cheaper mode is another picture."""
    face = "https://example.com/f.png"
    document = plan(f"a,x,4k,,,{face}\nb,x,4k,,,{face}\nc,y,2k,,,\n")
    assert [(item["name"], item["jobs"], item["same_picture"]) for item in document["savings"]] == [
        ("repeated", 1, True),
        ("capped", 1, True),
        ("omitted-mode", 2, False),
        ("balanced", 2, False),
    ]
    assert [item["usd_saved"] for item in document["savings"]] == ["0.60", "0.075", "0.30", "0.15"]


def test_the_best_price_counts_the_subscription(plan):
    """Few credits are cheapest on demand; from the break-even on a plan is, its fee included."""
    few = plan("".join(f"k{number},x{number},,,,\n" for number in range(253)))
    assert (few["best_credit_price"], few["month_usd"]["tier-1"]) == ("on-demand", "19.00")
    more = plan("".join(f"k{number},x{number},,,,\n" for number in range(254)))
    assert more["best_credit_price"] == "tier-1"


def test_an_own_credit_price_stands_first(plan):
    """The figure that was given is one of the prices, and exact."""
    document = plan("a,x,2k,,,\n", "--credit-price", "0.041")
    assert (document["credit_price"], document["usd"]["0.041"]) == ("0.041", "0.164")
    assert next(iter(document["usd"])) == "0.041"
    assert Decimal(document["usd"]["on-demand"]) == Decimal("0.30")


def test_a_policy_shows_what_would_be_left(planner):
    """With a policy the plan also says how many rows it allows and what they cost then."""
    words = ("plan", DATA / "lookbook.csv", "--policy", "cheap-drafts")
    decided = planner(*words, "--json").document["decided"]
    checked = planner("check", *words[1:], "--json").document["totals"]
    assert {name: decided[name] for name in checked} == checked
    assert decided["finish_seconds"]["p50"] > 0
    out = planner(*words).out
    assert "with policy cheap-drafts" in out
    assert "no ledger at spend.db: budgets start empty" in out


def test_a_plan_makes_no_ledger(planner, folder):
    """Planning leaves the folder as it was, with a policy and without."""
    planner("plan", DATA / "lookbook.csv", "--policy", "starter", "--json")
    planner("plan", DATA / "lookbook.csv")
    assert list(folder.iterdir()) == []


def test_people_see_the_sums_first(planner):
    """Jobs, images, credits and money stand in one line, before the details."""
    out = planner("plan", DATA / "lookbook.csv").out
    assert "\n240 jobs · 342 images · 1,124 credits · $84.30 (on-demand)\n" in out
    assert "limited by how many run at once" in out


def test_a_workload_can_come_through_a_pipe(planner):
    """`-` reads standard input; faults and repairs call it stdin."""
    found = planner("plan", "-", "--json", stdin="prompt,resolution\nx,2K\n")
    assert found.document["credits"] == 4
    assert found.document["repairs"][0]["where"] == "stdin:2"


def test_a_file_without_rows_is_a_plan_of_nothing(plan):
    """A header alone costs nothing and takes no time."""
    document = plan("")
    assert (document["jobs"], document["credits"], document["finish_seconds"]["p90"]) == (0, 0, 0.0)


def test_another_key_column_can_be_named(planner, folder):
    """`--key-column` makes a column of the file the key; one that is not there is a fault."""
    (folder / "rows.csv").write_text("sku,prompt\na,x\na,y\n")
    found = planner("plan", "rows.csv", "--key-column", "sku", "--json")
    assert (found.code, found.codes) == (2, ["key_conflict"])


def test_memory_does_not_grow_with_the_prompts(folder):
    """A file of long prompts needs little more than one of short ones: only keys are kept."""

    def peak_kib(prompt_chars):
        prompt = "x" * prompt_chars
        rows = "".join(f"k{number},{prompt}{number},,,,\n" for number in range(4000))
        (folder / "rows.csv").write_text(HEADER + rows, "utf-8")
        script = (
            "import resource, sys\n"
            "from policies.cli.main import main\n"
            "try:\n    main(['plan', 'rows.csv', '--json'])\n"
            "finally:\n    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)\n"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert json.loads(done.stdout)["credits"] == 4000
        return int(done.stderr.splitlines()[-1])

    assert peak_kib(8000) - peak_kib(10) < 12_000
