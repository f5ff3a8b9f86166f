"""PostgreSQL: hosts that share a ledger, what a pooler allows, and failures in one line."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.engine import make_url

from planner.errors import ConfigError, OperatorError
from planner.loading import shipped_prices
from policies.guard.guard import Guard
from policies.guard.machine import Machine, Post, Transact
from policies.ledger import postgres as server
from policies.ledger.database import writing
from policies.ledger.entries import Admitted, Ask, Busy, Evidence, Stale, TurnedDown
from policies.ledger.owners import LEASE, seconds_up
from policies.ledger.states import TAKEN, Happened, State
from policies.ledger.store import Store
from policies.ledger.verify import verify
from tests import postgres
from tests.laws.world import budget_policy, request

START = datetime(2026, 11, 20, 9, tzinfo=UTC)
BOOK = shipped_prices()


class Hosts:
    """One ledger and several stores on it, as if each were a host; the clock is the test's."""

    def __init__(self):
        self.url, self.now = postgres.new_url(), START
        self.stores = [self.store() for _ in range(3)]
        self.policy = self.stores[0].bring_in_force(budget_policy(100, "total"))

    def store(self):
        return Store.open(self.url, clock=lambda: self.now)

    def owner(self, place):
        """An owner that the others see on another machine, so that only its lease tells that it lives."""
        owner = self.stores[place].register()
        postgres.execute(self.url, f"UPDATE owners SET host = 'host-{place}' WHERE owner = '{owner.id}'")
        return owner

    def admit(self, place, owner, key, account="main"):
        ask = Ask(account, "main", key, request(resolution="2k", num_images=1), {})
        return self.stores[place].admit(ask, self.policy, BOOK, owner, rate_microusd=75_000)

    def accepted(self, place, owner, key):
        entry = self.admit(place, owner, key).entry
        return self.stores[place].record(entry, (Happened.ACCEPTED, Evidence(prediction_id=key)))

    def wait(self, seconds):
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def hosts():
    found = Hosts()
    yield found
    for store in found.stores:
        store.close()


# -- leases --------------------------------------------------------------------------------------


def test_a_lease_keeps_the_work_while_it_is_renewed(hosts):
    """Nobody takes what another host works on, however long that takes."""
    one, other = hosts.owner(0), hosts.owner(1)
    entry = hosts.accepted(0, one, "a")
    for _ in range(5):
        hosts.wait(LEASE.total_seconds() - 1)
        assert hosts.stores[0].renew(one)
        assert hosts.stores[1].take_over(other) == ()
        assert hosts.stores[1].is_at_work(entry)
    assert hosts.stores[1].renew(other)
    assert hosts.stores[1].count_owners() == (2, 0)


def test_a_host_that_shows_no_life_loses_its_work_to_exactly_one_other(hosts):
    """Two hosts see it at the same moment: one adopts what was accepted, the other finds nothing left."""
    gone = hosts.owner(0)
    accepted, sending = hosts.accepted(0, gone, "a"), hosts.admit(0, gone, "b").entry
    hosts.wait(LEASE.total_seconds() + 1)
    others = [hosts.owner(1), hosts.owner(2)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda place: hosts.stores[place].take_over(others[place - 1]), (1, 2)))
    assert sorted(len(entries) for entries in found) == [0, 1]
    (adopted,) = found[0] or found[1]
    assert (adopted.id, adopted.epoch) == (accepted.id, accepted.epoch + 1)
    assert hosts.stores[0].entry(sending.id).state is State.UNKNOWN
    assert verify(hosts.stores[0]) == []


def test_a_host_that_wakes_up_sends_nothing(hosts):
    """It was stopped in the middle of three jobs: none of its steps is taken any more."""
    asleep, other = hosts.owner(0), hosts.owner(1)
    store = hosts.stores[0]
    accepted, sending = hosts.accepted(0, asleep, "a"), hosts.admit(0, asleep, "b").entry
    held = store.record(hosts.admit(0, asleep, "c").entry, (Happened.RETURNED, Evidence()))
    hosts.wait(LEASE.total_seconds() + 1)
    hosts.stores[1].renew(other)
    assert [entry.key for entry in hosts.stores[1].take_over(other)] == ["a"]
    for step in (
        lambda: store.resend(held, hosts.policy),
        lambda: store.record(sending, (Happened.RETURNED, Evidence())),
        lambda: store.record(accepted, (Happened.CHARGED, Evidence(credits=4))),
        lambda: hosts.admit(0, asleep, "d"),
    ):
        with pytest.raises(Stale):
            step()
    assert not store.renew(asleep)
    assert not asleep.alive
    assert store.take_over(asleep) == ()


