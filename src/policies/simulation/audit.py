"""What both sides say at the end of a life, held against each other: which laws do not hold.

Here belong the comparisons, worked out anew from the ledger's events and the provider's bill and never
from what the guard believed. What happened on the way belongs to `life`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Final

from policies.budgets import Allowance
from policies.engine import Policy
from policies.guard.batch import Ending
from policies.ledger.entries import Entry, Event
from policies.ledger.states import BUCKETS, OPEN, Happened, State
from policies.ledger.verify import verify
from policies.server.sandbox.bill import BillLine
from policies.simulation.life import Life

_COST_NOTHING: Final = frozenset({"failed", "canceled", "time_out"})
_ADMITS: Final = frozenset({Happened.ADMITTED, Happened.SENT})


@dataclass(frozen=True, slots=True)
class Findings:
    """What one life came to. `broken` names each law that did not hold, with where; it should be empty."""

    jobs: int
    starts: int
    """How many processes were started."""
    seconds: float
    """Virtual seconds from the first start to the end."""
    settled_credits: int
    unknown_credits: int
    billed_credits: int
    over_budget_credits: int
    out_of_sight_credits: int
    double_submissions: int
    stranded_credits: int
    """Counted as unknown, and never charged: what a lost answer may have cost."""
    unknown_jobs: int
    lost_answers: int
    """POSTs after which nobody could know, and for each end of a process the most it may have cut off."""
    completed: int
    """Jobs that had their pictures at the end of the last run."""
    turned_down: int
    """Jobs that the policy denied or let wait: nothing was sent for them, so less was put to the test."""
    broken: tuple[str, ...]

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of the figures."""
        return tuple(item.name for item in fields(cls) if item.name != "broken")


def audit(life: Life) -> Findings:
    """Hold the ledger of a life that has ended against its provider."""
    entries, events = life.store.entries(), life.store.events()
    bill = life.provider.bill(life.loop.time())
    sides = _Sides(entries, bill.predictions, life)
    over, out_of_sight, double = (
        [*_over_budget(life.policy, entries, events)],
        [*sides.unseen()],
        [*sides.twice()],
    )
    unknown = [entry for entry in entries if entry.state is State.UNKNOWN]
    broken = (
        *(f"law 13: {text}" for text, _ in over),
        *(f"law 19: {text}" for text, _ in out_of_sight),
        *(f"law 15: {text}" for text in double),
        *(f"law 16: {text}" for text in sides.unexplained(unknown)),
        *(f"verify: {difference.where}: {difference.what}" for difference in verify(life.store)),
        *_unfinished(life, entries),
    )
    settled = sum(entry.credits for entry in entries if entry.state is State.SETTLED)
    last = life.processes[-1].runner
    endings = Counter(line.ending for line in last.lines) if last else Counter[Ending]()
    return Findings(
        jobs=len(life.rows),
        starts=len(life.processes),
        seconds=life.loop.time(),
        settled_credits=settled,
        unknown_credits=sum(entry.credits for entry in unknown),
        billed_credits=bill.credits,
        over_budget_credits=max((credits for _, credits in over), default=0),
        out_of_sight_credits=sum(credits for _, credits in out_of_sight),
        double_submissions=len(double),
        stranded_credits=sum(entry.credits for entry in unknown if not sides.is_charged(entry)),
        unknown_jobs=len(unknown),
        lost_answers=sides.lost_answers,
        completed=endings[Ending.COMPLETED],
        turned_down=endings[Ending.DENIED] + endings[Ending.NEEDS_APPROVAL],
        broken=broken,
    )


# -- the provider's bill -------------------------------------------------------------------------


