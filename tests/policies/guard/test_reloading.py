"""A policy file that changes while its guard is open: when it takes effect, and when it does not."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from planner.errors import ConfigError, OperatorError
from planner.request import ModelCreateRequest
from policies.decision import Decision, Verdict
from policies.guard.answers import NotSent
from policies.guard.batch import Ending
from policies.guard.guard import Guard
from policies.guard.machine import Effect, Pause, Post, Submission, Transact
from policies.guard.reloading import SETTLED_SECONDS, PolicyFile
from policies.ledger.entries import Admission, Admitted, Ask, Entry, TurnedDown
from policies.ledger.states import State
from policies.ledger.store import Store
from policies.ledger.verify import verify
from policies.loading import load_policy, parse_policy
from tests.policies.guard.stage import Stage, rows, stage
from tests.policies.ledger.books import tamper

LOOK = ModelCreateRequest(prompt="linen dress", resolution="2k")


def policy(limit: int, name: str = "studio") -> str:
    return (
        f"policy: 1\nname: {name}\ntimezone: UTC\notherwise: allow\nlabels: {{team: any}}\n"
        f"budgets:\n  - {{name: all, limit: {limit} credits, per: total}}\n"
    )


BROKEN = policy(100).replace("limit", "limt").replace("per: total", "per: ever")


class Place:
    """A policy file and a ledger; every guard over them is what another process would open."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "studio.yaml"
        self.url = f"sqlite:///{folder}/spend.db"
        self.guards: list[Guard] = []
        self.number = 0
        self.write(policy(100))

    def write(self, text: str) -> str:
        """Write the file; returns the digest of what it says, where that is a policy."""
        self.file.write_text(text)
        return "" if text == BROKEN else parse_policy(text, "studio.yaml").digest

    def guard(self, wanted: object = None, **more: object) -> Guard:
        guard = Guard.open(self.file if wanted is None else wanted, self.url, **more)
        guard.bind("http://stand-in")
        # The rate has laws of its own and must not decide here.
        tamper(guard.store.path, "UPDATE accounts SET run_limit = 10000")
        self.guards.append(guard)
        return guard

    def admit(self, guard: Guard) -> Admission:
        """One decision, as a client or a runner makes it; what it holds is given back at once."""
        self.number += 1
        key = f"{threading.get_ident()}-{self.number}"
        effect = next(guard.machine.submitting(Ask("main", "main", key, LOOK, {"team": "social"})))
        assert isinstance(effect, Transact)
        admission: Admission = effect.call()
        if isinstance(admission, Admitted):
            guard.store.refuse(admission.entry, "BadRequest", stop_account=False)
        return admission

    def digest(self, guard: Guard) -> str:
        """The digest that the next entry records."""
        admission = self.admit(guard)
        assert isinstance(admission, Admitted | TurnedDown)
        return admission.entry.policy_digest


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    yield found
    for guard in found.guards:
        guard.close()


def check(guard: Guard) -> Decision:
    return guard.check(LOOK, {"team": "social"})


def age(file: Path, seconds: float) -> None:
    """Let a file have been changed that long ago."""
    at = file.stat().st_mtime_ns - int(seconds * 1e9)
    os.utime(file, ns=(at, at))


# -- a changed file ------------------------------------------------------------------------------


def test_a_changed_file_takes_effect_between_two_decisions(place: Place) -> None:
    """The next check and the next job see it; every entry says under which text it was decided."""
    guard = place.guard()
    first = place.digest(guard)
    second = place.write(policy(3))
    assert check(guard).verdict is Verdict.DENY
    assert isinstance(place.admit(guard), TurnedDown)
    third = place.write(policy(5))
    assert isinstance(place.admit(guard), Admitted)
    assert [entry.policy_digest for entry in guard.store.entries()] == [first, second, third]
    assert (guard.policy.digest, guard.policy_error) == (third, None)


