"""`planner run --retake`: another take on purpose, once for each time it is wished for."""

import csv
import json
import os
import pty
import sys
import time

import pytest

from policies.ledger.states import State
from tests.policies.cli.processes import environment, killed, planner, sandbox, workload
from tests.policies.cli.test_run import entries, folder, read_until, run, run_words, shared

__all__ = ["folder", "shared"]


def takes_of(folder, key):
    return [(entry.take, entry.seed, entry.state.value) for entry in entries(folder) if entry.key == key]


def home(folder, key):
    return sorted(path.name for path in (folder / "pictures" / "main").glob(f"{key}-*.png"))


def results(folder):
    with (folder / "pictures" / "main" / "results.csv").open(newline="") as file:
        return {row["key"]: row for row in csv.DictReader(file)}


def test_another_take_has_another_seed_and_stays_beside_the_first(folder, shared):
    """It is paid once and told before; a plain run, a check and a dry run then find the row done."""
    run(folder, shared, "--first", "3")
    code, out, _ = planner(folder, *run_words(shared, "--first", "3", "--retake", "look-1"))
    assert code == 0
    assert "look-1: take 2 with seed 2654435770: the same seed gives the same picture" in out
    assert takes_of(folder, "look-1") == [(1, 1, "settled"), (2, 2654435770, "settled")]
    assert home(folder, "look-1") == ["look-1-1-take2.png", "look-1-1.png"]
    first, second = ((folder / "pictures" / "main" / name).read_bytes() for name in home(folder, "look-1"))
    assert first != second
    assert results(folder)["look-1"]["files"] == "look-1-1-take2.png"
    accepted = shared.bill()["accepted"]
    code, document = run(folder, shared, "--first", "3")
    assert (code, document["reused"], document["credits"]["this_run"]) == (0, 3, 0)
    assert results(folder)["look-1"]["files"] == "look-1-1-take2.png"
    assert run(folder, shared, "--first", "3", "--dry-run")[1]["reused"] == 3
    words = ["check", "looks.csv", "--policy", "studio.yaml", "--ledger", "spend.db", "--json"]
    found = json.loads(planner(folder, *words)[1])["decisions"]
    assert [(row["verdict"], row["reused"]) for row in found[:3]] == [("allow", True)] * 3
    assert shared.bill()["accepted"] == accepted
    _, document = run(folder, shared, "--first", "3", "--retake", "look-1", "--retake", "look-2")
    assert [(item["key"], item["take"]) for item in document["retakes"]] == [("look-1", 3), ("look-2", 2)]
    assert shared.bill()["accepted"] == accepted + 2
    assert len(home(folder, "look-1")) == 3


def test_a_key_that_no_row_has_is_a_fault_with_a_suggestion(folder, shared):
    """Nothing is sent, and the nearest key is named."""
    accepted = shared.bill()["accepted"]
    code, out, _ = planner(folder, *run_words(shared, "--retake", "lok-1", "--json"))
    (fault,) = json.loads(out)["errors"]
    assert (code, fault["code"], fault["hint"]) == (2, "unknown_key", "did you mean `look-1`?")
    assert shared.bill()["accepted"] == accepted


def test_changed_rows_are_made_as_the_file_asks_and_only_once(folder, shared):
    """Its own seed, one more take, the first picture stays; the same command and a plain run pay nothing."""
    run(folder, shared, "--first", "3")
    text = (folder / "looks.csv").read_text()
    (folder / "looks.csv").write_text(text.replace("dress 1,", "coat,"))
    assert run(folder, shared, "--first", "3")[1]["failed"] == 1
    code, document = run(folder, shared, "--first", "3", "--retake", "changed")
    assert (code, document["retakes"]) == (0, [{"key": "look-1", "take": 2, "seed": 1}])
    assert takes_of(folder, "look-1") == [(1, 1, "settled"), (2, 1, "settled")]
    assert home(folder, "look-1") == ["look-1-1-take2.png", "look-1-1.png"]
    for more in ((), ("--retake", "changed")):
        code, document = run(folder, shared, "--first", "3", *more)
        assert (code, document["credits"]["this_run"], document["retakes"]) == (0, 0, [])
    (folder / "looks.csv").write_text(text)
    code, document = run(folder, shared, "--first", "3", "--retake", "changed")
    assert (code, document["reused"], document["credits"]["this_run"]) == (0, 3, 0)
    assert len(takes_of(folder, "look-1")) == 2


