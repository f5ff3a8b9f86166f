"""Law 13 while the policy changes: two hosts, versions of one policy, and nobody gets an allowance twice.

Each host has a guard of its own over a policy file of its own and the one ledger. In the middle of
windows files are edited, budgets renamed, tightened, loosened, added, counted by other labels or in other
windows; entries end in every way. Which version is in force, and what counts in its budgets, is worked
out here from the entries alone, by another arithmetic than the ledger's.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.guard.guard import Guard
from policies.guard.machine import Transact
from policies.ledger.entries import Admission, Admitted, Ask, Entry, Evidence, Step, TurnedDown
from policies.ledger.states import TAKEN, Happened, State
from policies.ledger.store import Store
from policies.ledger.verify import verify
from policies.loading import parse_policy
from tests import ledgers
from tests.laws.world import START, request

pytestmark = pytest.mark.usefixtures("each_engine")

TEAMS, STAGES = ("social", "brand", ""), ("draft", "production")
REQUESTS = [request(), request(resolution="2k"), request(resolution="4k", num_images=2)]


# -- versions of a policy ------------------------------------------------------------------------


@dataclass(frozen=True)
class Budget:
    """A budget as the file says it, and as this test reads it."""

    name: str
    limit: int
    per: str
    for_each: tuple[str, ...] = ()
    stage: str | None = None
    """The stage that counts; None counts all."""

    @property
    def line(self) -> str:
        only = f", applies_to: {{stage: {self.stage}}}" if self.stage else ""
        each = f", for_each: [{', '.join(self.for_each)}]" if self.for_each else ""
        return f"  - {{name: {self.name}, limit: {self.limit} credits, per: {self.per}{each}{only}}}\n"

    def place(self, labels: Mapping[str, str], at: datetime) -> tuple[object, ...] | None:
        """The scope and window that a job counts in; None where it does not count."""
        if self.stage is not None and labels.get("stage") != self.stage:
            return None
        return (*(labels.get(name) for name in self.for_each), *WINDOWS[self.per](at))


WINDOWS: Mapping[str, Any] = {
    "hour": lambda at: (at.date(), at.hour),
    "day": lambda at: (at.date(),),
    "week": lambda at: at.isocalendar()[:2],
    "month": lambda at: (at.year, at.month),
    "quarter": lambda at: (at.year, (at.month - 1) // 3),
    "total": lambda at: (),
}

Version = tuple[Budget, ...]


def text_of(version: Version, name: str = "studio") -> str:
    head = f"policy: 1\nname: {name}\ntimezone: UTC\notherwise: allow\n"
    labels = "labels: {team: any, stage: [draft, production]}\n"
    return head + labels + "budgets:\n" + "".join(budget.line for budget in version)


def counts(budget: Budget, place: object, entries: Iterable[Entry]) -> int:
    """What counts in a budget's place: the sum over the entries, and nothing else."""
    return sum(
        entry.credits for entry in entries if budget.place(entry.label_values, entry.booked_at) == place
    )


def room(version: Version, labels: Mapping[str, str], at: datetime, entries: Sequence[Entry]) -> int:
    """How many credits every budget of a version still lets through."""
    places = [(budget, budget.place(labels, at)) for budget in version]
    return min(
        (budget.limit - counts(budget, place, entries) for budget, place in places if place is not None),
        default=10**9,
    )


# -- two hosts -----------------------------------------------------------------------------------


class Hosts:
    """Two guards over one ledger, each with a policy file of its own, and a clock that both share."""

    def __init__(self, folder: Path, text: str) -> None:
        self.now = START
        self.url = ledgers.url(folder / "ledger.db")
        self.files = [folder / f"host-{place}.yaml" for place in range(2)]
        for file in self.files:
            file.write_text(text)
        with closing(Store.open(self.url)) as store:
            store.bind("main", "http://stand-in", live=False)
        # Slots and the rate have laws of their own and must not decide here.
        ledgers.tamper(folder / "ledger.db", "UPDATE accounts SET concurrency = 10000, run_limit = 10000")
        self.guards = [self._opened(file) for file in self.files]
        self.number = 0

    def _opened(self, file: Path) -> Guard:
        return Guard.open(file, self.url, clock=lambda: self.now)

    @property
    def store(self) -> Store:
        return self.guards[0].store

    def restart(self, host: int) -> None:
        self.guards[host].close()
        self.guards[host] = self._opened(self.files[host])

    def admit(self, host: int, request: Any, labels: Mapping[str, str]) -> Admission:
        """One decision, a second after the last one, as every client makes it: the machine's first step."""
        self.number += 1
        self.now += timedelta(seconds=1)
        ask = Ask("main", "main", f"look-{self.number}", request, labels)
        effect = next(self.guards[host].machine.submitting(ask))
        assert isinstance(effect, Transact)
        admission: Admission = effect.call()
        return admission

    def taken(self) -> list[Entry]:
        return self.store.entries(states=TAKEN)

    def close(self) -> None:
        for guard in self.guards:
            guard.close()


