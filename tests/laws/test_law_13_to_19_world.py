"""Laws 13 to 16, 18 and 19 at once: a hypothesis state machine over ledger, machine and provider.

Workers submit under keys, crash before or after any step, are cancelled at any step, watch what they
have, take over what the dead left, and time passes. After every step the laws are checked against what
the provider itself saw.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from policies.guard.answers import read_run
from policies.guard.machine import Job
from policies.ledger.entries import Entry
from policies.ledger.states import OPEN, TAKEN, State
from policies.ledger.verify import verify
from policies.server.sandbox.faults import Faults
from tests import ledgers
from tests.laws.world import HOW, Crashed, Plan, Worker, World, budget_policy, request

pytestmark = pytest.mark.usefixtures("each_engine")

LIMIT = 30
KEYS = [f"look-{n}" for n in range(16)]
FAULTS = Faults(
    lost_before=0.08,
    lost_after=0.08,
    proxy_before=0.04,
    proxy_after=0.04,
    redirect_before=0.03,
    redirect_after=0.03,
    no_id=0.03,
    server_error=0.08,
    rate_limited=0.04,
    missing_header=0.1,
    malformed_header=0.05,
    failed=0.15,
    vanished=0.05,
    canceled=0.04,
    unknown_status=0.04,
    status_error=0.05,
)

REQUESTS = [
    request(prompt=prompt, resolution=tier, num_images=count)
    for prompt in ("linen dress", "denim jacket")
    for tier, count in ((None, 1), ("1k", 3), ("2k", 2))
]
BODIES = {request.body() for request in REQUESTS}

plans = st.none() | st.builds(Plan, at=st.integers(0, 9), how=st.sampled_from(HOW))


class Studio(RuleBasedStateMachine):
    """Several processes, one ledger, one budget, and a provider that misbehaves."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(Path(self.folder.name), budget_policy(LIMIT, "day"), faults=FAULTS, seed=7)
        self.workers: list[Worker] = [self.world.worker()]
        self.jobs: list[tuple[Worker, Job]] = []
        self.unknown_before: dict[int, Entry] = {}

    def teardown(self) -> None:
        assert verify(self.world.store) == []
        for worker in self.workers:
            worker.owner.close()
        self.world.close()
        self.folder.cleanup()

    @rule(key=st.sampled_from(KEYS), request=st.sampled_from(REQUESTS), plan=plans, place=st.integers(0, 3))
    def submit(self, key, request, plan, place) -> None:
        worker = self.workers[place % len(self.workers)]
        try:
            found = worker.submit(self.world.ask(key, request), plan, wait_seconds=5)
        except Crashed:
            self._bury(worker)
            return
        if isinstance(found, Job):
            self.jobs.append((worker, found))

    @precondition(lambda self: self.jobs)
    @rule(place=st.integers(0, 20), plan=plans)
    def watch(self, place, plan) -> None:
        worker, job = self.jobs.pop(place % len(self.jobs))
        try:
            worker.finish(job, plan)
        except Crashed:
            self._bury(worker)
            return
        if not job.done:
            self.jobs.append((worker, job))

    @rule()
    def start_worker(self) -> None:
        if len(self.workers) < 3:
            self.workers.append(self.world.worker())

    @rule(place=st.integers(0, 3))
    def take_over(self, place) -> None:
        worker = self.workers[place % len(self.workers)]
        for entry in self.world.store.take_over(worker.owner):
            self.jobs.append((worker, worker.machine.adopted(entry)))

    @rule(seconds=st.sampled_from([0.5, 30.0, 400.0, 7200.0]))
    def pass_time(self, seconds) -> None:
        self.world.advance(seconds)

    @rule(gone=st.booleans())
    def connection(self, gone) -> None:
        self.world.unreachable = gone

    def _bury(self, worker: Worker) -> None:
        """A dead process takes its memory with it: its jobs are known to the ledger alone."""
        self.jobs = [(other, job) for other, job in self.jobs if other is not worker]
        self.workers.remove(worker)
        if not self.workers:
            self.workers.append(self.world.worker())

    # -- the laws --------------------------------------------------------------------------------

    @invariant()
    def law_13_no_admission_passes_the_limit(self) -> None:
        for counter in self.world.store.counters():
            assert counter.settled + counter.held + counter.unknown <= LIMIT

    @invariant()
    def law_14_only_decided_bytes_are_sent_and_only_under_a_hold(self) -> None:
        entries = self.world.store.entries()
        assert len(self.world.sent) <= sum(entry.sends for entry in entries)
        assert all(sent.body in BODIES for sent in self.world.sent)

    @invariant()
    def law_16_time_never_frees_an_unknown(self) -> None:
        now = {entry.id: entry for entry in self.world.store.entries(states=[State.UNKNOWN])}
        for entry_id, before in self.unknown_before.items():
            if entry_id not in now:
                after = self.world.store.entry(entry_id)
                events = [event for event in self.world.store.events() if event.entry == entry_id]
                assert before.prediction_id or events[-1].happened in ("settled_by", "released_by"), after
        self.unknown_before = now

    @invariant()
    def law_18_a_key_is_paid_once(self) -> None:
        taken: dict[str, list[Entry]] = {}
        for entry in self.world.store.entries(states=TAKEN):
            taken.setdefault(entry.key, []).append(entry)
        assert all(len(found) == 1 for found in taken.values())

    @invariant()
    def law_19_no_credit_is_lost_from_sight(self) -> None:
        assert self.world.billed() <= self.world.counted()

    @invariant()
    def law_19_nothing_is_sent_twice(self) -> None:
        """At the provider, an entry has at most one accepted prediction."""
        admitted = [entry for entry in self.world.store.entries() if entry.sends]
        assert len(self.world.accepted_bodies()) <= len(admitted)
        ids = [sent.prediction_id for sent in self.world.sent if sent.prediction_id]
        assert len(ids) == len(set(ids))

    @invariant()
    def never_more_than_six_in_flight(self) -> None:
        assert len(self.world.store.entries(states=OPEN)) <= 6
        assert self.world.provider.bill(self.world.seconds).most_in_flight <= 6


