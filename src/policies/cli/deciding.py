"""A whole file before a policy: rows decided in file order, each after the holds of the rows before it.

Here belongs what `check` and `plan` share. Nothing is written: what the rows would hold lies over what
the ledger counts, and a ledger that does not exist is not made. The decision itself is the engine's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from planner.errors import Fault, InputError
from planner.request import ModelCreateRequest, closed_fields
from policies.alternatives import Alternatives, alternatives
from policies.budgets import Allowance, Usage
from policies.decision import Change, Decision, Verdict
from policies.engine import AskUsage, Policy
from policies.loading import load_policy
from policies.parsing import Problem, plain
from policies.spending import Spending, misfits, read_spending, spent_in

if TYPE_CHECKING:
    from planner.prices import PriceBook
    from planner.workload import Job
    from policies.cli.settings import Settings
    from policies.ledger.entries import Entry
    from policies.ledger.store import Store

CONFLICT_RULE: Final = "key"
"""Stands for the rule where a key is taken by another request."""
KEY_TAKEN: Final = Alternatives((), "the key is taken by another request; give the row another key")
SPOKEN: Final = Alternatives((), "it is no rule that stands against it, but what the ledger knows")
NOTHING: Final = Alternatives()


@dataclass(frozen=True, slots=True)
class Ruling:
    """What one row may do: a decision, or the ledger's entry that its key already has."""

    job: Job
    key: str | None
    """The row's key, or the one derived from it; None where there is no ledger to derive it."""
    verdict: Verdict
    credits: int
    """What it would cost now; nothing where its key is taken."""
    fields: Mapping[str, Any]
    """The closed fields of the final request."""
    decision: Decision | None
    """None where the key is taken."""
    reasons: tuple[Mapping[str, str], ...]
    """What the policy found, in the order in which it was found: rule, outcome, because, where."""
    by_ledger: bool = False
    """Whether it rests on what the ledger knows: a person's answer, or a price that no longer holds."""

    @property
    def reused(self) -> bool:
        """Whether the key was paid for, or is in flight, for this very request."""
        return self.decision is None and self.verdict is Verdict.ALLOW

    @property
    def changes(self) -> tuple[Change, ...]:
        return self.decision.changes if self.decision else ()

    def as_json(self, passing: Alternatives = NOTHING) -> dict[str, Any]:
        """One element of `decisions` in the `check` document; `no_alternative` says why there is none."""
        shown: dict[str, Any] = {
            "key": self.key,
            "where": self.job.where,
            "verdict": self.verdict.value,
            "credits": self.credits,
            "reused": self.reused,
            "fields": dict(self.fields),
            "changes": [change.as_json() for change in self.changes],
            "findings": [dict(reason) for reason in self.reasons],
            "alternatives": [alternative.as_json() for alternative in passing.found],
        }
        if passing.why:
            shown["no_alternative"] = passing.why
        if self.decision and self.decision.shadowed:
            shown["shadowed"] = self.decision.shadowed.as_json()
        return shown