def test_a_host_that_wakes_up_before_its_post_sends_nothing(hosts):
    """It was stopped after its admission and before the bytes: it asks first, and somebody has its work."""
    asleep, other = hosts.owner(0), hosts.owner(1)
    machine = Machine(hosts.stores[0], hosts.policy, BOOK, asleep, rate_microusd=75_000)
    ask = Ask("main", "main", "a", request(), {})
    steps = machine.submitting(ask)
    admitted = next(steps).call()
    hosts.wait(LEASE.total_seconds() + 1)
    asleep.shown(seconds_up() - LEASE.total_seconds())
    hosts.stores[1].renew(other)
    hosts.stores[1].take_over(other)
    reassuring = steps.send(admitted)
    assert isinstance(reassuring, Transact), "nothing is written before the ledger was asked"
    with pytest.raises(Stale):
        reassuring.call()
    assert hosts.stores[0].entry(admitted.entry.id).state is State.UNKNOWN
    assert not asleep.alive


def test_a_host_that_wakes_up_in_time_sends(hosts):
    """Nobody has taken its work: it renews its lease and goes on."""
    asleep = hosts.owner(0)
    machine = Machine(hosts.stores[0], hosts.policy, BOOK, asleep, rate_microusd=75_000)
    steps = machine.submitting(Ask("main", "main", "a", request(), {}))
    admitted = next(steps).call()
    asleep.shown(seconds_up() - LEASE.total_seconds())
    assert not asleep.is_sure
    reassuring = steps.send(admitted)
    assert isinstance(steps.send(reassuring.call()), Post)
    assert asleep.is_sure


def test_on_one_host_the_lock_says_who_lives(hosts):
    """A process that was paused keeps its work there, and one that died loses it at once."""
    paused, dead, other = (hosts.stores[place].register() for place in range(3))
    hosts.accepted(0, paused, "a")
    hosts.accepted(1, dead, "b")
    dead.abandon()
    assert [entry.key for entry in hosts.stores[2].take_over(other)] == ["b"]
    hosts.wait(10 * LEASE.total_seconds())
    assert hosts.stores[2].take_over(other) == ()


def test_an_owner_that_is_closed_lets_the_others_know_at_once(hosts):
    """They need not wait until its lease has run out."""
    one, other = hosts.owner(0), hosts.owner(1)
    hosts.accepted(0, one, "a")
    one.close()
    assert [entry.key for entry in hosts.stores[1].take_over(other)] == ["a"]


def test_leases_are_renewed_in_the_background(monkeypatch):
    """An owner shows that it lives without being asked, and learns that it was taken for dead."""
    monkeypatch.setattr("policies.ledger.owners._RENEWED_SECONDS", 0.02)
    with closing(Store.open(postgres.new_url())) as store:
        owner = store.register()
        url = postgres.server_url() + ("&" if "?" in postgres.server_url() else "?")
        url += f"schema={server.schema_of(store._engine)}"
        postgres.execute(url, "UPDATE owners SET seen_us = 0")
        _until(lambda: postgres.execute(url, "SELECT seen_us FROM owners")[0][0] > 0)
        postgres.execute(url, "DELETE FROM owners")
        _until(lambda: not owner.alive)


def _until(holds):
    from threading import Event

    tries = 0
    while not holds():
        tries += 1
        assert tries < 500
        Event().wait(0.02)


# -- many accounts, one budget -------------------------------------------------------------------


@pytest.fixture
def shared():
    """A ledger whose clock is the server's."""
    url = postgres.new_url()
    with closing(Store.open(url)) as store:
        yield url, store


REFUSED = ((Happened.REFUSED, Evidence(reason="BadRequest")),)
CHARGED = (
    (Happened.ACCEPTED, Evidence(prediction_id="p")),
    (Happened.CHARGED, Evidence(credits=4, outputs=1)),
)


def race(url, policy, jobs=40, *, gives_back=False):
    """Four accounts ask at once, each in a store of its own; what each of them got."""

    def run(account):
        with closing(Store.open(url)) as own:
            owner, got = own.register(), 0
            for number in range(jobs):
                ask = Ask(account, "main", f"k{number}", request(resolution="2k", num_images=1), {})
                found = own.admit(ask, policy, BOOK, owner, rate_microusd=75_000)
                if isinstance(found, Admitted):
                    got += 1
                    own.record(found.entry, *(REFUSED if gives_back and number % 3 == 0 else CHARGED))
            owner.close()
            return got

    with ThreadPoolExecutor(5) as pool:
        return list(pool.map(run, "abcd"))


def test_law_13_accounts_that_share_a_budget_never_pass_it_together(shared):
    """Four accounts side by side spend what the budget allows, to the last credit, and no more."""
    url, store = shared
    policy = store.bring_in_force(budget_policy(100, "total"))
    assert sum(race(url, policy)) == 25
    assert sum(entry.credits for entry in store.entries(states=TAKEN)) == 100
    assert verify(store) == []


