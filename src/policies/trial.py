"""One request before one policy: the ruling of its rules, then all its budgets, then the decision.

Here belongs the third step of a decision and how the three come together. What the rules say belongs
to `ruling`; how much is used belongs to whoever is asked.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from fractions import Fraction

from planner.errors import OperatorError
from planner.quoting import quotes
from planner.request import ModelCreateRequest
from policies.budgets import Allowance, AskUsage, Budget, Usage
from policies.compiled import REWRITING, Compiled
from policies.conditions import USED
from policies.decision import Decision, Finding, Outcome, Ruling, Verdict, worst
from policies.downgrading import Floor, candidates, together
from policies.moments import MOST_REMEMBERED, Asked, Labels, Moment, Moments, special
from policies.rewriting import applied, given_up
from policies.rules import Facts
from policies.ruling import NOT_EVALUABLE, Hearing


class Trial:
    """One request before one policy; a class because conditions and budgets read the same usage."""

    __slots__ = ("allow_rewrite", "at", "floor", "labels", "memo", "moment", "moments", "path", "policy",
                 "read", "usage")  # fmt: skip

    def __init__(
        self,
        policy: Compiled,
        moments: Moments,
        moment: Moment,
        labels: Labels,
        at: datetime,
        usage: AskUsage,
        allow_rewrite: bool,
        floor: Floor,
        read: Mapping[Allowance, Usage],
    ) -> None:
        self.policy = policy
        self.moments = moments
        self.moment = moment
        self.labels = labels
        self.at = at
        self.usage = usage
        self.allow_rewrite = allow_rewrite
        self.floor = floor
        wish = special(allow_rewrite, floor)
        if policy.reads_usage:
            self.memo = moment.memo((USED, wish))
        else:
            self.memo = moment.rulings if wish is None else moment.memo(wish)
        self.path: dict[int, Hashable] | None = {}
        """Which used shares the rules asked for, with their cells; None where one could not be told."""
        self.read = dict(read)
        """What was answered already: within one decision usage does not move."""

    def decision(self, asked: ModelCreateRequest, heard: Ruling | None = None) -> Decision:
        """The three steps, one after the other; what the rules say may be known already."""
        ruling = heard or self.hear(asked)
        allowances = self.moment.room(ruling, self.labels).allowances
        findings, tight = self.check(ruling, allowances)
        if tight and ruling.verdict is not Verdict.DENY and worst(findings) is Verdict.ALLOW:
            smaller = self.smaller(asked, ruling, tight) if self.allow_rewrite else None
            if smaller is not None:
                return smaller
            findings += [self.stuck(budget, because) for budget, because in tight]
        elif tight:
            findings += [_told(budget, Outcome.DOWNGRADE, because) for budget, because in tight]
        if findings:
            findings = [*ruling.findings, *findings]
            # Written out, because `replace` would take as long as all budgets together.
            ruling = Ruling(
                ruling.policy_digest, worst(findings), ruling.changes, tuple(findings), ruling.final,
                ruling.quote, ruling.asked_quote, ruling.counted, ruling.doubtful,
            )  # fmt: skip
        return Decision(ruling, asked, self.labels.declared, allowances)

    # -- 1 and 2: the rules ----------------------------------------------------------------------

    def hear(self, request: ModelCreateRequest) -> Ruling:
        """What the rules make of a request, remembered by its kind and the used shares they ask for."""
        kind = self.moments.kind(request, self.labels)
        found = self.memo.get(kind)
        try:
            while isinstance(found, Asked):
                found = found.answers.get(self.cell(found.place))
        except OperatorError:
            raise
        except Exception:
            found = None
        if found is None:
            self.path = {}
            found = self.hearing().ruling(request)
            self.remember(kind, found)
        return found

    def remember(self, kind: Hashable, ruling: Ruling) -> None:
        """Note a ruling behind the shares that were asked for on the way to it."""
        if self.path is None:
            return
        if len(self.memo) >= MOST_REMEMBERED:
            self.memo.clear()
        answers, key = self.memo, kind
        for place, cell in self.path.items():
            step = answers.get(key)
            if not isinstance(step, Asked):
                step = answers[key] = Asked(place, {})
            answers, key = step.answers, cell
        answers[key] = ruling

    def cell(self, place: int) -> Hashable:
        """The cell of a budget's used share now."""
        return self.policy.share_cell(self.policy.budgets[place].budget.name, *self.share_of(place))

    def share_of(self, place: int) -> tuple[int, int]:
        """What is used of the budget at that place, in the scope of these labels, and of how much.

        Where nothing may be used at all, all of it is.
        """
        allowance = self.policy.allowance(place, self.labels.declared, self.at)
        usage = self.read[allowance] = self.usage_of(allowance)
        most = allowance.limit + usage.granted
        return (usage.used, most) if most else (1, 1)

    def hearing(self) -> Hearing:
        return Hearing(
            self.policy, self.labels.declared, self.moment.entry, self.at, self.share,
            self.allow_rewrite, self.floor,
        )  # fmt: skip

    def share(self, facts: Facts, name: str) -> Fraction | None:
        """The used share of a budget before the request; None where the request does not count in it."""
        counted, doubtful = self.policy.counted(facts)
        for place in counted:
            if self.policy.budgets[place].budget.name == name:
                return self.told(place, doubtful)
        return None

    def told(self, place: int, doubtful: Sequence[int]) -> Fraction:
        """A used share for the rules; that it was asked for is noted."""
        path, self.path = self.path, None
        if place in doubtful:
            raise LookupError(place)
        part, whole = self.share_of(place)
        if path is not None:
            name = self.policy.budgets[place].budget.name
            self.path = {**path, place: self.policy.share_cell(name, part, whole)}
        return Fraction(part, whole)

    # -- 3: the budgets --------------------------------------------------------------------------

    def check(
        self, ruling: Ruling, allowances: Sequence[Allowance]
    ) -> tuple[list[Finding], list[tuple[Budget, str]]]:
        """What all budgets say at once, and which full ones let the request go down."""
        found: list[Finding] = []
        tight: list[tuple[Budget, str]] = []
        for place, allowance in zip(ruling.counted, allowances, strict=True):
            budget = self.policy.budgets[place].budget
            try:
                if place in ruling.doubtful:
                    raise LookupError
                finding = self.check_budget(budget, allowance, ruling.quote.credits)
            except OperatorError:
                raise
            except Exception:
                finding = _told(budget, Outcome.NOT_EVALUABLE, NOT_EVALUABLE)
            if finding and finding.outcome is Outcome.BUDGET_FULL and budget.downgrade:
                tight.append((budget, finding.because))
            elif finding:
                found.append(finding)
        return found, tight

    def check_budget(self, budget: Budget, allowance: Allowance, credits: int) -> Finding | None:
        """Whether the amount fits, and the highest level that it reaches."""
        amount = allowance.amount(credits, self.policy.rate_microusd)
        usage = self.usage_of(allowance)
        most, before = allowance.limit + usage.granted, usage.used
        if before + amount > most:
            because = f"{allowance.told_of(before, most)} are used, this needs {allowance.told(amount)}"
            return Finding(budget.name, Outcome.BUDGET_FULL, because, budget.where, budget.approver)
        for level in budget.warn_at:
            if (before + amount) * level.denominator >= level.numerator * most:
                because = f"{allowance.told_of(before + amount, most)} are used with this"
                return _told(budget, Outcome.BUDGET_WARNING, because)
        return None

    def usage_of(self, allowance: Allowance) -> Usage:
        found = self.read.get(allowance) if self.read else None
        return self.usage(allowance) if found is None else found

    # -- going down ------------------------------------------------------------------------------

    def smaller(
        self, asked: ModelCreateRequest, ruling: Ruling, tight: Sequence[tuple[Budget, str]]
    ) -> Decision | None:
        """The best request that the rules leave as it is and do not deny, and that fits all its budgets.

        The first full budget of the file says what may be given up; the floors of all of them hold.
        """
        downgrade = together([b.downgrade for b, _ in tight if b.downgrade], self.floor)
        request = ruling.request(asked)
        for candidate in candidates(request, ruling.quote.billed_mode, downgrade):
            heard = self.hear(candidate)
            if heard.changes or heard.verdict is Verdict.DENY or heard.quote.credits > ruling.quote.credits:
                continue
            allowances = self.moment.room(heard, self.labels).allowances
            findings, full = self.check(heard, allowances)
            if full or any(finding.outcome is not Outcome.BUDGET_WARNING for finding in findings):
                continue
            changed = given_up(request, candidate, downgrade)
            receipts = applied(tight[0][0].name, changed, request, quotes(self.moment.entry)).changes
            told = [
                *(finding for finding in ruling.findings if finding.outcome in REWRITING),
                *(_told(budget, Outcome.DOWNGRADE, because) for budget, because in tight),
                *heard.findings,
                *findings,
            ]
            final = {**ruling.final, **changed}
            made = replace(
                heard, changes=(*ruling.changes, *receipts), findings=tuple(told), verdict=worst(told),
                final=final, asked_quote=ruling.asked_quote,
            )  # fmt: skip
            return Decision(made, asked, self.labels.declared, allowances)
        return None

    def stuck(self, budget: Budget, because: str) -> Finding:
        """Why a full budget that lets requests go down denies this one."""
        if not self.allow_rewrite:
            return _told(budget, Outcome.REWRITE_REFUSED, f"{because}; the caller refuses rewriting")
        return _told(budget, Outcome.NOTHING_FITS, f"{because}; nothing that it may go down to fits")


def _told(budget: Budget, outcome: Outcome, because: str) -> Finding:
    return Finding(budget.name, outcome, because, budget.where)
