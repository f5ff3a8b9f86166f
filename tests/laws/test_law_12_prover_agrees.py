"""Law 12: proven evaluation agrees with single decisions, and with the tree walk that shares nothing."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from planner.loading import shipped_latency, shipped_prices
from policies.analysis.proof import ALWAYS, Proof, prove
from policies.budgets import Allowance, Usage
from policies.engine import Policy
from tests.laws.naive import Oracle
from tests.laws.policy_strategies import conditions, instants, labels, policy_data, policy_of
from tests.laws.small_policies import breaks, cells, small_policies
from tests.laws.strategies import requests

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
MOST = 400_000


@st.composite
def guarantees(draw: st.DrawFn, number: int) -> dict[str, Any]:
    """A promise about some verdict and some requests; most are broken, some hold."""
    never = {"verdict": draw(st.sampled_from(["allow", "allow", "needs_approval", "deny"]))}
    never |= (
        draw(conditions(depth=1)) if draw(st.booleans()) else {"credits": {"above": draw(st.integers(4, 30))}}
    )
    return {"name": f"promise-{number}", "never": never}


@st.composite
def promising(draw: st.DrawFn) -> dict[str, Any]:
    """A policy with a few guarantees."""
    data = draw(policy_data())
    data["guarantees"] = [draw(guarantees(number)) for number in range(draw(st.integers(1, 3)))]
    return data


def spending(amounts: dict[str, int]) -> Any:
    """The same amount in every scope of a budget."""
    return lambda allowance: Usage(settled=amounts.get(allowance.budget, 0))


def proof_of(policy: Policy) -> Proof:
    found = prove(policy, shipped_prices(), NOW, most_cells=MOST)
    assume(found.results[0].proved is not None)
    return found


@settings(max_examples=30, deadline=None)
@given(
    promising(),
    st.lists(
        st.tuples(requests(), labels(), instants, st.integers(0, 40), st.integers(0, 40)),
        min_size=20,
        max_size=20,
    ),
)
def test_what_is_proven_holds_and_what_is_refuted_does_not(data: dict[str, Any], asked: list[Any]) -> None:
    """The tree walk breaks no proven guarantee, and breaks each refuted one on its counterexample."""
    policy = policy_of(data)
    assume(policy is not None)
    assert policy is not None
    proof = proof_of(policy)
    promises = {promise["name"]: promise["never"] for promise in data["guarantees"]}
    for result in proof.results:
        event(f"{'always' if result.name in ALWAYS else 'promise'} {result.proved}")
        if result.name in promises and result.counterexample is not None:
            example = result.counterexample
            walk = walker(
                data,
                dict(example.asked.labels),
                example.asked.at,
                named(data, dict(example.spent), dict(example.asked.labels)),
            )
            answer = walk.decide(dict(example.asked.inputs))
            assert answer.inputs == example.decision.request.inputs()
            assert walk.breaks(promises[result.name], answer)
    held = [result.name for result in proof.results if result.name in promises and result.proved]
    for request, given_labels, at, first, second in asked if held else ():
        amounts = {"month": near(data, "month", first), "week": near(data, "week", second)}
        walk = walker(data, given_labels, at, spending(amounts))
        answer = walk.decide(request.inputs())
        for name in held:
            assert not walk.breaks(promises[name], answer)


def walker(data: dict[str, Any], given_labels: dict[str, str], at: datetime, usage: Any) -> Oracle:
    entry = shipped_prices().entry_at(at)
    return Oracle(data, entry, at, usage, given_labels, 75_000, shipped_latency())


def named(data: dict[str, Any], spent: dict[str, int], given_labels: dict[str, str]) -> Any:
    """What a counterexample says was spent, found by budget and scope."""

    def usage(allowance: Allowance) -> Usage:
        scope = "/".join(value or "absent" for _, value in allowance.scope)
        return Usage(settled=spent.get("/".join(filter(None, (allowance.budget, scope))), 0))

    return usage


def near(data: dict[str, Any], name: str, left: int) -> int:
    """An amount with about so many credits left of a budget; many of them at its edge."""
    budget = next(item for item in data["budgets"] if item["name"] == name)
    limit = budget["limit"]["otherwise"] if isinstance(budget["limit"], dict) else budget["limit"]
    text = str(limit)
    whole = int(float(text.split()[0]) * (1_000_000 if text.endswith("USD") else 1))
    step = 75_000 if text.endswith("USD") else 1
    return max(0, whole - left * step) if left < 35 else 0


def test_a_guarantee_is_refuted_just_where_one_of_all_cells_breaks_it() -> None:
    """Every cell of a small policy is decided: the prover misses none and makes none up.

    Its counterexample is as small as the smallest cell that breaks the guarantee: no more fields, then
    no more labels, then no more budgets with something spent.
    """
    found: Counter[bool | None] = Counter()

    @settings(max_examples=24, deadline=None)
    @given(small_policies())
    def visited(policy_and_kind: tuple[str, dict[str, Any]]) -> None:
        kind, data = policy_and_kind
        policy = policy_of(data)
        assume(policy is not None)
        assert policy is not None
        smallest: dict[str, tuple[int, int, int]] = {}
        for cell in cells(kind, data, policy):
            for promise in data["guarantees"]:
                known = smallest.get(promise["name"])
                if (known is None or cell.size < known) and breaks(data, promise["never"], cell):
                    smallest[promise["name"]] = cell.size
        for promise, result in zip(
            data["guarantees"], prove(policy, shipped_prices(), NOW).results, strict=False
        ):
            found[result.proved] += 1
            assert result.proved is (promise["name"] not in smallest)
            if result.counterexample is not None:
                assert result.counterexample.size[:3] == smallest[promise["name"]]

    visited()
    assert found[True] >= 5
    assert found[False] >= 5
