"""Does the ledger hold: every state and every counter derived again, and what differs from what is kept.

Here belongs the audit. Events are replayed through the table of `states`; counters are added up from
entries, once by the entries that stand in them and once more by what the policies in force count. It
reads one moment of the ledger and changes nothing. What it cannot see: a row of which every trace was
removed, and how many POSTs the rate window holds, which is forgotten on purpose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Connection, func, or_, select

from planner.errors import PlannerError
from policies.budgets import Allowance
from policies.engine import Policy
from policies.ledger.counting import amount_in, booked_entries
from policies.ledger.entries import Entry, from_us, to_us
from policies.ledger.grants import scope_text
from policies.ledger.schema import counted, counters, entries, events
from policies.ledger.schema import policies as policy_texts
from policies.ledger.states import BUCKETS, TAKEN, Bucket, Happened, IllegalTransition, State, after
from policies.ledger.store import Store
from policies.loading import parse_policy


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that does not hold: `what` is kept, and should be something else."""

    code: str
    where: str
    """The entry, counter or policy it is about."""
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"

    def as_json(self) -> dict[str, str]:
        return {"code": self.code, "where": self.where, "message": self.what}


def verify(store: Store) -> list[Difference]:
    """Everything that does not hold, entries first; empty for an honest ledger."""
    found = _lost(store)
    with store.snapshot() as connection:
        now = _latest(connection, store.now())
        policies, texts = _policies(connection)
        found += texts
        found += _entries(connection)
        found += _sums(connection)
        found += _windows(connection, policies, now)
    return list(dict.fromkeys(found))


def _lost(store: Store) -> list[Difference]:
    """Whether the file is an older copy of what stood there."""
    if not (lost := store.missing_events()):
        return []
    what = f"it is an older copy: its last {lost:,} events are gone, and so is what was paid then"
    return [Difference("older_copy", f"ledger `{store.path}`", what)]


def _latest(connection: Connection, now: datetime) -> datetime:
    """Now, or the last thing that happened where the clock was set back since."""
    last = connection.execute(select(func.max(events.c.at_us))).scalar()
    since = connection.execute(select(func.max(policy_texts.c.since_us))).scalar()
    return from_us(max(to_us(now), last or 0, since or 0))


# -- entries against their events ----------------------------------------------------------------

_ENTRY_COLUMNS: Final = (
    "id", "key", "state", "owner", "epoch", "sends", "credits", "estimated", "quoted_credits",
    "booked_us",
)  # fmt: skip


def _entries(connection: Connection) -> list[Difference]:
    columns = [entries.c[name] for name in _ENTRY_COLUMNS]
    kept = {row.id: row for row in connection.execute(select(*columns).order_by(entries.c.id))}
    found: list[Difference] = []
    seen = set()
    history = connection.execute(select(events).order_by(events.c.entry, events.c.seq))
    for entry_id, happened in groupby(history, key=lambda event: event.entry):
        seen.add(entry_id)
        row = kept.get(entry_id)
        if row is None:
            found.append(Difference("no_entry", f"entry {entry_id}", "it has events and is not there"))
            continue
        replay = Replay()
        for event in happened:
            replay.step(event)
        replay.compare(row)
        where = _entry_name(row)
        found += [Difference(code, where, what) for code, what in replay.problems]
    lonely = [kept[entry_id] for entry_id in kept.keys() - seen]
    return found + [Difference("no_events", _entry_name(row), "it has no events") for row in lonely]


def _entry_name(row: Any) -> str:
    return f"entry {row.id} (`{row.key}`)"


