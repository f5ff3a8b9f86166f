"""An older copy of the ledger put back: known paid jobs are not paid again silently.

Real runs against the real sandbox, real commands, and files that are copied as a person would copy them.
"""

from __future__ import annotations

import json
import shutil
from contextlib import chdir

import fashn
import httpx
import pytest
from click.testing import CliRunner

from planner.errors import ConfigError
from policies.cli.main import main
from policies.guard.transport import GuardTransport
from policies.ledger.latest import mark_of
from policies.ledger.store import Store
from policies.ledger.verify import verify
from tests import ledgers
from tests.policies.guard.stage import rows, stage
from tests.policies.ledger.books import studio


@pytest.fixture
def restored(tmp_path):
    """A stage with two paid jobs, and in its place a ledger that knows of one."""
    with stage(tmp_path) as run:
        ledger = tmp_path / "spend.db"
        run.run(rows(1))
        shutil.copy(ledger, tmp_path / "backup.db")
        run.run(rows(2))
        shutil.copy(ledger, tmp_path / "newest.db")
        shutil.copy(tmp_path / "backup.db", ledger)
        assert run.handle.bill().accepted == 2
        yield run, ledger


def test_an_older_copy_that_is_put_back_sends_nothing(restored):
    """The job that it does not know was paid for: nothing is sent, and the error says what to do."""
    run, ledger = restored
    with pytest.raises(ConfigError) as caught:
        run.run(rows(2))
    (fault,) = caught.value.faults
    assert (fault.code, caught.value.exit_code) == ("older_copy", 2)
    assert str(mark_of(ledger)) in fault.hint
    assert run.handle.bill().accepted == 2


def test_looking_and_trying_again_does_not_make_the_copy_newer(restored):
    """Whatever reads it, and a run that was refused, leave the evidence where it is."""
    run, _ = restored
    for _ in range(2):
        run.entries()
        with pytest.raises(ConfigError, match="older copy"):
            run.run(rows(2))
    assert run.handle.bill().accepted == 2


def test_the_newest_file_put_back_goes_on(restored):
    """What the hint says first: nothing is paid for again."""
    run, ledger = restored
    shutil.copy(ledger.parent / "newest.db", ledger)
    lines = rows(2)
    run.run(lines)
    assert [line.reused for line in lines] == [True, True]
    assert run.handle.bill().accepted == 2


def test_who_means_it_goes_on_from_the_copy(restored):
    """What the hint says then: with the mark deleted, the copy is the ledger from now on."""
    run, ledger = restored
    mark_of(ledger).unlink()
    run.run(rows(2))
    assert run.handle.bill().accepted == 3
    assert mark_of(ledger).is_file()
    assert run.run(rows(2)).exit_code == 0


def test_the_commands_say_so(restored, monkeypatch):
    """`run` and `collect` stop with 2, `verify` finds it with 1, and what only shows still shows."""
    run, ledger = restored
    monkeypatch.setenv("FASHN_API_KEY", run.api_key)
    (ledger.parent / "open.yaml").write_text(run.policy)
    (ledger.parent / "looks.csv").write_text("key,prompt\nlook-1,dress\n")

    def command(*words):
        with chdir(ledger.parent):
            found = CliRunner().invoke(main, [*words, "--ledger", "spend.db", "--json"])
        return found.exit_code, json.loads(found.stdout)

    spend = ("--account", "test", "--base-url", run.handle.url, "--speed", "200")
    for words in (("run", "looks.csv", "--policy", "open.yaml", *spend), ("collect", *spend)):
        code, document = command(*words)
        assert (code, [error["code"] for error in document["errors"]]) == (2, ["older_copy"])
    code, document = command("ledger", "verify")
    assert (code, [item["code"] for item in document["differences"]]) == (1, ["older_copy"])
    assert command("ledger", "show")[0] == command("report")[0] == 0
    assert run.handle.bill().accepted == 2


def test_the_official_sdk_gets_a_refusal(restored):
    """Through a transport it is an answer, and nothing is sent."""
    run, _ = restored
    with run.guard() as guard:
        client = httpx.Client(transport=GuardTransport(guard))
        sdk = fashn.Fashn(http_client=client, api_key=run.api_key, base_url=run.handle.url)
        with sdk, pytest.raises(fashn.InternalServerError) as caught:
            sdk.predictions.run(model_name="model-create", inputs={"prompt": "x"})
    assert caught.value.body["error"] == "LedgerUnavailable"
    assert run.handle.bill().accepted == 2


def test_a_log_that_was_tidied_away_is_noticed(tmp_path):
    """A write-ahead log that somebody deletes takes commits with it: the file alone is an older copy."""
    alone = tmp_path / "alone.db"
    with studio(tmp_path) as books:
        books.job("first", {"team": "social"})
        ledgers.tamper(books.path, "PRAGMA wal_checkpoint(TRUNCATE)")
        books.job("second", {"team": "social"})
        shutil.copy(books.path, alone)
        last = books.store.last_event()
    shutil.copy(mark_of(books.path), mark_of(alone))
    store = Store.open(f"sqlite:///{alone}")
    assert store.missing_events() == last - store.last_event() > 0
    store.close()


def test_a_damaged_or_foreign_mark_refuses_nothing(tmp_path):
    """It is a help and not a lock: no mark, half a mark, that of another ledger, and a folder in its way."""
    with stage(tmp_path) as run:
        run.run(rows(1))
        mark = mark_of(tmp_path / "spend.db")
        for text in (b"", b"x" * 10_000, b"0" * 32 + b" " + b"9" * 20 + b"\n", mark.read_bytes()[:20]):
            mark.write_bytes(text)
            assert run.run(rows(1)).exit_code == 0
        mark.unlink()
        mark.mkdir()
        assert run.run(rows(2)).exit_code == 0
        assert run.handle.bill().accepted == 2


@pytest.mark.usefixtures("each_engine")
def test_an_honest_ledger_is_never_an_older_copy(tmp_path):
    """Two stores that write in turn, and the same ledger opened again, on both engines."""
    with studio(tmp_path) as books:
        books.job("first", {"team": "social"})
        other = Store.open(ledgers.url(books.path), clock=lambda: books.world.now)
        for key in ("second", "third"):
            books.job(key, {"team": "social"})
            other.record_balance("main", 100)
            assert other.missing_events() == books.store.missing_events() == 0
        assert not any(item.code == "older_copy" for item in verify(other))
        other.register().close()
        other.close()