def test_law_13_holds_while_policies_come_in_force(shared):
    """Every recount stands alone between the admissions: none is missed, and none is counted twice."""
    url, store = shared
    policy = store.bring_in_force(budget_policy(100, "total"))

    def change(number):
        rule = f"rules:\n  - {{name: r{number}, when: {{team: nobody}}, deny: nobody}}\n"
        return store.bring_in_force(budget_policy(100, "total", more=rule))

    with ThreadPoolExecutor(2) as pool:
        racing = pool.submit(race, url, policy, 20, gives_back=True)
        for number in range(8):
            change(number)
            assert verify(store) == []
        racing.result()
    assert sum(entry.credits for entry in store.entries(states=TAKEN)) <= 100
    assert verify(store) == []


def test_one_account_is_never_over_its_slots(shared):
    """Ten ask for the same account at the same moment, and six get a slot."""
    _, store = shared
    policy, owner = store.bring_in_force(budget_policy(1000, "total")), store.register()

    def ask(number):
        found = Ask("main", "main", f"k{number}", request(), {})
        return store.admit(found, policy, BOOK, owner, rate_microusd=75_000)

    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(ask, range(10)))
    assert sum(isinstance(one, Admitted) for one in found) == 6
    assert sum(isinstance(one, Busy) for one in found) == 4


def test_a_key_is_taken_once_however_many_ask(shared):
    """Eight ask under one key at once: one is admitted, the others learn that it is taken."""
    _, store = shared
    policy, owner = store.bring_in_force(budget_policy(1000, "total")), store.register()
    ask = Ask("main", "main", "look", request(), {})
    with ThreadPoolExecutor(8) as pool:
        found = list(
            pool.map(lambda _: store.admit(ask, policy, BOOK, owner, rate_microusd=75_000), range(8))
        )
    assert sum(isinstance(one, Admitted) for one in found) == 1
    assert len(store.entries()) == 1


def test_a_budget_that_is_full_turns_down_and_does_not_wait(shared):
    """A denial is booked although nothing was locked for it."""
    _, store = shared
    policy, owner = store.bring_in_force(budget_policy(1, "total")), store.register()
    ask = Ask("main", "main", "look", request(resolution="2k"), {})
    assert isinstance(store.admit(ask, policy, BOOK, owner, rate_microusd=75_000), TurnedDown)
    assert verify(store) == []


# -- the server ----------------------------------------------------------------------------------


def test_the_clock_is_the_servers(shared):
    """What is booked has the server's time, whatever this host believes."""
    url, store = shared
    asked = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    before = postgres.execute(url, asked)[0][0]
    now, owner = store.now(), store.register()
    after = postgres.execute(url, asked)[0][0]
    assert before <= int(now.timestamp() * 1e6) + 1
    assert before <= postgres.execute(url, "SELECT since_us FROM owners")[0][0] <= after
    owner.close()


def test_a_commit_is_on_disk_whatever_the_server_is_set_to(shared):
    """`synchronous_commit` is on in every transaction that writes."""
    _, store = shared
    with store._engine.connect() as connection:
        connection.exec_driver_sql("SET synchronous_commit = off")
    with writing(store._engine) as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar() == "on"
        assert connection.execute(text("SHOW transaction_isolation")).scalar() == "read committed"


def test_a_pooler_in_transaction_mode_may_stand_before_it(hosts):
    """Every transaction on a connection of its own, and nothing prepared: all goes on as before."""
    plain = make_url(hosts.url)
    engine = create_engine(plain.difference_update_query(["schema"]), poolclass=NullPool)
    schema = plain.query["schema"]
    with closing(Store.open(engine.execution_options(planner_schema=schema))) as store:
        owner, place = store.register(), len(hosts.stores)
        hosts.stores.append(store)
        for number in range(8):
            entry = hosts.accepted(place, owner, f"k{number}")
            store.record(entry, (Happened.CHARGED, Evidence(credits=4)))
        owner.close()
    own = hosts.stores[1]
    for _ in range(10):
        own.entries()
    with own._engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM pg_prepared_statements")).scalar() == 0
        assert "planner" not in str(connection.execute(text("SHOW search_path")).scalar())
    engine.dispose()


def test_a_hosts_own_engine_is_used_and_left_as_it_was():
    """The guard works on it in a schema of its own; transactions of the host begin as they did."""
    url = make_url(postgres.new_url())
    engine = create_engine(url.difference_update_query(["schema"]))
    ours = engine.execution_options(planner_schema=url.query["schema"])
    with Guard.open("starter", ours) as guard:
        assert guard.check({"prompt": "linen dress"}, labels={"team": "social"}).credits == 1
        assert guard.store.path.endswith(f"({url.query['schema']})")
    with engine.connect() as connection:
        assert not connection.connection.driver_connection.autocommit
        assert connection.execute(text("SELECT 1")).scalar() == 1
    assert engine.pool.checkedin() > 0
    engine.dispose()


