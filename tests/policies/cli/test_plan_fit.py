"""`planner plan` with limits: what fits, why nothing does, and the workload written again."""

from __future__ import annotations

import csv
import shutil
import sys
from random import Random

import pytest

from planner.columns import input_name
from planner.request import FIELDS
from planner.rungs import LADDERS

from .conftest import DATA

ORDER = "num_images,generation_mode,resolution"
LOOKBOOK = DATA / "lookbook.csv"


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def fit(planner):
    """The `fit` of the lookbook's plan under some flags."""

    def run(*words):
        found = planner("plan", LOOKBOOK, *words, "--json")
        assert found.code == 0, found.out
        return found.document["fit"]

    return run


# -- the fit --------------------------------------------------------------------------------------


def test_a_fit_keeps_its_limits_and_says_for_which_jobs(fit):
    """Credits and deadline hold, also when simulated; groups add up; each loss is proven without a gap."""
    found = fit("--at-most", "800 credits", "--deadline", "30m", "--give-up-in-order", ORDER)
    assert found["fits"] is True
    assert found["credits"] <= 800
    assert found["keeps_deadline"] is True
    assert found["finish_seconds"]["p90"] <= found["bound_seconds"] <= 1800
    assert found["gives_away_seconds"] == pytest.approx(
        found["bound_seconds"] - found["finish_seconds"]["p90"], abs=0.2
    )
    groups = found["groups"]
    assert sum(group["jobs"] for group in groups) == 240
    assert sum(group["credits"] for group in groups) == found["credits"]
    assert sum(group["credits_before"] for group in groups) == 1124
    assert [loss["field"] for loss in found["losses"]] == [*reversed(ORDER.split(","))]
    assert {proof["gap"] for proof in found["proof"]} == {0.0}


def test_what_is_kept_is_kept_and_what_matters_goes_last(fit):
    """No production job changes where they are kept; with a priority drafts lose first."""
    kept = fit("--at-most", "900 credits", "--give-up-in-order", ORDER, "--keep", "stage=production")
    assert all(group["before"] == group["after"] for group in kept["groups"] if group["kept_by"])
    assert sum(group["jobs"] for group in kept["groups"] if group["kept_by"]) > 0
    first = fit(
        "--at-most", "900 credits", "--give-up-in-order", ORDER, "--priority", "stage=production,draft"
    )
    lost = {
        name: sum(loss["steps"] for loss in first["losses"] if loss["priority"] == name)
        for name in ("production", "draft")
    }
    assert lost["production"] == 0 < lost["draft"]


def test_the_frontier_goes_from_all_given_up_to_as_asked(fit):
    """Credits and finish time rise together, from the least that is possible to the whole price."""
    points = fit("--at-most", "800", "--give-up-in-order", ORDER)["frontier"]
    credits = [point["credits"] for point in points]
    assert credits == sorted(set(credits))
    assert credits[-1] == 1124
    assert all(loss["steps"] == 0 for loss in points[-1]["losses"])
    assert points[0]["finish_seconds"]["p90"] < points[-1]["finish_seconds"]["p90"]


def test_money_is_a_limit_too(fit):
    """60 USD are 800 credits on demand, and more under a plan that sells them for less."""
    words = ("--at-most", "60 USD", "--give-up-in-order", ORDER)
    assert fit(*words)["limit_credits"] == 800
    assert fit(*words, "--credit-price", "tier-3")["limit_credits"] > 800


def test_what_does_not_fit_says_by_how_much_and_what_would_do(planner, fit):
    """Nothing may be given up: 324 credits are short, and each way out leads out when it is taken."""
    found = fit("--at-most", "800 credits")
    assert (found["fits"], found["short_credits"], found["least_credits"]) == (False, 324, 1124)
    assert {"kind": "credits", "name": "", "value": 1124} in found["ways_out"]
    fields = [way for way in found["ways_out"] if way["kind"] == "field"]
    assert fields
    for way in fields:
        words = ("--give-up-in-order", way["name"], "--floor", f"{way['name']}={way['value']}")
        assert fit("--at-most", "800 credits", *words)["fits"] is True
    shown = planner("plan", LOOKBOOK, "--at-most", "800 credits")
    assert shown.code == 0
    assert "does not fit by 324 credits\n" in shown.out
    assert "--at-most '1,124 credits' ($84.30)" in shown.out


def test_people_see_what_to_give_up_and_that_it_is_proven(planner):
    """The screen has the sum, the changes of the most important jobs first, the losses and the proof."""
    words = ("--at-most", "850 credits", "--deadline", "1h", "--give-up-in-order", ORDER)
    out = planner("plan", LOOKBOOK, *words, "--priority", "stage=production,draft").out
    assert "fits into 850 credits and 1 h\n850 credits ($63.75), 274 saved" in out
    assert "the bound gives away" in out
    assert "production gives up nothing that shows" in out
    assert "proven: no settings lose less in that order (6 figures, gap 0)" in out