class _Sides:
    """Which prediction belongs to which entry, by the provider's own account of what reached it."""

    def __init__(self, entries: Sequence[Entry], bill: Sequence[BillLine], life: Life) -> None:
        self._bill = {line.id: line for line in bill}
        self._key = {sent.prediction_id: sent.key for sent in life.sent if sent.prediction_id is not None}
        self._entry = {entry.prediction_id: entry for entry in entries if entry.prediction_id is not None}
        self.lost_answers = sum(not sent.is_told for sent in life.sent) + life.cut_short
        strays = defaultdict(list)
        for entry in entries:
            if entry.state is State.UNKNOWN and entry.prediction_id is None:
                strays[entry.key].append(entry)
        for line in bill:
            # Whoever never heard an id has an entry that is unknown, and stands for what it may have cost.
            if line.id not in self._entry and strays[self._key[line.id]]:
                self._entry[line.id] = strays[self._key[line.id]].pop(0)
        self._of_entry = {entry.id: self._bill[id] for id, entry in self._entry.items() if id in self._bill}

    def unseen(self) -> Iterator[tuple[str, int]]:
        """Predictions that cost more than the ledger counts for them, but for a price that has drifted."""
        for line in self._bill.values():
            entry = self._entry.get(line.id)
            counted = 0 if entry is None or entry.bucket is None else entry.credits
            # A drift that the provider does not tell is known to nobody.
            drift = 0 if entry is None else max(0, line.credits - entry.quoted_credits)
            if line.credits - drift > counted:
                yield (
                    f"`{self._key[line.id]}`: {line.credits} charged, {counted} counted",
                    line.credits - counted,
                )

    def twice(self) -> Iterator[str]:
        """Predictions that began before an earlier one of the same key had failed for nothing."""
        by_key = defaultdict(list)
        for line in sorted(self._bill.values(), key=lambda line: line.submitted_seconds):
            by_key[self._key[line.id]].append(line)
        for key, lines in by_key.items():
            for earlier, later in pairwise(lines):
                if not _was_free(earlier, later.submitted_seconds):
                    yield f"`{key}`: sent again while an earlier one was {earlier.status}"

    def is_charged(self, entry: Entry) -> bool:
        """Whether the provider has charged for what an entry stands for."""
        line = self._of_entry.get(entry.id)
        return line is not None and line.credits > 0

    def unexplained(self, unknown: Sequence[Entry]) -> Iterator[str]:
        """Unknown entries without an id of which there are more than answers that were lost."""
        lost = sum(entry.prediction_id is None for entry in unknown)
        if lost > self.lost_answers:
            yield f"{lost} entries are unknown, and {self.lost_answers} answers were lost"


def _was_free(line: BillLine, at_seconds: float) -> bool:
    ended = line.completed_seconds is not None and line.completed_seconds <= at_seconds
    return ended and line.status in _COST_NOTHING and line.credits == 0


# -- budgets -------------------------------------------------------------------------------------


def _over_budget(
    policy: Policy, entries: Iterable[Entry], events: Iterable[Event]
) -> Iterator[tuple[str, int]]:
    """Admissions that took an enforced allowance past its limit, counted along the events."""
    by_id = {entry.id: entry for entry in entries}
    allowances: dict[int, tuple[Allowance, ...]] = {}
    sums: Counter[Allowance] = Counter()
    counted: Counter[int] = Counter()
    for event in events:
        entry = by_id[event.entry]
        if entry.id not in allowances:
            allowances[entry.id] = tuple(policy.allowances(entry.facts))
        credits = event.credits if event.state in BUCKETS else 0
        change, counted[entry.id] = credits - counted[entry.id], credits
        for allowance in allowances[entry.id]:
            sums[allowance] += allowance.amount(change, entry.rate_microusd)
            past = sums[allowance] - allowance.limit
            if event.happened in _ADMITS and allowance.blocks and past > 0:
                yield (
                    f"`{entry.key}` took budget `{allowance.budget}` {past} {allowance.unit} past its limit",
                    past,
                )


# -- the end -------------------------------------------------------------------------------------


def _unfinished(life: Life, entries: Iterable[Entry]) -> Iterator[str]:
    """What the last, calm run has left undone."""
    for process in life.processes:
        if process.defect is not None:
            yield f"process {process.name} failed with {type(process.defect).__name__}: {process.defect}"
    last = life.processes[-1].runner
    if last is None:
        yield "the last run never began"
        return
    for halt, error in last.halts.items():
        yield f"the last run was halted: {halt.name} {error or ''}".rstrip()
    for line in last.lines:
        if line.ending is Ending.NOT_STARTED:
            yield f"`{line.key}` was never begun"
    for entry in entries:
        if entry.state in OPEN:
            yield f"`{entry.key}` is still {entry.state.value}"