def test_a_broken_file_is_refused_and_the_old_one_stays(place: Place) -> None:
    """All its faults are kept with their lines; it is not read again until it changes."""
    guard = place.guard()
    before = place.digest(guard)
    place.write(BROKEN)
    assert place.digest(guard) == before
    error = guard.policy_error
    assert isinstance(error, ConfigError)
    assert len(error.faults) > 1
    assert all(fault.where.startswith(f"{place.file}:7") for fault in error.faults)
    assert place.digest(guard) == before
    assert guard.policy_error is error
    after = place.write(policy(50))
    assert (place.digest(guard), guard.policy_error) == (after, None)


def test_a_broken_file_that_is_put_back_as_it_was_is_no_error_any_more(place: Place) -> None:
    """The text in force was in force all the time."""
    guard = place.guard()
    before = place.digest(guard)
    place.write(BROKEN)
    check(guard)
    place.write(policy(100))
    assert (place.digest(guard), guard.policy_error) == (before, None)


def test_a_file_that_is_gone_for_a_while_changes_nothing(place: Place) -> None:
    """Some editors remove a file before they write it anew."""
    guard = place.guard()
    before = place.digest(guard)
    place.file.unlink()
    assert place.digest(guard) == before
    assert guard.policy_error is not None
    assert guard.policy_error.faults[0].code == "no_policy"
    after = place.write(policy(50))
    assert (place.digest(guard), guard.policy_error) == (after, None)


def test_a_file_that_says_the_same_in_other_words_changes_nothing(place: Place) -> None:
    """Comments and formatting are not part of the digest."""
    guard = place.guard()
    before = place.digest(guard)
    assert place.write("# reviewed\n" + policy(100)) == before
    assert (place.digest(guard), guard.policy_error) == (before, None)
    assert len(guard.store.policies_in_force()) == 1


def test_a_text_that_was_replaced_returns_only_on_purpose(place: Place) -> None:
    """Undoing an edit is told apart from making one; `activate` brings the old text back."""
    guard = place.guard()
    first = place.digest(guard)
    second = place.write(policy(50))
    assert place.digest(guard) == second
    place.write(policy(100))
    assert place.digest(guard) == second
    assert guard.policy_error is not None
    (fault,) = guard.policy_error.faults
    assert (fault.code, fault.where) == ("policy_replaced", str(place.file))
    assert "planner policy activate" in fault.hint
    guard.store.activate(load_policy(place.file))
    assert place.digest(guard) == first


def test_a_guard_that_is_opened_over_a_replaced_text_says_so(place: Place) -> None:
    """A host with an old file goes on with the ledger's copy, and knows it."""
    place.guard().close()
    newer = place.write(policy(50))
    place.guard().close()
    place.write(policy(100))
    guard = place.guard()
    assert (guard.policy.digest, place.digest(guard)) == (newer, newer)
    assert guard.policy_error is not None
    assert guard.policy_error.faults[0].code == "policy_replaced"


def test_a_guard_follows_another_host_although_its_own_file_stays(place: Place, tmp_path: Path) -> None:
    """What another host brings in force decides with the next admission here."""
    guard = place.guard()
    place.digest(guard)
    other_file = tmp_path / "other.yaml"
    other_file.write_text(policy(3))
    other = place.guard(other_file)
    assert check(guard).verdict is Verdict.DENY
    assert place.digest(guard) == other.policy.digest
    assert guard.policy_error is None


def test_a_renamed_policy_is_the_one_that_decides_from_then_on(place: Place) -> None:
    """The old name stays in force beside it until somebody retires it."""
    guard = place.guard()
    place.digest(guard)
    place.write(policy(3, name="studio-2027"))
    assert isinstance(place.admit(guard), TurnedDown)
    assert guard.policy.name == "studio-2027"
    assert set(guard.store.policies_in_force()) == {"studio", "studio-2027"}


