"""Whole runs against the sandbox over HTTP: everything comes home, nothing is paid twice."""

import sqlite3
from collections import Counter

import pytest

from planner.request import ModelCreateRequest
from policies.guard import runner as runner_module
from policies.guard.answers import TRANSIENT_FAILURES
from policies.guard.batch import Ending, tally
from policies.guard.halts import Halt
from policies.ledger import sqlite
from policies.ledger.states import State
from policies.server.sandbox.faults import Faults
from tests.policies.guard.stage import rows, stage


@pytest.fixture
def stand(tmp_path):
    with stage(tmp_path) as found:
        yield found


def endings(lines):
    return Counter(line.ending.value for line in lines)


def assert_agrees(found):
    """The ledger says what the provider says, to the credit; six at once, and nobody was refused."""
    bill = found.handle.bill()
    assert found.settled_credits() == bill.credits
    assert bill.duplicates == 0
    assert bill.most_in_flight <= 6
    assert bill.most_status_polls <= 50


def test_a_batch_comes_home_and_the_ledger_agrees_with_the_bill(stand):
    """Every row completes with all its pictures, at most six are in flight, and no call is refused."""
    lines = [*rows(7), *rows(3, "pair", num_images=2, resolution="2k")]
    runner = stand.run(lines)
    assert runner.exit_code == 0
    assert endings(lines) == {"completed": 10}
    assert_agrees(stand)
    assert stand.handle.bill().refused == {}
    assert stand.names_home() == {
        *(f"look-{place}-1.png" for place in range(7)),
        *(f"pair-{place}-{n}.png" for place in range(3) for n in (1, 2)),
    }
    assert [entry.outputs_home for entry in stand.entries()] == [entry.outputs for entry in stand.entries()]


def test_the_sums_of_a_run_hold(stand):
    """The endings add up to the jobs, and the credits are those of the ledger."""
    lines = rows(4, resolution="2k", generation_mode="fast")
    stand.run(lines, pictures=None)
    document = tally(lines).as_json()
    assert sum(document[ending.value] for ending in Ending) == document["jobs"] == 4
    assert document["credits"] == {"quoted": 8, "settled": 8, "unknown": 0, "this_run": 8}
    assert not stand.pictures.exists()


def test_a_second_run_pays_nothing_and_fetches_what_is_missing(stand):
    """What was paid is reused; a picture that is gone from the folder is fetched, the others are not."""
    stand.run(rows(4))
    paid = stand.handle.bill().accepted
    kept = stand.pictures / "look-1-1.png"
    before = kept.stat().st_mtime_ns
    (stand.pictures / "look-2-1.png").unlink()
    (stand.pictures / "look-3-1.png").write_bytes(b"\x89PNG\r\n\x1a\n cut off")
    lines = rows(4)
    runner = stand.run(lines)
    assert runner.exit_code == 0
    assert stand.handle.bill().accepted == paid
    assert all(line.reused and line.files for line in lines)
    assert tally(lines).as_json()["credits"]["this_run"] == 0
    assert kept.stat().st_mtime_ns == before
    assert stand.names_home() == {f"look-{place}-1.png" for place in range(4)}


def test_a_picture_that_came_home_unnoted_is_noted_by_the_next_run(stand, tmp_path):
    """As after a kill between the file and the ledger: the file stays, and nothing is left to fetch."""
    stand.run(rows(2), pictures=None)
    with stage(tmp_path / "elsewhere") as other:
        other.run(rows(2))
        stand.pictures.mkdir(parents=True)
        for path in other.pictures.glob("*.png"):
            (stand.pictures / path.name).write_bytes(path.read_bytes())
    assert [entry.outputs_home for entry in stand.entries()] == [0, 0]
    kept = (stand.pictures / "look-0-1.png").stat().st_mtime_ns
    stand.run(rows(2))
    assert [entry.outputs_home for entry in stand.entries()] == [1, 1]
    assert (stand.pictures / "look-0-1.png").stat().st_mtime_ns == kept


def test_pictures_that_the_provider_no_longer_has_are_said_to_be_lost_and_never_paid_again(tmp_path):
    """A paid job whose id the provider forgot costs nothing more; the next run does not even ask."""
    with stage(tmp_path) as first:
        first.run(rows(2), pictures=None)
    with stage(tmp_path, seed=12) as second:
        lines = rows(2)
        runner = second.run(lines)
        assert runner.exit_code == 0
        assert [line.pictures_gone for line in lines] == [1, 1]
        assert all(entry.outputs_lost for entry in second.entries())
        again = rows(2)
        second.run(again)
        assert [line.pictures_gone for line in again] == [1, 1]
        assert second.handle.bill().accepted == 0
        assert second.handle.bill().most_status_polls == 2


