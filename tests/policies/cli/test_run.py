"""`planner run`: exit codes, documents, choosing rows; as real processes signals, SIGKILL and sharing."""

import csv
import json
import os
import pty
import select
import signal
import sys
import time

import pytest

from policies.ledger.states import State
from policies.ledger.store import Store
from tests.policies.cli.processes import POLICY, environment, killed, planner, sandbox, started, workload


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "studio.yaml").write_text(POLICY)
    workload(tmp_path / "looks.csv", 8)
    return tmp_path


@pytest.fixture(scope="module")
def shared():
    """One sandbox for the tests that need no faults of their own."""
    with sandbox(200.0) as found:
        yield found


def run_words(found, *more, file="looks.csv", speed=None):
    words = ["run", file, "--policy", "studio.yaml", "--ledger", "spend.db", "--base-url", found.url]
    return [*words, "--speed", speed or found.speed, *more]


def run(folder, found, *more, **options):
    """The exit code and the document of a run, whose sums hold."""
    code, out, err = planner(folder, *run_words(found, "--json", *more, **options))
    document = json.loads(out)
    assert document["schema"] == "planner.run/1", err
    ended = ("completed", "failed", "denied", "needs_approval", "unknown", "not_started")
    assert sum(document[name] for name in ended) == document["jobs"]
    return code, document


def entries(folder, *states):
    store = Store.open(f"sqlite:///{folder}/spend.db", create=False)
    try:
        return store.entries(states=states or None)
    finally:
        store.close()


def test_a_run_tells_its_sums_and_leaves_results_beside_the_pictures(folder, shared):
    """Exit 0, one document, a picture for every row under its own name, and the three files."""
    before = shared.bill()["credits"]
    code, document = run(folder, shared, "--name", "{sku}/{key}-{n}")
    assert code == 0
    assert document["completed"] == document["jobs"] == 8
    assert document["credits"] == {"quoted": 16, "settled": 16, "unknown": 0, "this_run": 16}
    assert shared.bill()["credits"] - before == 16
    home = folder / "pictures" / "main"
    assert all((home / f"SW-{place}" / f"look-{place}-1.png").exists() for place in range(8))
    with (home / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["sku"], row["state"], row["credits"]) for row in rows] == [
        (f"SW-{place}", "completed", "2") for place in range(8)
    ]
    assert sorted(path.name for path in home.iterdir() if path.is_file()) == [
        ".planner.json",
        "contact.html",
        "results.csv",
        "results.jsonl",
    ]
    code, document = run(folder, shared)
    assert (code, document["reused"], document["credits"]["this_run"]) == (0, 8, 0)


def test_rows_are_chosen_before_anything_is_decided(folder, shared):
    """`--where`, `--only` and `--first` leave the other rows alone; what no row has is a fault."""
    code, document = run(folder, shared, "--where", "team=social", "--first", "2", "--no-pictures")
    assert (code, document["jobs"]) == (0, 2)
    assert sorted(entry.key for entry in entries(folder)) == ["look-0", "look-2"]
    assert not (folder / "pictures").exists()
    code, document = run(folder, shared, "--only", "look-5", "--no-pictures")
    assert (code, document["jobs"]) == (0, 1)
    code, out, _ = planner(folder, *run_words(shared, "--only", "look-55", "--where", "taem=x", "--json"))
    assert code == 2
    assert {fault["hint"] for fault in json.loads(out)["errors"]} == {
        "did you mean `look-5`?",
        "did you mean `team`?",
    }


def test_what_cannot_be_meant_is_refused_before_anything_is_sent(folder, shared):
    """A retake of a row that is not there, a template over no column, and two providers at once."""
    accepted = shared.bill()["accepted"]
    for more, code in (
        (["--retake", "look-11"], "unknown_key"),
        (["--name", "{skuu}-{n}"], "unknown_name"),
        (["--sandbox"], "bad_input"),
        (["--where", "social"], "bad_input"),
    ):
        found, out, _ = planner(folder, *run_words(shared, "--json", *more))
        assert (found, json.loads(out)["errors"][0]["code"]) == (2, code)
    assert shared.bill()["accepted"] == accepted


