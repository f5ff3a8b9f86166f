"""A plan file: what a run may send, pinned, so that anybody can see whether it still holds.

Here belong the form of the file, its digest, and what has moved since it was written. It holds no prompt
and no picture: a request stands in it as its closed fields and as fingerprints under the ledger's salt.
How rows are read and decided belongs to the commands; that nothing else is sent belongs to the guard.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from planner.documents import read_yaml
from planner.errors import Fault, InputError
from planner.prices import PriceEntry
from planner.request import ModelCreateRequest, closed_fields
from policies.decision import Change, Decision
from policies.engine import Policy

SCHEMA: Final = "planner.plan-file/1"
_AGAIN: Final = "look at it, and write the plan again"


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """One request that a plan lets go."""

    key: str
    line: int
    """Where its row stood in the workload."""
    asked: str
    """The fingerprint of the request as asked, under the ledger's salt."""
    final: str
    """The fingerprint of the request as decided: nothing else is sent for the key."""
    fields: Mapping[str, Any]
    """The closed fields of the final request."""
    labels: Mapping[str, str]
    """The labels that the policy declares."""
    credits: int
    changes: tuple[Mapping[str, Any], ...] = ()
    """What the policy changed: field, before, after and rule."""

    @classmethod
    def of(cls, key: str, line: int, decision: Decision, asked: str, final: str) -> PlannedJob:
        """A row that a policy lets go, with its two fingerprints."""
        changes = tuple(_change_json(change) for change in decision.changes)
        fields, labels = closed_fields(decision.request), dict(decision.labels)
        return cls(key, line, asked, final, fields, labels, decision.credits, changes)

    @property
    def images(self) -> int:
        return int(self.fields["num_images"] or 1)

    @property
    def asked_fields(self) -> dict[str, Any]:
        """The closed fields of the request as it was asked."""
        before = {change["field"]: change["before"] for change in reversed(self.changes)}
        return {**self.fields, **before}

    def as_json(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "line": self.line,
            "credits": self.credits,
            "fields": dict(self.fields),
            "labels": dict(self.labels),
            "changes": [dict(change) for change in self.changes],
            "asked": self.asked,
            "final": self.final,
        }