def test_a_lost_answer_is_unknown_and_is_never_sent_again(tmp_path):
    """Rows whose answer was cut off count as unknown, stay counted, and a rerun leaves them alone."""
    with stage(tmp_path, faults=Faults(lost_after=1.0)) as found:
        lines = rows(3)
        runner = found.run(lines)
        assert runner.exit_code == 1
        assert endings(lines) == {"unknown": 3}
        assert tally(lines).as_json()["credits"]["unknown"] == 3
        found.handle.provider.faults = Faults()
        again = rows(3)
        assert found.run(again).exit_code == 1
        assert endings(again) == {"unknown": 3}
        assert found.handle.bill().accepted == 3


def test_a_cancelled_prediction_is_unknown_and_is_asked_about_again(tmp_path):
    """The id is known, so a later run asks once more; while the answer stays the same nothing is sent."""
    with stage(tmp_path, faults=Faults(canceled=1.0)) as found:
        lines = rows(2)
        assert found.run(lines).exit_code == 1
        assert [(line.ending.value, line.reason) for line in lines] == [("unknown", "canceled")] * 2
        again = rows(2)
        assert found.run(again).exit_code == 1
        assert endings(again) == {"unknown": 2}
        assert found.handle.bill().accepted == 2


def test_only_passing_failures_are_tried_again_and_at_most_twice(tmp_path):
    """A name that the provider calls passing is tried three times, any other one once; none costs."""
    with stage(tmp_path, speed=2000.0, faults=Faults(failed=1.0)) as found:
        lines = rows(12)
        runner = found.run(lines)
        assert runner.exit_code == 1
        assert endings(lines) == {"failed": 12}
        attempts = Counter(entry.key for entry in found.entries())
        for line in lines:
            tried = [entry.reason for entry in found.entries() if entry.key == line.key]
            assert all(name in TRANSIENT_FAILURES for name in tried[:-1])
            assert len(tried) == 3 or tried[-1] not in TRANSIENT_FAILURES
        assert max(attempts.values()) == 3
        assert found.handle.bill().credits == found.settled_credits() == 0


def test_failed_rows_are_left_alone_until_they_are_wished_for(tmp_path):
    """A later run does not try a failed row; `retake_failed` does."""
    with stage(tmp_path, speed=2000.0, faults=Faults(failed=1.0)) as found:
        found.run(rows(2))
        tried = found.handle.bill().accepted
        found.handle.provider.faults = Faults()
        lines = rows(2)
        assert found.run(lines).exit_code == 1
        assert endings(lines) == {"failed": 2}
        assert found.handle.bill().accepted == tried
        wished = rows(2)
        assert found.run(wished, retake_failed=True).exit_code == 0
        assert found.handle.bill().accepted == tried + 2


def test_a_taken_key_stops_its_row_only(stand):
    """Another request under a paid key is a conflict, also where failed rows are tried again."""
    stand.run(rows(1))
    changed = rows(2)
    changed[0].request = ModelCreateRequest(prompt="another dress")
    runner = stand.run(changed)
    assert runner.exit_code == 1
    assert [line.ending.value for line in changed] == ["failed", "completed"]
    assert changed[0].reason == "KeyConflict"
    again = rows(2)
    again[0].request = changed[0].request
    assert stand.run(again, retake_failed=True).exit_code == 1
    assert stand.names_home() == {"look-0-1.png", "look-1-1.png"}
    assert stand.handle.bill().accepted == 2
    assert_agrees(stand)


def test_out_of_credits_stops_the_run_and_the_same_run_goes_on_after_a_top_up(tmp_path):
    """Nothing more is sent, what is in flight comes home, exit 4; with credits the rest follows."""
    with stage(tmp_path, balance=7) as found:
        lines = rows(12)
        runner = found.run(lines)
        assert runner.exit_code == 4
        assert endings(lines)["completed"] == 7
        assert found.handle.bill().credits == found.settled_credits() == 7
        assert found.run(rows(12)).exit_code == 4
        found.handle.top_up(100)
        assert found.run(rows(12)).exit_code == 0
        assert_agrees(found)


def test_a_wrong_key_and_a_wrong_address_send_nothing(tmp_path):
    """Both are found before the first row, with an error that says which it is."""
    with stage(tmp_path, api_key="right") as found:
        runner = found.run(rows(2))
        assert (runner.turned_away.code, runner.turned_away.exit_code) == ("unauthorized", 2)
        found.url = "http://127.0.0.1:9"
        runner = found.run(rows(2))
        assert (runner.turned_away.code, runner.turned_away.exit_code) == ("provider_unreachable", 3)
        assert found.entries() == []


def test_denied_and_waiting_rows_are_recorded_and_the_others_go(tmp_path):
    """The policy's no concerns its row only."""
    policy = """
policy: 1
name: strict
timezone: UTC
otherwise: allow
labels: {team: any}
rules:
  - {name: no-4k, when: {resolution: 4k}, deny: too large}
  - {name: ask-for-2k, when: {resolution: 2k}, needs_approval: finance}
"""
    with stage(tmp_path, policy) as found:
        lines = [*rows(1), *rows(1, "big", resolution="4k"), *rows(1, "mid", resolution="2k")]
        runner = found.run(lines)
        assert runner.exit_code == 1
        assert [line.ending.value for line in lines] == ["completed", "denied", "needs_approval"]
        assert "too large" in lines[1].reason
        assert found.handle.bill().accepted == 1