def test_a_changed_row_is_told_in_words_and_never_paid_again(folder, shared):
    """Its key stands for the first request: nothing is sent, and no flag that pays again is suggested."""
    run(folder, shared, "--first", "2")
    accepted = shared.bill()["accepted"]
    text = (folder / "looks.csv").read_text()
    (folder / "looks.csv").write_text(text.replace("dress 1", "coat"))
    code, out, _ = planner(folder, *run_words(shared, "--first", "2", "--retake", "failed"))
    assert (code, shared.bill()["accepted"]) == (1, accepted)
    assert "look-1: failed, the key belongs to another request" in out
    assert "use another key, or restore the request the key was first used with" in out
    assert "--retake" not in out


def test_pictures_of_another_ledger_are_never_taken_for_ones_own(folder, shared):
    """Another ledger in the same folder is refused before anything is sent, and so is a stranger's file."""
    run(folder, shared, "--first", "2")
    accepted, home = shared.bill()["accepted"], folder / "pictures" / "main"
    before = {path.name: path.read_bytes() for path in home.iterdir()}
    code, out, _ = planner(folder, *run_words(shared, "--ledger", "other.db", "--json"))
    (fault,) = json.loads(out)["errors"]
    assert (code, fault["code"]) == (2, "foreign_pictures")
    assert fault["message"] == "`pictures/main` holds the pictures of another ledger"
    assert fault["hint"] == "name another folder with --pictures"
    assert {path.name: path.read_bytes() for path in home.iterdir()} == before
    (folder / "mine").mkdir()
    (folder / "mine" / "look-0-1.png").write_bytes(b"a photograph")
    more = ["--ledger", "other.db", "--pictures", "mine", "--json"]
    code, out, _ = planner(folder, *run_words(shared, *more))
    assert (code, json.loads(out)["errors"][0]["code"]) == (2, "foreign_pictures")
    assert [path.name for path in (folder / "mine").iterdir()] == ["look-0-1.png"]
    assert shared.bill()["accepted"] == accepted


def test_a_limit_of_the_run_says_that_it_stopped_it(folder, shared):
    """The summary names the limit and that it is per run."""
    code, out, _ = planner(folder, *run_words(shared, "--max-credits", "5", "--no-pictures"))
    assert code == 1
    assert "by --max-credits 5: the next row would pass it; this limit is per run" in out