def test_what_fits_as_it_is_stays_as_it_is(planner):
    """With room to spare nothing changes, and one line says so."""
    out = planner("plan", LOOKBOOK, "--at-most", "2000", "--give-up-in-order", ORDER).out
    assert "fits as it is into 2,000 credits" in out
    assert "instead" not in out


def test_every_wrong_flag_is_told_at_once(planner):
    """Four slips are four faults, each with what would be right; nothing is planned."""
    found = planner(
        "plan", LOOKBOOK, "--json", "--at-most", "8 EUR", "--deadline", "soon",
        "--give-up-in-order", "num_image", "--floor", "resolution",
    )  # fmt: skip
    assert found.code == 2
    assert found.codes == ["bad_flag", "bad_order", "bad_amount", "bad_duration"]
    assert all(error["hint"] for error in found.document["errors"])


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("--keep", "stage=prodution"), "did you mean `production`?"),
        (("--keep", "stagee=draft"), "did you mean `stage`?"),
        (("--priority", "stage=production,drafts"), "did you mean `draft`?"),
    ],
)
def test_a_slip_in_a_label_would_give_up_what_matters(planner, words, hint):
    """A label or a value that no job has is an error, not a keep that keeps nothing."""
    found = planner("plan", LOOKBOOK, "--json", "--at-most", "800", "--give-up-in-order", ORDER, *words)
    assert (found.code, found.codes) == (2, ["no_such_label"])
    assert found.document["errors"][0]["hint"] == hint


def test_a_limit_without_the_solver_names_the_extra(planner, monkeypatch):
    """Where HiGHS is not installed, the error says what to install; a plan without limits needs none."""
    monkeypatch.setitem(sys.modules, "highspy", None)
    words = ("plan", LOOKBOOK, "--json")
    found = planner(*words, "--at-most", "800", "--give-up-in-order", ORDER)
    assert (found.code, found.codes) == (2, ["missing_extra"])
    assert "fashn-planner[fit]" in found.document["errors"][0]["hint"]
    assert planner(*words).code == 0


# -- the chart ------------------------------------------------------------------------------------


def test_a_chart_is_drawn_in_both_formats(planner, folder):
    """An SVG has title and axes as text; a PNG is one; another suffix is an error and writes nothing."""
    words = ("plan", LOOKBOOK, "--at-most", "800", "--give-up-in-order", ORDER)
    assert planner(*words, "--chart", "frontier.svg").code == 0
    drawn = (folder / "frontier.svg").read_text("utf-8")
    for text in ("What fewer credits do to the finish time", "credits", "(minutes)", "as asked"):
        assert text in drawn
    assert planner(*words, "--chart", "frontier.png").code == 0
    assert (folder / "frontier.png").read_bytes().startswith(b"\x89PNG")
    assert planner(*words, "--chart", "frontier.gif", "--json").codes == ["bad_chart"]
    assert not (folder / "frontier.gif").exists()


