"""`planner ledger`: show, holds, settle and verify."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from policies.cli.main import main
from policies.ledger.states import State
from policies.server.sandbox.faults import Faults
from tests.policies.ledger.books import studio


@pytest.fixture
def books(tmp_path):
    (tmp_path / "books").mkdir()
    with studio(tmp_path / "books") as found:
        found.job("a", {"team": "social"}, resolution="2k")
        found.job("b", {"team": "social"}, faults=Faults(missing_header=1.0))
        found.lost("c", {"team": "brand"}, num_images=3)
        found.running("d", {"team": "brand"}, num_images=2)
        yield found


@pytest.fixture
def planner(books, monkeypatch, tmp_path):
    """Runs `planner ledger` over those books, in an empty folder, at the books' own time."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    monkeypatch.setenv("PLANNER_LEDGER", str(books.path))
    return lambda *words: CliRunner().invoke(main, ["ledger", *words])


WHO = ("--because", "the balance says so", "--by", "Finance")


# -- show ----------------------------------------------------------------------------------------


def test_show_has_the_shape_of_the_contract(planner):
    """Sums, counts and every budget of a window that runs, in its own unit."""
    found = json.loads(planner("show", "--json").stdout)
    budgets = found.pop("budgets")
    [policy] = found.pop("policies")
    assert (policy["name"], policy["enforced"], len(policy["digest"])) == ("studio", True, 64)
    assert found == {
        "schema": "planner.ledger-show/1",
        "settled": 5,
        "estimated": 1,
        "held": 2,
        "unknown": 3,
        "released": 0,
        "counts": {"settled": 2, "held": 1, "unknown": 1, "released": 0, "denied": 0, "waiting": 0},
        "stopped_jobs": {"denied": 0, "waiting": 0},
        "kind": "sandbox",
    }
    [everything] = [budget for budget in budgets if budget["name"] == "everything"]
    assert everything == {
        "policy": "studio",
        "name": "everything",
        "scope": {},
        "window": ["1970-01-01T00:00:00+00:00", None],
        "unit": "microusd",
        "limit": 50_000_000,
        "granted": 0,
        "settled": 5 * 75_000,
        "held": 2 * 75_000,
        "unknown": 3 * 75_000,
    }


def test_show_uses_the_words_of_the_screen(planner):
    """People read charged, reserved and unconfirmed, never the names of states."""
    said = planner("show").stdout
    assert "SANDBOX" in said
    for word in ("charged", "reserved", "unconfirmed", "1 of it estimated", "$0.375", "$50.00"):
        assert word in said
    for word in ("held", "unknown", "settled", "microusd"):
        assert word not in said


def test_show_counts_jobs_and_says_how_often_they_were_tried(planner, books):
    """A job that waits is one job to people, whatever the number of runs that asked again."""
    for _ in range(3):
        books.job("w", {"campaign": "ask"})
    [line] = [line for line in planner("show").stdout.splitlines() if line.startswith("waiting")]
    assert line.split() == ["waiting", "for", "approval", "1", "3", "attempts"]


# -- holds ---------------------------------------------------------------------------------------


def test_holds_lists_what_is_open_with_what_to_do(planner, books):
    """Reserved while a process is at work; unconfirmed for a person to end."""
    lost, running = json.loads(planner("holds", "--json").stdout)["holds"]
    assert (lost["key"], lost["state"], lost["shown"]) == ("c", "unknown", "unconfirmed")
    assert (lost["credits"], lost["prediction_id"], lost["owner_alive"]) == (3, None, False)
    assert "planner ledger settle" in lost["next"]
    assert (running["key"], running["shown"], running["owner_alive"]) == ("d", "reserved, running", True)
    assert running["prediction_id"]
    assert running["next"].endswith("wait")
    books.worker.crash()
    _, orphaned = json.loads(planner("holds", "--json").stdout)["holds"]
    assert orphaned["owner_alive"] is False
    assert "planner collect" in orphaned["next"]


def test_holds_for_people(planner):
    """One line each, the sum, and the next step."""
    said = planner("holds").stdout
    assert "2 jobs, 5 credits" in said
    assert "unconfirmed: find it" in said


def test_nothing_open_is_said(tmp_path):
    """An empty list is an answer."""
    with studio(tmp_path) as found:
        result = CliRunner().invoke(main, ["ledger", "holds", "--ledger", str(found.path)])
    assert (result.exit_code, result.stdout) == (0, "nothing is reserved or unconfirmed\n")