def test_laws_13_to_19_hold_in_every_history() -> None:
    """Whatever happens to the workers, and in whatever order, every law holds after every step."""
    number = ledgers.examples(40)
    run_state_machine_as_test(
        Studio,
        settings=settings(
            max_examples=number,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("at", range(8))
def test_law_19_a_crash_or_cancellation_at_every_step(tmp_path: Path, how: str, at: int) -> None:
    """Wherever a job is cut off, the next process finds every credit and pays for the picture once."""
    world = World(tmp_path, budget_policy(100))
    first = world.worker()
    ask = world.ask("look-1", request(resolution="2k"))
    try:
        found = first.submit(ask, Plan(at, how))
        if isinstance(found, Job):
            first.finish(found, Plan(at - 3, how))
    except Crashed:
        pass
    first.crash()
    assert world.billed() <= world.counted()
    second = world.worker()
    adopted = world.store.take_over(second.owner)
    for entry in adopted:
        second.finish(second.machine.adopted(entry))
    second.submit(ask)
    assert len(world.accepted_bodies()) <= 1
    assert world.billed() <= world.counted()
    assert verify(world.store) == []
    world.close()


def test_law_15_only_the_facts_table_allows_a_second_post() -> None:
    """For every status and name, and for bodies that are no answer, a repeat is allowed as the facts say."""
    from policies.guard.answers import Again, Answer

    allowed = {
        (429, "RateLimitExceeded"),
        (429, "ConcurrencyLimitExceeded"),
        (500, "InternalServerError"),
    }
    names = ["BadRequest", "UnauthorizedAccess", "NotFound", "OutOfCredits", "Teapot", "", None, 7]
    names += [name for _, name in allowed]
    for status in (200, 201, 204, 301, 307, 400, 401, 402, 404, 408, 409, 429, 500, 502, 503, 504):
        for name in names:
            body = json.dumps({"error": name, "message": "…"}).encode()
            may_repeat = isinstance(read_run(Answer(status, {}, body)), Again)
            assert may_repeat is ((status, name) in allowed), (status, name)
        for body in (b"", b"<html>", b"null", b"[]", b'"x"', b"{"):
            assert not isinstance(read_run(Answer(status, {}, body)), Again)
