"""Passes over all requests at once: they come to the same as the rules tried one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from planner.loading import shipped_prices
from policies.compiled import Compiled
from policies.contexts import Context
from policies.decision import Outcome
from policies.engine import Policy
from policies.loading import parse_policy
from policies.passes import REWRITES, Passed, Passes, Variant
from policies.rewriting import applied, proposed
from policies.ruling import Hearing
from policies.space import Space
from tests.laws.policy_strategies import policy_data, policy_of, text_of
from tests.laws.small_policies import small_policies

ENTRY = shipped_prices().entries[0]
MOST = 500_000
policies = policy_data() | small_policies().map(lambda both: both[1])


def passes_of(policy: Compiled) -> Passes:
    return Passes(Space([policy], [policy.rewrite_matcher, policy.budget_matcher]), ENTRY)


def runs(passes: Passes) -> Iterator[tuple[Context, Variant, Any, Passed]]:
    """Every context, with every way in which what is used can be told apart."""
    for context in passes.space.contexts(MOST):
        for variant, spent in passes.variants(context):
            yield context, variant, spent, passes.run(variant, context.masks[REWRITES])


def bits(mask: int) -> set[int]:
    return {place for place in range(mask.bit_length()) if mask >> place & 1}


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(policies, st.randoms(use_true_random=False))
def test_a_pass_agrees_with_one_request_at_a_time(data: dict[str, Any], random: Random) -> None:
    """Where it ends, whether a rule denies on the way, and which rules fire anywhere."""
    policy = policy_of(data)
    assume(policy is not None and policy.compiled.rewrites)
    assert policy is not None
    passes = passes_of(policy.compiled)
    found = list(runs(passes))
    for context, variant, _, passed in random.sample(found, min(6, len(found))):
        fired: set[int] = set()
        for start in range(len(passes.requests)):
            place, denied = start, False
            for turn, rule in enumerate(passes.rules):
                holds = variant.masks[REWRITES][place] & context.masks[REWRITES]
                if not holds & passes.space.matchers[REWRITES].span(turn):
                    continue
                step = one_step(passes, turn, place)
                fired |= {turn} if step != (place, False) else set()
                if not rule.shadow:
                    place, denied = step[0], denied or step[1]
            assert passed.places[start] == place
            assert passed.is_denied(start) is denied
        assert bits(passed.fired) == fired
        at_rest = {place for place in range(len(passes.requests)) if not passed.is_restless(place)}
        assert at_rest == {
            place
            for place in range(len(passes.requests))
            if not list(passes.walk(variant, context.masks[REWRITES], place))
        }


def one_step(passes: Passes, turn: int, place: int) -> tuple[int, bool]:
    """What a rule makes of a request where it fires: its place then, and whether it denies it."""
    rule, request = passes.rules[turn], passes.requests[place]
    changed = proposed(rule, passes.facts[place], request, passes.prices)
    if changed is None:
        return place, True
    result = applied(rule.name, changed, request, passes.prices)
    if result.quote.credits > passes.credits[place] and not rule.may_cost_more:
        return place, True
    return passes.requests.index(result.request), False


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(policies, st.randoms(use_true_random=False))
def test_a_pass_agrees_with_the_engine(data: dict[str, Any], random: Random) -> None:
    """A request in the example of a context, with what is spent in a variant, is rewritten likewise."""
    policy = policy_of(data)
    assume(policy is not None and policy.compiled.rewrites)
    assert policy is not None
    passes = passes_of(policy.compiled)
    found = list(runs(passes))
    for context, _, spent, passed in random.sample(found, min(10, len(found))):
        told = {name: value for name, value in context.example.items() if value is not None}
        labels = {name: value for name, value in told.items() if name in policy.labels}
        fields = {name: value for name, value in told.items() if name not in policy.labels}
        for start in random.sample(range(len(passes.requests)), 12):
            asked = passes.requests[start].__dict__ | fields
            request = type(passes.requests[start]).of_checked(asked)
            hearing = heard(policy, labels, context, spent)
            left = hearing.rewrite(request)
            assert passes.space.place(left) == passes.space.place(passes.requests[passed.places[start]])
            stops = (Outcome.COSTS_MORE, Outcome.NOTHING_FITS, Outcome.NOT_EVALUABLE)
            assert passed.is_stopped(start) is any(one.outcome in stops for one in hearing.findings)


def heard(policy: Policy, labels: dict[str, str], context: Context, spent: Any) -> Hearing:
    """The rules at an instant of the context, told the shares of a variant."""
    compiled = policy.compiled
    shares = {compiled.budgets[place].budget.name: span.share for place, span in spent.items()}

    def share(facts: Any, name: str) -> Any:
        counted, _ = compiled.counted(facts)
        names = [compiled.budgets[place].budget.name for place in counted]
        return shares[name] if name in names else None

    assert context.at is not None
    return Hearing(compiled, labels, ENTRY, context.at, share)


def with_rules(*rules: dict[str, Any], **more: Any) -> Compiled:
    named = [{"name": f"rule-{number}", **rule} for number, rule in enumerate(rules)]
    data = {"policy": 1, "name": "p", "otherwise": "allow", "rules": named, **more}
    return parse_policy(text_of(data), "p.yaml").compiled


RULES = [
    {"when": {"num_images": {"above": 2}}, "rewrite": {"num_images": 2}},
    {"when": {"face_reference": "absent"}, "downgrade": {"at_most": 4, "give_up_in_order": ["resolution"]}},
    {"when": {"face_reference": "present"}, "downgrade": {"at_most": 8, "give_up_in_order": ["num_images"]}},
]


def test_more_requests_than_a_byte_can_name_come_to_the_same() -> None:
    """A rule in shadow that writes a ratio makes the space larger and leaves the answers as they are."""
    few = passes_of(with_rules(*RULES))
    many = passes_of(with_rules(*RULES, {"rewrite": {"aspect_ratio": "4:5"}, "shadow": True}))
    assert (len(few.requests), len(many.requests)) == (160, 640)
    ((_, _, _, short),) = runs(few)
    ((_, _, _, long),) = runs(many)
    assert isinstance(short.places, bytes)
    assert isinstance(long.places, tuple)
    for start, request in enumerate(few.requests):
        other = many.places[many.space.place(request)]
        assert many.requests[long.places[other]] == few.requests[short.places[start]]
        assert long.is_denied(other) is short.is_denied(start)
        assert long.is_restless(other) is short.is_restless(start)
    assert bits(long.fired) == {*bits(short.fired), 3}
    assert any(map(short.is_denied, range(160)))


def test_a_share_speaks_only_where_a_request_counts_in_the_budget() -> None:
    """Requests of one image do not count, so whatever is spent they are left alone."""
    policy = with_rules(
        {"when": {"used": {"m": {"at_least": "50%"}}}, "rewrite": {"resolution": "1k"}},
        budgets=[{"name": "m", "limit": 10, "per": "day", "applies_to": {"num_images": {"above": 1}}}],
    )
    passes = passes_of(policy)
    below, above = ((spent[0].least, spent[0].most, passed) for _, _, spent, passed in runs(passes))
    assert (below[:2], above[:2]) == ((0, 4), (5, 10))
    assert not below[2].fired
    moved = {
        (request.num_images, request.resolution)
        for start, request in enumerate(passes.requests)
        if above[2].places[start] != start
    }
    assert moved == {(images, size) for images in (2, 3, 4) for size in ("2k", "4k")}


def test_a_rule_in_shadow_fires_and_moves_nothing() -> None:
    """It is told that it would fire; every request stays where it is and at rest."""
    rule = {"when": {"resolution": "4k"}, "rewrite": {"resolution": "2k"}, "shadow": True}
    passes = passes_of(with_rules(rule))
    ((_, _, _, passed),) = runs(passes)
    assert passed.fired == 1
    assert list(passed.places[: len(passes.requests)]) == list(range(len(passes.requests)))
    assert (passed.denied, passed.restless) == (0, 0)