def test_a_row_settled_by_hand_says_that_it_has_no_pictures(folder):
    """It is completed and paid, and the summary, the results and the document say what is missing."""
    with sandbox(200.0, "--faults", "lost_after=1") as found:
        run(folder, found, "--first", "1")
        words = ["ledger", "settle", "look-0", "--charged", "2", "--because", "seen", "--by", "me"]
        assert planner(folder, *words, "--ledger", "spend.db")[0] == 0
        _, document = run(folder, found, "--first", "1")
        assert (document["completed"], document["pictures"]["gone"]) == (1, 1)
        _, out, _ = planner(folder, *run_words(found, "--first", "1"))
        assert "1 paid without pictures" in out
        assert "look-0: completed, settled by hand, no pictures" in out
    with (folder / "pictures" / "main" / "results.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["reason"] == "settled by hand, no pictures"


def test_a_dry_run_decides_and_writes_nothing(folder, shared):
    """No ledger, no pictures and no call; a row that is denied shows in the exit code."""
    accepted = shared.bill()["accepted"]
    code, document = run(folder, shared, "--dry-run")
    assert (code, document["not_started"], document["credits"]["quoted"]) == (0, 8, 16)
    workload(folder / "big.csv", 2, "4k")
    code, document = run(folder, shared, "--dry-run", file="big.csv")
    assert (code, document["denied"]) == (1, 2)
    assert sorted(path.name for path in folder.iterdir()) == ["big.csv", "looks.csv", "studio.yaml"]
    assert shared.bill()["accepted"] == accepted


def test_a_file_with_faults_sends_nothing_unless_the_bad_rows_are_skipped(folder, shared):
    """Exit 2 with every fault; `--skip-bad` runs the rest."""
    with (folder / "looks.csv").open("a") as file:
        file.write("bad-1,x,8k,,,,social,\nbad-2,,2k,,,,social,\n")
    accepted = shared.bill()["accepted"]
    code, out, _ = planner(folder, *run_words(shared, "--json"))
    assert code == 2
    assert [fault["where"] for fault in json.loads(out)["errors"]] == ["looks.csv:10", "looks.csv:11"]
    assert shared.bill()["accepted"] == accepted
    code, document = run(folder, shared, "--skip-bad", "--first", "3")
    assert (code, document["completed"], document["left_out"]) == (0, 3, 2)
    _, out, _ = planner(folder, *run_words(shared, "--skip-bad", "--first", "3"))
    assert "2 rows left out (lines 10 and 11)" in out


def test_people_read_a_short_summary(folder, shared):
    """The first line says SANDBOX; denied rows are named with their reason, and what to do next."""
    workload(folder / "big.csv", 1, "4k")
    code, out, err = planner(folder, *run_words(shared, file="big.csv"))
    assert code == 1
    first, *rest = out.splitlines()
    assert first.startswith("SANDBOX · account main · ledger spend.db · policy studio")
    assert "look-0: denied, no-4k: 4k is for billboards" in "\n".join(rest)
    assert "`planner check big.csv --policy studio.yaml --ledger spend.db`" in rest[-1]
    assert err == ""


def test_a_missing_key_or_policy_makes_no_ledger(folder, shared):
    """Both are found before anything is written."""
    code, _, err = planner(folder, *run_words(shared), FASHN_API_KEY="")
    assert (code, "FASHN_API_KEY" in err) == (2, True)
    code, _, err = planner(folder, "run", "looks.csv", "--base-url", shared.url)
    assert (code, "--policy" in err) == (2, True)
    assert not (folder / "spend.db").exists()


def test_nobody_at_the_address_is_told_at_once(folder):
    """Exit 3, the errors document, and no row was tried."""
    words = run_words(type("Nobody", (), {"url": "http://127.0.0.1:9", "speed": 1}), "--json")
    code, out, _ = planner(folder, *words)
    assert code == 3
    assert json.loads(out)["errors"][0]["code"] == "provider_unreachable"
    assert entries(folder) == []


def test_rows_without_keys_are_the_same_jobs_after_the_file_was_edited(folder, shared):
    """Sorting, relabelling and a new row pay for the new row only; identical rows are jobs of their own."""
    head = "prompt,resolution,generation_mode,team\n"
    a, b = "a dress,2k,fast,social\n", "a coat,2k,fast,social\n"
    (folder / "plain.csv").write_text(head + a + b + a)
    assert run(folder, shared, file="plain.csv")[1]["credits"]["this_run"] == 6
    (folder / "plain.csv").write_text(head + b + "a hat,2k,fast,brand\n" + a + a.replace("social", "brand"))
    code, document = run(folder, shared, file="plain.csv")
    assert (code, document["reused"], document["credits"]["this_run"]) == (0, 3, 2)


def test_out_of_credits_ends_with_4_and_the_same_command_goes_on(folder):
    """What fits is paid and brought home; after a top-up the rest follows."""
    with sandbox(200.0, "--balance", "9") as found:
        code, document = run(folder, found)
        assert (code, document["completed"]) == (4, 4)
        assert document["stopped_by"] == "out_of_credits"
        found.top_up(50)
        code, document = run(folder, found)
        assert (code, document["completed"], document["credits"]["this_run"]) == (0, 8, 8)
        assert found.bill()["credits"] == 16


def test_lost_answers_end_with_1_and_stay_counted(folder):
    """Unknown rows are in the sums, in the results, and nothing is sent for them again."""
    with sandbox(200.0, "--faults", "lost_after=1") as found:
        code, document = run(folder, found, "--first", "3")
        assert (code, document["unknown"], document["credits"]["unknown"]) == (1, 3, 6)
        code, document = run(folder, found, "--first", "3")
        assert (code, document["unknown"]) == (1, 3)
        assert found.bill()["accepted"] == 3


def test_sigkill_at_any_time_pays_nothing_twice_and_loses_nothing(folder):
    """Killed three times at work, then run to its end: every picture is home or unknown, each paid once."""
    file = workload(folder / "many.csv", 30)
    kills = 3
    with sandbox(80.0) as found:
        for _ in range(kills):
            sent = found.bill()["accepted"]
            killed(folder, run_words(found, file=file), lambda sent=sent: found.wait_for(sent + 6))
        code, document = run(folder, found, file=file)
        bill = found.bill()
        assert bill["duplicates"] == 0
        assert bill["most_in_flight"] <= 6
        assert document["completed"] + document["unknown"] == 30
        assert document["unknown"] <= 6 * kills
        assert code == (1 if document["unknown"] else 0)
        paid = sum(entry.credits for entry in entries(folder, State.SETTLED))
        unknown = sum(entry.credits for entry in entries(folder, State.UNKNOWN))
        assert paid <= bill["credits"] <= paid + unknown
        assert len(list((folder / "pictures" / "main").glob("look-*.png"))) == document["completed"]


def test_two_processes_share_slots_budget_and_keys(folder):
    """Both make progress, nothing is paid twice, never more than six at once, and each sees all rows."""
    file = workload(folder / "many.csv", 24)
    with sandbox(60.0) as found:
        words = run_words(found, "--json", file=file)
        with started(words, folder) as one, started(words, folder) as two:
            documents = [json.loads(process.communicate(timeout=60)[0]) for process in (one, two)]
            assert (one.returncode, two.returncode) == (0, 0)
        assert [document["completed"] for document in documents] == [24, 24]
        assert all(document["credits"]["this_run"] > 0 for document in documents)
        assert sum(document["credits"]["this_run"] for document in documents) == 48
        bill = found.bill()
        assert (bill["credits"], bill["accepted"], bill["duplicates"]) == (48, 24, 0)
        assert bill["most_in_flight"] <= 6
        assert bill["most_status_polls"] <= 50
        assert set(bill["refused"]) <= {"RateLimitExceeded"}


def test_a_budget_holds_across_processes(folder):
    """Two files at once ask for more than the month allows: it is never passed, and the rest is denied."""
    (folder / "studio.yaml").write_text(POLICY.replace("500 credits", "20 credits"))
    files = [workload(folder / f"{name}.csv", 9) for name in ("one", "two")]
    files[1].write_text(files[1].read_text().replace("look-", "other-").replace("dress", "coat"))
    with sandbox(200.0) as found:
        words = [run_words(found, "--json", "--no-pictures", file=file) for file in files]
        with started(words[0], folder) as one, started(words[1], folder) as two:
            documents = [json.loads(process.communicate(timeout=60)[0]) for process in (one, two)]
        completed, failed, denied = (
            sum(document[name] for document in documents) for name in ("completed", "failed", "denied")
        )
        # A busy provider may refuse one at last whose credits the others were denied for meanwhile.
        assert found.bill()["credits"] == 2 * completed <= 20
        assert completed + failed >= 10
        assert completed + failed + denied == 18


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_brings_home_what_is_in_flight(folder, number):
    """Exit 130, every accepted row completed, and the same command does the rest."""
    file = workload(folder / "many.csv", 20)
    with sandbox(60.0) as found:
        with started(run_words(found, "--json", file=file), folder) as process:
            found.wait_for(6)
            process.send_signal(number)
            out, err = process.communicate(timeout=30)
        document = json.loads(out)
        assert process.returncode == 130
        assert document["completed"] == found.bill()["accepted"] < 20
        assert (document["unknown"], document["stopped_by"]) == (0, "interrupted")
        assert "brought home" in err
        assert (folder / "pictures" / "main" / "results.csv").exists()
        code, document = run(folder, found, "--first", str(document["completed"] + 1), file=file)
        assert (code, found.bill()["duplicates"]) == (0, 0)


@pytest.mark.parametrize("answer", [b"\x03", b"n\n", b"\n"])
def test_leaving_at_the_question_sends_nothing_and_says_so(folder, shared, answer):
    """Ctrl-C on a terminal, a no and an Enter end with 130 at once, even where Ctrl-C came ignored."""
    accepted = shared.bill()["accepted"]
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.chdir(folder)
        os.execve(sys.executable, [sys.executable, "-m", "policies.cli", *words_of(shared)], environment())
    told = read_until(terminal, b"[y/N]")
    os.write(terminal, answer)
    told += read_until(terminal, None, again=answer)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    assert b"nothing was sent" in told
    assert shared.bill()["accepted"] == accepted


def words_of(found):
    return [str(word) for word in run_words(found)]


def read_until(terminal, text, again=b""):
    """What a terminal shows until that text, or until its process has left.

    What was typed is typed again while nothing happens: a Ctrl-C that comes between the question and
    the wait for its answer is heard with the next key only.
    """
    told = b""
    while text is None or text not in told:
        try:
            if again and not select.select([terminal], [], [], 2.0)[0]:
                os.write(terminal, again)
                continue
            piece = os.read(terminal, 4096)
        except OSError:
            break
        if not piece:
            break
        told += piece
    return told


def test_an_interruption_before_anything_is_sent_is_one_document(folder, shared, monkeypatch):
    """Ctrl-C while the ledger is opened: the errors document with `interrupted`, and 130."""
    monkeypatch.setattr(Store, "bind", lambda *_, **__: os.kill(os.getpid(), signal.SIGINT))
    code, out, _ = planner(folder, *run_words(shared, "--json"))
    assert (code, json.loads(out)["errors"][0]["code"]) == (130, "interrupted")


def test_a_second_sandbox_run_is_told_how_both_can_share_one(folder):
    """While one process serves the sandbox of a ledger, the hint names `planner sandbox`."""
    with sandbox(200.0, "--state", str(folder / "sandbox-state.jsonl")):
        words = ["run", "looks.csv", "--policy", "studio.yaml", "--sandbox", "--json"]
        code, out, _ = planner(folder, *words)
    hint = json.loads(out)["errors"][0]["hint"]
    assert (code, "`planner sandbox`" in hint, "--base-url" in hint) == (3, True, True)


def test_the_second_interruption_leaves_at_once(folder):
    """Exit 130 long before the six could have ended; the next run brings them home."""
    file = workload(folder / "many.csv", 8)
    with sandbox(1.0) as found:
        with started(run_words(found, "--json", file=file), folder) as process:
            found.wait_for(6)
            process.send_signal(signal.SIGINT)
            time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=10)
        document = json.loads(out)
        assert (process.returncode, document["unknown"]) == (130, 6)
        assert len(entries(folder, State.ACCEPTED, State.UNKNOWN)) == 6