def test_a_dry_run_tells_the_takes_and_keeps_no_wish(folder, shared):
    """It prices them, sends nothing, and the next real command makes that very take."""
    run(folder, shared, "--first", "2")
    code, document = run(folder, shared, "--first", "2", "--retake", "look-0", "--dry-run")
    assert (code, document["not_started"], document["credits"]["quoted"]) == (0, 1, 2)
    assert takes_of(folder, "look-0") == [(1, 0, "settled")]
    run(folder, shared, "--first", "2", "--retake", "look-0")
    assert [take for take, _, _ in takes_of(folder, "look-0")] == [1, 2]


@pytest.mark.parametrize("is_home", [False, True])
def test_a_killed_command_run_again_makes_no_third_take(folder, is_home):
    """Killed when the take was accepted, and when it was home while other rows went on: one take each."""
    file = workload(folder / "many.csv", 24)
    with sandbox(60.0) as found:
        run(folder, found, "--only", "look-0", file=file)
        words = run_words(found, "--retake", "look-0", file=file)

        def begun():
            until = time.monotonic() + 60
            while not any(has_begun(entry) for entry in entries(folder) if entry.take == 2):
                assert time.monotonic() < until
                time.sleep(0.005)

        def has_begun(entry):
            return entry.outputs_home == 1 if is_home else entry.prediction_id is not None

        killed(folder, words, begun)
        code, document = run(folder, found, "--retake", "look-0", file=file)
        assert [take for take, _, _ in takes_of(folder, "look-0")] == [1, 2]
        assert found.bill()["duplicates"] == 0
        unknown = {entry.key for entry in entries(folder, State.UNKNOWN)}
        assert document["unknown"] == len(unknown)
        assert code == (1 if unknown else 0)
        if is_home:
            run(folder, found, "--retake", "look-0", file=file)
            assert [take for take, _, _ in takes_of(folder, "look-0")] == [1, 2, 3]


def test_a_take_whose_outcome_nobody_knows_is_not_made_once_more(folder):
    """The answer to a take was lost, the first or the second: wished for again, it stays what it is."""
    with sandbox(200.0) as found:
        run(folder, found, "--first", "1")
    with sandbox(200.0, "--faults", "lost_after=1") as found:
        run(folder, found, "--only", "look-5")
        assert run(folder, found, "--only", "look-5", "--retake", "look-5")[1]["unknown"] == 1
        assert [take for take, _, _ in takes_of(folder, "look-5")] == [1]
        for _ in range(2):
            code, document = run(folder, found, "--first", "1", "--retake", "look-0")
            assert (code, document["unknown"]) == (1, 1)
        assert found.bill()["accepted"] == 2
    assert [(take, state) for take, _, state in takes_of(folder, "look-0")] == [
        (1, "settled"),
        (2, "unknown"),
    ]


def test_a_take_that_came_to_nothing_leaves_the_results_of_the_one_before(folder, shared):
    """A denied take shows in the exit code; the picture that is home stays in the results."""
    run(folder, shared, "--first", "1")
    policy = (folder / "studio.yaml").read_text()
    (folder / "studio.yaml").write_text(
        policy + "  - {name: no-more, when: {seed: {above: 9}}, deny: enough}\n"
    )
    code, document = run(folder, shared, "--first", "1", "--retake", "look-0")
    assert (code, document["denied"], document["retakes"]) == (1, 1, [])
    row = results(folder)["look-0"]
    assert (row["state"], row["files"]) == ("completed", "look-0-1.png")


def test_the_question_names_the_takes_and_their_credits(folder, shared):
    """On a terminal; a no keeps no wish and sends nothing."""
    run(folder, shared, "--first", "2")
    accepted = shared.bill()["accepted"]
    words = [str(word) for word in run_words(shared, "--first", "2", "--retake", "look-1")]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve(sys.executable, [sys.executable, "-m", "policies.cli", *words], environment())
    told = read_until(terminal, b"[y/N]")
    os.write(terminal, b"n\n")
    read_until(terminal, None, again=b"n\n")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    assert b"look-1: take 2 with seed" in told
    assert b"send 1 job (1 another take of what is there) for up to" in told
    assert shared.bill()["accepted"] == accepted


def test_another_take_of_a_copy_is_refused_with_the_row_it_is_a_copy_of(folder, shared):
    """It was never sent: to send it as it stands would be to pay for the picture that is there."""
    policy = folder / "studio.yaml"
    policy.write_text(policy.read_text() + "reuse: true\n")
    (folder / "looks.csv").write_text("key,prompt,team\na,coat,social\nb,coat,social\n")
    assert run(folder, shared)[1]["reused"] == 1
    accepted = shared.bill()["accepted"]
    code, _, told = planner(folder, *run_words(shared, "--retake", "b"))
    assert (code, "`b` is a copy of `a`" in told) == (2, True)
    assert shared.bill()["accepted"] == accepted
