"""The answer to *may it go, and in what form*: a value that carries its reasons.

Here belong verdicts, findings, changes and the decision that holds them. How a decision is reached
belongs to `engine`; how it is shown to people belongs to the command line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, assert_never

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


@dataclass(frozen=True, slots=True)
class Alternative:
    """A request that the policy would allow as it stands, told as changes to the one asked for."""

    changes: Mapping[str, Any]
    credits: int

    def as_json(self) -> dict[str, Any]:
        return {"changes": dict(self.changes), "credits": self.credits}


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict with the final request, its price, what was changed and why."""

    verdict: Verdict
    request: ModelCreateRequest
    """What may be sent; as asked where nothing was rewritten, and always in shadow."""
    asked: ModelCreateRequest
    quote: Quote
    """The price of `request`."""
    asked_quote: Quote
    labels: Mapping[str, str]
    """The declared labels only, normalised."""
    changes: tuple[Change, ...]
    findings: tuple[Finding, ...]
    allowances: tuple[Allowance, ...]
    """Every budget, scope and window that `request` counts in."""
    approvers: tuple[str, ...]
    """Who has to approve; empty unless the verdict is needs_approval."""
    policy_digest: str
    shadowed: Decision | None = field(default=None, repr=False)
    """In shadow, what would have been decided; else None."""

    @property
    def credits(self) -> int:
        """What the final request costs."""
        return self.quote.credits

    @property
    def rewritten(self) -> bool:
        return bool(self.changes)

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
