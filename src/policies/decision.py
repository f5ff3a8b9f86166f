"""The answer to *may it go, and in what form*: a value that carries its reasons.

Here belong verdicts, findings, changes and the decision that holds them. How a decision is reached
belongs to `engine`; how it is shown to people belongs to the command line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple, assert_never

from planner.money import usd_from_micro
from planner.quoting import Quote
from planner.request import ModelCreateRequest, closed_fields
from policies.budgets import Allowance


class Verdict(StrEnum):
    """What may happen with the request; deny trumps needs_approval trumps allow."""

    ALLOW = "allow"
    NEEDS_APPROVAL = "needs_approval"
    DENY = "deny"


_RANK: Final = {Verdict.ALLOW: 0, Verdict.NEEDS_APPROVAL: 1, Verdict.DENY: 2}


class Outcome(StrEnum):
    """What a finding says; a closed list, so that code answering to it can be checked for gaps."""

    REWRITE = "rewrite"
    DOWNGRADE = "downgrade"
    """A rule, or a full budget, made the request smaller."""
    REWRITE_REFUSED = "rewrite_refused"
    """A rule would change the request, and the caller refuses changes."""
    COSTS_MORE = "costs_more"
    """A rewrite would raise the price and its rule does not say `may_cost_more`."""
    NOTHING_FITS = "nothing_fits"
    """A downgrade found nothing small enough above its floors."""
    DENY = "deny"
    NEEDS_APPROVAL = "needs_approval"
    ALLOW = "allow"
    SHADOW = "shadow"
    """What a rule in shadow would do; it is told and nothing else."""
    OTHERWISE = "otherwise"
    """No rule spoke, and the policy's `otherwise` is not allow."""
    BUDGET_FULL = "budget_full"
    BUDGET_WARNING = "budget_warning"
    LABEL_UNKNOWN = "label_unknown"
    NOT_EVALUABLE = "not_evaluable"


@dataclass(frozen=True, slots=True)
class Change:
    """The receipt for one changed field; `None` is a field that is not sent."""

    field: str
    before: Any
    after: Any
    rule: str
    credits_saved: int
    """Negative where the rule may cost more."""

    def as_json(self) -> dict[str, Any]:
        return {
            "field": self.field,
            "before": self.before,
            "after": self.after,
            "rule": self.rule,
            "credits_saved": self.credits_saved,
        }


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing the policy has to say about a request."""

    rule: str
    """The name of the rule or budget; `otherwise`, or `label NAME`, where neither spoke."""
    outcome: Outcome
    because: str
    where: str
    """The policy's file and line, such as `studio.yaml:14`."""
    approver: str = ""
    """Who can answer it with an approval; empty where nobody can or nobody needs to."""

    @property
    def verdict(self) -> Verdict:
        """What this finding asks for on its own."""
        match self.outcome:
            case Outcome.REWRITE | Outcome.DOWNGRADE | Outcome.ALLOW:
                return Verdict.ALLOW
            case Outcome.SHADOW | Outcome.BUDGET_WARNING:
                return Verdict.ALLOW
            case Outcome.NEEDS_APPROVAL:
                return Verdict.NEEDS_APPROVAL
            case Outcome.BUDGET_FULL | Outcome.OTHERWISE:
                return Verdict.NEEDS_APPROVAL if self.approver else Verdict.DENY
            case Outcome.DENY | Outcome.LABEL_UNKNOWN | Outcome.NOT_EVALUABLE:
                return Verdict.DENY
            case Outcome.REWRITE_REFUSED | Outcome.COSTS_MORE | Outcome.NOTHING_FITS:
                return Verdict.DENY
            case _:
                assert_never(self.outcome)

    def as_json(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "outcome": self.outcome.value,
            "because": self.because,
            "where": self.where,
        }


def worst(findings: Sequence[Finding]) -> Verdict:
    """The verdict over all findings: the strictest that one of them asks for.

    >>> worst([])
    <Verdict.ALLOW: 'allow'>
    """
    return max((finding.verdict for finding in findings), key=_RANK.__getitem__, default=Verdict.ALLOW)


ASSUMED: Final = "nothing else is spent"
"""What has to stay true for a wait to help."""


