"""`planner plan --deadline --timing`: whether it is done in time, the way out, and what runs beside it."""

from __future__ import annotations

import re

import pytest

from .conftest import DATA

LOOKBOOK = DATA / "lookbook.csv"


@pytest.fixture
def timing(planner):
    """The `timing` of a plan of the look-book."""

    def run(*words):
        found = planner("plan", LOOKBOOK, "--json", *words)
        assert found.code == 0, found.out
        return found.document["timing"]

    return run


def test_a_plan_that_nobody_asks_about_time_stays_as_it_was(planner, timing):
    """Without the flags there is no more on screen, and `timing` is null."""
    assert timing() is None
    out = planner("plan", LOOKBOOK).out
    assert "gone unless fetched" not in out
    assert "\nby " not in out


def test_a_deadline_that_is_kept_says_when(planner, timing):
    """Nine of ten runs end before it, and the JSON says the same."""
    found = timing("--deadline", "1h")["deadline"]
    assert found["kept"]
    assert found["p90_seconds"] <= found["deadline_seconds"] == 3600
    assert found["hindrance"] is None
    assert "by 1 h        kept: nine of ten runs are done within 34 min" in planner(
        "plan", LOOKBOOK, "--deadline", "60m"
    ).out.replace("\n", " ")


def test_a_deadline_that_is_not_kept_says_what_to_ask_for(planner, timing):
    """The sentence names what there is, when that is done, and the least that would be enough."""
    found = timing("--deadline", "20m")["deadline"]
    assert (found["kept"], found["hindrance"]) == (False, "concurrency")
    out = planner("plan", LOOKBOOK, "--deadline", "20m").out
    assert "not kept: 6 at once are done in 34 min" in out
    assert f"ask the provider for {found['least_concurrency']}" in out
    least = found["least_concurrency"]
    assert 6 * found["p90_seconds"] / 1200 <= least <= 6 * found["p90_seconds"] / 1200 + 2


def test_what_no_limit_changes_is_said(planner):
    """A deadline shorter than the longest job is kept by no limit."""
    out = planner("plan", LOOKBOOK, "--deadline", "1m").out
    assert "no limit helps: the longest job alone takes 4 min" in out


def test_a_wrong_deadline_is_bad_input(planner):
    """What is no length of time exits 2 and names the flag."""
    found = planner("plan", LOOKBOOK, "--deadline", "soon", "--json")
    assert found.code == 2
    assert found.document["errors"][0]["where"] == "--deadline"


def test_in_full_there_are_percentiles_polls_expiry_and_portions(planner, timing):
    """`--timing` shows all of it, each figure also in the JSON."""
    found = timing("--timing")
    assert [each["requests"] for each in found["images_per_request"]] == [342, 270, 253, 240]
    for each in found["images_per_request"]:
        finish = each["finish_p50_seconds"]
        assert finish["one_slot"] <= finish["slot_for_each_image"]
    assert found["polls"]["total"] > 240
    assert 0 < found["polls"]["status_share"] < 1
    assert found["outputs_expire"]["cdn_seconds"] > 72 * 3600
    out = planner("plan", LOOKBOOK, "--timing").out
    assert re.search(r"^done in +p1 .+ · p10 .+ · p50 .+ · p90 .+ · p99 ", out, re.MULTILINE)
    assert f"{found['polls']['total']:,} in all" in out
    assert "which of them is not documented" in out


def test_a_policy_changes_what_must_be_done_in_time(planner):
    """With a policy the deadline is about the requests that it lets through."""
    alone = planner("plan", LOOKBOOK, "--deadline", "20m", "--json").document
    ruled = planner("plan", LOOKBOOK, "--deadline", "20m", "--policy", "cheap-drafts", "--json").document
    assert ruled["timing"]["deadline"]["p90_seconds"] == ruled["decided"]["finish_seconds"]["p90"]
    assert ruled["timing"]["deadline"]["p90_seconds"] < alone["timing"]["deadline"]["p90_seconds"]


def test_pictures_that_would_be_lost_are_told_without_asking(planner, folder):
    """A batch that takes longer than outputs are kept says by when the first ones are gone."""
    row = "prompt,resolution,generation_mode,num_images\n" + "x,4k,quality,4\n" * 9_000
    (folder / "long.csv").write_text(row, "utf-8")
    found = planner("plan", "long.csv", "--json")
    assert found.document["timing"]["outputs_expire"]["before_the_end"]["cdn"]
    assert "the first pictures are gone after 3 d" in planner("plan", "long.csv").out