def test_an_engine_that_is_not_postgresqls_is_refused():
    """SQLite's transactions begin as only an engine of our own knows."""
    with pytest.raises(ConfigError, match="an engine of its own"):
        Store.open(create_engine("sqlite://"))


def test_a_connection_that_was_cut_off_is_replaced(shared):
    """The server was started again, or a pooler closed what was idle: the next transaction goes on."""
    url, store = shared
    store.bind("main", "http://stand-in", live=False)
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND "
    with store._engine.connect() as connection:
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar()
    postgres.execute(url, cut + f"pid = {pid}")
    owner = store.register()
    assert store.kind() == "sandbox"
    owner.close()


def test_what_comes_in_between_is_tried_again_but_not_for_ever(monkeypatch):
    """A transaction that others disturb is repeated, and after the time a writer waits it is an error."""
    tries = []

    def disturbed():
        tries.append(1)
        if len(tries) < 3:
            raise server.Contended
        return "done"

    assert server.repeated(disturbed) == "done"
    monkeypatch.setattr(server, "LOCK_WAIT_SECONDS", -1)
    tries.clear()
    with pytest.raises(OperatorError, match="others keep coming in between"):
        server.repeated(disturbed)


# -- failures ------------------------------------------------------------------------------------


def _role(url, role, more=""):
    postgres.execute(url, f"DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN PASSWORD 'right' {more}")


def _as(url, role):
    return make_url(url).set(username=role, password="right").render_as_string(hide_password=False)


def _refused(url):
    with pytest.raises(OperatorError) as caught:
        Store.open(url)
    (fault,) = caught.value.faults
    said = f"{caught.value} {fault.message} {fault.hint}"
    assert "secret" not in said
    assert "\n" not in said
    return fault.message


def test_failures_are_one_line_and_never_show_the_password(shared):
    """A wrong password, a missing database, a server that is not there, a role that may not."""
    url, _ = shared
    there = make_url(url)
    _role(url, "careful")
    _role(url, "humble")
    wrong = there.set(username="careful", password="secret")
    assert "refuses the password" in _refused(wrong.render_as_string(hide_password=False))
    nowhere = there.set(password="secret", database="nowhere")
    assert "no such database" in _refused(nowhere.render_as_string(hide_password=False))
    gone = "postgresql+psycopg://me:secret@127.0.0.1:1/planner"
    assert "cannot be reached" in _refused(gone)
    stranger = there.set(username="humble", password="secret").update_query_dict({"schema": "theirs"})
    assert "the role may not do that" in _refused(stranger.render_as_string(hide_password=False))


def test_the_role_that_works_need_not_own_the_tables(shared):
    """What `docs/ledger.md` grants is enough to book; making and upgrading stay with the owner."""
    url, store = shared
    schema = server.schema_of(store._engine)
    _role(url, "worker")
    postgres.execute(
        url,
        f"GRANT USAGE ON SCHEMA {schema} TO worker;"
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO worker;"
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO worker",
    )
    with closing(Store.open(_as(url, "worker"))) as own:
        own.bind("main", "http://stand-in", live=False)
        policy, owner = own.bring_in_force(budget_policy(100, "total")), own.register()
        ask = Ask("main", "main", "look", request(), {})
        entry = own.admit(ask, policy, BOOK, owner, rate_microusd=75_000).entry
        own.record(entry, *CHARGED)
        owner.close()
    assert verify(store) == []
    postgres.execute(url, "DROP OWNED BY worker")


def test_a_server_that_only_reads_is_named_as_such(shared):
    """A standby, or a role that may only read: one line, with what to do."""
    url, store = shared
    schema = server.schema_of(store._engine)
    _role(url, "reader", "SUPERUSER")
    postgres.execute(url, "ALTER ROLE reader SET default_transaction_read_only = on")
    with closing(Store.open(_as(url, "reader"))) as reader:
        assert reader.entries() == []
        with pytest.raises(OperatorError, match="the server only reads"):
            reader.register()
    assert schema in store.path


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("postgresql+psycopg://me:secret@host/db?schema=drop%20table", "not a name for a schema"),
        ("postgresql+psycopg://me:secret@host/db?schema=Planner", "not a name for a schema"),
        ("mysql://me:secret@host/db", "not a ledger address"),
    ],
)
def test_an_address_that_is_none_is_refused(address, what):
    """Before anything is connected, and without the password."""
    with pytest.raises(ConfigError, match=what) as caught:
        Store.open(address)
    assert "secret" not in str(caught.value)