def _change_json(change: Change) -> dict[str, Any]:
    told = change.as_json()
    return {name: told[name] for name in ("field", "before", "after", "rule")}


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row of the workload that a plan does not let go."""

    key: str
    line: int
    why: str
    """`paid before`, `denied`, `needs approval` or `key taken`."""
    rules: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {"key": self.key, "line": self.line, "why": self.why, "rules": [*self.rules]}


@dataclass(frozen=True, slots=True)
class PlanFile:
    """What a run may send, and what it was decided by."""

    workload: str
    """The path of the workload, seen from the plan file."""
    workload_digest: str
    """SHA-256 of its bytes."""
    key_column: str | None
    ledger_id: str
    account: str
    shoot: str
    policy: Mapping[str, Any]
    """Its name, its digest, and the digest of each of its `parts`."""
    prices: Mapping[str, Any]
    """The id and digest of the price entry, and its figures."""
    expected: Mapping[str, Any]
    """Jobs, images, credits, money, and the finish time."""
    jobs: tuple[PlannedJob, ...]
    left_out: tuple[LeftOut, ...] = ()
    needs_approval: str | None = None
    """Who has to approve this very plan before it runs; None where nobody has to."""

    @property
    def digest(self) -> str:
        """SHA-256 of everything in the plan: its name in the ledger and in approvals."""
        return _digest(self._document())

    @property
    def policy_name(self) -> str:
        return str(self.policy["name"])

    @property
    def adds_up(self) -> bool:
        """Whether what it expects is what its jobs add up to, each key once; who approves reads the sum."""
        sums = {
            "jobs": len({job.key for job in self.jobs}),
            "images": sum(job.images for job in self.jobs),
            "credits": sum(job.credits for job in self.jobs),
        }
        return len(self.jobs) == sums["jobs"] and all(self.expected[name] == sums[name] for name in sums)

    def text(self) -> str:
        """The plan as JSON, a line for each job, so that two of them can be compared line by line."""
        document = {"schema": SCHEMA, "digest": self.digest} | self._document()
        lines = []
        for name, value in document.items():
            if name in ("jobs", "left_out") and value:
                rows = ",\n".join("    " + _compact(row) for row in value)
                lines.append(f'  "{name}": [\n{rows}\n  ]')
            else:
                lines.append(f'  "{name}": {_compact(value)}')
        return "{\n" + ",\n".join(lines) + "\n}\n"

    def _document(self) -> dict[str, Any]:
        return {
            "workload": {
                "path": self.workload,
                "digest": self.workload_digest,
                "key_column": self.key_column,
            },
            "ledger": {"id": self.ledger_id, "account": self.account, "shoot": self.shoot},
            "policy": dict(self.policy),
            "prices": dict(self.prices),
            "expected": dict(self.expected),
            "needs_approval": self.needs_approval,
            "jobs": [job.as_json() for job in self.jobs],
            "left_out": [row.as_json() for row in self.left_out],
        }


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _digest(value: Any) -> str:
    return hashlib.sha256(_compact(value).encode("utf-8", "surrogatepass")).hexdigest()


# -- reading -------------------------------------------------------------------------------------


def read_plan(text: str, name: str) -> PlanFile:
    """The plan in a text; raises `InputError` for one that is damaged, changed by hand, or too new."""
    try:
        found = json.loads(text.removeprefix("\ufeff"))
        schema, digest = found.pop("schema"), found.pop("digest")
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError):
        raise _refused("not a plan file, or half of one", name, "write it again") from None
    if schema != SCHEMA:
        message = f"a plan file of the form `{str(schema)[:60]}`, and this version reads `{SCHEMA}`"
        raise _refused(message, name, "use the version that wrote it")
    if digest != _digest(found):
        raise _refused("the plan was changed after it was written", name, "write it again instead")
    try:
        plan = _plan(_Shape.model_validate(found))
    except ValueError:
        raise _refused("not a plan file, or none of ours", name, "write it again") from None
    if not plan.adds_up:
        raise _refused("what the plan expects is not the sum of its jobs", name, "write it again")
    return plan


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class _Workload(_Strict):
    path: str
    digest: str
    key_column: str | None


class _Ledger(_Strict):
    id: str
    account: str
    shoot: str


class _Policy(_Strict):
    name: str
    digest: str
    parts: dict[str, str]


class _Prices(_Strict):
    entry: str
    digest: str
    credits: dict[str, dict[str, int]]
    face_reference: int
    omitted_mode: dict[str, str]


class _Expected(_Strict):
    jobs: int
    images: int
    credits: int
    usd: str = Field(pattern=r"^[0-9]+(\.[0-9]+)?$")
    credit_price: str
    finish_seconds: dict[Literal["p50", "p90"], int]


class _Change(_Strict):
    field: str
    before: str | int | bool | None
    after: str | int | bool | None
    rule: str


class _Job(_Strict):
    key: str
    line: int
    credits: int
    fields: dict[str, str | int | bool | None]
    labels: dict[str, str]
    changes: list[_Change]
    asked: str
    final: str


class _LeftOut(_Strict):
    key: str
    line: int
    why: str
    rules: list[str]


class _Shape(_Strict):
    """The document of a plan, but for its digest."""

    workload: _Workload
    ledger: _Ledger
    policy: _Policy
    prices: _Prices
    expected: _Expected
    needs_approval: str | None
    jobs: list[_Job]
    left_out: list[_LeftOut]


def _plan(found: _Shape) -> PlanFile:
    workload, ledger = found.workload, found.ledger
    if any(job.fields.keys() != _FIELDS for job in found.jobs):
        raise ValueError("other fields")
    return PlanFile(
        workload=workload.path,
        workload_digest=workload.digest,
        key_column=workload.key_column,
        ledger_id=ledger.id,
        account=ledger.account,
        shoot=ledger.shoot,
        policy=found.policy.model_dump(),
        prices=found.prices.model_dump(),
        expected=found.expected.model_dump(),
        needs_approval=found.needs_approval,
        jobs=tuple(PlannedJob(**{**job, "changes": tuple(job["changes"])}) for job in _dumped(found.jobs)),
        left_out=tuple(LeftOut(**{**row, "rules": tuple(row["rules"])}) for row in _dumped(found.left_out)),
    )


_FIELDS: Final = closed_fields(ModelCreateRequest(prompt="x")).keys()


def _dumped(rows: Sequence[_Strict]) -> Iterator[dict[str, Any]]:
    return (row.model_dump() for row in rows)


def _refused(message: str, name: str, hint: str) -> InputError:
    return InputError(message, code="bad_plan", where=name, hint=hint)


# -- what a plan is decided by -------------------------------------------------------------------


def pinned_policy(policy: Policy) -> dict[str, Any]:
    """A policy as a plan pins it: what has moved in it can be named later."""
    return {"name": policy.name, "digest": policy.digest, "parts": _parts(policy)}


_NAMED: Final = ("rules", "budgets", "guarantees")
_KIND: Final = {"rules": "rule", "budgets": "budget", "guarantees": "guarantee"}


def _parts(policy: Policy) -> dict[str, str]:
    """The digest of each rule, budget and setting of a policy's text, by what a person calls it."""
    parts: dict[str, str] = {}
    for name, value in read_yaml(policy.text, policy.name).data.items():
        if name in _NAMED and isinstance(value, list):
            for item in value:
                parts[f"{_KIND[name]} `{item['name']}`"] = _told(item)
            parts[f"the order of the {name}"] = _told([item["name"] for item in value])
        else:
            parts[f"`{name}`"] = _told(value)
    return parts


