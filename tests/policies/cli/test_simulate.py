"""`planner simulate`: what it prints, its document, and what its exit code says."""

import pytest

from policies.guard import machine
from policies.guard.answers import Again, Lost, read_run


@pytest.fixture
def looks(folder):
    (folder / "looks.csv").write_text("key,prompt,num_images\na,linen dress,2\nb,silk scarf,1\nc,coat,1\n")
    return "looks.csv"


def test_a_quiet_life_costs_what_was_charged(planner, looks):
    """Without faults the ledger and the bill say the same, in words and in the document."""
    words = ("simulate", looks, "--policy", "starter", "--faults", "0", "--seeds", "2", "--workers", "1")
    found = planner(*words)
    assert found.code == 0
    assert "2 lives of 3 jobs under policy starter · seeds 1 to 2 · faults 0%" in found.out
    assert "every law held in 2 lives" in found.out
    document = planner(*words, "--json").document
    assert (document["schema"], document["held"], document["lives"]) == ("planner.simulate/1", 2, 2)
    assert (document["seeds"], document["fault_rate"], document["broken"]) == ([1, 2], 0.0, [])
    whole = document["total"]
    assert whole["settled_credits"] == whole["billed_credits"] == 8
    assert whole["unknown_credits"] == whole["stranded_credits"] == whole["lost_answers"] == 0


def test_a_law_that_does_not_hold_is_exit_1_with_its_seed(planner, looks, monkeypatch):
    """A guard that sends again after a lost answer is told, with the command that shows it once more."""

    def hopeful(reply):
        reading = read_run(reply)
        return Again("ReadError") if isinstance(reading, Lost) else reading

    monkeypatch.setattr(machine, "read_run", hopeful)
    words = ("simulate", looks, "--faults", "50%", "--seeds", "12", "--workers", "1")
    found = planner(*words)
    assert found.code == 1
    assert "a law did not hold in" in found.out
    assert "law 15: `" in found.out
    assert "again: planner simulate looks.csv --faults 50% --processes 3 --seed " in found.out
    broken = planner(*words, "--json").document["broken"]
    assert {fault["what"].partition(":")[0] for fault in broken} >= {"law 15"}


@pytest.mark.parametrize("share", ["70%", "-1", "many"])
def test_a_share_that_is_none_is_refused(planner, looks, share):
    """How much goes wrong is from nothing to every second call."""
    found = planner("simulate", looks, "--faults", share, "--json")
    assert found.code == 2
    assert found.codes == ["usage"]


def test_a_file_that_is_not_there_is_refused(planner, folder):
    """Nothing is run, and nothing is left behind."""
    assert planner("simulate", "absent.csv", "--json").code == 2
    assert [*folder.iterdir()] == []
