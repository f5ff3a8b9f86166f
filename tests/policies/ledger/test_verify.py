"""`verify`: honest ledgers hold, whatever happened to them, and every kind of tampering is found."""

import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from policies.ledger.entries import Evidence
from policies.ledger.states import TRANSITIONS, Happened, State
from policies.ledger.store import Store
from policies.ledger.verify import verify
from policies.loading import parse_policy
from policies.server.sandbox.faults import Faults
from tests import ledgers
from tests.laws.world import Worker, request
from tests.policies.ledger.books import STUDIO, Studio, studio

pytestmark = pytest.mark.usefixtures("each_engine")


@pytest.fixture(scope="module")
def honest(tmp_path_factory, each_engine):
    """A ledger with an entry in every state that lasts."""
    with studio(tmp_path_factory.mktemp("honest")) as books:
        books.job("charged", {"team": "social"}, resolution="2k")
        books.job("estimated", {"team": "brand"}, faults=Faults(missing_header=1.0))
        books.job("failed", {"team": "brand"}, faults=Faults(failed=1.0))
        books.job("waiting", {"campaign": "ask"})
        books.lost("lost", {"team": "social"})
        books.running("running", {"team": "social"}, num_images=2)
        yield books


class Copy:
    """A copy of a ledger that a test may tamper with."""

    def __init__(self, honest: Studio, path: Path) -> None:
        self.path = path
        ledgers.copy(honest.path, path)
        self.now = honest.world.now
        self.store = Store.open(ledgers.url(path), clock=lambda: self.now)

    def sql(self, statements: str) -> None:
        ledgers.tamper(self.path, statements)


@pytest.fixture
def books(honest, tmp_path):
    found = Copy(honest, tmp_path / "copy.db")
    yield found
    found.store.close()


def codes(books):
    return {difference.code for difference in verify(books.store)}


def test_an_honest_ledger_holds(books):
    """Nothing is found where nothing was touched."""
    assert verify(books.store) == []


def test_an_empty_ledger_holds(tmp_path):
    """Nothing to hold is no difference."""
    store = Store.open(ledgers.url(tmp_path / "new.db"))
    assert verify(store) == []
    store.close()


OF = "(SELECT id FROM entries WHERE key = '{}')"
CHARGED, LOST = OF.format("charged"), OF.format("lost")

