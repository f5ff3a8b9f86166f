"""Law 13 where people grant something: raises and approvals let pass what they say, once, and nothing else.

Asks, answers, raises and ends of jobs come in any order while days go by. Who may go is worked out here
from the events alone, by another arithmetic than the ledger's: what counts in a budget, what stands on top
of it, and which answer speaks for an ask.
"""

from __future__ import annotations

import tempfile
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.loading import shipped_prices
from policies.decision import Verdict
from policies.guard.machine import Job as MachineJob
from policies.ledger.entries import Admitted, Ask, Busy, Conflict, Evidence, Taken, TurnedDown
from policies.ledger.grants import Grant
from policies.ledger.states import Happened
from policies.ledger.store import Store
from policies.ledger.verify import verify
from policies.loading import parse_policy
from tests import ledgers
from tests.laws.world import OPEN_POLICY, START, World, policy_of, request

pytestmark = pytest.mark.usefixtures("each_engine")

POLICY = parse_policy(
    """
policy: 1
name: studio
timezone: UTC
otherwise: allow
labels: {team: any}
budgets:
  - {name: day, limit: 5 credits, per: day, when_exhausted: {needs_approval: finance}}
  - {name: team-week, limit: 12 credits, per: week, for_each: [team], when_exhausted: {needs_approval: lead}}
  - {name: all, limit: 60 credits, per: total}
rules:
  - {name: many, when: {num_images: {at_least: 3}}, needs_approval: finance}
""",
    "studio.yaml",
)
BOOK = shipped_prices()
LIMITS = {"day": 5, "team-week": 12, "all": 60}
COSTS = {1: request(), 2: request(resolution="2k", generation_mode="fast"), 4: request(num_images=4)}
KEYS, TEAMS = ("k1", "k2", "k3", "k4", "k5", "k6"), ("social", "brand")


@dataclass
class Job:
    """An entry as this test knows it."""

    at: datetime
    team: str
    cost: int
    counts: int
    """What it counts now; nothing once it is released."""
    granted: dict[str, int] = field(default_factory=dict)
    """What was granted for it alone, by budget."""
    open: bool = True
    accepted: bool = False


@dataclass
class Said:
    """What a person said about a key, a cost and a team."""

    approved: bool
    asked: frozenset[str]
    most: int
    until: datetime
    used_by: Job | None = None

    @property
    def free(self) -> bool:
        job = self.used_by
        return job is None or (not job.open and not job.counts and not job.accepted)


def window(budget: str, at: datetime) -> object:
    return {"day": at.date(), "team-week": at.isocalendar()[:2], "all": None}[budget]