# -- settle --------------------------------------------------------------------------------------


def test_a_named_person_says_what_it_cost(planner, books):
    """Charged, with who and why in the event, and the ledger still holds."""
    result = planner("settle", "c", "--charged", "2", *WHO, "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["schema"] == "planner.ledger-settle/1"
    assert (found["state"], found["credits"], found["held"]) == ("settled", 2, 3)
    event = books.store.events()[-1]
    assert event.happened == "settled_by"
    assert json.loads(event.detail) == {"because": "the balance says so", "by": "Finance"}
    assert planner("verify").exit_code == 0


def test_a_named_person_says_that_it_cost_nothing(planner, books):
    """Not charged: its key is free again and nothing counts."""
    result = planner("settle", "c", "--not-charged", *WHO)
    assert result.stdout == "c: not charged (was unconfirmed, 3 credits)\n"
    assert books.store.latest("main", "main", "c").state is State.RELEASED
    assert books.store.events()[-1].happened == "released_by"
    assert json.loads(planner("show", "--json").stdout)["unknown"] == 0
    assert planner("verify").exit_code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("a", "--charged", "4", *WHO), "`a` is not unconfirmed but charged"),
        (("d", "--charged", "4", *WHO), "`d` is not unconfirmed but reserved, running"),
        (("nobody", "--charged", "4", *WHO), "the ledger has no unconfirmed job `nobody`"),
        (("c", "--charged", "4", "--shoot", "other", *WHO), "no unconfirmed job `c`"),
        (("c", *WHO), "either --charged N or --not-charged"),
        (("c", "--charged", "1", "--not-charged", *WHO), "either --charged N or --not-charged"),
        (("c", "--charged", "0", *WHO), "--charged"),
        (("c", "--charged", "4", "--by", "Finance"), "--because"),
        (("c", "--charged", "4", "--because", "x"), "--by"),
        (("c", "--charged", "4", "--because", " ", "--by", "Finance"), "--because must not be empty"),
    ],
)
def test_what_cannot_be_settled_is_refused(planner, books, words, said):
    """Exit 2, one line, and nothing has changed."""
    before = books.store.events()
    result = planner("settle", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert len(result.stderr.strip().split("\n")) == 1
    assert books.store.events() == before


def test_a_key_that_is_unconfirmed_twice_needs_its_shoot(planner, books):
    """The hint says how; with the shoot it is settled."""
    books.sql("UPDATE entries SET shoot = 'spring', state = 'unknown' WHERE key = 'd'")
    books.sql("UPDATE entries SET key = 'c' WHERE key = 'd'")
    result = planner("settle", "c", "--not-charged", *WHO)
    assert result.exit_code == 2
    assert "--account main --shoot spring" in result.stderr
    assert planner("settle", "c", "--not-charged", "--shoot", "spring", *WHO).exit_code == 0


# -- verify --------------------------------------------------------------------------------------


def test_verify_holds(planner):
    """Exit 0, and how much was looked at."""
    result = planner("verify", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found == {"schema": "planner.ledger-verify/1", "holds": True, "entries": 4, "differences": []}


def test_verify_lists_what_does_not_hold_and_exits_1(planner, books):
    """Every difference with its place, for people and as a document."""
    books.sql("UPDATE entries SET credits = 1 WHERE key = 'a'")
    result = planner("verify")
    assert result.exit_code == 1
    assert "entry 1 (`a`): its credits is `1`, by its events it is `4`" in result.stdout
    found = json.loads(planner("verify", "--json").stdout)
    assert found["holds"] is False
    assert {"entry_credits", "counter"} == {item["code"] for item in found["differences"]}


# -- all -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [("show",), ("holds",), ("verify",), ("settle", "c", "--charged", "1", *WHO)]
)
def test_a_missing_ledger_is_not_made(planner, words, tmp_path):
    """Exit 2 with a hint, and no file appears."""
    result = planner(*words, "--ledger", "missing.db")
    assert result.exit_code == 2
    assert f"there is no ledger at `{Path('missing.db').resolve()}`" in result.stderr
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.parametrize("words", [("show",), ("holds",)])
def test_showing_exits_0_whatever_it_finds(planner, books, words):
    """A ledger that does not hold can still be looked at."""
    books.sql("UPDATE entries SET credits = 1; UPDATE counters SET settled = 9")
    assert planner(*words).exit_code == 0