class Replay:
    """One entry as its events tell it; `problems` are events that cannot be, as (code, what)."""

    __slots__ = (
        "booked_us", "credits", "epoch", "estimated", "owner", "problems", "quoted", "sends", "state",
    )  # fmt: skip

    def __init__(self) -> None:
        self.state: State | None = None
        self.credits = 0
        self.quoted: int | None = None
        """What was held at first; None for what was never admitted."""
        self.estimated = False
        self.owner: str | None = None
        self.epoch = 0
        self.sends = 0
        self.booked_us: int | None = None
        self.problems: list[tuple[str, str]] = []

    def step(self, event: Any) -> None:
        """Go one event further; after one that cannot be, go on from what it says."""
        try:
            happened, said = Happened(event.happened), State(event.state)
        except ValueError:
            self._note("unreadable_event", f"event {event.seq} says `{event.happened}`, `{event.state}`")
            return
        self._follow(event.seq, happened, said)
        credits = self._credits_after(happened, event.credits)
        if event.credits != credits or credits < 0:
            self._note("event_credits", f"event {event.seq} counts {event.credits} credits, not {credits}")
        if event.epoch < self.epoch:
            self._note("epoch_fell", f"event {event.seq} is of epoch {event.epoch}, after {self.epoch}")
        if self.booked_us is None:
            self.booked_us = event.at_us
        self.sends += happened in (Happened.ADMITTED, Happened.SENT)
        self.estimated = _estimated_after(happened, self.estimated)
        self.credits, self.epoch, self.owner = event.credits, event.epoch, event.owner

    def _follow(self, seq: int, happened: Happened, said: State) -> None:
        try:
            state = after(self.state, happened)
        except IllegalTransition as illegal:
            self._note("illegal_event", f"event {seq}: {illegal}")
        else:
            if state is not said:
                self._note("event_state", f"event {seq} says {said}, but {happened} leads to {state}")
        self.state = said

    def _credits_after(self, happened: Happened, said: int) -> int:
        """What the entry counts after the event, whose own figure is taken where it brings one."""
        match happened:
            case Happened.ADMITTED | Happened.IMPORTED:
                self.quoted = said
                return said
            case Happened.CHARGED | Happened.SETTLED_BY | Happened.ADJUSTED:
                return said
            case _:
                return self.credits if self.state in TAKEN else 0

    def compare(self, row: Any) -> None:
        """Note where the entry differs from what its events say."""
        quoted = row.quoted_credits if self.quoted is None else self.quoted
        kept = {
            "state": (row.state, self.state and self.state.value),
            "credits": (row.credits, self.credits),
            "owner": (row.owner, self.owner),
            "epoch": (row.epoch, self.epoch),
            "sends": (row.sends, self.sends),
            "estimated": (row.estimated, self.estimated),
            "booked_us": (row.booked_us, self.booked_us),
            "quoted_credits": (row.quoted_credits, quoted),
        }
        for name, (stands, should) in kept.items():
            if stands != should:
                self._note(f"entry_{name}", f"its {name} is `{stands}`, by its events it is `{should}`")

    def _note(self, code: str, what: str) -> None:
        self.problems.append((code, what))


def _estimated_after(happened: Happened, before: bool) -> bool:
    if happened is Happened.ESTIMATED:
        return True
    return before and happened not in (Happened.CHARGED, Happened.SETTLED_BY, Happened.ADJUSTED)


# -- counters against the entries that stand in them ----------------------------------------------

_Sums = dict[Bucket, int]


def _sums(connection: Connection) -> list[Difference]:
    """Every counter, of past windows too, against the sum over its entries."""
    query = (
        select(counted.c.counter, entries.c.state, counters.c.unit, *_AMOUNTS)
        .join(entries, entries.c.id == counted.c.entry)
        .join(counters, counters.c.id == counted.c.counter)
        .where(entries.c.state.in_(sorted(TAKEN)))
        .group_by(counted.c.counter, entries.c.state, counters.c.unit)
    )
    added: dict[int, _Sums] = {}
    for row in connection.execute(query):
        sums = added.setdefault(row.counter, dict.fromkeys(Bucket, 0))
        sums[BUCKETS[State(row.state)]] += int(row.in_credits if row.unit == "credits" else row.in_micro)
    rows = connection.execute(select(counters).order_by(counters.c.id))
    return [item for row in rows if (item := _compared(row, added.get(row.id, {})))]


_AMOUNTS: Final = (
    func.sum(entries.c.credits).label("in_credits"),
    func.sum(entries.c.credits * entries.c.rate_microusd).label("in_micro"),
)


def _compared(row: Any, sums: Mapping[Bucket, int]) -> Difference | None:
    """What is wrong with a counter, given what its entries add up to."""
    wrong = [
        f"{bucket} is {row._mapping[bucket]}, by its entries it is {sums.get(bucket, 0)}"
        for bucket in Bucket
        if row._mapping[bucket] != sums.get(bucket, 0)
    ]
    return Difference("counter", _counter_name(row), f"{', '.join(wrong)} {row.unit}") if wrong else None