class Studio:
    """The ledger, and beside it what should follow."""

    def __init__(self, folder: str) -> None:
        self.now = START
        self.store = Store.open(ledgers.url(Path(folder) / "spend.db"), clock=lambda: self.now)
        self.store.bring_in_force(POLICY)
        self.owner = self.store.register()
        self.jobs: dict[str, tuple[int, Job]] = {}
        """The job that has each key, by the cost that it was asked for."""
        self.all: list[tuple[Any, Job]] = []
        self.said: dict[tuple[str, int, str], list[Said]] = {}
        self.raises: list[tuple[str, str, object, int, datetime | None]] = []
        self.waiting: dict[str, tuple[Any, tuple[str, int, str], frozenset[str]]] = {}

    # -- what should follow ----------------------------------------------------------------------

    def counts_in(self, job: Job, budget: str, team: str) -> bool:
        here = window(budget, job.at) == window(budget, self.now)
        return here and (budget != "team-week" or job.team == team)

    def room(self, budget: str, team: str) -> int:
        """What may still go."""
        jobs = [job for _, job in self.all if self.counts_in(job, budget, team)]
        own = sum(max(0, job.granted.get(budget, 0) - (job.cost - job.counts)) for job in jobs)
        raised = sum(
            amount
            for name, whose, where, amount, until in self.raises
            if name == budget and where == window(budget, self.now) and (until is None or self.now < until)
            if budget != "team-week" or whose == team
        )
        return LIMITS[budget] + own + raised - sum(job.counts for job in jobs)

    def expected(self, key: str, cost: int, team: str) -> tuple[str, frozenset[str], Said | None]:
        full = {name for name in LIMITS if self.room(name, team) < cost}
        asked = frozenset(full | ({"many"} if cost == 4 else set()))
        if "all" in full:
            return "deny", asked, None
        if not asked:
            return "allow", asked, None
        for said in reversed(self.said.get((key, cost, team), [])):
            if not said.approved:
                return "deny", asked, said
            if said.free and self.now < said.until and cost <= said.most and asked <= said.asked:
                return "allow", asked, said
        return "needs_approval", asked, None

    # -- what happens ----------------------------------------------------------------------------

    def ask(self, key: str, cost: int, team: str) -> None:
        verdict, asked, said = self.expected(key, cost, team)
        ask = Ask("main", "main", key, COSTS[cost], {"team": team})
        found = self.store.admit(ask, POLICY, BOOK, self.owner, rate_microusd=75_000)
        known = self.jobs.get(key)
        if known is not None and (known[1].open or known[1].counts):
            assert isinstance(found, Taken if known[0] == cost else Conflict)
            return
        if isinstance(found, Busy):
            assert verdict == "allow"
            return
        assert isinstance(found, Admitted | TurnedDown)
        assert found.decision.credits == cost
        assert found.decision.verdict == verdict
        self.waiting.pop(key, None)
        if verdict == "needs_approval":
            self.waiting[key] = found.entry, (key, cost, team), asked
        if isinstance(found, Admitted):
            job = Job(self.now, team, cost, cost)
            if said is not None:
                said.used_by = job
                lacking = {name: cost - self.room(name, team) for name in asked - {"many"}}
                job.granted = {name: lack for name, lack in lacking.items() if lack > 0}
            self.jobs[key] = cost, job
            self.all.append((found.entry, job))

    def answer(self, place: int, approved: bool, most: int, hours: int) -> None:
        if not self.waiting:
            return
        key = sorted(self.waiting)[place % len(self.waiting)]
        entry, what, asked = self.waiting[key]
        until = self.now + timedelta(hours=hours)
        self.store.answer(entry, approved=approved, who="A", because="b", until=until, most_credits=most)
        self.said.setdefault(what, []).append(Said(approved, asked, most, until))

    def again(self, place: int) -> None:
        """Ask for something that a person has spoken about."""
        if self.said:
            self.ask(*sorted(self.said)[place % len(self.said)])

    def grant(self, budget: str, team: str, amount: int, hours: int | None) -> None:
        [item] = [item.budget for item in POLICY.budgets if item.budget.name == budget]
        allowance = POLICY.allowance(item, {"team": team}, self.now)
        until = None if hours is None else self.now + timedelta(hours=hours)
        self.store.grant(Grant("studio", allowance, amount, self.now, until, "A", "b"))
        self.raises.append((budget, team, window(budget, self.now), amount, until))

    def end(self, place: int, how: str) -> None:
        still = [(entry, job) for entry, job in self.all if job.open]
        if not still:
            return
        entry, job = still[place % len(still)]
        accepted = (Happened.ACCEPTED, Evidence(prediction_id=f"p-{entry.id}"))
        steps = {
            "charged": [accepted, (Happened.CHARGED, Evidence(credits=max(1, job.counts - 1)))],
            "failed": [accepted, (Happened.FAILED, Evidence(reason="PoseError"))],
            "refused": [(Happened.REFUSED, Evidence(reason="BadRequest"))],
            "lost": [(Happened.LOST, Evidence(reason="cut"))],
        }[how]
        self.store.record(entry, *steps)
        job.open, job.accepted = False, how in ("charged", "failed")
        job.counts = {"charged": max(1, job.counts - 1), "lost": job.counts}.get(how, 0)


ENDS = ["charged", "failed", "refused", "lost"]
actions = st.one_of(
    *[st.tuples(st.just("ask"), st.sampled_from(KEYS), st.sampled_from([*COSTS]),
                st.sampled_from(TEAMS))] * 3,
    *[st.tuples(st.just("answer"), st.integers(0, 5), st.sampled_from([True, True, True, False]),
                st.sampled_from([4, 4, 2]), st.sampled_from([1, 48]))] * 2,
    *[st.tuples(st.just("again"), st.integers(0, 9))] * 3,
    st.tuples(st.just("grant"), st.sampled_from([*LIMITS]), st.sampled_from(TEAMS), st.integers(1, 5),
              st.sampled_from([None, 1, 1])),
    *[st.tuples(st.just("end"), st.integers(0, 5), st.sampled_from(ENDS))] * 3,
    st.tuples(st.just("wait"), st.sampled_from([1, 2, 6, 26])),
)  # fmt: skip


def test_what_is_granted_goes_once_and_nothing_else_passes_a_limit() -> None:
    """Every ask ends as the events before it say, and the ledger derives itself again."""
    few = settings(max_examples=ledgers.examples(120), deadline=None, suppress_health_check=list(HealthCheck))
    few(given(st.lists(actions, min_size=20, max_size=60))(play))()


