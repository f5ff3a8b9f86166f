"""`planner plan`: a workload file as pictures, credits, money and a finish time, and cheaper ways to it.

Here belong one streaming pass over the file, its sums, and its layout. Prices, times and savings are
the planner's; what a policy says to the rows is `deciding`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from planner.capacity import Capacity, simulate
from planner.latency import Seconds
from planner.loading import shipped_credit_plans, shipped_latency
from planner.money import CreditPlan, CreditPrice, usd_from_micro
from planner.prices import PriceBook, PriceEntry
from planner.quoting import CELLS, Quote, price_cell, quotes
from planner.savings import Saving, Savings
from planner.workload import Job, open_workload
from policies.cli.output import (
    DOT,
    counted,
    credits_text,
    dim,
    emit_json,
    example,
    json_option,
    plain,
    repair_json,
    say,
    say_repairs,
    span_text,
    strong,
    table,
    usd_text,
)
from policies.cli.settings import (
    chosen_credit_price,
    price_book,
    pricing_instant,
    resolve,
    setting,
)

if TYPE_CHECKING:
    from datetime import datetime

    from planner.notes import Repair
    from policies.cli.deciding import Rehearsal
    from policies.cli.settings import Settings


@click.command(
    epilog=example(
        "planner plan lookbook.csv",
        "planner plan lookbook.csv --policy studio.yaml --credit-price tier-2 --json",
    )
)
@click.argument("file", metavar="FILE")
@setting("policy", "ledger", "account", "shoot", "prices", "credit_price", "key_column")
@json_option
def command(file: str, as_json: bool, **flags: Any) -> None:
    """FILE as jobs, pictures, credits, money and a finish time, and cheaper ways to the same pictures.

    With a policy also how many rows it would allow, and what they would cost then.
    """
    found = _plan(file, resolve(**flags))
    if as_json:
        _say_json(found)
    else:
        _say_text(found)


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

    def add(self, job: Job) -> None:
        ruling = self.rehearsal.ruling(job)
        self.verdicts[ruling.verdict] += 1
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
    kinds: Sequence[Kind]
    price: CreditPrice
    """What a credit costs by the settings, by the policy, or on demand."""
    plans: Mapping[str, CreditPlan]
    by_cell: Sequence[Seconds]
    finish: Capacity
    savings: Sequence[Saving]
    repairs: Sequence[Repair]
    price_entry: str
    tally: Tally | None

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
    def month_microusd(self) -> dict[str, int]:
        """What a month costs in which these are all the credits: the subscription and what is beyond it."""
        own = {} if self.price.name in self.plans else {self.price.name: CreditPlan(self.price, 0, 0)}
        return {
            name: plan.monthly_microusd
            + max(0, self.credits - plan.monthly_credits) * plan.price.rate_microusd
            for name, plan in (own | dict(self.plans)).items()
        }

    @property
    def best_credit_price(self) -> str:
        """The way to pay under which such a month costs least."""
        return min(self.month_microusd, key=self.month_microusd.__getitem__)

    def decided_finish(self) -> Capacity:
        """When the rows that the policy lets through would be done."""
        return simulate(self.tally.cells if self.tally else b"", self.by_cell)


def _plan(file: str, settings: Settings) -> Plan:
    book = price_book(settings)
    at = pricing_instant(book)
    entry = book.entry_at(at)
    workload, savings, cells = open_workload(file, settings.key_column), Savings(book, at), bytearray()
    prices = quotes(entry)
    with _tally(settings, book, at) as tally:
        for job in workload.jobs():
            cell = price_cell(job.request)
            cells.append(cell)
            savings.add(job.request, prices[cell])
            if tally is not None:
                tally.add(job)
    by_cell = shipped_latency().by_cell(entry)
    return Plan(
        file=file,
        kinds=_kinds(cells, entry, by_cell),
        price=chosen_credit_price(settings, tally.rehearsal.policy.credit_price if tally else None),
        plans=shipped_credit_plans(),
        by_cell=by_cell,
        finish=simulate(cells, by_cell),
        savings=savings.found(),
        repairs=workload.repairs,
        price_entry=entry.id,
        tally=tally,
    )


@contextmanager
def _tally(settings: Settings, book: PriceBook, at: datetime) -> Iterator[Tally | None]:
    """A tally under the policy that the settings name, if they name one."""
    if settings.policy is None:
        yield None
        return
    from policies.cli.deciding import rehearsal

    with rehearsal(settings, book, at) as (rehearsed, note):
        yield Tally(rehearsed, note)


def _kinds(cells: bytearray, entry: PriceEntry, by_cell: Sequence[Seconds]) -> list[Kind]:
    """The kinds of jobs there are, the costliest first."""
    kinds = []
    for cell, jobs in Counter(cells).items():
        resolution, mode, face, images = CELLS[cell]
        kinds.append(Kind(quotes(entry)[cell], resolution, mode, face, images, jobs, by_cell[cell]))
    return sorted(kinds, key=lambda kind: (-kind.credits, kind.quote.cell))


# -- layout --------------------------------------------------------------------------------------


def _say_json(found: Plan) -> None:
    if found.tally:
        say(found.tally.note, aside=True)
    say_repairs(found.repairs, aside=True)
    tally = found.tally
    emit_json(
        "plan",
        {
            "jobs": found.jobs,
            "images": found.images,
            "credits": found.credits,
            "usd": {name: str(price.usd(found.credits)) for name, price in found.prices.items()},
            "credit_price": found.price.name,
            "best_credit_price": found.best_credit_price,
            "month_usd": {name: str(usd_from_micro(micro)) for name, micro in found.month_microusd.items()},
            **found.finish.as_json(),
            "savings": [saving.as_json() for saving in found.savings],
            "groups": [kind.as_json() for kind in found.kinds],
            "price_book": found.price_entry,
            "repairs": [repair_json(repair) for repair in found.repairs],
            "decided": tally.as_json(found.price, found.decided_finish()) if tally else None,
        },
    )


def _say_text(found: Plan) -> None:
    say(dim(f"{plain(found.file)}{DOT}prices {found.price_entry}"))
    say_repairs(found.repairs)
    say("\n" + _headline(found))
    say("\n" + table(_facts(found), style="plain"))
    if found.kinds:
        headers = ("what is billed", "jobs", "images", "credits", "seconds a job", "basis")
        say("\n" + table(_kind_rows(found.kinds), headers, right=(1, 2, 3, 4)))
    if found.savings:
        rows = [(item.credits_saved, item.jobs, item.what, _look(item)) for item in found.savings]
        say("\n" + table(rows, ("could save", "jobs", "by this", "it is"), right=(0, 1)))
    if found.tally:
        say("\n" + _tally_text(found, found.tally))


def _headline(found: Plan) -> str:
    money = f"{usd_text(found.price.usd(found.credits))} ({found.price.name})"
    jobs, images = counted(found.jobs, "job"), counted(found.images, "image")
    return strong(f"{jobs}{DOT}{images}{DOT}{credits_text(found.credits)}{DOT}{money}")


def _facts(found: Plan) -> list[tuple[str, str]]:
    """Time and money, each in a line or two."""
    ways = (f"{name} {usd_text(price.usd(found.credits))}" for name, price in found.prices.items())
    best = found.best_credit_price
    month = usd_text(usd_from_micro(found.month_microusd[best]))
    return [
        ("done in", _finish_text(found.finish)),
        ("credits cost", DOT.join(ways)),
        ("", f"in a month with no other credits {best} is cheapest: {month} in all"),
    ]


def _finish_text(finish: Capacity) -> str:
    """`6 min 10 s, nine of ten runs within 6 min 40 s; …`"""
    p50, p90, bound = map(span_text, (finish.p50_seconds, finish.p90_seconds, finish.lower_bound_seconds))
    limit = "how many run at once" if finish.limited_by == "concurrency" else "the rate of starts"
    method = "" if finish.method == "simulated" else f", {finish.method}"
    return f"{p50}, nine of ten runs within {p90}; at best {bound}; limited by {limit}{method}"


def _kind_rows(kinds: Sequence[Kind]) -> list[Sequence[Any]]:
    """The kinds by what is billed, whatever the number of images and however the mode was said."""
    rows: dict[str, list[Kind]] = {}
    for kind in kinds:
        face = " with a face" if kind.face else ""
        rows.setdefault(f"{kind.quote.billed_mode} at {kind.resolution}{face}", []).append(kind)
    found = [(name, *_sums(same)) for name, same in rows.items()]
    return sorted(found, key=lambda row: -row[3])


def _sums(kinds: Sequence[Kind]) -> tuple[int, int, int, str, str]:
    """Jobs, images, credits, the span of seconds that one job takes, and where the seconds come from."""
    least = min(kind.seconds.p50_seconds for kind in kinds)
    most = max(kind.seconds.p90_seconds for kind in kinds)
    return (
        sum(kind.jobs for kind in kinds),
        sum(kind.jobs * kind.images for kind in kinds),
        sum(kind.credits for kind in kinds),
        f"{least:.0f} to {most:.0f}",
        ", ".join(sorted({kind.seconds.basis for kind in kinds})),
    )


def _look(saving: Saving) -> str:
    return "the same picture" if saving.same_picture else "another picture"


def _tally_text(found: Plan, tally: Tally) -> str:
    policy, verdicts = tally.rehearsal.policy, tally.verdicts
    parts = [
        f"{verdicts['allow']:,} allowed" + (f" ({tally.rewritten:,} rewritten)" if tally.rewritten else "")
    ]
    parts += [f"{tally.reused:,} paid before, free now"] if tally.reused else []
    parts += [f"{verdicts['needs_approval']:,} need approval"] if verdicts["needs_approval"] else []
    parts += [f"{verdicts['deny']:,} denied"] if verdicts["deny"] else []
    after = [strong(credits_text(tally.credits)), usd_text(found.price.usd(tally.credits))]
    finish = _finish_text(found.decided_finish())
    head = dim(f"with policy {policy.name} ({policy.digest[:8]}){DOT}{tally.note}")
    return f"{head}\n{DOT.join(parts + after)}\ndone in {finish}"