class Rehearsal:
    """A policy, prices and an instant, over what a ledger counts."""

    def __init__(
        self,
        policy: Policy,
        book: PriceBook,
        at: datetime,
        *,
        store: Store | None,
        taken: Mapping[str, Sequence[Entry]],
        counted: AskUsage,
        account: str = "main",
        shoot: str = "main",
        allow_rewrite: bool = True,
    ) -> None:
        self.policy = policy
        self._account, self._shoot = account, shoot
        self._book = book
        self._at = at
        self._store = store
        self._taken = taken
        self._usage = _Overlay(counted)
        self._allow_rewrite = allow_rewrite
        self._passing: dict[Any, Alternatives] = {}

    @property
    def has_ledger(self) -> bool:
        return self._store is not None

    @property
    def store(self) -> Store | None:
        """The ledger, if there is one."""
        return self._store

    def key_of(self, job: Job) -> str | None:
        """The row's key, or the one derived from it; None where there is no ledger to derive it."""
        if job.key is None and self._store is not None:
            return self._store.derived_key(job.request, job.occurrence)
        return job.key

    def ruling(self, job: Job, retake: ModelCreateRequest | None = None) -> Ruling:
        """What the row may do, after all rows that were asked about before.

        A `retake` is what it asks for although its key is taken.
        """
        key = self.key_of(job)
        if key is not None and retake is None and (taken := self._taken.get(key)) is not None:
            return self._known(job, key, taken)
        by_ledger = False
        decision = self.policy.decide(
            job.request if retake is None else retake,
            job.labels,
            book=self._book,
            at=self._at,
            usage=self._usage,
            allow_rewrite=self._allow_rewrite,
        )
        if self._store is not None and key is not None and self._may_be_spoken_of(decision):
            before, decision = decision, self._spoken(self._store, job, key, decision)
            by_ledger = decision is not before
        if decision.verdict is Verdict.ALLOW and decision.allowances:
            self._usage.hold(decision, self.policy.rate_microusd)
            self._passing.clear()
        return Ruling(
            job,
            key,
            decision.verdict,
            decision.credits,
            closed_fields(decision.request),
            decision,
            tuple(finding.as_json() for finding in decision.findings),
            by_ledger=by_ledger,
        )

    def _spoken(self, store: Store, job: Job, key: str, decision: Decision) -> Decision:
        from policies.ledger.entries import Ask

        ask = Ask(self._account, self._shoot, key, decision.asked, job.labels)
        return store.spoken(ask, decision, self.policy, self._book)

    def _may_be_spoken_of(self, decision: Decision) -> bool:
        """Whether the ledger may know of an answer to it, or of a price that no longer holds."""
        stops = self.policy.on_drift == "stop" and decision.verdict is Verdict.ALLOW
        return stops or decision.verdict is Verdict.NEEDS_APPROVAL

    def _known(self, job: Job, key: str, taken: Sequence[Entry]) -> Ruling:
        """A row whose key is taken: the same request costs nothing again, another one is a conflict."""
        for entry in reversed(taken):
            if self._store is not None and self._store.stands_for(entry, job.request):
                return Ruling(job, key, Verdict.ALLOW, 0, entry.closed_fields, None, ())
        because = "the key is taken in the ledger by another request"
        reason = {"rule": CONFLICT_RULE, "outcome": "key_conflict", "because": because, "where": job.where}
        return Ruling(job, key, Verdict.DENY, 0, closed_fields(job.request), None, (reason,))

    def would_pass(self, ruling: Ruling) -> Alternatives:
        """What would be allowed instead of a row that was just turned down, or why nothing would.

        No rule reads a prompt, so rows that differ in nothing else share the answer until a row holds
        something.
        """
        decision = ruling.decision
        if decision is None:
            return KEY_TAKEN if ruling.verdict is Verdict.DENY else NOTHING
        if (decision.shadowed or decision).verdict is Verdict.ALLOW:
            return NOTHING
        if ruling.by_ledger:
            return SPOKEN
        place = (*closed_fields(decision.asked).items(), *decision.labels.items())
        if (found := self._passing.get(place)) is None:
            found = self._passing[place] = alternatives(
                self.policy, decision, book=self._book, at=self._at, usage=self._usage
            )
        return found


class _Overlay:
    """What counts in an allowance now, and on top of it what the rows so far would hold."""

    def __init__(self, counted: AskUsage) -> None:
        self._counted = counted
        self._known: dict[Allowance, Usage] = {}

    def __call__(self, allowance: Allowance) -> Usage:
        found = self._known.get(allowance)
        if found is None:
            found = self._known[allowance] = self._counted(allowance)
        return found

    def hold(self, decision: Decision, rate_microusd: int | None) -> None:
        for allowance in decision.allowances:
            before = self(allowance)
            more = allowance.amount(decision.credits, rate_microusd)
            self._known[allowance] = before._replace(held=before.held + more)


