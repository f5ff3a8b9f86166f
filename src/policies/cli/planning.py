"""What a plan is: the sums over a workload file, made in one pass.

Here belong those sums and nothing about how they are shown. Prices, times and savings are the
planner's; what a policy says to the rows is `deciding`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from planner.capacity import Capacity, Draws, simulate
from planner.latency import Seconds
from planner.loading import shipped_credit_plans
from planner.money import CreditPlan, CreditPrice
from planner.pacing import Limits
from planner.prices import PriceBook, PriceEntry
from planner.quoting import CELLS, Quote, price_cell, quotes
from planner.savings import Saving, find_savings
from planner.workload import Job, Workload, open_workload
from policies.cli.settings import Settings, chosen_credit_price, latency_profile, price_book, pricing_instant

if TYPE_CHECKING:
    from datetime import datetime

    from planner.notes import Repair
    from policies.cli.deciding import Rehearsal, Ruling


@dataclass(frozen=True, slots=True)
class Kind:
    """The jobs of a file that cost and take the same."""

    quote: Quote
    resolution: str
    mode: str | None
    face: bool
    images: int
    jobs: int
    seconds: Seconds

    @property
    def credits(self) -> int:
        return self.jobs * self.quote.credits

    def as_json(self) -> dict[str, Any]:
        """One element of `groups` in the `plan` document."""
        return {
            "resolution": self.resolution,
            "generation_mode": self.mode,
            "billed_mode": self.quote.billed_mode,
            "face_reference": self.face,
            "num_images": self.images,
            "jobs": self.jobs,
            "images": self.jobs * self.images,
            "credits": self.credits,
            "seconds": self.seconds.as_json(),
        }


@dataclass(slots=True)
class Tally:
    """What a policy makes of the file, added up row by row."""

    rehearsal: Rehearsal
    note: str
    """What its budgets start from."""
    verdicts: Counter[str] = field(default_factory=Counter)
    rewritten: int = 0
    reused: int = 0
    credits: int = 0
    cells: bytearray = field(default_factory=bytearray)
    """The price cells of the final requests that would be sent."""
    keeps: bool = False
    rulings: list[Ruling] = field(default_factory=list)
    """What was said to each row, where a plan file is to be written."""

    def outlines(self, workload: Workload) -> Iterator[tuple[int, bool]]:
        """The outlines of a workload, each of its jobs added on the way."""
        for job in workload.jobs():
            self.add(job)
            yield price_cell(job.request), job.repeated

    def add(self, job: Job) -> None:
        ruling = self.rehearsal.ruling(job)
        self.verdicts[ruling.verdict] += 1
        if self.keeps:
            self.rulings.append(ruling)
        if ruling.verdict == "allow":
            self.rewritten += bool(ruling.changes)
            self.reused += ruling.reused
            self.credits += ruling.credits
            if ruling.decision is not None:
                self.cells.append(ruling.decision.quote.cell)

    def as_json(self, price: CreditPrice, finish: Capacity) -> dict[str, Any]:
        """The `decided` of the `plan` document."""
        policy = self.rehearsal.policy
        return {
            "policy": {"name": policy.name, "digest": policy.digest},
            "allowed": self.verdicts["allow"],
            "rewritten": self.rewritten,
            "needs_approval": self.verdicts["needs_approval"],
            "denied": self.verdicts["deny"],
            "reused": self.reused,
            "credits": self.credits,
            "usd": str(price.usd(self.credits)),
            **finish.as_json(),
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """A file priced, timed and looked through for savings."""

    file: str
    workload: Workload
    """What was planned, for whoever has to look at its rows once more."""
    kinds: Sequence[Kind]
    price: CreditPrice
    """What a credit costs by the settings, by the policy, or on demand."""
    plans: Mapping[str, CreditPlan]
    by_cell: Sequence[Seconds]
    cells: Sequence[int]
    """The price cell of each job, in file order."""
    draws: Draws
    """The service times that `finish` rests on, for whoever has more to ask about time."""
    finish: Capacity
    savings: Sequence[Saving]
    repairs: Sequence[Repair]
    entry: PriceEntry
    tally: Tally | None

    @property
    def price_entry(self) -> str:
        return self.entry.id

    @property
    def jobs(self) -> int:
        return sum(kind.jobs for kind in self.kinds)

    @property
    def images(self) -> int:
        return sum(kind.jobs * kind.images for kind in self.kinds)

    @property
    def credits(self) -> int:
        return sum(kind.credits for kind in self.kinds)

    @property
    def prices(self) -> dict[str, CreditPrice]:
        """Every way to pay, by name, the chosen one first."""
        return {self.price.name: self.price} | {name: plan.price for name, plan in self.plans.items()}

    @property
    def month_usd(self) -> dict[str, Decimal]:
        """What a month costs in which these are all the credits: the subscription and what is beyond it."""
        own = {self.price.name: CreditPlan(self.price, 0, 0, self.price)}
        return {name: plan.month_usd(self.credits) for name, plan in (own | dict(self.plans)).items()}

    @property
    def best_credit_price(self) -> str:
        """The way to pay under which such a month costs least."""
        return min(self.month_usd, key=self.month_usd.__getitem__)

    def decided_finish(self) -> Capacity:
        """When the rows that the policy lets through would be done."""
        return simulate(self.tally.cells if self.tally else b"", self.by_cell)


def plan_file(file: str, settings: Settings, *, keeps: bool = False) -> Plan:
    """One pass over the file; raises `InputError` with every fault of it at its end.

    `keeps` what the policy said to each row.
    """
    book = price_book(settings)
    at = pricing_instant(book)
    entry = book.entry_at(at)
    workload, cells, repeated = open_workload(file, settings.key_column), bytearray(), Counter[int]()
    with _tally(settings, book, at, keeps) as tally:
        for cell, again in workload.outlines() if tally is None else tally.outlines(workload):
            cells.append(cell)
            if again:
                repeated[cell] += 1
    jobs, by_cell = Counter(cells), latency_profile(settings).by_cell(entry)
    draws = Draws.of(cells, by_cell)
    return Plan(
        file=file,
        workload=workload,
        kinds=_kinds(jobs, entry, by_cell),
        price=chosen_credit_price(settings, tally.rehearsal.policy.credit_price if tally else None),
        plans=shipped_credit_plans(),
        by_cell=by_cell,
        cells=cells,
        draws=draws,
        finish=draws.under(Limits()),
        savings=find_savings(jobs, repeated, entry),
        repairs=workload.repairs,
        entry=entry,
        tally=tally,
    )


@contextmanager
def _tally(settings: Settings, book: PriceBook, at: datetime, keeps: bool) -> Iterator[Tally | None]:
    """A tally under the policy that the settings name, if they name one."""
    if settings.policy is None:
        yield None
        return
    from policies.cli.deciding import rehearsal

    with rehearsal(settings, book, at) as (rehearsed, note):
        yield Tally(rehearsed, note, keeps=keeps)


def _kinds(jobs: Mapping[int, int], entry: PriceEntry, by_cell: Sequence[Seconds]) -> list[Kind]:
    """The kinds of jobs there are, the costliest first."""
    kinds = []
    for cell, count in jobs.items():
        resolution, mode, face, images = CELLS[cell]
        kinds.append(Kind(quotes(entry)[cell], resolution, mode, face, images, count, by_cell[cell]))
    return sorted(kinds, key=lambda kind: (-kind.credits, kind.quote.cell))
