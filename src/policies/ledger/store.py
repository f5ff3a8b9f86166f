"""The ledger: every write is one transaction, and every change of an entry is one row of the table.

Here belong the transactions. Which way an entry may go stands in `states`, what an entry is in
`entries`, the sums in `counting`, how a database is opened in `database`. The store's clock is the only
clock that processes share.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar
from weakref import WeakSet

from sqlalchemy import Connection, Engine, bindparam, delete, func, insert, select

from planner.errors import ConfigError
from planner.past import PastRequest
from planner.prices import PriceBook
from planner.request import ModelCreateRequest, canonical, retaken
from policies.budgets import AskUsage, Usage
from policies.decision import Decision
from policies.engine import Policy
from policies.ledger import (
    accounts,
    admission,
    approvals,
    counting,
    grants,
    importing,
    in_force,
    latest,
    observations,
    plans,
    presence,
    progress,
    retakes,
)
from policies.ledger.approvals import Waiting
from policies.ledger.database import (
    adopt,
    is_server,
    missing_events,
    open_engine,
    reading,
    repeated,
    server_clock_us,
    server_now_us,
    shown,
    writing,
)
from policies.ledger.entries import (
    Admission,
    Ask,
    Busy,
    Counter,
    Entry,
    Event,
    Evidence,
    Stale,
    Step,
    from_us,
    to_us,
)
from policies.ledger.grants import Grant
from policies.ledger.in_force import Activation
from policies.ledger.observations import Balance, Bracket
from policies.ledger.owners import Owner, forget, seconds_up
from policies.ledger.progress import late_step
from policies.ledger.schema import accounts as account_profiles
from policies.ledger.schema import entries, events, facts
from policies.ledger.statements import Statement
from policies.ledger.states import OPEN, TAKEN, Happened, State
from policies.ledger.upgrading import prepare
from policies.other_models import OtherRequest

T = TypeVar("T")


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Store:
    """An open ledger. Methods are single transactions; `now` is the store's own clock."""

    def __init__(
        self, engine: Engine, *, clock: Callable[[], datetime] | None = None, speed: float = 1.0
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._speed = speed
        self._salt = hmac.new(b"", digestmod=hashlib.sha256)
        self._is_hosts = False
        self._leased: WeakSet[Owner] = WeakSet()
        self.ledger_id = ""
        self.plans = plans.Plans(self.snapshot, self._write, self._now)

    @classmethod
    def open(
        cls,
        ledger: str | Engine,
        *,
        clock: Callable[[], datetime] | None = None,
        speed: float = 1.0,
        create: bool = True,
    ) -> Store:
        """The ledger at an address; made where there is none, unless `create` is false.

        `sqlite:///spend.db`, `postgresql+psycopg://user@host/database`, or a host's own engine for
        PostgreSQL, which `close` leaves open. The clock is the server's where there is one, else this
        host's; a test may pass its own. `speed` divides the provider's rate window and the time an
        unknown keeps its slot, for stand-ins that run fast. Raises `OperatorError` when the database
        cannot be used and `ConfigError` when it is no ledger of ours, was made by a newer version, or is
        an older one on a server, which `planner ledger upgrade` brings up to date.
        """
        engine = open_engine(ledger) if isinstance(ledger, str) else adopt(ledger)
        store = cls(engine, clock=clock, speed=speed)
        try:
            known = prepare(engine, create=create)
        except BaseException:
            if isinstance(ledger, str):
                engine.dispose()
            raise
        store._is_hosts = not isinstance(ledger, str)
        store._salt = hmac.new(bytes.fromhex(known["salt"]), digestmod=hashlib.sha256)
        store.ledger_id = known["ledger_id"]
        return store

    def close(self) -> None:
        """Close its connections, but those of a host's own engine, and renew no lease any more."""
        for owner in tuple(self._leased):
            owner.end_lease()
        if not self._is_hosts:
            self._engine.dispose()

    def snapshot(self) -> AbstractContextManager[Connection]:
        """A reading transaction of one moment, for reports and audits that write their own SQL."""
        return reading(self._engine)

    @property
    def path(self) -> str:
        """The ledger as people may see it named: its file, or its address without a password."""
        return shown(self._engine)

    @property
    def speed(self) -> float:
        return self._speed

    def now(self) -> datetime:
        if self._clock is not None or not is_server(self._engine):
            return (self._clock or _utc_now)()
        return from_us(server_clock_us(self._engine))

    def _now(self, connection: Connection) -> datetime:
        """The store's clock inside a transaction."""
        if self._clock is not None:
            return self._clock()
        found = server_now_us(connection)
        return _utc_now() if found is None else from_us(found)

    def _write(
        self, work: Callable[[Connection], T], *, alone: bool = False, account: str | None = None
    ) -> T:
        """Do that in one transaction, and again where another host came in between."""

        def once() -> T:
            with writing(self._engine, alone=alone, account=account) as connection:
                return work(connection)

        return repeated(once) if is_server(self._engine) else once()

    # -- identity --------------------------------------------------------------------------------

    def mac(self, request: ModelCreateRequest | OtherRequest) -> str:
        """A fingerprint that means nothing outside this ledger."""
        asked = request.canonical if isinstance(request, OtherRequest) else canonical(request)
        return self._salted(asked)

    def derived_key(self, request: ModelCreateRequest, occurrence: int) -> str:
        """The key of a row that has none: its request and the how-manieth of its file it is."""
        return f"auto-{self._salted(b'key:' + canonical(request))[:20]}-{occurrence}"

    def _salted(self, known: bytes) -> str:
        mac = self._salt.copy()
        mac.update(known)
        return mac.hexdigest()

    def stands_for(self, entry: Entry, request: ModelCreateRequest) -> bool:
        """Whether an entry was asked for by that request, as it is or with the seed of the entry's take."""
        if entry.asked_mac == self.mac(request):
            return True
        return entry.take > 1 and entry.asked_mac == self.mac(retaken(request, entry.take))

    # -- owners ----------------------------------------------------------------------------------

    @property
    def _locks(self) -> Path:
        return presence.locks_of(self._engine, self.ledger_id)

    def _lives(self, connection: Connection) -> presence.Lives:
        return presence.living(connection, self._locks, self._now(connection))

    def missing_events(self) -> int:
        """How many events the ledger has had and has no longer: more than 0 for an older copy put back."""
        return missing_events(self._engine)

    def register(self) -> Owner:
        """A new living owner, known to every process of this ledger.

        Raises `ConfigError` for an older copy: it does not know what was paid since, and would pay again.
        """
        if lost := self.missing_events():
            mark = latest.mark_of(Path(self.path))
            raise ConfigError(
                f"the ledger `{self.path}` is an older copy: the last {lost:,} events are not in it",
                code="older_copy",
                hint=f"put the newest back; to go on without what was paid since, delete `{mark}`",
            )
        owner, began = Owner(self._locks), seconds_up()
        self._write(lambda connection: presence.enter(connection, owner, to_us(self._now(connection))))
        if is_server(self._engine):
            owner.shown(began)
            self._leased.add(owner)
            owner.lease(partial(self.renew, owner), partial(self._sign_off, owner))
        return owner

    def renew(self, owner: Owner) -> bool:
        """Show that an owner lives; false where it was taken for dead."""
        began = seconds_up()
        if not self._write(lambda known: presence.renew(known, owner, to_us(self._now(known)))):
            return False
        owner.shown(began)
        return True

    def reassure(self, entry: Entry, owner: Owner) -> None:
        """Make sure that an entry is still this owner's to send, after a standstill.

        Raises `Stale` where another host has taken it over meanwhile: then nothing may be sent for it.
        """
        if not self.renew(owner):
            owner.close()
        known = self.entry(entry.id)
        if not owner.alive or (known.state, known.owner, known.epoch) != (entry.state, owner.id, entry.epoch):
            raise Stale("this owner was taken over")

    def _sign_off(self, owner: Owner) -> None:
        self._write(lambda connection: presence.sign_off(connection, [owner.id]))

    def is_at_work(self, entry: Entry) -> bool:
        """Whether a living owner is at work on it."""
        if entry.state not in OPEN or entry.owner is None:
            return False
        with reading(self._engine) as connection:
            return self._lives(connection)(entry.owner)

    def count_owners(self) -> tuple[int, int]:
        """How many owners are at work now, and how many are gone and left their work behind."""
        with reading(self._engine) as connection:
            return presence.count(connection, self._lives(connection))

    def take_over(self, owner: Owner) -> tuple[Entry, ...]:
        """Take the work of dead owners: what was accepted is adopted, the rest ends as the table says.

        Returns the entries that the new owner has to bring home.
        """
        with reading(self._engine) as connection:
            if not presence.dead(connection, owner, self._lives(connection)):
                return ()
        dead, moved = self._write(lambda connection: self._inherit_all(connection, owner), alone=True)
        for other in dead:
            forget(self._locks, other)
        return tuple(entry for entry in moved if entry.state is State.ACCEPTED)

    def _inherit_all(self, connection: Connection, owner: Owner) -> tuple[list[str], list[Entry]]:
        """Let one owner have all that dead ones left, unless it was itself taken for dead."""
        if not presence.is_known(connection, owner):
            owner.close()
            return [], []
        dead = presence.dead(connection, owner, self._lives(connection))
        moved = [self._inherit(connection, entry, owner) for entry in presence.left_by(connection, dead)]
        presence.sign_off(connection, dead)
        return dead, moved

    def _inherit(self, connection: Connection, entry: Entry, owner: Owner) -> Entry:
        return self._apply(connection, entry, *presence.inherited(entry), owner.id)

    # -- accounts --------------------------------------------------------------------------------

    def bind(self, account: str, address: str, *, live: bool) -> None:
        """Bind an account to the provider or to a stand-in, from its first use on.

        Raises `ConfigError` when the ledger already belongs to the other kind. One in which nothing was
        ever booked belongs to nobody yet, so a mistyped address does no harm.
        """
        kind = "live" if live else "sandbox"

        def book(connection: Connection) -> None:
            found = connection.execute(select(facts.c.value).where(facts.c.name == "kind")).scalar()
            if found not in (None, kind):
                if connection.execute(select(entries.c.id).limit(1)).first() is not None:
                    raise ConfigError(
                        f"the ledger `{self.path}` is a {found} ledger and this run is {kind}",
                        code="mixed_ledger",
                        hint="name a ledger of its own with --ledger",
                    )
                connection.execute(delete(facts).where(facts.c.name == "kind"))
                connection.execute(delete(account_profiles))
            if found != kind:
                connection.execute(insert(facts), {"name": "kind", "value": kind})
            accounts.bind(connection, account, address, live=live)

        self._write(book, alone=True)

    def limits(self, account: str) -> dict[str, int]:
        """The account's profile: concurrency, run_limit, run_seconds, unknown_slot_seconds."""
        with reading(self._engine) as connection:
            return accounts.profile(connection, account)

    def record_balance(self, account: str, credits: int) -> None:
        """Keep a balance that was read; one that is enough ends the account's stop."""
        self._write(
            lambda connection: accounts.record_balance(
                connection, account, credits, to_us(self._now(connection))
            ),
            account=account,
        )

    def balance(self, account: str) -> int | None:
        """The last balance that was read of an account; None where none ever was."""
        with reading(self._engine) as connection:
            return accounts.balance(connection, account)

    def last_event(self) -> int:
        """The number of the last thing that happened in the ledger."""
        with reading(self._engine) as connection:
            return observations.last_event(connection)

    def observe(self, account: str, balance: Balance, *, since_event: int, exclusive: bool) -> Bracket | None:
        """Keep a balance that was read after that event; what lies between it and the one before."""

        def book(connection: Connection) -> Bracket | None:
            now = self._now(connection)
            before = observations.latest(connection, account)
            after = observations.keep(
                connection, account, balance, now, since_event=since_event, exclusive=exclusive
            )
            accounts.record_balance(connection, account, balance.total, to_us(now))
            return None if before is None else observations.bracket(connection, before, after)

        return self._write(book, account=account)

    # -- policies --------------------------------------------------------------------------------

    def bring_in_force(self, policy: Policy) -> Policy:
        """The policy that is in force under this name: a new digest comes in force, an old one does not.

        A policy that was replaced returns only by `activate`, so a host with an old file goes on with
        the ledger's copy. Raises `ConfigError` where the policy was retired.
        """
        with reading(self._engine) as connection:
            if in_force.is_known(connection, policy):
                return in_force.bring(connection, policy, self._now(connection))
        return self._write(
            lambda connection: in_force.bring(connection, policy, self._now(connection)), alone=True
        )

    def activate(self, policy: Policy, *, retire: str | None = None) -> Activation:
        """Bring this very policy in force, also one that was replaced, and end the one named `retire`.

        Raises `ConfigError` where no policy of that name is in force.
        """
        return self._write(
            lambda connection: in_force.activate(connection, policy, self._now(connection), retire),
            alone=True,
        )

    def policies_in_force(self) -> dict[str, Policy]:
        """The policies in force, by name."""
        with reading(self._engine) as connection:
            return in_force.all_of(connection)

    def policy_in_force(self, name: str) -> Policy:
        """The text in force of one policy; raises `OperatorError` where it was retired."""
        with reading(self._engine) as connection:
            return in_force.named(in_force.all_of(connection), name)

    # -- admission -------------------------------------------------------------------------------

    def usage(self, policy: Policy) -> Callable[[Any], Usage]:
        """What counts against a policy's allowances now, for a decision that holds nothing."""

        def read(allowance: Any) -> Usage:
            with reading(self._engine) as connection:
                return counting.usage(connection, policy.name, allowance, self._now(connection))

        return read

    def judged(self, name: str, decide: Callable[[Policy, datetime, AskUsage], T]) -> T:
        """What is decided by the text in force of a policy and by what counts at one moment.

        Holds nothing; raises `OperatorError` where the policy was retired.
        """
        with reading(self._engine) as connection:
            policy, now = in_force.named(in_force.all_of(connection), name), self._now(connection)
            return decide(policy, now, lambda place: counting.usage(connection, policy.name, place, now))

    def spoken(self, ask: Ask, decision: Decision, policy: Policy, book: PriceBook) -> Decision:
        """What would become of a decision by a price that no longer holds and by what a person has said."""
        with reading(self._engine) as connection:
            now = self._now(connection)
            return admission.spoken(connection, ask, decision, policy, book, self.mac, now)[0]

    def admit(
        self, ask: Ask, policy: Policy, book: PriceBook, owner: Owner, *, rate_microusd: int
    ) -> Admission:
        """Decide and hold in one transaction; what is admitted is about to be sent.

        The decision is made against the counters of this very transaction, so that no two processes
        can both take the last credits. Nothing is booked unless a slot and the rate are in hand. Where
        several policies are in force, the asking one decides, and the job counts in the budgets of all.
        Of the asking one it is the text in force that decides, whatever text the caller has read: another
        host may have brought in a newer one. Money is counted at the deciding policy's rate, else at
        `rate_microusd`. Raises `OperatorError` where the policy was retired.
        """

        def judge(connection: Connection) -> Admission:
            is_known, known = in_force.asked_by(connection, owner.id)
            presence.let_in(owner, is_known=is_known)
            deciding = in_force.named(known, policy.name)
            terms = admission.Terms(
                policy=deciding,
                in_force=known,
                book=book,
                rate_microusd=deciding.rate_microusd or rate_microusd,
                owner=owner.id,
                now=self._now(connection),
                speed=self._speed,
                mac=self.mac,
            )
            return admission.admit(connection, ask, terms)

        return self._write(judge, account=ask.account)

    def resend(self, entry: Entry, policy: Policy) -> Entry | Busy:
        """Send a held entry again: durable before a byte is written, and only by its living owner.

        Where its window has ended or its policy was replaced it is released (`EXPIRED`): the caller
        asks for it anew.
        """

        def book(connection: Connection) -> Entry | Busy:
            now = self._now(connection)
            expired = _expired(entry, in_force.all_of(connection).get(policy.name), now)
            if expired is not None:
                return self._apply(connection, entry, Happened.EXPIRED, Evidence(reason=expired))
            if accounts.stopped(connection, entry.account):
                return self._apply(connection, entry, Happened.REFUSED, Evidence(reason="OutOfCredits"))
            full = accounts.full_rate(connection, entry.account, now, self._speed)
            if full is not None:
                return full
            accounts.take_rate(connection, entry.account, to_us(now))
            return self._apply(connection, entry, Happened.SENT, Evidence())

        return self._write(book, account=entry.account)

    # -- takes that are wished for ---------------------------------------------------------------

    def wanted_takes(self, account: str, shoot: str) -> dict[str, int]:
        """By key the take that a command which has not come to its end wishes for."""
        with reading(self._engine) as connection:
            return retakes.wanted(connection, account, shoot)

    def want_takes(self, account: str, shoot: str, takes: Mapping[str, int]) -> None:
        """Remember which takes a command is about to make, so that the same command can go on."""
        self._write(lambda connection: retakes.want(connection, account, shoot, takes), alone=True)

    def forget_takes(self, account: str, shoot: str, keys: Iterable[str]) -> None:
        """Those takes were made: the next wish for these keys is for another one."""
        self._write(lambda connection: retakes.forget(connection, account, shoot, keys), alone=True)

    # -- what was spent elsewhere ----------------------------------------------------------------

    def import_past(
        self, past: Iterable[PastRequest], account: str, book: PriceBook, rate_microusd: int
    ) -> importing.Imported:
        """Book past requests that are not known yet, all or none; their budgets count them.

        `rate_microusd` is what a credit costs where a row does not say. Raises `InputError` with every row
        that has neither a cost nor a price.
        """

        def write(connection: Connection) -> importing.Imported:
            now = self._now(connection)
            return importing.book(connection, past, account, book, rate_microusd, now, self._salted)

        return self._write(write, alone=True)

    # -- approvals and raises --------------------------------------------------------------------

    def waiting(self) -> list[Waiting]:
        """The jobs that wait for a person, each with what was said to it; the oldest first."""
        with reading(self._engine) as connection:
            return approvals.waiting(connection)

    def answer(
        self,
        entry: Entry,
        *,
        approved: bool,
        who: str,
        because: str,
        until: datetime,
        most_credits: int | None = None,
    ) -> None:
        """Keep what a named person said to a waiting job; it speaks from its next ask on.

        An approval lets it go once, up to `most_credits` (None: what it costs now) and before `until`.
        """
        most = entry.quoted_credits if most_credits is None else most_credits
        said: dict[str, Any] = {"approved": approved, "most_credits": most, "until": until}
        self._write(
            lambda connection: approvals.keep(
                connection, entry, self._now(connection), **said, who=who, because=because
            ),
            account=entry.account,
        )

    def grant(self, grant: Grant) -> None:
        """Let a budget pass its limit, in one window."""
        self._write(lambda connection: grants.add(connection, grant))

    def grants(self, at: datetime | None = None) -> tuple[Grant, ...]:
        """Every grant in the order in which it was made; only those that stand at `at` where it is given."""
        with reading(self._engine) as connection:
            return grants.all_of(connection, at)

    # -- what happens to an entry ----------------------------------------------------------------

    def record(self, entry: Entry, *steps: Step) -> Entry:
        """Move an entry along the table, one or more steps in one commit.

        Raises `Stale` when another owner, or a person, has moved it since it was read.
        """

        def book(connection: Connection) -> Entry:
            moved = entry
            for happened, evidence in steps:
                moved = self._apply(connection, moved, happened, evidence)
            return moved

        return self._write(book)

    def replay(self, entry_id: int, steps: Iterable[Step]) -> Entry:
        """Book what is known of an entry on what somebody else has made of it meanwhile.

        A step that the table allows is taken; what the provider charged or did not charge for an entry
        that has ended otherwise becomes an adjustment, because the provider outranks a person; anything
        else is in the entry already.
        """
        known = tuple(steps)

        def book(connection: Connection) -> Entry:
            query = select(entries).where(entries.c.id == entry_id).with_for_update()
            entry = Entry.of({**connection.execute(query).mappings().one()})
            for happened, evidence in known:
                step = late_step(entry, happened, evidence)
                if step is not None:
                    entry = self._apply(connection, entry, *step)
            return entry

        return self._write(book)

    def refuse(self, entry: Entry, reason: str, *, stop_account: bool) -> Entry:
        """The provider did not take it; OutOfCredits also stops the account, in the same commit."""

        def book(connection: Connection) -> Entry:
            if stop_account:
                now_us = to_us(self._now(connection))
                accounts.stop(connection, entry.account, entry.quoted_credits, now_us)
            return self._apply(connection, entry, Happened.REFUSED, Evidence(reason=reason))

        return self._write(book, account=entry.account if stop_account else None)

    def _apply(
        self,
        connection: Connection,
        entry: Entry,
        happened: Happened,
        evidence: Evidence,
        owner: str | None = None,
    ) -> Entry:
        now_us = to_us(self._now(connection))
        return progress.apply(
            connection, entry, happened, evidence, now_us=now_us, speed=self._speed, owner=owner
        )

    # -- reading ---------------------------------------------------------------------------------

    def entry(self, entry_id: int) -> Entry:
        with reading(self._engine) as connection:
            return Entry.of(_BY_ID.first(connection, {"id_": entry_id})._asdict())

    def latest(self, account: str, shoot: str, key: str) -> Entry | None:
        """The entry that speaks for a key: the one that takes it, else the last attempt."""
        query = (
            select(entries)
            .where(entries.c.account == account, entries.c.shoot == shoot, entries.c.key == key)
            .order_by(entries.c.state.in_(sorted(TAKEN)).desc(), entries.c.id.desc())
            .limit(1)
        )
        with reading(self._engine) as connection:
            row = connection.execute(query).mappings().first()
        return Entry.of({**row}) if row else None

    def takes(self, account: str, shoot: str) -> dict[str, dict[int, Entry]]:
        """For every key of a shoot its takes by number, each as the entry that speaks for it."""
        query = (
            select(entries)
            .where(entries.c.account == account, entries.c.shoot == shoot)
            .order_by(entries.c.state.in_(sorted(TAKEN)), entries.c.id)
        )
        found: dict[str, dict[int, Entry]] = {}
        with reading(self._engine) as connection:
            for row in connection.execute(query).mappings():
                found.setdefault(row["key"], {})[row["take"]] = Entry.of({**row})
        return found

    def by_prediction(self, prediction_id: str) -> Entry | None:
        with reading(self._engine) as connection:
            row = _BY_PREDICTION.first(connection, {"prediction_": prediction_id})
        return Entry.of(row._asdict()) if row else None

    def entries(
        self,
        *,
        ids: Iterable[int] | None = None,
        states: Iterable[State] | None = None,
        account: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[Entry]:
        """Entries in the order of booking: those, of those states, and booked in [since, until)."""
        query = select(entries).order_by(entries.c.id)
        if ids is not None:
            query = query.where(entries.c.id.in_(ids))
        if states is not None:
            query = query.where(entries.c.state.in_(sorted(states)))
        if account is not None:
            query = query.where(entries.c.account == account)
        if since is not None:
            query = query.where(entries.c.booked_us >= to_us(since))
        if until is not None:
            query = query.where(entries.c.booked_us < to_us(until))
        with reading(self._engine) as connection:
            return [Entry.of({**row}) for row in connection.execute(query).mappings()]

    def events(self) -> list[Event]:
        """Every event, in the order in which it happened."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(events).order_by(events.c.seq)).mappings()
            return [_event(row) for row in rows]

    def counters(self, at: datetime | None = None) -> tuple[Counter, ...]:
        """The counters of budgets; only those whose window holds `at` where it is given."""
        with reading(self._engine) as connection:
            return counting.all_counters(connection, at)

    def kind(self) -> str | None:
        """`live`, `sandbox`, or None while no account was bound."""
        with reading(self._engine) as connection:
            found: str | None = connection.execute(
                select(facts.c.value).where(facts.c.name == "kind")
            ).scalar()
        return found

    def totals(self) -> dict[str, tuple[int, int]]:
        """By state: how many entries, and what they count."""
        query = select(entries.c.state, func.count(), func.sum(entries.c.credits)).group_by(entries.c.state)
        with reading(self._engine) as connection:
            return {row[0]: (row[1], row[2]) for row in connection.execute(query)}


_BY_ID: Final = Statement(select(entries).where(entries.c.id == bindparam("id_")))
_BY_PREDICTION: Final = Statement(select(entries).where(entries.c.prediction_id == bindparam("prediction_")))


def _expired(entry: Entry, policy: Policy | None, now: datetime) -> str | None:
    """Why a held entry has to be decided again, or None."""
    if policy is None or policy.digest != entry.policy_digest:
        return "the policy changed"
    today = entry._replace(booked_us=to_us(now))
    return "the window ended" if policy.allowances(entry.facts) != policy.allowances(today.facts) else None


def _event(row: Any) -> Event:
    return Event(**{**row, "happened": Happened(row["happened"]), "state": State(row["state"])})