# -- the workload written again -------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_the_written_file_costs_what_was_announced(planner, folder, seed):
    """For random files and limits: planned again it costs that much, and only the named cells differ."""
    write_rows(folder / "rows.csv", Random(seed))
    whole = planner("plan", "rows.csv", "--json").document["credits"]
    words = ("--at-most", str(whole * 3 // 4), "--give-up-in-order", ORDER, "--apply", "new.csv", "--json")
    found = planner("plan", "rows.csv", *words).document
    again = planner("plan", "new.csv", "--json").document
    assert again["credits"] == found["fit"]["credits"] == found["applied"]["credits"] <= whole * 3 // 4
    before, after = rows_of(folder / "rows.csv"), rows_of(folder / "new.csv")
    changed = [
        {name for name in new if new[name] != old.get(name, "")}
        for old, new in zip(before, after, strict=True)
    ]
    assert {input_name(name) for name in set().union(*changed)} <= set(LADDERS)
    assert sum(map(bool, changed)) == found["applied"]["changed"]
    assert list(after[0])[: len(before[0])] == list(before[0])


VALUES = {"Resolution": ("", "1k", "2k", "4K"), "generation_mode": ("", "quality"), "num images": ("", "4")}


def write_rows(path, random):
    """A file with columns of its own, some inputs missing as columns, half of the rows without a key."""
    inputs = random.sample(sorted(VALUES), 2)
    with path.open("w", encoding="utf-8", newline="") as file:
        sheet = csv.DictWriter(file, ["Key", "Notiz", "prompt", *inputs, "sku"])
        sheet.writeheader()
        for number in range(40):
            row = {name: random.choice(VALUES[name]) for name in inputs}
            own = {"Key": f"k{number}" if number % 2 else "", "Notiz": "a, b\n“c”", "sku": f"S{number}"}
            sheet.writerow({**row, **own, "prompt": f"look {number}"})


FACE_4K = "x,4k,quality,,https://example.com/f.png"
REPEATS = f"""key,prompt,resolution,generation_mode,num_images,face_reference
a,{FACE_4K}
b,{FACE_4K}
c,y,2k,,,
,z,4k,,,
"""


def test_without_limits_the_same_pictures_are_asked_for_more_cheaply(planner, folder):
    """A capped 4k becomes 2k, a repeated row is left out by name, and nothing that shows changes."""
    (folder / "rows.csv").write_text(REPEATS, "utf-8")
    found = planner("plan", "rows.csv", "--apply", "cheaper.csv", "--json").document["applied"]
    assert (found["jobs"], found["changed"], found["left_out"], found["without_key"]) == (3, 1, ["b"], 0)
    assert planner("plan", "cheaper.csv", "--json").document["credits"] == found["credits"]
    assert [row["resolution"] for row in rows_of(folder / "cheaper.csv")] == ["2k", "2k", "4k"]
    out = planner("plan", "rows.csv", "--apply", "cheaper.csv").out
    assert "left out, asked for before: b\n" in out


def test_other_pictures_are_asked_for_by_name_only(planner, folder):
    """`--apply-also` takes further savings by their names; a row without a key is told as another job."""
    (folder / "rows.csv").write_text(REPEATS, "utf-8")
    words = ("plan", "rows.csv", "--apply", "cheaper.csv")
    found = planner(*words, "--apply-also", "2k", "--apply-also", "balanced", "--json").document["applied"]
    assert (found["changed"], found["without_key"]) == (3, 1)
    assert [(row["resolution"], row["generation_mode"]) for row in rows_of(folder / "cheaper.csv")] == [
        ("2k", "balanced"),
        ("2k", "balanced"),
        ("2k", "balanced"),
    ]
    assert "1 changed job has no key" in planner(*words, "--apply-also", "2k").out
    assert planner(*words, "--apply-also", "smaller", "--json").codes == ["no_such_saving"]
    words = (*words, "--at-most", "9", "--apply-also", "2k", "--json")
    assert planner(*words, "--give-up-in-order", "resolution").codes == ["bad_flag"]


@pytest.mark.parametrize("suffix", [".xlsx", ".jsonl", ".parquet"])
def test_it_is_written_in_the_format_of_its_name(planner, folder, suffix):
    """Whatever the format, planned again it costs what was announced; another suffix is an error."""
    (folder / "rows.csv").write_text(REPEATS, "utf-8")
    found = planner("plan", "rows.csv", "--apply", f"new{suffix}", "--json").document["applied"]
    assert planner("plan", f"new{suffix}", "--json").document["credits"] == found["credits"]
    assert planner("plan", "rows.csv", "--apply", "new.txt", "--json").codes == ["unknown_format"]


def test_what_does_not_fit_is_not_written(planner, folder):
    """There are no settings to write; the error says how to see why."""
    found = planner("plan", LOOKBOOK, "--at-most", "1", "--apply", "new.csv", "--json")
    assert (found.code, found.codes) == (2, ["does_not_fit"])
    assert not (folder / "new.csv").exists()


def test_nothing_of_the_users_is_written_over_or_lost(planner, folder):
    """The workload itself is never the target, and pictures that lie beside it stay beside it."""
    shutil.copy(LOOKBOOK, folder / "rows.csv")
    assert planner("plan", "rows.csv", "--apply", "./rows.csv", "--json").codes == ["bad_file"]
    assert (folder / "rows.csv").read_bytes() == LOOKBOOK.read_bytes()
    (folder / "face.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    (folder / "faces.csv").write_text("prompt,face_reference,resolution\nx,face.png,4k\n")
    (folder / "sub").mkdir()
    assert planner("plan", "faces.csv", "--apply", "sub/new.csv", "--json").codes == ["bad_file"]
    assert planner("plan", "faces.csv", "--apply", "new.csv", "--json").document["applied"]["changed"] == 1


def test_a_workload_from_a_pipe_is_written_too(planner, folder):
    """Standard input is read once and looked at as often as needed."""
    words = (
        "--at-most",
        "800",
        "--give-up-in-order",
        ORDER,
        "--keep",
        "stage=production",
        "--apply",
        "new.csv",
    )
    found = planner("plan", "-", *words, "--json", stdin=LOOKBOOK.read_text("utf-8"))
    assert found.codes == ["does_not_fit"]
    words = ("--at-most", "900", *words[2:])
    found = planner("plan", "-", *words, "--json", stdin=LOOKBOOK.read_text("utf-8")).document
    assert (found["applied"]["jobs"], found["applied"]["credits"]) == (240, found["fit"]["credits"])
    assert {name for name in rows_of(folder / "new.csv")[0] if name in FIELDS} >= set(LADDERS)


def test_the_products_of_a_matrix_are_never_written_over(planner, folder):
    """What a matrix is read from is as little a target as the matrix itself: exit 2, not a byte changes."""
    products = "Variant SKU,Title\nNL-1,Dress\n"
    (folder / "products.csv").write_text(products)
    matrix = "workload: 1\nproducts: products.csv\neach: {pose: [front, back]}\n"
    matrix += "key: '{variant_sku}-{pose}'\nprompt: '{title}, {pose}'\n"
    (folder / "shoot.yaml").write_text(matrix)
    found = planner("plan", "shoot.yaml", "--apply", "products.csv", "--json")
    assert (found.code, found.codes) == (2, ["bad_file"])
    assert (folder / "products.csv").read_text() == products