@contextmanager
def rehearsal(
    settings: Settings,
    book: PriceBook,
    at: datetime,
    *,
    allow_rewrite: bool = True,
    spent: Sequence[str] = (),
    policy: Policy | None = None,
) -> Iterator[tuple[Rehearsal, str]]:
    """A rehearsal under the settings, and a sentence that says what the budgets start from.

    The policy is the one that the settings name, unless it is given.
    `spent` are amounts such as `team-month/social=4990` that count in place of what the ledger says.
    """
    policy = policy or load_policy(settings.required_policy())
    spending = _spending(policy, spent)
    supposed = "".join(", but with {} at {}".format(*text.rpartition("=")[::2]) for text in spent)
    if (path := settings.ledger_file) is not None and not path.exists():
        note = f"no ledger at {settings.ledger_name}: budgets start empty{supposed}"
        empty = _supposing(spending, lambda _: Usage())
        yield (
            Rehearsal(policy, book, at, store=None, taken={}, counted=empty, allow_rewrite=allow_rewrite),
            note,
        )
        return
    from policies.ledger.store import Store

    store = Store.open(settings.ledger, create=False)
    try:
        counted, note = _counted(store, policy, settings.ledger_name)
        taken = taken_keys(store, settings.account, settings.shoot)
        counted = _supposing(spending, counted)
        yield (
            Rehearsal(
                policy,
                book,
                at,
                store=store,
                taken=taken,
                counted=counted,
                allow_rewrite=allow_rewrite,
                account=settings.account,
                shoot=settings.shoot,
            ),
            note + supposed,
        )
    finally:
        store.close()


def _spending(policy: Policy, texts: Sequence[str]) -> Spending:
    """The amounts that `--spent` names; raises `InputError` with every fault of them."""
    such = "write such as `team-month/social=4990` or `team-month=37.50 USD`"
    named: dict[str, str] = {}
    problems = []
    for text in texts:
        name, equals, amount = text.rpartition("=")
        if not equals:
            problems.append(Problem((), f"`{plain(text)}` names no amount", such))
        elif name in named:
            problems.append(Problem((), f"`{plain(name)}` stands twice", "keep one of the two"))
        else:
            named[name] = amount
    found, unread = read_spending(named)
    problems += [*unread, *misfits(policy, found)]
    if problems:
        faults = [Fault("bad_spent", problem.message, "--spent", hint=problem.hint) for problem in problems]
        raise InputError(faults=faults)
    return found


def _supposing(spending: Spending, counted: AskUsage) -> AskUsage:
    """What counts, with the amounts that are supposed to be spent in place of what was."""

    def usage(allowance: Allowance) -> Usage:
        spent, found = spent_in(spending, allowance), counted(allowance)
        return found if spent is None else Usage(settled=spent, granted=found.granted)

    return usage if spending else counted


def taken_keys(store: Store, account: str, shoot: str) -> dict[str, list[Entry]]:
    """The keys that have an outcome or are in flight, each with its takes."""
    from policies.ledger.states import TAKEN

    found: dict[str, list[Entry]] = {}
    for entry in store.entries(states=TAKEN, account=account):
        if entry.shoot == shoot:
            found.setdefault(entry.key, []).append(entry)
    return found


def _counted(store: Store, policy: Policy, name: str) -> tuple[AskUsage, str]:
    """What counts against a policy: the ledger's counters where it is in force, else its entries."""
    in_force = store.policies_in_force().get(policy.name)
    if in_force is not None and in_force.digest == policy.digest:
        return store.usage(policy), f"budgets as in {name}"
    other = f"another text of policy `{policy.name}`" if in_force else "another policy"
    return _from_entries(store, policy), f"{name} has {other} in force; budgets are counted from its entries"


def _from_entries(store: Store, policy: Policy) -> AskUsage:
    """What the entries of a ledger count in the allowances of a policy that is not in force there."""
    from policies.ledger.states import TAKEN

    sums: dict[Allowance, dict[str, int]] = {}
    for entry in store.entries(states=TAKEN):
        for allowance in policy.allowances(entry.facts):
            found = sums.setdefault(allowance, {"settled": 0, "held": 0, "unknown": 0})
            if entry.bucket is not None:
                found[entry.bucket.value] += allowance.amount(entry.credits, entry.rate_microusd)
    return lambda allowance: Usage(**sums.get(allowance, {}))
