"""What changes between two policies, in words and in credits.

Here belongs how two decisions about one request differ, and which past requests that concerns. Past
requests are decided by `replay`, each policy with budgets of its own, so that a request may also differ
because of what was let through before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from planner.past import PastRequest
from planner.prices import PriceBook
from planner.request import closed_fields
from policies.analysis.replay import answers, assumptions
from policies.decision import Decision, Verdict
from policies.engine import Policy

_SAID: Final = {
    Verdict.ALLOW: "allowed",
    Verdict.NEEDS_APPROVAL: "needs approval",
    Verdict.DENY: "denied",
}


class FieldDifference(NamedTuple):
    """A field that would be sent with another value; None is a field that is not sent."""

    field: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.field} {_shown(self.before)} → {_shown(self.after)}"

    def as_json(self) -> dict[str, Any]:
        return {"field": self.field, "before": self.before, "after": self.after}


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "present" if value else "absent"
    return "absent" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Side:
    """What one of two policies says: a verdict, and the rules or budgets that it rests on."""

    verdict: Verdict
    rules: tuple[str, ...]

    def __str__(self) -> str:
        by = f" by {', '.join(f'`{rule}`' for rule in self.rules)}" if self.rules else ""
        return _SAID[self.verdict] + by


@dataclass(frozen=True, slots=True)
class Difference:
    """A way in which two decisions differ; of two that are equal everything is the same."""

    before: Side
    after: Side
    fields: tuple[FieldDifference, ...]
    """Of the final request; none where the verdicts differ."""

    def __str__(self) -> str:
        """
        >>> allowed = Side(Verdict.ALLOW, ())
        >>> str(Difference(allowed, Side(Verdict.DENY, ("no-4k",)), ()))
        'allowed → denied by `no-4k`'
        >>> smaller = FieldDifference("resolution", "4k", "2k")
        >>> str(Difference(allowed, Side(Verdict.ALLOW, ("cheap-drafts",)), (smaller,)))
        'resolution 4k → 2k by `cheap-drafts`'
        """
        if self.changes_verdict:
            return f"{self.before} → {self.after}"
        return " ".join(filter(None, [", ".join(map(str, self.fields)), self.by]))

    @property
    def changes_verdict(self) -> bool:
        """Whether the verdicts differ; else the final requests do."""
        return self.before.verdict is not self.after.verdict

    @property
    def by(self) -> str:
        """The rules that make the difference between two final requests: those that came, or that went."""
        now = [rule for rule in self.after.rules if rule not in self.before.rules]
        gone = [rule for rule in self.before.rules if rule not in self.after.rules]
        return f"by {_named(now)}" if now else f"without {_named(gone)}" if gone else ""


def _named(rules: Sequence[str]) -> str:
    return ", ".join(f"`{rule}`" for rule in rules)


def compare(before: Decision, after: Decision) -> Difference | None:
    """How two decisions about the same request differ; None where they come to the same.

    Another verdict says it all; under the same one the final requests are compared, and with them the
    price. Two denials come to the same whatever their reasons and whatever they deny.
    """
    if before.verdict is not after.verdict:
        return Difference(_stop(before), _stop(after), ())
    if after.verdict is Verdict.DENY or not (before.changes or after.changes):
        return None
    fields = _fields(before, after)
    return Difference(_change(before), _change(after), fields) if fields else None


def _fields(before: Decision, after: Decision) -> tuple[FieldDifference, ...]:
    old, new = closed_fields(before.request), closed_fields(after.request)
    return tuple(FieldDifference(name, old[name], new[name]) for name in old if old[name] != new[name])


def _stop(decision: Decision) -> Side:
    """A verdict with the rules and budgets that ask for it; what is allowed needs none."""
    verdict = decision.verdict
    if verdict is Verdict.ALLOW:
        return Side(verdict, ())
    rules = [finding.rule for finding in decision.findings if finding.verdict is verdict]
    return Side(verdict, tuple(dict.fromkeys(rules)))


def _change(decision: Decision) -> Side:
    """A verdict with the rules that changed what goes."""
    return Side(decision.verdict, tuple(dict.fromkeys(change.rule for change in decision.changes)))


# -- past traffic --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Changed:
    """Past requests that differ in the same way."""

    difference: Difference
    requests: int
    credits_before: int
    """What those that go would have cost under the first policy."""
    credits_after: int
    first: str
    """Where the first of them stands."""
    first_at: datetime
    """When it was asked."""

    def as_json(self) -> dict[str, Any]:
        difference = self.difference
        return {
            "words": str(difference),
            "before": {"verdict": difference.before.verdict.value, "rules": list(difference.before.rules)},
            "after": {"verdict": difference.after.verdict.value, "rules": list(difference.after.rules)},
            "fields": [field.as_json() for field in difference.fields],
            "requests": self.requests,
            "credits_before": self.credits_before,
            "credits_after": self.credits_after,
            "first": self.first,
            "first_at": self.first_at.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class TrafficDiff:
    """A past under two policies: what differs, and what all of it would have cost under each."""

    requests: int
    credits_before: int
    credits_after: int
    changed: tuple[Changed, ...]
    """What changes most credits stands first."""
    assumptions: tuple[str, ...]

    @property
    def changed_requests(self) -> int:
        return sum(changed.requests for changed in self.changed)

    def as_json(self) -> dict[str, Any]:
        """The `traffic` object of the `policy-diff` document."""
        return {
            "requests": self.requests,
            "changed_requests": self.changed_requests,
            "credits_before": self.credits_before,
            "credits_after": self.credits_after,
            "changed": [changed.as_json() for changed in self.changed],
            "assumptions": list(self.assumptions),
        }


def diff_traffic(past: Iterable[PastRequest], before: Policy, after: Policy, book: PriceBook) -> TrafficDiff:
    """Past requests replayed under both policies side by side; errors are those of `answers`."""
    kept = list(past)
    sums: dict[Difference, tuple[int, int, int]] = {}
    first: dict[Difference, PastRequest] = {}
    credits = [0, 0]
    for old, new in zip(answers(kept, before, book), answers(kept, after, book), strict=True):
        credits[0] += old.credits
        credits[1] += new.credits
        difference = compare(old.decision, new.decision)
        if difference is not None:
            first.setdefault(difference, old.past)
            requests, was, will_be = sums.get(difference, (0, 0, 0))
            sums[difference] = requests + 1, was + old.credits, will_be + new.credits
    changed = [
        Changed(difference, *found, first[difference].where, first[difference].submitted_at)
        for difference, found in sums.items()
    ]
    changed.sort(key=lambda one: (-abs(one.credits_after - one.credits_before), -one.requests))
    both = (assumptions(kept, policy, book) for policy in (before, after))
    said = tuple(dict.fromkeys(line for lines in both for line in lines))
    return TrafficDiff(len(kept), credits[0], credits[1], tuple(changed), said)