TAMPERING = {
    "a state": (f"UPDATE entries SET state = 'released' WHERE id = {CHARGED}", {"entry_state", "counter"}),
    "what was charged": (
        f"UPDATE entries SET credits = 1 WHERE id = {CHARGED}",
        {"entry_credits", "counter"},
    ),
    "an unknown made free": (
        f"UPDATE entries SET state = 'released', credits = 0 WHERE id = {LOST}",
        {"entry_state", "entry_credits", "counter"},
    ),
    "an estimate made sure": ("UPDATE entries SET estimated = FALSE", {"entry_estimated"}),
    "a quote": (f"UPDATE entries SET quoted_credits = 3 WHERE id = {CHARGED}", {"entry_quoted_credits"}),
    "a rate": (f"UPDATE entries SET rate_microusd = 1 WHERE id = {CHARGED}", {"counter"}),
    "a booking": (
        f"UPDATE entries SET booked_us = booked_us - 3600000000 WHERE id = {CHARGED}",
        {"entry_booked_us"},
    ),
    "a label": (
        f"""UPDATE entries SET labels = '{{"team":"brand"}}' WHERE id = {CHARGED}""",
        {"counter"},
    ),
    "labels that cannot be read": (f"UPDATE entries SET labels = '{{' WHERE id = {CHARGED}", {
        "unreadable_entry", "counter",
    }),
    "an owner": (f"UPDATE entries SET owner = 'x' WHERE id = {CHARGED}", {"entry_owner"}),
    "an epoch": (f"UPDATE entries SET epoch = 9 WHERE id = {CHARGED}", {"entry_epoch"}),
    "how often it was sent": (f"UPDATE entries SET sends = 2 WHERE id = {CHARGED}", {"entry_sends"}),
    "an entry removed": (f"DELETE FROM entries WHERE id = {CHARGED}", {"no_entry", "counter"}),
    "its events removed": (f"DELETE FROM events WHERE entry = {CHARGED}", {"no_events"}),
    "its last event removed": (
        f"DELETE FROM events WHERE seq = (SELECT max(seq) FROM events WHERE entry = {CHARGED})",
        {"entry_state"},
    ),
    "a middle event removed": (
        f"DELETE FROM events WHERE happened = 'accepted' AND entry = {CHARGED}",
        {"illegal_event"},
    ),
    "what an event did": (
        f"UPDATE events SET happened = 'failed' WHERE happened = 'charged' AND entry = {CHARGED}",
        {"event_state"},
    ),
    "what an event counts": (
        f"UPDATE events SET credits = 1 WHERE happened = 'accepted' AND entry = {CHARGED}",
        {"event_credits"},
    ),
    "a word that no event has": ("UPDATE events SET happened = 'gone' WHERE seq = 1", {"unreadable_event"}),
    "an epoch that falls": (
        f"UPDATE events SET epoch = 7 WHERE happened = 'admitted' AND entry = {CHARGED}",
        {"epoch_fell"},
    ),
    "a counter": ("UPDATE counters SET settled = settled - 1 WHERE budget = 'team-month'", {"counter"}),
    "a counter's limit": ('UPDATE counters SET "limit" = 999', {"counter_limit"}),
    "a counter's bucket": ("UPDATE counters SET unknown = 0, settled = settled + unknown", {"counter"}),
    "who stands in a counter": (f"DELETE FROM counted WHERE entry = {CHARGED}", {"counter"}),
    "a counter removed with its entries": (
        "DELETE FROM counters; DELETE FROM counted",
        {"no_counter"},
    ),
    "a policy's text": (
        "UPDATE policies SET text = replace(text, '100 credits', '900 credits')",
        {"policy_text", "counter_limit"},
    ),
    "a policy that cannot be read": ("UPDATE policies SET text = 'policy: 1'", {"policy_text"}),
    "a policy in force twice": (
        "INSERT INTO policies SELECT 'other', name, text, TRUE, since_us FROM policies",
        {"policy_twice"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", TAMPERING)
def test_tampering_is_found(books, kind):
    """A row changed behind the ledger's back is named, with what it should be."""
    statements, expected = TAMPERING[kind]
    books.sql(statements)
    assert expected <= codes(books)
    assert all(str(item) and item.where and item.as_json()["message"] for item in verify(books.store))


def test_an_event_that_shares_its_lie_is_found_by_the_counters(books):
    """Entry and event changed alike still do not add up to what was counted."""
    books.sql(f"UPDATE entries SET credits = 1 WHERE id = {CHARGED}")
    books.sql(f"UPDATE events SET credits = 1 WHERE happened = 'charged' AND entry = {CHARGED}")
    assert codes(books) == {"counter"}


def test_a_clock_that_was_set_back_is_no_difference(books):
    """The windows that run are those of the last thing that happened."""
    books.now -= timedelta(days=40)
    assert verify(books.store) == []


# -- honest ledgers, whatever happened -------------------------------------------------------------

_LEGAL = sorted({happened for state, happened in TRANSITIONS if state is not None})


class Books(RuleBasedStateMachine):
    """Every legal event in every order, owners that die, policies that change, and time that passes."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.books = Studio(Path(self.folder.name))
        self.store, self.world, self.worker = self.books.store, self.books.world, self.books.worker
        self.number = 0

    def teardown(self) -> None:
        self.books.close()
        self.folder.cleanup()

    @rule(
        team=st.sampled_from(["social", "brand", ""]),
        resolution=st.sampled_from([None, "2k", "4k"]),
        campaign=st.sampled_from(["draft", "ask", ""]),
        rate_microusd=st.sampled_from([75_000, 67_400]),
    )
    def admit(self, team, resolution, campaign, rate_microusd) -> None:
        self.number += 1
        self.worker.machine.rate_microusd = rate_microusd
        ask = self.world.ask(f"k{self.number}", request(resolution=resolution), team=team, campaign=campaign)
        self.worker.machine._admit(ask)

    @rule(place=st.integers(0, 30), happened=st.sampled_from(_LEGAL), credits=st.integers(0, 20))
    def event(self, place, happened, credits) -> None:
        able = [entry for entry in self.store.entries() if (entry.state, happened) in TRANSITIONS]
        if able and happened is not Happened.ADOPTED:
            brings = happened in (Happened.CHARGED, Happened.SETTLED_BY, Happened.ADJUSTED)
            evidence = Evidence(credits=credits if brings else None)
            self.store.record(able[place % len(able)], (happened, evidence))

    @rule()
    def owner_dies(self) -> None:
        self.worker.crash()
        self.worker = self.books.worker = Worker(self.world)
        self.store.take_over(self.worker.owner)

    @rule(limit=st.integers(60, 90), per=st.sampled_from(["day", "month", "total"]))
    def policy_changes(self, limit, per) -> None:
        text = STUDIO.replace("100 credits, per: month", f"{limit} credits, per: {per}")
        self.store.bring_in_force(parse_policy(text, "studio.yaml"))

    @rule(hours=st.sampled_from([1, 30, 400]))
    def time_passes(self, hours) -> None:
        self.world.advance(hours * 3600)

    @invariant()
    def the_ledger_holds(self) -> None:
        assert verify(self.store) == []


def test_an_honest_ledger_holds_after_every_history():
    """Whatever is booked, settled, adopted and brought in force, nothing differs."""
    run_state_machine_as_test(
        Books,
        settings=settings(
            max_examples=ledgers.examples(20),
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_every_state_was_there(honest):
    """The ledger that is tampered with holds what there is to tamper with."""
    states = {entry.state for entry in honest.store.entries()}
    assert states >= {State.SETTLED, State.RELEASED, State.UNKNOWN, State.ACCEPTED, State.WAITING}


def test_a_late_charge_counts_although_the_policy_changed(tmp_path):
    """Failed and given back, then a new policy, then the provider says that it was charged."""
    with studio(tmp_path) as books:
        found = books.job("a", {"team": "x"}, resolution="2k", faults=Faults(failed=1.0))
        books.store.bring_in_force(parse_policy(STUDIO.replace("100 credits", "90 credits"), "studio.yaml"))
        books.store.record(found.entry, (Happened.ADJUSTED, Evidence(credits=4)))
        assert verify(books.store) == []
