"""A policy's suite: cases that say what it should answer, and whether it does.

Here belong the shape of a suite file, running its cases through the real engine, and coverage: a rule
that no case reaches is named. A case reads like a sentence: name, at, spent, request, labels, expect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, PlainValidator, ValidationError, WithJsonSchema

from planner.documents import Document
from planner.errors import ConfigError, Fault, InvalidRequest, nearest
from planner.loading import instant
from planner.prices import PriceBook
from planner.request import CHOICES, DEFAULTS, OPEN_FIELDS, parse_request
from policies.budgets import Usage
from policies.conditions import label_text
from policies.decision import Decision, Outcome
from policies.engine import Policy
from policies.parsing import plain
from policies.shapes import Shape, line_of, read_as, refuse, refuse_all
from policies.spending import ABSENT, Spending, misfits, read_spending, spent_in

PROMPT: Final = "a case of the suite"
"""Stands in for a prompt that a case leaves out, because no rule can read one."""


def _instant(data: Any) -> datetime:
    found = instant(data)
    if found is None:
        hint = "write it as 2026-11-22 or 2026-11-22T09:30:00+01:00"
        raise refuse(f"`{plain(data)}` is not an instant", hint)
    return found


def _spent(data: Any) -> Spending:
    if not isinstance(data, dict):
        raise refuse(f"`{plain(data)}` is not what was spent", "such as `{team-month/social: 4990}`")
    found, problems = read_spending(data)
    if problems:
        raise refuse_all(problems)
    return found


def _texts(data: Any) -> tuple[str, ...]:
    texts = [data] if isinstance(data, str) else data
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise refuse(f"`{plain(data)}` is not a list of names", "such as `[name-your-team]`")
    return tuple(texts)


def _label_values(data: Any) -> dict[str, str]:
    if not isinstance(data, dict) or not all(label_text(value) for value in data.values()):
        raise refuse(f"`{plain(data)}` does not name labels", "such as `{team: social}`")
    return {name: label_text(value) for name, value in data.items()}


def _some(data: Any) -> Any:
    if data == []:
        raise refuse("a suite without cases shows nothing", f"write one such as `{_SUCH}`")
    return data


_SUCH: Final = "- {name: 4k is denied, request: {resolution: 4k}, expect: {verdict: deny}}"

Instant = Annotated[datetime, PlainValidator(_instant), WithJsonSchema({"type": "string"})]
Texts = Annotated[
    tuple[str, ...],
    PlainValidator(_texts),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class ExpectShape(Shape):
    """What a case expects; what it does not name may be anything."""

    verdict: Literal["allow", "needs_approval", "deny"]
    credits: int | None = None
    rules: Texts = ()
    """Rules and budgets that have to be among the findings."""
    changes: dict[str, Any] | None = None
    """Exactly the fields that are rewritten, with their new values; `absent` for one left out."""
    approvers: Texts | None = None


class CaseShape(Shape):
    """One request at one instant, with what was spent before it."""

    name: str
    at: Instant | None = None
    spent: Annotated[
        Spending,
        PlainValidator(_spent),
        WithJsonSchema({"type": "object", "additionalProperties": {"type": ["string", "integer"]}}),
    ] = Field(default_factory=dict)
    request: dict[str, Any] = Field(default_factory=dict)
    labels: Annotated[dict[str, str], PlainValidator(_label_values), WithJsonSchema({"type": "object"})] = (
        Field(default_factory=dict)
    )
    allow_rewrite: bool = True
    expect: ExpectShape


class SuiteShape(Shape):
    """A suite file: the format's version, an instant for cases without one, and the cases."""

    suite: Literal[1]
    at: Instant | None = None
    cases: Annotated[list[CaseShape], BeforeValidator(_some), Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What one case came to; it passed when there is no problem."""

    name: str
    where: str
    problems: tuple[str, ...]
    decision: Decision

    @property
    def passed(self) -> bool:
        return not self.problems


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """What a suite came to."""

    cases: tuple[CaseResult, ...]
    rules: int
    """How many rules the policy has."""
    unreached: tuple[Fault, ...]
    """Every rule that no case reaches; with one of them the suite does not pass."""
    unfilled: tuple[str, ...]
    """Every budget that is full in no case, which is worth knowing and no failure."""

    @property
    def passed(self) -> bool:
        return not self.unreached and all(case.passed for case in self.cases)

    @property
    def reached(self) -> int:
        """How many rules some case reaches."""
        return self.rules - len(self.unreached)


def run_suite(policy: Policy, document: Document, book: PriceBook) -> SuiteResult:
    """Every case decided by the engine and compared with what it expects.

    A case without an instant uses the suite's, else the one at which the price book was checked. In
    shadow the decision that would have been made is compared. Raises `ConfigError` with every fault
    of the suite file.
    """
    shape, faults = read_as(SuiteShape, document, "suite")
    faults += _repeated(document)
    for place, case in _cases(document, shape):
        faults += _case_faults(policy, document, place, case)
    if shape is None or faults:
        raise ConfigError(faults=sorted(faults, key=line_of))
    at = shape.at or book.checked_at
    cases = tuple(
        _run(policy, case, document.where(("cases", place)), book, case.at or at)
        for place, case in enumerate(shape.cases)
    )
    findings = [finding for case in cases for finding in case.decision.findings]
    reached = {finding.rule for finding in findings}
    full = {finding.rule for finding in findings if finding.outcome in _FULL}
    unreached = [
        Fault("suite", f"no case reaches `{rule.name}`", rule.finding.where, hint="add one to the suite")
        for rule in policy.rules
        if rule.name not in reached
    ]
    budgets = [item.budget.name for item in policy.budgets]
    unfilled = [name for name in budgets if name not in full]
    return SuiteResult(cases, len(policy.rules), tuple(unreached), tuple(unfilled))


_FULL: Final = (Outcome.BUDGET_FULL, Outcome.DOWNGRADE, Outcome.NOTHING_FITS, Outcome.REWRITE_REFUSED)
"""What is found of a budget that is full."""


def _run(policy: Policy, case: CaseShape, where: str, book: PriceBook, at: datetime) -> CaseResult:
    decision = policy.judge(
        {"prompt": PROMPT, **case.request},
        case.labels,
        book=book,
        at=at,
        usage=lambda allowance: Usage(settled=spent_in(case.spent, allowance) or 0),
        allow_rewrite=case.allow_rewrite,
    )
    return CaseResult(case.name, where, tuple(_problems(case.expect, decision)), decision)


def _problems(expect: ExpectShape, decision: Decision) -> Sequence[str]:
    problems = []
    if decision.verdict != expect.verdict:
        said = ", ".join(finding.rule for finding in decision.findings) or "no rule"
        problems.append(f"expected {expect.verdict}, got {decision.verdict.value} ({said})")
    if expect.credits is not None and decision.credits != expect.credits:
        noun = "credit" if expect.credits == 1 else "credits"
        problems.append(f"expected {expect.credits} {noun}, got {decision.credits}")
    fired = {finding.rule for finding in decision.findings}
    problems += [f"`{rule}` did not fire" for rule in expect.rules if rule not in fired]
    if expect.changes is not None and (made := _changes(decision)) != expect.changes:
        problems.append(f"expected the changes {plain(expect.changes)}, got {plain(made)}")
    if expect.approvers is not None and decision.approvers != expect.approvers:
        problems.append(
            f"expected approval by {plain([*expect.approvers])}, got {plain([*decision.approvers])}"
        )
    return problems


def _changes(decision: Decision) -> dict[str, Any]:
    """The net change of every field: from its first receipt to its last, where the two differ."""
    before = {change.field: change.before for change in reversed(decision.changes)}
    after = {change.field: change.after for change in decision.changes}
    gone = {name: value is None or (name in OPEN_FIELDS and not value) for name, value in after.items()}
    return {name: ABSENT if gone[name] else after[name] for name in after if after[name] != before[name]}


# -- faults that pydantic cannot see ---------------------------------------------------------------


def _cases(document: Document, shape: SuiteShape | None) -> Iterator[tuple[int, CaseShape]]:
    """The cases with their places; of a case with a fault what can be read, so that all is told at once."""
    if shape is not None:
        yield from enumerate(shape.cases)
        return
    for place, data in enumerate(_listed(document)):
        if isinstance(data, dict) and (case := _readable(data)) is not None:
            yield place, case


def _listed(document: Document) -> Sequence[Any]:
    found = document.data.get("cases") if isinstance(document.data, dict) else None
    return found if isinstance(found, list) else []


def _readable(data: Mapping[str, Any]) -> CaseShape | None:
    """A case without those of its parts that are faulty; None where nothing is left."""
    try:
        return CaseShape.model_validate(data)
    except ValidationError as error:
        wrong = {tuple(item["loc"][:2]) for item in error.errors(include_url=False)}
    kept = {name: part for name, part in data.items() if (name,) not in wrong}
    expect = kept.get("expect")
    parts = expect.items() if isinstance(expect, dict) else ()
    kept["expect"] = {name: part for name, part in parts if ("expect", name) not in wrong}
    try:
        return CaseShape.model_validate(
            {"name": "a case", **kept, "expect": {"verdict": "deny", **kept["expect"]}}
        )
    except ValidationError:
        return None


def _repeated(document: Document) -> Iterator[Fault]:
    """Every case whose name an earlier one has: a failure has to say which of them it is."""
    first: dict[str, int] = {}
    for place, case in enumerate(_listed(document)):
        name = case.get("name") if isinstance(case, dict) else None
        if isinstance(name, str) and first.setdefault(name, place) != place:
            where, known = (document.where(("cases", at, "name")) for at in (place, first[name]))
            hint = f"the first stands at {known}; give each case its own name"
            yield Fault("suite", f"`{plain(name)}` is the name of two cases", where, hint=hint)


def _case_faults(policy: Policy, document: Document, place: int, case: CaseShape) -> Iterator[Fault]:
    """Names that the policy does not have, and requests that the provider would refuse."""
    at = ("cases", place)
    yield from _request_faults(document, (*at, "request"), case.request)
    for problem in misfits(policy, case.spent):
        yield Fault(
            "suite", problem.message, document.where((*at, "spent", *problem.place)), hint=problem.hint
        )
    for name in case.labels:
        yield from _unknown(document, (*at, "labels", name), name, tuple(policy.labels), "label")
    budgets = (item.budget.name for item in policy.budgets)
    known = (*(rule.name for rule in policy.rules), *budgets, "otherwise", *_label_rules(policy))
    for rule in case.expect.rules:
        yield from _unknown(document, (*at, "expect", "rules"), rule, known, "rule")
    rewritten = tuple(dict.fromkeys((*CHOICES, *DEFAULTS, "face_reference", "image_reference")))
    for name in case.expect.changes or ():
        yield from _unknown(document, (*at, "expect", "changes", name), name, rewritten, "field")


def _label_rules(policy: Policy) -> tuple[str, ...]:
    return tuple(f"label {name}" for name in policy.labels)


def _request_faults(document: Document, place: tuple[str | int, ...], request: Any) -> list[Fault]:
    try:
        parse_request({"prompt": PROMPT, **request})
    except InvalidRequest as error:
        return [
            Fault(
                "suite", fault.message, document.where((*place, fault.field or "")), fault.field, fault.hint
            )
            for fault in error.faults
        ]
    return []


def _unknown(
    document: Document, place: tuple[str | int, ...], name: str, known: Sequence[str], noun: str
) -> list[Fault]:
    if name in known:
        return []
    guess = nearest(name, known)
    hint = f"did you mean `{guess}`?" if guess else f"known: {', '.join(known) or 'none'}"
    return [Fault("suite", f"`{name}` is not a {noun} of the policy", document.where(place), hint=hint)]