def test_sandbox_needs_no_key_and_keeps_an_account_of_its_own(folder):
    """`--sandbox` starts its own provider, which remembers after a restart; live and sandbox never mix."""
    words = ["run", "looks.csv", "--policy", "studio.yaml", "--sandbox", "--speed", "300", "--json"]
    code, out, _ = planner(folder, *words, "--first", "2", FASHN_API_KEY="")
    assert (code, json.loads(out)["credits"]["this_run"]) == (0, 4)
    (folder / "pictures" / "main" / "look-0-1.png").unlink()
    code, out, _ = planner(folder, *words, "--first", "3", FASHN_API_KEY="")
    assert (code, json.loads(out)["credits"]["this_run"]) == (0, 2)
    assert (folder / "pictures" / "main" / "look-0-1.png").exists()
    assert (folder / "sandbox.db").exists()
    assert not (folder / "spend.db").exists()
    code, _, err = planner(
        folder, "run", "looks.csv", "--policy", "studio.yaml", "--ledger", "sandbox.db",
        "--base-url", "https://api.fashn.ai",
    )  # fmt: skip
    assert code == 2
    assert "sandbox ledger" in err


def test_the_real_provider_has_no_speed(folder):
    """`--speed` is refused with the provider's own address, before anything is written."""
    code, _, err = planner(folder, "run", "looks.csv", "--policy", "studio.yaml", "--speed", "20")
    assert (code, "--speed" in err) == (2, True)
    assert not (folder / "spend.db").exists()
