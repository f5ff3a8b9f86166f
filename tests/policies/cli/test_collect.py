"""`planner collect`: what a dead process left is finished and brought home, and nothing is sent."""

import json

import pytest

from policies.ledger.states import State
from policies.ledger.store import Store
from tests.policies.cli.processes import POLICY, killed, planner, sandbox, started, workload


@pytest.fixture
def left(tmp_path):
    """A folder in which a run was killed with predictions in flight, and its provider."""
    (tmp_path / "studio.yaml").write_text(POLICY)
    workload(tmp_path / "looks.csv", 12)
    words = ["run", "looks.csv", "--policy", "studio.yaml", "--ledger", "spend.db", "--name", "{sku}-{n}"]
    with sandbox(80.0) as found:
        killed(tmp_path, [*words, "--base-url", found.url, "--speed", "80"], lambda: found.wait_for(7))
        yield tmp_path, found


def collect(folder, found, *more):
    words = ["collect", "--ledger", "spend.db", "--base-url", found.url, "--speed", found.speed]
    code, out, err = planner(folder, *words, "--json", *more)
    assert code == 0, err
    return json.loads(out)


def entries(folder, *states):
    store = Store.open(f"sqlite:///{folder}/spend.db", create=False)
    try:
        return store.entries(states=states)
    finally:
        store.close()


def test_what_was_in_flight_is_settled_and_home_under_its_own_name(left):
    """Every accepted prediction ends, its picture has the name the run had planned, nothing is sent."""
    folder, found = left
    sent = found.bill()["accepted"]
    document = collect(folder, found)
    assert document["schema"] == "planner.collect/1"
    assert document["completed"] == document["jobs"] > 0
    assert found.bill()["accepted"] == sent
    assert entries(folder, State.ACCEPTED, State.SENDING, State.HELD) == []
    home = {path.name for path in (folder / "pictures" / "main").glob("*.png")}
    assert home == {f"SW-{entry.key.removeprefix('look-')}-1.png" for entry in entries(folder, State.SETTLED)}
    records = (folder / "pictures" / "main" / "results.jsonl").read_text().splitlines()
    assert len(records) == 12
    assert collect(folder, found)["jobs"] == 0


def test_a_picture_that_was_never_fetched_is_fetched(left):
    """Without the results of a run pictures are named after their keys."""
    folder, found = left
    words = ["run", "looks.csv", "--policy", "studio.yaml", "--ledger", "spend.db", "--no-pictures"]
    words += ["--shoot", "second", "--first", "2", "--base-url", found.url, "--speed", found.speed]
    assert planner(folder, *words)[0] == 0
    document = collect(folder, found, "--shoot", "second")
    assert (document["jobs"], document["pictures"]["home"]) == (2, 2)
    home = folder / "pictures" / "second"
    assert {path.name for path in home.glob("*.png")} == {"look-0-1.png", "look-1-1.png"}


def test_pictures_of_another_ledger_are_left_alone(left):
    """Exit 2 before anything is fetched, and the folder stays as it was."""
    folder, found = left
    marker = folder / "pictures" / "main" / ".planner.json"
    other = marker.read_text().replace('"ledger": "', '"ledger": "0')
    marker.write_text(other)
    before = {path.name for path in marker.parent.iterdir()}
    words = ["collect", "--ledger", "spend.db", "--base-url", found.url, "--speed", found.speed, "--json"]
    code, out, _ = planner(folder, *words)
    assert (code, json.loads(out)["errors"][0]["code"]) == (2, "foreign_pictures")
    assert ({path.name for path in marker.parent.iterdir()}, marker.read_text()) == (before, other)


def test_watch_goes_on_until_it_is_interrupted(left):
    """`--watch` looks again and again, and ends quietly."""
    folder, found = left
    words = ["collect", "--ledger", "spend.db", "--base-url", found.url, "--speed", "1000", "--watch"]
    with started(words, folder) as process:
        lines = [process.stdout.readline() for _ in range(4)]
        process.terminate()
        process.communicate(timeout=10)
    assert "looked after" in lines[1]
    assert lines[3].strip() == "nothing was left to finish or to fetch"


def test_without_a_ledger_there_is_nothing_to_collect(tmp_path):
    """It is said so, and none is made."""
    code, _, err = planner(tmp_path, "collect", "--base-url", "http://127.0.0.1:9")
    assert (code, "no ledger" in err) == (2, True)
    assert list(tmp_path.iterdir()) == []