def test_every_file_that_a_policy_is_built_from_is_looked_at(place: Place, tmp_path: Path) -> None:
    """A base that changes is a change of the policy that extends it, also one that was named just now."""
    own = "policy: 1\nname: studio\nextends: ./%s.yaml\notherwise: allow\n"
    for base, limit in (("wide", 100), ("tight", 3)):
        (tmp_path / f"{base}.yaml").write_text(policy(limit, name=base))
    place.file.write_text(own % "wide")
    guard = place.guard()
    assert isinstance(place.admit(guard), Admitted)
    place.file.write_text(own % "tight")
    assert isinstance(place.admit(guard), TurnedDown)
    (tmp_path / "tight.yaml").write_text(policy(5, name="tight"))
    assert isinstance(place.admit(guard), Admitted)
    (tmp_path / "tight.yaml").write_text(BROKEN)
    assert isinstance(place.admit(guard), Admitted)
    assert guard.policy_error is not None
    assert all("tight.yaml:7" in fault.where for fault in guard.policy_error.faults)


# -- what does not reload ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["without reload", "object"])
def test_a_guard_may_be_held_to_what_it_was_opened_with(place: Place, kind: str) -> None:
    """A run from a plan file, and a policy that is no file, keep what they have."""
    guard = place.guard(reload=False) if kind == "without reload" else place.guard(load_policy(place.file))
    before = place.digest(guard)
    place.write(policy(3))
    assert (place.digest(guard), guard.policy_error) == (before, None)


def test_a_shipped_name_does_not_become_a_file(place: Place, tmp_path: Path, monkeypatch) -> None:
    """A file of that name that appears later is another policy."""
    monkeypatch.chdir(tmp_path)
    guard = place.guard("starter")
    before = guard.policy.digest
    (tmp_path / "starter").write_text(policy(3))
    check(guard)
    assert guard.policy.digest == before


# -- the cheap look ------------------------------------------------------------------------------


