"""`planner init` and `planner doctor`: beginning in a folder, and whether a run could begin there."""

import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from policies.cli import doctor
from policies.guard.answers import Answer
from policies.ledger.store import Store
from policies.loading import shipped_policies
from policies.server.sandbox.app import running
from tests import ledgers
from tests.policies.cli.processes import sandbox
from tests.policies.ledger.books import studio


@pytest.mark.parametrize("policy", shipped_policies())
def test_what_init_writes_can_be_used_as_it_stands(planner, folder, policy):
    """The template is planned and checked under the policy, whose suite passes, with no flag at all."""
    found = planner("init", "--policy", policy, "--json").document
    assert found["files"] == ["planner.toml", f"{policy}.yaml", f"{policy}.suite.yaml", "looks.csv"]
    assert planner("plan", "looks.csv", "--json").document["jobs"] == 2
    assert planner("check", "looks.csv").code in (0, 1)
    assert planner("policy", "test", f"{policy}.yaml").code == 0


def test_init_writes_nothing_where_something_is(planner, folder):
    """All that is there is named at once, and what was written by a person stays."""
    (folder / "looks.csv").write_text("mine")
    (folder / "planner.toml").write_text("account = 'me'\n")
    found = planner("init", "--json")
    assert (found.code, found.codes) == (2, ["file_exists", "file_exists"])
    assert (folder / "looks.csv").read_text() == "mine"
    assert sorted(path.name for path in folder.iterdir()) == ["looks.csv", "planner.toml"]
    assert planner("init", "sub/folder").code == 0
    assert (folder / "sub/folder/starter.yaml").exists()
    assert planner("init", "other", "--policy", "stater", "--json").codes == ["no_policy"]
    (folder / "file").write_text("")
    assert planner("init", "file/below", "--json").code == 3


@pytest.fixture
def looked(planner, folder, monkeypatch):
    """What `doctor` says in a folder that `init` has made, by what was looked at."""
    assert planner("init").code == 0
    monkeypatch.delenv("FASHN_API_KEY", raising=False)

    def look(*words):
        found = planner("doctor", "--json", *words)
        said = {}
        for one in found.document["looks"]:
            said.setdefault(one["what"], []).append((one["verdict"], one["words"]))
        assert found.document["ready"] is (found.code == 0)
        return found.code, said

    return look


def test_doctor_finds_nothing_wrong_where_a_run_could_begin(looked, planner, folder, monkeypatch):
    """Key, balance and clock are those of the provider; the ledger is not made, and once there is in WAL."""
    with sandbox(60.0) as provider:
        monkeypatch.setenv("FASHN_API_KEY", "sandbox")
        monkeypatch.setenv("FASHN_BASE_URL", provider.url)
        code, said = looked()
        assert code == 0
        assert "the balance is 20,000 credits" in said["key"][0][1]
        assert said["clock"] == [("right", "agrees with the provider's")]
        assert not (folder / "spend.db").exists()
        Store.open(f"sqlite:///{folder}/spend.db").close()
        _, said = looked()
        assert said["ledger"][0] == ("right", "spend.db, not used yet, 0 entries, WAL")


def test_doctor_says_that_the_key_is_wrong(looked, monkeypatch):
    """Exit 2, which is not the network's fault."""
    with running(api_key="right") as provider:
        monkeypatch.setenv("FASHN_BASE_URL", provider.url)
        monkeypatch.setenv("FASHN_API_KEY", "wrong")
        code, said = looked()
        assert (code, said["key"][0][0]) == (2, "wrong")
        monkeypatch.setenv("FASHN_API_KEY", "right")
        assert looked()[0] == 0


def test_doctor_says_all_that_is_wrong_at_once(looked, folder, monkeypatch):
    """A missing key, a broken policy and a file that is no ledger are three finds of one look."""
    (folder / "starter.yaml").write_text("policy: 1\nname: x\nothrwise: allow\n")
    with closing(sqlite3.connect(folder / "spend.db")) as connection:
        connection.execute("CREATE TABLE t (x)")
    code, said = looked()
    assert code == 2
    assert {what for what, found in said.items() if found[0][0] == "wrong"} == {
        "policy",
        "ledger",
        "provider",
    }
    assert any("othrwise" in words for _, words in said["policy"])


def test_doctor_tells_an_unreachable_provider_from_a_wrong_address(looked, monkeypatch):
    """Both end with exit 3."""
    monkeypatch.setenv("FASHN_API_KEY", "sandbox")
    code, said = looked("--base-url", "http://127.0.0.1:9")
    assert (code, said["provider"][0][0]) == (3, "wrong")
    with sandbox(60.0) as provider:
        code, said = looked("--base-url", f"{provider.url}/nowhere")
    assert code == 3
    assert "without a balance" in said["provider"][0][1]


def test_a_ledger_that_is_not_in_wal_mode_is_wrong(looked, folder, monkeypatch):
    """As it is where the disk cannot have it."""
    Store.open(f"sqlite:///{folder}/spend.db").close()
    monkeypatch.setattr(doctor, "_journal_mode", lambda file: "delete")
    code, said = looked()
    assert code == 3
    assert said["ledger"][0][0] == "wrong"


@pytest.mark.parametrize(
    ("place", "kind", "words"),
    [
        ("/home/ana/Dropbox/x.db", "ext4", "synced"),
        ("/mnt/share/x.db", "nfs4", "network"),
        ("/x.db", "ext4", ""),
    ],
)
def test_a_disk_on_which_a_ledger_is_not_safe_is_told(monkeypatch, place, kind, words):
    """A warning, because it is known by the name of the folder or of the file system."""
    monkeypatch.setattr(doctor, "_file_system", lambda folder: kind)
    found = [*doctor._where_it_lies(Path(place))]
    assert [look.verdict for look in found] == (["warning"] if words else [])
    assert all(words in look.words for look in found)


@pytest.mark.parametrize(("seconds", "verdict"), [(-3600, "warning"), (-1, "right"), (40, "warning")])
def test_clocks_that_are_apart_are_told(seconds, verdict):
    """By the time that the provider wrote its answer, in either direction."""
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    written = (now + timedelta(seconds=seconds)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    [look] = doctor._clock(Answer(200, {"date": written}, b""), now, now)
    assert look.verdict == verdict
    assert not [*doctor._clock(Answer(200, {}, b""), now, now)]


def test_doctor_notices_an_older_copy(looked, tmp_path):
    """A file that was put back knows less than the number beside it says: exit 2, and what to do."""
    with studio(tmp_path) as books:
        books.job("first", {"team": "social"})
        ledgers.copy(books.path, tmp_path / "backup.db")
        books.job("second", {"team": "social"})
        path = books.path
    shutil.copy(tmp_path / "backup.db", path)
    code, said = looked("--ledger", f"sqlite:///{path}")
    assert code == 2
    assert any("older copy" in words for _, words in said["ledger"])