@pytest.mark.parametrize("most", [0, 5, 12])
def test_a_run_never_passes_its_own_limit(stand, most):
    """`max_credits` is never passed, and what fits under it is used."""
    lines = rows(8, resolution="2k", generation_mode="fast")
    runner = stand.run(lines, pictures=None, max_credits=most)
    assert runner.exit_code == 1
    assert stand.handle.bill().credits == most // 2 * 2
    assert endings(lines)["not_started"] == 8 - most // 2


# -- interruptions and faults of the machine ------------------------------------------------------


SLOW = {"resolution": "4k", "generation_mode": "quality"}
"""None of these ends before a test has done what it does with six in flight."""


def in_flight(number):
    return lambda runner: len(runner._flights) >= number


def test_the_first_interruption_brings_home_what_is_in_flight(stand):
    """Nothing more is sent, the six come home with their pictures, exit 130, and a rerun does the rest."""
    lines = rows(14, **SLOW)
    runner = stand.run(lines, act=lambda runner: runner.interrupt(), act_when=in_flight(6))
    assert runner.exit_code == 130
    counts = endings(lines)
    assert counts["completed"] == stand.handle.bill().accepted == len(stand.names_home()) >= 6
    assert counts["not_started"] == 14 - counts["completed"] > 0
    assert stand.run(rows(14, **SLOW)).exit_code == 0
    assert_agrees(stand)


def test_the_second_interruption_leaves_at_once_and_loses_sight_of_nothing(stand):
    """What was in flight counts as unknown now, and the next run brings it home without paying again."""

    def twice(runner):
        runner.interrupt()
        runner.interrupt()

    lines = rows(14, **SLOW)
    runner = stand.run(lines, act=twice, act_when=in_flight(6))
    assert runner.exit_code == 130
    assert endings(lines)["unknown"] == 6
    assert sum(entry.state in (State.ACCEPTED, State.UNKNOWN) for entry in stand.entries()) == 6
    again = rows(14, **SLOW)
    stand.run(again)
    unknown = len(stand.entries(State.UNKNOWN))
    assert endings(again)["completed"] == 14 - unknown
    assert stand.handle.bill().duplicates == 0
    assert stand.handle.bill().accepted == 14


def test_a_provider_that_falls_silent_is_left_and_found_again(stand, monkeypatch):
    """What is in flight stands in the ledger, exit 3; once answers come it is brought home."""
    monkeypatch.setattr(runner_module, "SILENCE_SECONDS", 1.0)
    stand.handle.provider.faults = Faults(status_error=1.0)
    lines = rows(6, **SLOW)
    runner = stand.run(lines)
    assert runner.exit_code == 3
    assert endings(lines) == {"unknown": 6}
    stand.handle.provider.faults = Faults()
    assert stand.run(rows(6, **SLOW)).exit_code == 0
    assert stand.handle.bill().accepted == 6
    assert_agrees(stand)


def test_a_ledger_that_cannot_be_written_loses_no_paid_picture(stand, monkeypatch):
    """Law 22: the pictures come home, nothing more is sent, exit 3; the next run books what was owed."""
    blocking = sqlite3.connect(stand.folder / "spend.db", isolation_level=None, timeout=5)

    def block(_):
        blocking.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(sqlite, "LOCK_WAIT_SECONDS", 0.05)

    lines = rows(9, **SLOW)
    runner = stand.run(lines, act=block, act_when=in_flight(6))
    blocking.close()
    monkeypatch.undo()
    assert runner.exit_code == 3
    assert Halt.LEDGER in runner.halts
    sent = stand.handle.bill().accepted
    assert endings(lines)["completed"] == sent == len(stand.names_home())
    assert stand.run(rows(9, **SLOW)).exit_code == 0
    assert stand.handle.bill().accepted == 9
    assert_agrees(stand)


def test_pictures_that_cannot_be_written_stop_the_run_and_cost_nothing_twice(stand):
    """Entries are settled all the same, exit 3, and a rerun fetches what is missing."""
    stand.pictures.write_text("in the way")
    lines = rows(40)
    runner = stand.run(lines)
    assert runner.exit_code == 3
    assert Halt.PICTURES in runner.halts
    assert stand.settled_credits() == stand.handle.bill().credits > 0
    assert endings(lines)["not_started"] > 0
    stand.pictures.unlink()
    assert stand.run(rows(40)).exit_code == 0
    assert len(stand.names_home()) == 40
    assert_agrees(stand)


def test_missing_prices_in_answers_are_estimated_at_the_quote(tmp_path):
    """Law 17: without a usable header the row completes at its quote, marked as an estimate."""
    with stage(tmp_path, faults=Faults(missing_header=1.0)) as found:
        lines = rows(2, resolution="2k", generation_mode="fast")
        assert found.run(lines).exit_code == 0
        assert [(line.credits, line.entry.estimated) for line in lines] == [(2, True), (2, True)]