ENDINGS: Mapping[str, tuple[Step, ...]] = {
    "charged": (
        (Happened.ACCEPTED, Evidence(prediction_id="p")),
        (Happened.CHARGED, Evidence(credits=3, outputs=1)),
    ),
    "estimated": (
        (Happened.ACCEPTED, Evidence(prediction_id="p")),
        (Happened.ESTIMATED, Evidence(outputs=1)),
    ),
    "failed": ((Happened.ACCEPTED, Evidence(prediction_id="p")), (Happened.FAILED, Evidence())),
    "vanished": ((Happened.ACCEPTED, Evidence(prediction_id="p")), (Happened.VANISHED, Evidence())),
    "refused": ((Happened.REFUSED, Evidence(reason="BadRequest")),),
    "lost": ((Happened.LOST, Evidence(reason="ReadError")),),
}

budgets = st.builds(
    Budget,
    name=st.sampled_from(["month", "monthly", "extra"]),
    limit=st.integers(0, 60),
    per=st.sampled_from([*WINDOWS]),
    for_each=st.sampled_from([(), ("team",), ("stage",), ("team", "stage")]),
    stage=st.sampled_from([None, "production"]),
)
versions = st.lists(
    st.lists(budgets, min_size=1, max_size=2, unique_by=lambda budget: budget.name).map(tuple),
    min_size=2,
    max_size=4,
    unique_by=text_of,
)
hosts, places = st.integers(0, 1), st.integers(0, 30)
steps = st.one_of(
    st.tuples(
        st.just("admit"), hosts, st.sampled_from(REQUESTS), st.sampled_from(TEAMS), st.sampled_from(STAGES)
    ),
    st.tuples(st.just("edit"), hosts, places),
    st.tuples(st.just("end"), places, st.sampled_from([*ENDINGS])),
    st.tuples(st.just("wait"), st.sampled_from([0.001, 3600.0, 86_400.0, 9 * 86_400.0])),
    st.tuples(st.just("activate"), hosts, places),
    st.tuples(st.just("restart"), hosts),
)  # fmt: skip


class Model:
    """Which version is in force, by the rule alone: a new one comes in force, an old one only on purpose."""

    def __init__(self, versions: Sequence[Version]) -> None:
        self.versions = versions
        self.in_force = versions[0]
        self.known = {versions[0]}
        self.files = [versions[0], versions[0]]

    def edit(self, host: int, place: int) -> str:
        self.files[host] = self.versions[place % len(self.versions)]
        return text_of(self.files[host])

    def looked(self, host: int) -> None:
        """A host has looked at its file."""
        if self.files[host] not in self.known:
            self.in_force = self.files[host]
        self.known.add(self.files[host])

    def activate(self, version: Version) -> None:
        self.in_force = version
        self.known.add(version)


def test_law_13_nobody_gets_an_allowance_twice_while_the_policy_changes() -> None:
    """A job is admitted exactly where the version in force has room by the sum over all entries."""
    few = settings(max_examples=ledgers.examples(20), deadline=None, suppress_health_check=list(HealthCheck))
    few(given(versions, st.lists(steps, min_size=12, max_size=40))(play))()


def play(versions: Sequence[Version], history: Sequence[tuple[Any, ...]]) -> None:
    model = Model(versions)
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(Hosts(Path(folder), text_of(versions[0]))) as two,
    ):
        for what, *values in history:
            step(two, model, what, values)
        assert verify(two.store) == []


def step(two: Hosts, model: Model, what: str, values: Sequence[Any]) -> None:
    match what, *values:
        case "admit", host, request, team, stage:
            model.looked(host)
            admit(two, model.in_force, host, request, {"team": team, "stage": stage} if team else {})
        case "edit", host, place:
            two.files[host].write_text(model.edit(host, place))
        case "end", place, how:
            if sending := two.store.entries(states=[State.SENDING]):
                two.store.record(sending[place % len(sending)], *ENDINGS[how])
        case "wait", seconds:
            two.now += timedelta(seconds=seconds)
        case "activate", host, place:
            version = model.versions[place % len(model.versions)]
            activate(two, host, version)
            model.activate(version)
        case "restart", host:
            two.restart(host)
            model.looked(host)


def activate(two: Hosts, host: int, version: Version) -> None:
    two.guards[host].store.activate(parse_policy(text_of(version), "studio.yaml"))


