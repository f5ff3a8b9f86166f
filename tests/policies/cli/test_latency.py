"""`planner latency`: what is shown, and what is learned from a history and from a ledger."""

import shutil
from pathlib import Path

import pytest

from planner.capacity import look_delay_seconds
from planner.pacing import Limits
from policies.cli.latency import _of_entries
from policies.server.sandbox.app import running
from tests.policies.ledger.books import studio

HISTORY = Path(__file__).parents[2] / "data" / "history.csv"


@pytest.fixture
def history(folder):
    shutil.copy(HISTORY, folder / "history.csv")
    return "history.csv"


def test_what_is_documented_is_shown_with_its_basis(planner):
    """Every figure says where it comes from."""
    found = planner("latency", "show")
    assert found.code == 0
    assert "fashn-documented@2026-11-22" in found.out
    document = planner("latency", "show", "--json").document
    assert (document["schema"], len(document["seconds"]), document["load"]) == ("planner.latency/1", 72, [])
    assert document["seconds"][0]["basis"] == "documented"


def test_a_fit_is_written_tried_and_shown(planner, folder, history):
    """The file is one that `show` reads; the same history gives the same bytes."""
    words = ("latency", "fit", "--history", history, "--until", "2026-10-01T00:00:00Z")
    found = planner(*words, "-o", "one.yaml")
    assert found.code == 0
    assert "learned from 6,439 requests of history.csv from 2026-08-01 to 2026-09-30" in found.out
    assert (
        "tried on 5,099 later requests: 49.1% within the first figure, 88.4% within the second" in found.out
    )
    assert planner(*words, "-o", "two.yaml", "--json").document["tried"]["observations"] == 5099
    assert (folder / "one.yaml").read_bytes() == (folder / "two.yaml").read_bytes()
    shown = planner("latency", "show", "one.yaml")
    assert "observed, 999 seen" in shown.out
    assert "busy hours (UTC): 14, 15, 16, 17, 18, 19" in shown.out


def test_a_ledger_is_learned_from(planner, folder, monkeypatch):
    """What the runner has seen of its own jobs."""
    with running(speed=50, seed=3) as sandbox:
        monkeypatch.setenv("FASHN_API_KEY", "key")
        monkeypatch.setenv("FASHN_BASE_URL", sandbox.url)
        (folder / "looks.csv").write_text("prompt\n" + "".join(f"dress {n}\n" for n in range(5)))
        run = ("run", "looks.csv", "--policy", "starter", "--speed", "50", "--no-pictures", "--yes")
        assert planner(*run).code == 0
    document = planner("latency", "fit", "--speed", "50", "--json").document
    seen = {one["observations"] for one in document["seconds"]}
    assert seen == {0, 5}
    assert document["source"].startswith("5 requests of spend.db from ")


def test_a_file_that_is_no_profile_is_refused(planner, folder):
    """All faults at once, with exit code 2."""
    (folder / "bad.yaml").write_text("profile: x\n")
    found = planner("latency", "show", "bad.yaml", "--json")
    assert found.code == 2
    assert {*found.codes} == {"latency_profile"}
    assert len(found.codes) == 72


def test_a_plan_and_a_quote_go_by_the_profile_that_is_named(planner, folder, history):
    """Without one they go by what is documented; a file that is not there is told, and nothing is guessed."""
    assert planner("latency", "fit", "--history", history, "-o", "latency.yaml").code == 0
    (folder / "looks.csv").write_text("prompt,resolution,generation_mode\nlinen dress,4k,quality\n")
    usual = planner("quote", "--resolution", "2k", "--json").document["seconds"]
    learned = planner("quote", "--resolution", "2k", "--latency", "latency.yaml", "--json").document[
        "seconds"
    ]
    assert (usual["basis"], learned["basis"]) == ("estimated", "observed")
    (group,) = planner("plan", "looks.csv", "--latency", "latency.yaml", "--json").document["groups"]
    assert group["seconds"]["basis"] == "observed"
    assert group["seconds"]["p50"] > 105, "the busiest kind takes longer than documented"
    assert planner("plan", "looks.csv", "--latency", "absent.yaml", "--json").code != 0


def test_what_a_run_saw_late_is_learned_as_it_was(tmp_path):
    """An end is seen half a round of looks after it was; what a file says of an end is taken as it stands."""
    with studio(tmp_path) as books:
        books.job("look", {"team": "social"})
        (entry,) = books.store.entries()
    seen = (entry.ended_us - entry.accepted_us) / 1e6
    ((_, own),) = _of_entries([entry], 1.0)
    ((_, told),) = _of_entries([entry._replace(sends=0)], 1.0)
    assert told.seconds == seen
    assert own.seconds == pytest.approx(seen - look_delay_seconds(Limits()))
