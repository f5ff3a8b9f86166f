"""What a policy says to a request without a price: another model, or a field that nobody knows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from planner.errors import Fault, NoPrice
from planner.loading import shipped_latency, shipped_prices
from planner.request import FIELDS, ModelCreateRequest, closed_fields
from policies.budgets import Usage
from policies.decision import Decision, Outcome, Verdict
from policies.engine import Policy
from policies.loading import parse_policy
from policies.other_models import OtherRequest
from policies.rules import Facts
from tests.laws.naive import Inputs, Oracle, Unknown
from tests.laws.policy_strategies import instants, labels, policy_data, usage_from
from tests.laws.policy_strategies import policy_of as policy_of_data
from tests.laws.strategies import requests

BOOK = shipped_prices()
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def other(known: ModelCreateRequest | None = None) -> OtherRequest:
    """A call of which the price book knows that much, and nothing of another model."""
    model = "tryon-v1.6" if known is None else "model-create"
    return OtherRequest(model, b"{}", b"other:{}", (Fault("unpriced", f"`{model}` has no price"),), known)


def policy_of(more: str = "", enforcement: str = "on") -> Policy:
    head = "policy: 1\nname: test\notherwise: allow\nlabels: {team: any}\nother_models: {hold: 8 credits}\n"
    return parse_policy(f"{head}enforcement: {enforcement}\n{more}", "test.yaml")


def decided(policy: Policy, request: OtherRequest | None = None, used: int = 0, **given: str) -> Decision:
    found = request or other()
    return policy.decide_other(found, given, book=BOOK, at=NOON, usage=lambda allowance: Usage(settled=used))


def told(decision: Decision) -> tuple[str, list[tuple[str, str]]]:
    return decision.verdict.value, [(one.rule, one.outcome.value) for one in decision.findings]


@dataclass
class OtherOracle(Oracle):
    """The tree walk for another model: it has no field, a fixed price, and nobody knows how long it takes."""

    hold: int = 8

    def price(self, inputs: Inputs) -> int:
        return self.hold

    def value(self, name: str, inputs: Inputs) -> Any:
        if name == "seconds":
            raise Unknown
        return None if name in FIELDS else super().value(name, inputs)

    def smaller(self, inputs: Inputs, order: list[str], floor: Any) -> list[Inputs]:
        return []

    def budgets(self, inputs: Inputs, allowed: bool) -> Any:
        counted, found, tight = self.full(inputs)
        self.findings += found + [(item["name"], "nothing_fits", "") for item in tight]
        return inputs, counted


@settings(max_examples=150)
@given(policy_data(), labels(), instants, st.integers(0, 1000), st.booleans(), st.integers(1, 30))
def test_law_12_rules_and_budgets_judge_it_as_the_tree_walk_does(
    data: dict[str, Any], given_labels: dict[str, str], at: datetime, seed: int, broken: bool, hold: int
) -> None:
    """Of any policy: absent fields satisfy no comparison, unknown seconds deny, the hold is the price."""
    policy = policy_of_data({**data, "other_models": {"hold": f"{hold} credits"}})
    assume(policy is not None)
    assert policy is not None
    usage = usage_from(seed, broken)
    decision = policy.decide_other(other(), given_labels, book=BOOK, at=at, usage=usage)
    event(decision.verdict.value)
    oracle = OtherOracle(
        data, BOOK.entry_at(at), at, usage, given_labels, 75_000, shipped_latency(), hold=hold
    )
    answer = oracle.decide({}, allow_rewrite=False)
    assert told(decision) == (answer.verdict, answer.findings)
    counted = [(a.budget, a.scope, a.start, a.end, a.limit, a.unit) for a in decision.allowances]
    assert (decision.credits, counted) == (hold, answer.allowances)
    assert (list(decision.approvers), decision.changes) == (answer.approvers, ())


@settings(max_examples=150)
@given(policy_data(), requests(), labels(), instants, st.integers(0, 1000), st.booleans())
def test_a_field_that_nobody_knows_hides_nothing(
    data: dict[str, Any],
    request: ModelCreateRequest,
    given_labels: dict[str, str],
    at: datetime,
    seed: int,
    broken: bool,
) -> None:
    """Put beside a request, it gets the verdict of that request for a caller who refuses changes.

    A full budget that would let it go down denies it, also beside one that asks a person.
    """
    policy = policy_of_data({**data, "other_models": {"hold": "1 credits"}})
    assume(policy is not None)
    assert policy is not None
    usage = usage_from(seed, broken)
    plain = policy.decide(request, given_labels, book=BOOK, at=at, usage=usage, allow_rewrite=False)
    found = policy.decide_other(other(request), given_labels, book=BOOK, at=at, usage=usage)
    event(found.verdict.value)
    goes_down = any(finding.outcome is Outcome.DOWNGRADE for finding in plain.findings)
    assert found.verdict is (Verdict.DENY if goes_down else plain.verdict)
    assert found.credits == plain.credits
    assert found.allowances == plain.allowances


@settings(max_examples=60)
@given(policy_data(), st.none() | requests(), labels(), instants)
def test_an_entry_counts_where_its_request_did(
    data: dict[str, Any], known: ModelCreateRequest | None, given_labels: dict[str, str], at: datetime
) -> None:
    """The allowances derived from what a ledger keeps of it are those of its decision, in shadow too."""
    shadow = {"other_models": {"hold": "9 credits"}, "enforcement": "shadow"}
    for more in ({"other_models": {"hold": "9 credits"}}, shadow):
        policy = policy_of_data({**data, **more})
        assume(policy is not None)
        assert policy is not None
        found = policy.decide_other(other(known), given_labels, book=BOOK, at=at, usage=usage_from(1))
        facts = Facts.of_entry(
            closed_fields(found.request), found.quote.billed_mode, found.credits, policy.rate_microusd,
            found.labels, at,
        )  # fmt: skip
        assert policy.allowances(facts) == found.allowances


def test_without_the_policys_word_nothing_passes() -> None:
    """It has no price, and the fault says which part of it."""
    policy = parse_policy("policy: 1\nname: test\notherwise: allow\n", "test.yaml")
    with pytest.raises(NoPrice, match=r"`tryon-v1\.6` has no price"):
        decided(policy)


@pytest.mark.parametrize(
    ("when", "fires"),
    [
        ("{resolution: 4k}", False),
        ("{resolution: {at_most: 4k}}", False),
        ("{num_images: 1}", False),
        ("{seed: 42}", False),
        ("{generation_mode: [fast, balanced, quality]}", False),
        ("{face_reference: present}", False),
        ("{face_reference: absent}", True),
        ("{resolution: absent}", True),
        ("{not: {resolution: 1k}}", True),
        ("{team: absent}", True),
        ("{credits: {above: 7}}", True),
        ("{credits: {above: 8}}", False),
        ("{weekday: sunday}", True),
        ("{time: {from: 22:00, to: 06:00}}", False),
        ("{used: {all: {at_least: 50%}}}", True),
    ],
)
def test_what_rules_read_of_another_model(when: str, fires: bool) -> None:
    """Labels, hold, clock and used shares as ever; of the fields of a picture it has none."""
    budget = "budgets: [{name: all, limit: 100 credits, per: total}]\n"
    policy = policy_of(f"{budget}rules: [{{name: no, when: {when}, deny: no}}]\n")
    assert (decided(policy, used=60).verdict is Verdict.DENY) is fires


def test_law_9_how_long_it_takes_is_not_known_and_denies() -> None:
    """A profile that has no row for it is no reason to let it pass."""
    profile = f"latency_profile: {shipped_latency().name}\n"
    policy = policy_of(profile + "rules: [{name: slow, when: {seconds: {above: 60}}, deny: too slow}]\n")
    assert told(decided(policy)) == ("deny", [("slow", "not_evaluable")])


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("{name: r, rewrite: {output_format: jpeg}}", ("deny", [("r", "rewrite_refused")])),
        ("{name: r, when: {resolution: 4k}, rewrite: {resolution: 2k}}", ("allow", [])),
        ("{name: r, rewrite: {face_reference: absent}}", ("allow", [])),
        ("{name: r, shadow: true, rewrite: {output_format: jpeg}}", ("allow", [("r", "shadow")])),
        ("{name: r, downgrade: {at_most: 8 credits, give_up_in_order: [resolution]}}", ("allow", [])),
        ("{name: r, downgrade: {at_most: 7 credits, give_up_in_order: [resolution]}}",
         ("deny", [("r", "nothing_fits")])),
    ],
)  # fmt: skip
def test_what_would_change_it_denies_it(rule: str, expected: tuple[str, list[tuple[str, str]]]) -> None:
    """It goes as it stands or not at all, as for a caller who refuses changes."""
    assert told(decided(policy_of(f"rules: [{rule}]\n"))) == expected


@pytest.mark.parametrize(
    ("full", "verdict"),
    [("deny", "deny"), ("{needs_approval: finance}", "needs_approval"),
     ("{downgrade: {give_up_in_order: [num_images]}}", "deny")],
)  # fmt: skip
def test_a_full_budget_says_what_it_says(full: str, verdict: str) -> None:
    """One that would let a picture go down finds nothing smaller here."""
    policy = policy_of(f"budgets: [{{name: all, limit: 10 credits, per: day, when_exhausted: {full}}}]\n")
    assert decided(policy, used=2).verdict is Verdict.ALLOW
    assert decided(policy, used=3).verdict == verdict


def test_a_budget_for_pictures_does_not_count_it() -> None:
    """A budget with a condition on a field counts what has that field; one without counts everything."""
    policy = policy_of(
        "budgets:\n"
        "  - {name: all, limit: 100 credits, per: day, for_each: [team]}\n"
        "  - {name: large, limit: 100 credits, per: day, applies_to: {resolution: [2k, 4k]}}\n"
        "  - {name: social, limit: 100 credits, per: day, applies_to: {team: social}}\n"
    )
    counted = decided(policy, team="social").allowances
    assert [(one.budget, one.scope) for one in counted] == [("all", (("team", "social"),)), ("social", ())]


def test_what_the_rest_costs_is_the_least_that_is_held() -> None:
    """A made-up field is no way to a smaller hold, nor past a rule on the fields beside it."""
    large = ModelCreateRequest(prompt="x", resolution="4k", generation_mode="quality", num_images=4)
    policy = policy_of("rules: [{name: no-4k, when: {resolution: 4k}, deny: no}]\n")
    assert told(decided(policy, other(large))) == ("deny", [("no-4k", "deny")])
    assert decided(policy_of(), other(large)).credits == 20
    assert decided(policy_of(), other(ModelCreateRequest(prompt="x"))).credits == 8


def test_law_11_in_shadow_it_goes_for_the_same_hold() -> None:
    """What would have been decided stands beside it."""
    policy = policy_of("rules: [{name: no, deny: no}]\n", "shadow")
    found = decided(policy)
    assert (found.verdict, found.credits, found.findings) == (Verdict.ALLOW, 8, ())
    assert found.shadowed is not None
    assert told(found.shadowed) == ("deny", [("no", "deny")])


def test_law_4_its_lines_add_up_and_no_price_entry_is_named() -> None:
    """Nobody is told that a price book says what only the policy says."""
    for request in (other(), other(ModelCreateRequest(prompt="x", resolution="2k", num_images=4))):
        quote = decided(policy_of(), request).quote
        assert (sum(line.total for line in quote.lines), quote.price_book) == (quote.credits, "")
