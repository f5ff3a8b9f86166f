"""Lives in virtual time: they hold every law, they can be replayed, and a guard that errs is found out."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from planner.loading import shipped_prices
from planner.workload import read_workload
from policies.budgets import Usage
from policies.guard import machine
from policies.guard.answers import Again, Lost, read_run
from policies.ledger import counting, store
from policies.ledger.entries import Evidence
from policies.ledger.states import Happened, State
from policies.loading import load_policy, parse_policy
from policies.simulation.lives import Setting, lived, simulate, total

LIVES = 4

TIGHT = """
policy: 1
name: tight
timezone: Europe/Berlin
otherwise: allow
enforcement: on
labels: {team: any, stage: any, campaign: any}
budgets:
  - {name: day, limit: 90 credits, per: day, when_exhausted: deny}
  - name: team-hour
    limit: 25 credits
    per: hour
    for_each: [team]
    when_exhausted: {downgrade: {give_up_in_order: [num_images, generation_mode, resolution]}}
"""


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """Two dozen looks of three teams."""
    lines = ["key,prompt,resolution,generation_mode,num_images,face_reference,team,stage"]
    for number in range(24):
        tier, mode = ("1k", "2k", "4k")[number % 3], ("fast", "", "quality")[number % 4 % 3]
        face = "https://example.com/anna.png" if number % 7 == 0 else ""
        team = ("social", "brand", "ecommerce")[number % 3]
        lines.append(f"look-{number},linen dress {number},{tier},{mode},{number % 4 + 1},{face},{team},draft")
    path = tmp_path_factory.mktemp("looks") / "looks.csv"
    path.write_text("\n".join(lines) + "\n")
    return read_workload(path)


def setting(jobs, policy=None, rate=0.2, processes=3):
    policy = policy or parse_policy(TIGHT, "tight.yaml")
    return Setting.of(jobs, policy, shipped_prices(), fault_rate=rate, most_processes=processes)


@pytest.mark.parametrize(
    ("name", "rate"), [("tight", 0.0), ("starter", 0.0), ("tight", 0.2), ("starter", 0.5)]
)
def test_every_law_holds_in_every_life(jobs, name, rate):
    """Whatever goes wrong, nothing passes a budget, is paid twice, or is lost from sight."""
    policy = parse_policy(TIGHT, "tight.yaml") if name == "tight" else load_policy(name)
    found = total([lived(setting(jobs, policy, rate), seed) for seed in range(LIVES)])
    assert found.broken == ()
    assert (found.over_budget_credits, found.out_of_sight_credits, found.double_submissions) == (0, 0, 0)
    assert found.jobs == 24 * LIVES
    assert found.settled_credits > 0
    if rate == 0.0:
        assert (found.unknown_credits, found.stranded_credits) == (0, 0)
        assert found.settled_credits == found.billed_credits
    else:
        assert found.starts > 2 * LIVES, "processes are ended and begin again"
        assert found.unknown_credits >= found.stranded_credits


def test_a_life_is_replayed_by_its_seed(tmp_path):
    """The same seed gives the same figures in another process, whatever its hashes are like."""
    (tmp_path / "looks.csv").write_text("prompt,num_images\n" + "linen dress,3\nsilk scarf,1\n" * 10)
    words = [
        "simulate",
        str(tmp_path / "looks.csv"),
        "--seeds",
        "3",
        "--seed",
        "5",
        "--faults",
        "50%",
        "--json",
    ]
    command = [sys.executable, "-m", "policies.cli", *words]
    told = [
        subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True)
        for seed in ("1", "2")
    ]
    first, second = (json.loads(run.stdout) for run in told)
    assert first == second
    assert first["total"]["unknown_jobs"] > 0


def test_lives_side_by_side_are_those_in_a_row(jobs):
    """Where a life runs changes nothing about it."""
    share = setting(jobs)
    assert [*simulate(share, range(4), workers=2)] == [*simulate(share, range(4))]


def test_two_seeds_are_two_lives(jobs):
    """Lives differ in everything that is drawn."""
    share = setting(jobs)
    lives = [share.mischief(seed) for seed in range(30)]
    assert len({life.starts_at for life in lives}) == 30
    assert {life.processes for life in lives} == {1, 2, 3}
    assert {life.balance_credits is None for life in lives} == {True, False}
    assert len({life.faults for life in lives}) == 30


# -- a guard that errs is found out ----------------------------------------------------------------


def first_broken(share):
    """What came of the first life in which a law did not hold."""
    return next(found for seed in range(40) if (found := lived(share, seed)).broken)


def test_sending_again_after_a_lost_answer_is_found(jobs, monkeypatch):
    """A guard that takes a cut connection for an answer pays twice."""

    def hopeful(reply):
        reading = read_run(reply)
        return Again("ReadError") if isinstance(reading, Lost) else reading

    monkeypatch.setattr(machine, "read_run", hopeful)
    found = first_broken(setting(jobs, load_policy("starter")))
    assert found.double_submissions > 0
    assert any(text.startswith("law 15") for text in found.broken)


def test_a_budget_that_nothing_counts_in_is_found(jobs, monkeypatch):
    """A guard that asks about an empty budget takes it past its limit."""
    found_by = counting.found
    monkeypatch.setattr(counting, "found", lambda *given: (found_by(*given)[0], Usage()))
    found = first_broken(setting(jobs, rate=0.0))
    assert found.over_budget_credits > 0
    assert any(text.startswith("law 13") for text in found.broken)


def test_forgetting_what_a_dead_process_sent_is_found(jobs, monkeypatch):
    """A take-over that releases what was being sent loses sight of what it cost."""
    inherit = store.Store._inherit

    def forgetful(self, connection, entry, owner):
        moved = inherit(self, connection, entry, owner)
        if moved.state is State.UNKNOWN:
            said = Evidence(reason="nobody", detail={"by": "nobody", "because": "nothing"})
            return self._apply(connection, moved, Happened.RELEASED_BY, said)
        return moved

    monkeypatch.setattr(store.Store, "_inherit", forgetful)
    found = first_broken(replace(setting(jobs, load_policy("starter")), fault_rate=0.5))
    assert found.out_of_sight_credits > 0 or found.double_submissions > 0
    assert found.broken