def admit(two: Hosts, version: Version, host: int, request: Any, labels: Mapping[str, str]) -> None:
    left = room(version, labels, two.now + timedelta(seconds=1), two.taken())
    found = two.admit(host, request, labels)
    assert isinstance(found, Admitted | TurnedDown)
    fits = found.decision.asked_quote.credits <= left
    assert isinstance(found, Admitted) is fits, (left, found.decision.explain())


# -- the same, one change at a time --------------------------------------------------------------

MONTH = Budget("month", 20, "month")


@pytest.mark.parametrize(
    ("change", "before", "after", "in_all"),
    [
        # 12 credits are spent, 4 at a time, before the change; then both hosts take what they get.
        ("the same", MONTH, MONTH, 20),
        ("renamed", MONTH, Budget("monthly", 20, "month"), 20),
        ("tightened", MONTH, Budget("month", 16, "month"), 16),
        ("tightened below what is spent", MONTH, Budget("month", 8, "month"), 12),
        ("loosened", MONTH, Budget("month", 28, "month"), 28),
        ("counted by label", MONTH, Budget("month", 16, "month", ("team",)), 16),
        ("counted by no label", Budget("month", 20, "month", ("team",)), MONTH, 20),
        ("narrowed", MONTH, Budget("month", 16, "month", (), "production"), 16),
        ("from days to months", Budget("month", 20, "day"), MONTH, 20),
        ("from months to days", MONTH, Budget("month", 16, "day"), 16),
        ("from a month to always", MONTH, Budget("month", 24, "total"), 24),
    ],
)
def test_law_13_a_change_in_the_middle_of_a_window_starts_no_new_allowance(
    tmp_path: Path, change: str, before: Budget, after: Budget, in_all: int
) -> None:
    """Host B brings the new version, host A follows with its next decision; together they get one limit."""
    labels = {"team": "social", "stage": "production"}
    with closing(Hosts(tmp_path, text_of((before,)))) as two:
        for _ in range(3):
            assert isinstance(two.admit(0, REQUESTS[1], labels), Admitted)
        two.files[1].write_text(text_of((after,)))
        last = [two.admit(host, REQUESTS[1], labels) for host in (1, 0) * 4]
        assert [type(found) for found in last[-2:]] == [TurnedDown, TurnedDown]
        assert sum(entry.credits for entry in two.taken()) == in_all, change
        assert verify(two.store) == []


def test_law_13_a_budget_that_is_added_is_as_full_as_its_window(tmp_path: Path) -> None:
    """A budget comes a week after its 12 credits were spent: neither host gets one more of them."""
    added = (Budget("today", 50, "day"), Budget("extra", 12, "month", ("team",)))
    with closing(Hosts(tmp_path, text_of((MONTH,)))) as two:
        for _ in range(3):
            two.admit(0, REQUESTS[1], {"team": "social"})
        two.now += timedelta(days=7)
        two.files[0].write_text(text_of(added))
        assert isinstance(two.admit(0, REQUESTS[0], {"team": "social"}), TurnedDown)
        assert isinstance(two.admit(1, REQUESTS[0], {"team": "social"}), TurnedDown)
        assert isinstance(two.admit(1, REQUESTS[1], {"team": "brand"}), Admitted)


def test_law_13_a_day_that_is_over_does_not_count_for_the_month_that_begins_with_it(tmp_path: Path) -> None:
    """The counter of the month's first day stands where the month's belongs: it is not taken for it."""
    with closing(Hosts(tmp_path, text_of((Budget("month", 20, "day"),)))) as two:
        two.now = datetime.fromisoformat("2026-11-01T12:00:00+00:00")
        two.admit(0, REQUESTS[1], {"stage": "draft"})
        two.now += timedelta(days=9)
        two.files[0].write_text(text_of((Budget("month", 20, "month", (), "production"),)))
        found = [two.admit(0, REQUESTS[1], {"stage": "production"}) for _ in range(6)]
        assert [type(admission) for admission in found] == [*[Admitted] * 5, TurnedDown]
        (counter,) = two.store.counters(two.now)
        assert (counter.held, counter.settled) == (20, 0)
        assert verify(two.store) == []


def test_law_13_a_renamed_policy_counts_what_the_old_name_has_spent(tmp_path: Path) -> None:
    """Another policy's budgets are counted from the same entries, and both count on until one is retired."""
    with closing(Hosts(tmp_path, text_of((MONTH,)))) as two:
        for _ in range(3):
            two.admit(0, REQUESTS[1], {})
        two.files[1].write_text(text_of((MONTH,), name="studio-2027"))
        assert [type(two.admit(1, REQUESTS[1], {})) for _ in range(3)] == [Admitted, Admitted, TurnedDown]
        assert isinstance(two.admit(0, REQUESTS[1], {}), TurnedDown)
        assert {counter.policy: counter.held for counter in two.store.counters()} == {
            "studio": 20,
            "studio-2027": 20,
        }
        assert verify(two.store) == []