def _counter_name(row: Any) -> str:
    scope = "" if row.scope == "{}" else f" {row.scope}"
    return f"budget `{row.budget}`{scope} of `{row.policy}` from {from_us(row.start_us).isoformat()}"


# -- counters against what the policies in force count --------------------------------------------

_Place = tuple[str, str, str, int]
"""(policy, budget, scope, start): what a counter is for."""


def _windows(connection: Connection, policies: Sequence[Policy], now: datetime) -> list[Difference]:
    """The counters of windows that still run, against every entry of the ledger counted anew."""
    expected, found = _recounted(connection, policies, now)
    running = or_(counters.c.end_us.is_(None), counters.c.end_us > to_us(now))
    names = [policy.name for policy in policies]
    query = select(counters).where(running, counters.c.policy.in_(names)).order_by(counters.c.id)
    for row in connection.execute(query):
        should = expected.pop((row.policy, row.budget, row.scope, row.start_us), None)
        difference = _compared(row, should[1] if should else {})
        found += [difference] if difference else []
        found += _misdescribed(row, should[0]) if should else []
    for (policy, budget, scope, _), (allowance, sums) in expected.items():
        if total := sum(sums.values()):
            what = f"it has no counter, and its entries add up to {total} {allowance.unit}"
            found.append(Difference("no_counter", f"budget `{budget}` {scope} of `{policy}`", what))
    return found


def _misdescribed(row: Any, allowance: Allowance) -> list[Difference]:
    """Where a counter says something else of its limit or its window than the policy."""
    end_us = None if allowance.end is None else to_us(allowance.end)
    kept, should = (row.limit, row.unit, row.end_us), (allowance.limit, allowance.unit, end_us)
    if kept == should:
        return []
    what = f"it is kept as limit, unit and end {kept}, the policy says {should}"
    return [Difference("counter_limit", _counter_name(row), what)]


def _recounted(
    connection: Connection, policies: Sequence[Policy], now: datetime
) -> tuple[dict[_Place, tuple[Allowance, _Sums]], list[Difference]]:
    """What each counter of a running window should say; entries that no policy can read are differences."""
    counts: dict[tuple[str, Allowance], _Sums] = {}
    found = []
    for entry in booked_entries(connection) if policies else ():
        try:
            _count(counts, entry, policies)
        except Exception as error:  # whatever a tampered entry does to a policy is itself the finding
            what = f"what it keeps cannot be read: {type(error).__name__}"
            found.append(Difference("unreadable_entry", _entry_name(entry), what))
    return {
        (name, allowance.budget, scope_text(allowance), to_us(allowance.start)): (allowance, sums)
        for (name, allowance), sums in counts.items()
        if allowance.end is None or allowance.end > now
    }, found


def _count(counts: dict[tuple[str, Allowance], _Sums], entry: Entry, policies: Sequence[Policy]) -> None:
    if entry.bucket is None:
        return
    facts = entry.facts
    for policy in policies:
        for allowance in policy.allowances(facts):
            sums = counts.setdefault((policy.name, allowance), dict.fromkeys(Bucket, 0))
            sums[entry.bucket] += amount_in(allowance.unit, entry)


# -- policies ------------------------------------------------------------------------------------


def _policies(connection: Connection) -> tuple[list[Policy], list[Difference]]:
    """The policies in force, as their texts say, and the texts that do not hold."""
    policies: dict[str, Policy] = {}
    found = []
    for row in connection.execute(select(policy_texts).where(policy_texts.c.in_force)):
        where = f"policy `{row.name}`"
        if row.name in policies:
            found.append(Difference("policy_twice", where, "two texts of it are in force"))
            continue
        try:
            policy = policies[row.name] = _parsed(row.text, row.name)
        except PlannerError as error:
            found.append(Difference("policy_text", where, f"its text cannot be read: {error.faults[0].code}"))
            continue
        if policy.digest != row.digest:
            found.append(Difference("policy_text", where, "its text is not the one of its digest"))
    return list(policies.values()), found


@lru_cache(maxsize=16)
def _parsed(text: str, name: str) -> Policy:
    return parse_policy(text, name)