def _told(value: Any) -> str:
    """Enough of a digest to see that something is another one; decimals stand as they are written."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def pinned_prices(entry: PriceEntry) -> dict[str, Any]:
    """A price entry as a plan pins it."""
    return {
        "entry": entry.id,
        "digest": entry.digest,
        "credits": {mode: dict(tiers) for mode, tiers in entry.credits.items()},
        "face_reference": entry.face_reference,
        "omitted_mode": dict(entry.omitted_mode),
    }


# -- what has moved ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the workload as it stands now."""

    key: str
    where: str
    asked: str
    fields: Mapping[str, Any]
    """The closed fields of the request as asked."""
    labels: Mapping[str, str]


def moved_rows(plan: PlanFile, rows: Iterable[Row], workload: str) -> Iterator[Fault]:
    """A fault for each row of the workload that is another one than the plan was made of."""
    left = {row.key for row in plan.left_out}
    jobs = {job.key: job for job in plan.jobs}
    for row in rows:
        job = jobs.pop(row.key, None)
        if job is not None and (changes := [*_differences(job, row)]):
            yield Fault("plan_moved", f"the row of `{row.key}` {'; '.join(changes)}", row.where, hint=_AGAIN)
        elif job is None and row.key not in left:
            message = f"the row of `{row.key}` is new, and the plan does not hold it"
            yield Fault("plan_moved", message, row.where, hint=_AGAIN)
    for job in jobs.values():
        message = f"the row of `{job.key}` is gone"
        yield Fault("plan_moved", message, f"{workload}:{job.line}", hint=_AGAIN)


def _differences(job: PlannedJob, row: Row) -> Iterator[str]:
    before, now = job.asked_fields, dict(row.fields)
    fields = [name for name in now if before.get(name) != now[name]]
    yield from (f"has {name} {_shown(now[name])}, it was {_shown(before.get(name))}" for name in fields)
    if job.asked != row.asked and not fields:
        yield "has another prompt or reference"
    for name in sorted({*job.labels, *row.labels}):
        was, now_is = job.labels.get(name), row.labels.get(name)
        if was != now_is:
            yield f"is labelled {name} {_shown(now_is)}, it was {_shown(was)}"


def _shown(value: Any) -> str:
    """A closed field or a declared label; None is one that is not given."""
    return "omitted" if value is None else f"`{str(value)[:60]}`"


def moved_prices(plan: PlanFile, entry: PriceEntry) -> Iterator[Fault]:
    """A fault where another price entry is in force, or the same one has other figures."""
    now = pinned_prices(entry)
    if now == plan.prices:
        return
    changes = [*_price_changes(plan.prices, now)] or ["with the same figures"]
    message = f"the prices are {now['entry']}, the plan was made by {plan.prices['entry']}: "
    yield Fault("plan_moved", message + ", ".join(changes), entry.where, hint="write the plan again")


def _price_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for mode, tiers in now["credits"].items():
        for tier, credits in tiers.items():
            was = before["credits"].get(mode, {}).get(tier)
            if was != credits:
                yield f"{mode} at {tier} costs {credits}, it was {was}"
    if before["face_reference"] != now["face_reference"]:
        yield f"a face reference costs {now['face_reference']}, it was {before['face_reference']}"
    for tier, mode in now["omitted_mode"].items():
        was = before["omitted_mode"].get(tier)
        if was != mode:
            yield f"an omitted mode at {tier} is billed as {mode}, it was {was}"


def moved_policy(plan: PlanFile, policy: Policy) -> Iterator[Fault]:
    """A fault for each rule, budget or setting that is another one than the plan was decided by."""
    if policy.digest == plan.policy["digest"]:
        return
    lines = {f"rule `{rule.name}`": rule.finding.where for rule in policy.rules}
    lines |= {f"budget `{item.budget.name}`": item.budget.where for item in policy.budgets}
    before, now = plan.policy["parts"], _parts(policy)
    for name in [*now, *(gone for gone in before if gone not in now)]:
        if before.get(name) == now.get(name):
            continue
        how = "is new" if name not in before else "is gone" if name not in now else "has changed"
        yield Fault("plan_moved", f"{name} {how}", lines.get(name, policy.name), hint="write the plan again")