def test_a_file_that_was_not_touched_is_not_read(place: Place) -> None:
    """Its time, size and inode are enough, once its last change is long enough ago."""
    age(place.file, 2 * SETTLED_SECONDS)
    file = PolicyFile(place.file)
    file.read()
    assert not file.has_changed()
    before = place.file.stat()
    place.file.write_bytes(place.file.read_bytes().replace(b"100", b"200"))
    os.utime(place.file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not file.has_changed(), "nobody but a test can change a file and leave no mark"


def test_a_second_change_within_the_same_tick_of_the_clock_is_seen(place: Place) -> None:
    """Fresh from a change, a file of the same time and size is told apart by what it holds."""
    file = PolicyFile(place.file)
    before = place.file.stat()
    first = file.read()
    place.file.write_bytes(place.file.read_bytes().replace(b"100", b"200"))
    os.utime(place.file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.has_changed()
    assert file.read().digest != first.digest


def test_a_fresh_change_is_read_once_and_settles_without_being_read_again(place: Place, monkeypatch) -> None:
    """Seconds later the same contents are no news, and from then on the marks alone are enough."""
    file = PolicyFile(place.file)
    file.read()
    assert not file.has_changed()
    now = time.time()
    monkeypatch.setattr("policies.guard.reloading.time.time", lambda: now + 2 * SETTLED_SECONDS)
    assert not file.has_changed()
    before = place.file.stat()
    place.file.write_bytes(place.file.read_bytes().replace(b"100", b"200"))
    os.utime(place.file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not file.has_changed()


# -- with threads, with a ledger that fails, with a hold that waits -------------------------------


def test_threads_that_share_a_guard_see_versions_one_after_the_other(place: Place) -> None:
    """Four threads decide while the file is edited, broken and mended: no entry goes back to an old text."""
    guard = place.guard()
    written = [guard.policy.digest]
    stop = threading.Event()
    failed: list[BaseException] = []

    def decide() -> None:
        try:
            while not stop.is_set():
                place.admit(guard)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=decide) for _ in range(4)]
    for thread in threads:
        thread.start()
    for limit in range(200, 206):
        place.write(BROKEN)
        check(guard)
        written.append(place.write(policy(limit)))
        assert place.digest(guard) == written[-1]
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []
    order = [written.index(entry.policy_digest) for entry in guard.store.entries()]
    assert order == sorted(order)
    assert set(order) >= {1, 2, 3, 4, 5, 6}
    assert verify(guard.store) == []


def test_a_change_that_the_ledger_cannot_take_is_tried_again(place: Place) -> None:
    """Nothing is decided meanwhile, and the file need not change once more."""
    guard = place.guard()
    place.digest(guard)
    after = place.write(policy(50))
    writable(guard.store, False)
    with pytest.raises(OperatorError):
        place.admit(guard)
    writable(guard.store, True)
    assert place.digest(guard) == after


def writable(store: Store, can: bool) -> None:
    """Let SQLite refuse every write, as it does on a disk that was mounted read-only, or no longer."""
    store._engine.dispose()
    listen = event.remove if can else event.listen
    listen(store._engine, "connect", _query_only)


def _query_only(raw: object, _record: object) -> None:
    raw.execute("PRAGMA query_only = 1")  # type: ignore[attr-defined]


def test_a_hold_that_was_not_sent_is_decided_again_under_the_new_policy(place: Place) -> None:
    """No connection was made, then the file changed: the hold is given back, and the new policy denies."""
    guard = place.guard()
    steps = guard.machine.submitting(Ask("main", "main", "look", LOOK, {"team": "social"}))
    reply: object = None
    while not isinstance(effect := steps.send(reply), Pause):
        assert isinstance(effect, Transact | Post)
        reply = effect.call() if isinstance(effect, Transact) else NotSent("ConnectError")
    place.write(policy(3))
    assert isinstance(ended(steps), TurnedDown)
    held, denied = guard.store.entries()
    assert (held.state, held.reason) == (State.RELEASED, "the policy changed")
    assert (denied.state, denied.policy_digest) == (State.DENIED, guard.policy.digest)


def ended(steps: Generator[Effect, Any, Submission]) -> Submission:
    """What a submission ends with that has nothing but transactions before it."""
    reply: Any = None
    while True:
        try:
            effect = steps.send(reply)
        except StopIteration as finished:
            submission: Submission = finished.value
            return submission
        assert isinstance(effect, Transact)
        reply = effect.call()


def test_a_retired_policy_decides_nothing_more(place: Place) -> None:
    """A guard that is open hears it with its next decision, one that is opened at once."""
    guard = place.guard()
    place.digest(guard)
    other = parse_policy(policy(100, name="other"), "other.yaml")
    guard.store.activate(other, retire="studio")
    for decide in (lambda: place.admit(guard), lambda: check(guard)):
        with pytest.raises(OperatorError, match="no longer in force"):
            decide()
    with pytest.raises(ConfigError, match="was retired"):
        place.guard()
    assert [counter.policy for counter in guard.store.counters()] == ["other"]
    guard.store.activate(load_policy(place.file))
    assert check(guard).verdict is Verdict.ALLOW


# -- a whole run ---------------------------------------------------------------------------------


class FileStage(Stage):
    """A stage whose guards are opened over a file."""

    @property
    def file(self) -> Path:
        return self.folder / "open.yaml"

    def guard(self) -> Guard:
        return Guard.open(self.file, f"sqlite:///{self.folder}/spend.db", account="test", speed=self.speed)


def test_a_run_follows_its_file_in_the_middle(tmp_path: Path) -> None:
    """Rows sent before the edit come home; those after it are decided by the new text."""
    with stage(tmp_path) as plain:
        found = FileStage(plain.handle, plain.folder, speed=plain.speed)
        found.file.write_text(plain.policy)
        tightened = plain.policy + "rules:\n  - {name: stop, when: {team: social}, deny: enough}\n"
        lines = rows(36)
        found.run(
            lines,
            pictures=None,
            act=lambda _: found.file.write_text(tightened),
            act_when=lambda runner: any(line.ending is Ending.COMPLETED for line in runner.lines),
        )
        endings = [line.ending for line in lines]
        entries: list[Entry] = found.entries()
    assert set(endings) == {Ending.COMPLETED, Ending.DENIED}
    digests = {entry.state: entry.policy_digest for entry in entries}
    assert digests[State.DENIED] == parse_policy(tightened, "open.yaml").digest
    assert digests[State.SETTLED] == parse_policy(plain.policy, "open.yaml").digest
