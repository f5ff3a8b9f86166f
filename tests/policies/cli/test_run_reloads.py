"""`planner run` over a policy file that is not what decides: it says so once, and goes on."""

import sqlite3
import time
from contextlib import closing

from tests.policies.cli.processes import POLICY, planner, started, workload


def test_a_file_whose_text_was_replaced_is_named_before_anything_is_sent(tmp_path):
    """The ledger goes on with its own copy; stderr says how the file's text would return."""
    workload(tmp_path / "looks.csv", 2)
    (tmp_path / "new.yaml").write_text(POLICY.replace("500 credits", "400 credits"))
    (tmp_path / "old.yaml").write_text(POLICY)
    run = ("run", "looks.csv", "--sandbox", "--no-pictures", "--json", "--policy")
    assert "policy:" not in planner(tmp_path, *run, "old.yaml")[2]
    assert "policy:" not in planner(tmp_path, *run, "new.yaml")[2]
    code, _, err = planner(tmp_path, *run, "old.yaml")
    assert code == 0
    assert err.count("policy: old.yaml: this text of `studio`") == 1
    assert "`planner policy activate FILE` brings it back" in err


def test_a_file_that_breaks_in_the_middle_is_told_once_and_the_run_goes_on(tmp_path):
    """Every row is decided by the text that was good, and the faults stand on stderr with their lines."""
    workload(tmp_path / "looks.csv", 30)
    file = tmp_path / "studio.yaml"
    file.write_text(POLICY)
    words = ["run", "looks.csv", "--sandbox", "--speed", "60", "--no-pictures", "--policy", "studio.yaml"]
    with started(words, tmp_path) as process:
        wait_for_an_entry(tmp_path / "sandbox.db")
        file.write_text(POLICY.replace("deny:", "dney:"))
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "30 of 30 jobs completed" in out
    assert err.count("policy: studio.yaml:9: `dney` is not known here") == 1


def wait_for_an_entry(ledger):
    """Wait until something was booked."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if ledger.exists():
            with closing(sqlite3.connect(ledger)) as connection:
                tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'entries'")
                if tables.fetchone()[0] and connection.execute("SELECT count(*) FROM entries").fetchone()[0]:
                    return
        time.sleep(0.02)
    raise AssertionError("nothing was booked")