@dataclass(frozen=True, slots=True)
class More:
    """What a full budget would have to let through on top, in the unit of its allowance."""

    allowance: Allowance
    amount: int

    def as_json(self) -> dict[str, Any]:
        """One element of `more`: `credits` as a whole number, or `usd` as a text."""
        shown: dict[str, Any] = {"budget": self.allowance.budget, "scope": dict(self.allowance.scope)}
        if self.allowance.unit == "credits":
            return {**shown, "credits": self.amount}
        return {**shown, "usd": str(usd_from_micro(self.amount))}


@dataclass(frozen=True, slots=True)
class Alternative:
    """A request that the policy would allow as it stands, told as changes to the one asked for.

    It is allowed at once, or from `wait_until` on if nothing else is spent, or once `more` is granted.
    """

    changes: Mapping[str, Any]
    credits: int
    wait_until: datetime | None = None
    """In the policy's zone; None where there is nothing to wait for."""
    more: tuple[More, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """One element of `alternatives`; what does not apply is left out."""
        shown: dict[str, Any] = {"changes": dict(self.changes), "credits": self.credits}
        if self.wait_until is not None:
            shown |= {"wait_until": self.wait_until.isoformat(), "assuming": ASSUMED}
        if self.more:
            shown["more"] = [more.as_json() for more in self.more]
        return shown


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a policy says to all requests that its rules take alike; many decisions share one."""

    policy_digest: str
    verdict: Verdict
    changes: tuple[Change, ...]
    findings: tuple[Finding, ...]
    final: Mapping[str, Any]
    """New values by field; None leaves the field out."""
    quote: Quote
    """The price of the final request."""
    asked_quote: Quote
    counted: tuple[int, ...] = ()
    """The places of the budgets that the final request counts in, doubtful ones included."""
    doubtful: tuple[int, ...] = ()
    """The places of those of which it cannot be told."""

    def request(self, asked: ModelCreateRequest) -> ModelCreateRequest:
        """What becomes of a request that was asked for; each new value was checked when it was made."""
        return ModelCreateRequest.of_checked({**asked.__dict__, **self.final}) if self.final else asked


class Decision(NamedTuple):
    """A verdict with the final request, its price, what was changed and why.

    It holds the shared ruling and what is this request's own; everything else is derived when read.
    """

    ruling: Ruling
    asked: ModelCreateRequest
    labels: Mapping[str, str]
    """The declared labels only, normalised."""
    allowances: tuple[Allowance, ...]
    """Every budget, scope and window that `request` counts in."""
    shadowed: Decision | None = None
    """In shadow, what would have been decided; else None."""

    @property
    def verdict(self) -> Verdict:
        return self.ruling.verdict

    @property
    def request(self) -> ModelCreateRequest:
        """What may be sent; as asked where nothing was rewritten, and always in shadow."""
        return self.ruling.request(self.asked)

    @property
    def quote(self) -> Quote:
        """The price of `request`."""
        return self.ruling.quote

    @property
    def asked_quote(self) -> Quote:
        return self.ruling.asked_quote

    @property
    def credits(self) -> int:
        """What the final request costs."""
        return self.ruling.quote.credits

    @property
    def changes(self) -> tuple[Change, ...]:
        return self.ruling.changes

    @property
    def rewritten(self) -> bool:
        return bool(self.ruling.changes)

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self.ruling.findings

    @property
    def approvers(self) -> tuple[str, ...]:
        """Who has to approve, in the order of the findings; empty unless the verdict is needs_approval."""
        if self.verdict is not Verdict.NEEDS_APPROVAL:
            return ()
        return tuple(dict.fromkeys(finding.approver for finding in self.findings if finding.approver))

    @property
    def policy_digest(self) -> str:
        return self.ruling.policy_digest

    def as_json(self, alternatives: Sequence[Alternative] = ()) -> dict[str, Any]:
        """One element of `decisions` in the `check` document, without its key."""
        shown: dict[str, Any] = {
            "verdict": self.verdict.value,
            "credits": self.credits,
            "fields": closed_fields(self.request),
            "changes": [change.as_json() for change in self.changes],
            "findings": [finding.as_json() for finding in self.findings],
            "alternatives": [alternative.as_json() for alternative in alternatives],
        }
        if self.shadowed is not None:
            shown["shadowed"] = self.shadowed.as_json()
        return shown
