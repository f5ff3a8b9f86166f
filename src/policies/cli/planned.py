"""Running a plan file: a run of its workload that sends what the plan holds, and nothing else.

Here belongs finding out whether a plan still holds, and binding the rows of a run to it. The run itself is
`run`'s, what has moved is told by `policies.plan_files`, and what was said to a plan by the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from planner.errors import Fault, InputError
from planner.request import closed_fields
from policies.cli.ledgers import opened
from policies.cli.output import plain
from policies.cli.plan_files import workload_of
from policies.cli.settings import price_book, pricing_instant
from policies.ledger.entries import Planned
from policies.plan_files import PlanFile, Row, moved_policy, moved_prices, moved_rows

if TYPE_CHECKING:
    from planner.prices import PriceBook, PriceEntry
    from planner.workload import Job
    from policies.cli.settings import Settings
    from policies.engine import Policy
    from policies.guard.batch import Line
    from policies.guard.guard import Guard
    from policies.ledger.store import Store


_REHEARSE: Final = "to rehearse, plan it with --account sandbox --ledger sandbox.db"


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A plan that is being run, and what its file is called."""

    plan: PlanFile
    file: str

    def settings(self, settings: Settings, *, sandbox: bool) -> Settings:
        """The settings with the account, the shoot and the key column that the plan pins.

        Raises `InputError` where a flag, or planner.toml, names another account or shoot on purpose, and for
        a rehearsal in the sandbox of a plan that is not of the sandbox's account (law 23).
        """
        pinned = {"account": self.plan.account, "shoot": self.plan.shoot}
        faults = [
            Fault(
                "plan_elsewhere",
                f"the plan is of {name} `{plain(value)}`, and this run of `{getattr(settings, name)}`",
                settings.origin(name),
                hint=_REHEARSE if sandbox else "leave it out",
            )
            for name, value in pinned.items()
            if (sandbox or settings.origin(name) != "the default") and getattr(settings, name) != value
        ]
        if faults:
            raise InputError(faults=faults)
        account, shoot, key_column = self.plan.account, self.plan.shoot, self.plan.key_column
        return replace(settings, account=account, shoot=shoot, key_column=key_column)

    @property
    def keys(self) -> frozenset[str]:
        """The keys that the plan lets go."""
        return frozenset(job.key for job in self.plan.jobs)

    @property
    def workload(self) -> str:
        """The path of its workload."""
        return workload_of(self.plan, self.file)

    def checked(self, settings: Settings) -> Policy:
        """The policy that the plan was decided by; raises with everything that has moved since.

        Nothing is changed: a policy file that has moved is refused before it comes in force.
        """
        policy, faults = standing(self.plan, self.file, settings)
        if faults:
            raise InputError(faults=faults)
        if policy is None:
            message = f"the policy `{plain(self.plan.policy_name)}` is not in force in this ledger"
            hint = "name its file with --policy"
            raise InputError(message, code="no_policy", where=plain(self.file), hint=hint)
        return policy

    def bind(self, guard: Guard, lines: Sequence[Line], jobs: Sequence[Job]) -> None:
        """Keep every row to what the plan holds for its key; raises where one is another row now."""
        rows = rows_of(jobs, [line.key for line in lines], guard.store, guard.policy)
        # The guard may have been turned back to another text since the file was looked at.
        faults = [*moved_policy(self.plan, guard.policy), *moved_rows(self.plan, rows, self.workload)]
        if faults:
            raise InputError(faults=faults)
        held = {job.key: job for job in self.plan.jobs}
        for line in lines:
            if (job := held.get(line.key)) is not None:
                line.planned = Planned(self.plan.policy["digest"], job.final, job.credits)

    def begin(self, guard: Guard) -> None:
        guard.store.plans.begin(self.plan.digest, self.plan.account, self.plan.shoot)

    def end(self, guard: Guard) -> None:
        """Spend the plan where every job of it has come to an end; else the same command goes on with it."""
        from policies.guard.batch import Ending, ending_of

        known = guard.store.takes(self.plan.account, self.plan.shoot)
        endings = [{ending_of(entry) for entry in known.get(job.key, {}).values()} for job in self.plan.jobs]
        if all(found & {Ending.COMPLETED, Ending.FAILED} for found in endings):
            guard.store.plans.end(self.plan.digest)


def rows_of(jobs: Iterable[Job], keys: Iterable[str], store: Store, policy: Policy) -> Iterator[Row]:
    """The rows of a workload as a plan knows them."""
    for job, key in zip(jobs, keys, strict=True):
        fields, labels = closed_fields(job.request), policy.declared(job.labels)
        yield Row(key, job.where, store.mac(job.request), fields, labels)


def _entry_now(book: PriceBook) -> PriceEntry:
    return book.entry_at(pricing_instant(book))


def wrong_ledger(plan: PlanFile, file: str, store: Store) -> Fault | None:
    """A fault where a plan is pinned to another ledger."""
    if plan.ledger_id == store.ledger_id:
        return None
    message = f"the plan is pinned to another ledger than `{plain(store.path)}`"
    return Fault("plan_elsewhere", message, plain(file), hint="name its ledger with --ledger")


def ledger_faults(plan: PlanFile, file: str, store: Store) -> Iterator[Fault]:
    """Why a plan may not run in a ledger: it is another one, the plan is spent, or nobody approved it."""
    where, standing = plain(file), store.plans.standing(plan.digest)
    if (elsewhere := wrong_ledger(plan, file, store)) is not None:
        yield elsewhere
    elif standing.ended is not None:
        message = f"the plan was carried out by {standing.ended:%Y-%m-%d %H:%M} UTC and is spent"
        yield Fault("plan_spent", message, where, hint="`planner collect` fetches pictures; write a new plan")
    elif plan.needs_approval and not standing.is_approved(store.now()):
        answer, hint = standing.answer, f"`planner approvals approve --plan {where} --by NAME --because …`"
        if answer is None:
            message = f"nobody has approved the plan; it needs {plain(plan.needs_approval)}"
        elif answer.approved:
            message = f"the approval of {plain(answer.who)} ended {answer.until:%Y-%m-%d %H:%M} UTC"
        else:
            message = f"{plain(answer.who)} denied the plan: {plain(answer.because)}"
        yield Fault("plan_unapproved", message, where, hint=hint)


def standing(plan: PlanFile, file: str, settings: Settings) -> tuple[Policy | None, list[Fault]]:
    """The policy that a run of the plan would be decided by, and everything that it would refuse now."""
    from planner.workload import open_workload

    faults = [*moved_prices(plan, _entry_now(price_book(settings)))]
    with opened(settings.ledger) as store:
        faults += ledger_faults(plan, file, store)
        policy = _policy(plan, settings, store)
        if policy is not None:
            faults += moved_policy(plan, policy)
        if policy is not None and plan.ledger_id == store.ledger_id:
            workload = workload_of(plan, file)
            jobs = list(open_workload(workload, plan.key_column).jobs())
            keys = [job.key or store.derived_key(job.request, job.occurrence) for job in jobs]
            faults += moved_rows(plan, rows_of(jobs, keys, store, policy), workload)
    return policy, faults


def _policy(plan: PlanFile, settings: Settings, store: Store) -> Policy | None:
    """The policy that a run would be decided by: the one that is named, else the ledger's of that name."""
    from policies.loading import load_policy

    if settings.policy is not None:
        return load_policy(settings.policy)
    return store.policies_in_force().get(plan.policy_name)