def play(steps: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        studio = Studio(folder)
        with closing(studio.store), closing(studio.owner):
            for name, *words in steps:
                studio.now += timedelta(minutes=2)
                if name == "wait":
                    studio.now += timedelta(hours=words[0])
                else:
                    getattr(studio, name)(*words)
            assert not verify(studio.store)


@pytest.fixture
def studio(tmp_path: Path) -> Any:
    found = Studio(str(tmp_path))
    with closing(found.store), closing(found.owner):
        yield found


def test_an_approval_of_a_full_budget_leaves_nothing_over_for_others(studio: Studio) -> None:
    """The grant is for that job alone: what it did not cost in the end, nobody else may spend."""
    for key, cost in (("k1", 2), ("k2", 2)):
        studio.ask(key, cost, "social")
    studio.ask("k4", 2, "social")
    assert studio.waiting.keys() == {"k4"}
    studio.answer(0, True, 2, 1)
    studio.ask("k4", 2, "social")
    assert studio.jobs["k4"][1].granted == {"day": 1}
    studio.end(2, "charged")
    assert studio.room("day", "social") == 0
    studio.ask("k5", 1, "social")
    assert studio.waiting.keys() == {"k5"}


def test_an_approval_comes_back_where_nothing_was_accepted(studio: Studio) -> None:
    """Refused, it can be used again; once something was accepted it is used up, also where that failed."""
    for how, waits in (("refused", False), ("failed", True)):
        studio.ask("k1", 4, "social")
        if "k1" in studio.waiting:
            studio.answer(0, True, 4, 48)
            studio.ask("k1", 4, "social")
        studio.end(0, how)
        studio.ask("k1", 4, "social")
        assert ("k1" in studio.waiting) is waits
        if not waits:
            studio.end(0, "refused")


def test_what_was_granted_for_a_job_that_cost_nothing_takes_nothing_from_others(studio: Studio) -> None:
    """Once the approved job is free, the budget is what it was before."""
    for key in ("k1", "k2", "k3"):
        studio.ask(key, 2, "social")
    studio.answer(0, True, 2, 1)
    studio.ask("k3", 2, "social")
    studio.end(2, "refused")
    studio.ask("k4", 1, "social")
    assert "k4" in studio.jobs


def test_a_raise_ends_at_its_instant(studio: Studio) -> None:
    """What goes within the hour does not go after it, and what went stays."""
    studio.grant("day", "", 2, 1)
    for key in ("k1", "k2", "k3"):
        studio.ask(key, 2, "social")
    assert studio.jobs.keys() == {"k1", "k2", "k3"}
    studio.now += timedelta(hours=2)
    studio.ask("k4", 1, "social")
    assert studio.waiting.keys() == {"k4"}
    studio.grant("day", "", 1, None)
    studio.ask("k4", 1, "social")
    assert studio.waiting.keys() == {"k4"}
    studio.grant("day", "", 1, None)
    studio.ask("k4", 1, "social")
    assert "k4" in studio.jobs


DOWN = "{downgrade: {give_up_in_order: [num_images]}}"


@pytest.mark.parametrize("other", [DOWN, "deny", "{needs_approval: lead}"])
def test_an_approval_passes_no_budget_that_it_was_not_asked_about(tmp_path, other):
    """One budget asks and is answered; meanwhile another one has filled up, whatever that one says then."""
    budgets = (
        "budgets:\n"
        "  - {name: asks, limit: 4 credits, per: total, when_exhausted: {needs_approval: finance}}\n"
        f"  - {{name: other, limit: 6 credits, per: total, when_exhausted: {other}}}\n"
    )
    world = World(tmp_path, policy_of(OPEN_POLICY + budgets))
    worker, until = world.worker(), world.now + timedelta(days=1)
    four = request(resolution="2k", num_images=1)

    def ask(key: str) -> Any:
        return worker.submit(world.ask(key, four))

    assert isinstance(ask("first"), MachineJob)
    second = ask("second")
    assert isinstance(second, TurnedDown)
    for answered in (second, ask("second")):
        if answered.decision.verdict is Verdict.NEEDS_APPROVAL:
            world.store.answer(answered.entry, approved=True, who="lead", because="launch", until=until)
    ask("second")
    for counter in world.store.counters(world.now):
        used = counter.settled + counter.held + counter.unknown
        assert used <= counter.allowance.limit + counter.granted, counter.allowance.budget
    assert verify(world.store) == []
