"""The finite space of a policy: which requests and contexts there are, and what they stand for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from planner.loading import shipped_prices
from planner.quoting import price_cell, quotes
from planner.request import ModelCreateRequest, parse_request
from policies.compiled import Compiled
from policies.conditions import USED
from policies.contexts import Context, TooLarge
from policies.loading import parse_policy
from policies.matching import Matcher
from policies.rules import facts_of
from policies.space import ANY_OTHER, Space
from policies.spans import instants, spans, stretch
from tests.laws.policy_strategies import instants as some_instants
from tests.laws.policy_strategies import labels, policy_data, policy_of, text_of
from tests.laws.strategies import requests

ENTRY = shipped_prices().entries[0]
MOST = 2_000_000
BERLIN = ZoneInfo("Europe/Berlin")


def compiled(*rules: dict[str, Any], **more: Any) -> Compiled:
    named = [{"name": f"rule-{number}", **rule} for number, rule in enumerate(rules)]
    data = {"policy": 1, "name": "p", "otherwise": "allow", "rules": named, **more}
    return parse_policy(text_of(data), "p.yaml").compiled


def space_of(policy: Compiled, **more: Any) -> Space:
    return Space([policy], matchers_of(policy), **more)


def matchers_of(policy: Compiled) -> list[Matcher]:
    return [policy.rewrite_matcher, policy.budget_matcher, policy.judge_matcher]


def deny(**when: Any) -> dict[str, Any]:
    return {"when": when, "deny": "no"}


# -- requests --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "moving", "size"),
    [
        ([], (), 160),
        ([deny(output_format="jpeg")], (), 160),
        ([{"rewrite": {"output_format": "jpeg"}}], ("output_format",), 160 * 2),
        ([{"rewrite": {"output_format": "absent"}}], ("output_format",), 160 * 2),
        (
            [{"rewrite": {"output_format": "jpeg"}}, deny(output_format="present")],
            ("output_format",),
            160 * 3,
        ),
        ([{"rewrite": {"aspect_ratio": "4:5"}}], ("image_reference", "aspect_ratio"), 160 * 2 * 2),
        ([{"rewrite": {"aspect_ratio": "1:1"}}], ("image_reference", "aspect_ratio"), 160 * 2 * 3),
        ([{"rewrite": {"image_reference": "absent"}}], ("image_reference",), 160 * 2),
        (
            [{"rewrite": {"image_reference": "absent"}}, deny(aspect_ratio=["4:5", "5:4"])],
            ("image_reference", "aspect_ratio"),
            160 * 2 * 3,
        ),
        ([deny(face_reference_mode="match_base")], ("face_reference_mode",), 160 * 2),
        ([{"when": {"seed": 7}, "rewrite": {"seed": "absent"}}], ("seed",), 160 * 6),
    ],
)
def test_a_request_has_the_fields_that_rewriting_moves_or_depends_on(
    rules: list[dict[str, Any]], moving: tuple[str, ...], size: int
) -> None:
    """Prices always; of other fields those that are written, with the values that somebody can tell."""
    space = space_of(compiled(*rules))
    assert set(space.moving) == {"resolution", "generation_mode", "face_reference", "num_images", *moving}
    assert len(space.requests) == size
    assert len({space.place(request) for request in space.requests}) == size
    assert space.requests[0] == ModelCreateRequest(prompt="x")


def test_what_a_field_stands_for_is_counted_with_all_its_values() -> None:
    """Ten ratios and none, with a pose and without, although only a few of them are visited."""
    space = space_of(compiled({"rewrite": {"aspect_ratio": "4:5"}}))
    assert space.stands_for == 160 * 2 * 11


def test_more_requests_than_asked_for_are_not_made() -> None:
    """The number that was too many is told."""
    with pytest.raises(TooLarge, match=r"^159 requests$"):
        _ = space_of(compiled(), most_requests=159).requests
    assert len(space_of(compiled(), most_requests=160).requests) == 160


# -- contexts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "concrete", "alike"),
    [
        ([], 4 * 2, 2),
        ([deny(team="a")], 4 * 2, 3),
        ([deny(team="absent", campaign="x")], 4 * 3, 3),
        ([deny(weekday=["saturday", "sunday"])], 4 * 2 * 7, 2 * 2),
        ([deny(time={"from": "22:00", "to": "06:00"})], 4 * 2 * 2, 2 * 2),
        ([deny(time={"from": "09:00", "to": "24:00"}, weekday="friday")], 4 * 2 * 7 * 2, 2 * 2),
        ([deny(output_format="jpeg", return_base64=True)], 4 * 2 * 3 * 3, 2 * 2),
        ([deny(aspect_ratio="16:9")], 4 * 2 * 2 * 11, 2 * 2),
        ([deny(image_reference="present")], 4 * 2 * 2, 2 * 2),
        ([deny(seed={"at_least": 7})], 4 * 2 * 6, 2 * 2),
    ],
)
def test_contexts_are_counted_one_by_one_and_kept_where_they_differ(
    rules: list[dict[str, Any]], concrete: int, alike: int
) -> None:
    """Absent, each listed or named value and any other of a label; days, stretches of time, still fields.

    A value that is not listed makes a context of its own, whoever reads the label.
    """
    space = space_of(compiled(*rules, labels={"team": ["a", "b"], "campaign": "any"}))
    assert space.concrete() == concrete
    assert len(space.contexts(MOST)) == alike


def test_what_is_left_of_a_price_has_only_the_days_that_come() -> None:
    """From Sunday 9:30 in Berlin until Tuesday midnight there are three days, by their first instants."""
    space = space_of(
        compiled(
            deny(weekday=["sunday", "monday"], team="a"), labels={"team": "any"}, timezone="Europe/Berlin"
        )
    )
    since, until = datetime(2026, 11, 22, 8, 30, tzinfo=UTC), datetime(2026, 11, 24, 23, tzinfo=UTC)
    assert space.concrete(since, until) == 3 * 3
    found = {context.masks: context.at for context in space.contexts(MOST, since, until) if context.masks[2]}
    assert list(found.values()) == [since]
    assert space.concrete(since, since + timedelta(minutes=1)) == 3


def test_of_contexts_that_are_alike_the_one_that_says_least_is_kept() -> None:
    """One label rather than two, although the two stand later in the list and are tried earlier."""
    nobody = {"any": [{"a": "absent", "b": "absent"}, {"a": "absent", "c": "absent"}]}
    space = space_of(compiled(deny(**nobody), labels={"a": "any", "b": "any", "c": "any"}))
    (let_go,) = [context for context in space.contexts(MOST) if not context.masks[2]]
    assert (let_go.example, let_go.said) == ({"a": ANY_OTHER, "b": None, "c": None}, (0, 1))


def test_a_value_with_a_limit_of_its_own_is_told_apart_though_no_condition_names_it() -> None:
    """Of a label with any value, too; a text that is none of all these stands for the rest."""
    month = {"name": "m", "limit": {"denim": 9, "any other": 5, "otherwise": 2}, "per": "month"}
    policy = compiled(labels={"campaign": "any"}, budgets=[{**month, "for_each": ["campaign"]}])
    contexts = space_of(policy, limits=True).contexts(MOST)
    space = space_of(policy, limits=True)
    found = {context.example["campaign"]: space.limit(0, context) for context in contexts}
    assert found == {None: 2, "denim": 9, ANY_OTHER: 5}
    assert len(space_of(policy).contexts(MOST)) == 1


def test_more_cells_than_asked_for_are_not_made() -> None:
    """A cell is a request in a context."""
    space = space_of(compiled(deny(team="a"), labels={"team": "any"}))
    assert len(space.contexts(320)) == 2
    with pytest.raises(TooLarge, match=r"^319 cells$"):
        space.contexts(319)


def held(matcher: Matcher, facts: Any) -> int:
    """The clauses that hold, as far as they do not ask what is used."""
    mask = matcher.everything
    for column in matcher.columns:
        if not column.name.startswith(USED):
            mask &= column.mask(column.read(facts))
    return mask


def facts(policy: Compiled, request: ModelCreateRequest, given: dict[str, str], at: datetime) -> Any:
    return facts_of(request, quotes(ENTRY)[price_cell(request)], given, at, policy.rate_microusd)


def unlisted(policy: Compiled, told: dict[str, str]) -> bool:
    lists = {name: label.values for name, label in policy.labels.items()}
    return any((values := lists[name]) and value not in values for name, value in told.items())


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(policy_data(), st.lists(st.tuples(requests(), labels(), some_instants), min_size=8, max_size=8))
def test_every_request_anybody_can_make_is_taken_like_one_of_the_space(
    data: dict[str, Any], asked: list[tuple[ModelCreateRequest, dict[str, str], datetime]]
) -> None:
    """All matchers let hold of it what they let hold of a request of the space in one of its contexts."""
    policy = policy_of(data)
    assume(policy is not None)
    assert policy is not None
    compiled_policy = policy.compiled
    space = space_of(compiled_policy)
    contexts = space.contexts(MOST)
    for request, told, instant in asked:
        there = facts(compiled_policy, request, told, instant)
        wanted = tuple(held(matcher, there) for matcher in space.matchers)
        alike = [facts(compiled_policy, other, {}, instant) for other in space.requests
                 if price_cell(other) == price_cell(request)]  # fmt: skip
        masks = {tuple(space.request_masks(at, other) for at in range(3)) for other in alike}
        assert any(
            context.unlisted == (unlisted(compiled_policy, told),)
            and tuple(a & b for a, b in zip(row, context.masks, strict=True)) == wanted
            for context in contexts
            for row in masks
        )


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(policy_data(), st.randoms(use_true_random=False))
def test_the_example_of_a_context_is_one_of_those_it_stands_for(data: dict[str, Any], random: Random) -> None:
    """Its labels, fields and instant let hold what the context says."""
    policy = policy_of(data)
    assume(policy is not None)
    assert policy is not None
    space = space_of(policy.compiled)
    contexts = space.contexts(MOST)
    for context in random.sample(contexts, min(20, len(contexts))):
        request = random.choice(space.requests)
        assert context.masks == masks_of_example(policy.compiled, space, context, request)
        told = {name: value for name, value in context.example.items() if value and name in policy.labels}
        assert context.unlisted == (unlisted(policy.compiled, told),)


def masks_of_example(
    policy: Compiled, space: Space, context: Context, request: ModelCreateRequest
) -> tuple[int, ...]:
    """What a request in the example lets hold, apart from what the request does by itself."""
    told = {name: value for name, value in context.example.items() if value is not None}
    given = {name: value for name, value in told.items() if name in policy.labels}
    fields = {name: value for name, value in told.items() if name not in policy.labels}
    there = facts(policy, parse_request({**request.inputs(), **fields}), given, context.at or ENTRY.start)
    moving = {*space.moving, "credits", "usd", "seconds"}
    masks = []
    for matcher in space.matchers:
        mask = matcher.everything
        for column in matcher.columns:
            attribute = column.name.removeprefix("sent ")
            if attribute not in moving and not attribute.startswith(USED):
                mask &= column.mask(column.read(there))
        masks.append(mask)
    return tuple(masks)


# -- two policies at once --------------------------------------------------------------------------


def test_a_space_of_two_policies_tells_apart_what_one_of_them_does() -> None:
    """Their labels, their clocks and their lists together; each has its own part of the masks."""
    one = compiled(deny(team="a"), {"rewrite": {"output_format": "jpeg"}}, labels={"team": ["a", "b"]})
    two = compiled(deny(team="c", weekday="friday"), labels={"team": ["c"]}, timezone="Asia/Kolkata")
    joint = Space([one, two], [*matchers_of(one), *matchers_of(two)])
    assert joint.concrete() == 5 * (7 + 7)
    assert {context.unlisted for context in joint.contexts(MOST)} == {
        (False, False), (False, True), (True, False), (True, True)
    }  # fmt: skip
    part = joint.part(1, slice(3, 6))
    assert part.requests == joint.requests
    assert len(part.requests) == 320
    assert part.policy is two


# -- usage -----------------------------------------------------------------------------------------


@given(
    st.lists(st.fractions(0, 1, max_denominator=1000), max_size=5).map(lambda found: sorted(set(found))),
    st.integers(0, 60) | st.sampled_from([200, 7_500_000]),
)
def test_spans_tile_what_may_be_spent(bounds: list[Fraction], limit: int) -> None:
    """One after the other from nothing to the limit or beyond; in none of them a bound is passed."""
    found = list(spans(bounds, limit))
    assert found[0].least == 0
    assert all(one.most + 1 == other.least for one, other in pairwise(found))
    assert found[-1].most >= limit
    for span in found if limit else ():
        assert span.share == Fraction(span.least, limit)
        last = Fraction(span.most, limit)
        assert not any(span.share < bound <= last or span.share == bound != last for bound in bounds)


@pytest.mark.parametrize(
    ("limit", "asked", "expected"),
    [
        (100, {"at_least": "50%"}, [(0, 49), (50, 100)]),
        (100, {"above": "50%"}, [(0, 50), (51, 100)]),
        (100, ["50%"], [(0, 49), (50, 50), (51, 100)]),
        (3, {"at_least": "50%"}, [(0, 1), (2, 3)]),
        (1, {"at_least": "50%"}, [(0, 0), (1, 1)]),
        (100, {"above": "100%"}, [(0, 100), (101, 101)]),
        (0, {"at_least": "50%"}, [(0, 0)]),
        ("0.10 USD", {"above": "50%"}, [(0, 50_000), (50_001, 100_000)]),
    ],
)  # fmt: skip
def test_what_is_spent_is_split_where_an_answer_changes(
    limit: int | str, asked: Any, expected: list[tuple[int, int]]
) -> None:
    """In credits or micro-dollars; a budget that lets nothing through counts as used up."""
    policy = compiled(
        deny(used={"m": asked}),
        budgets=[{"name": "m", "limit": limit, "per": "day"}],
        credit_price="on-demand",
    )
    space, most = space_of(policy), policy.budgets[0].budget.limit.otherwise
    found = space.spans(0, most)
    assert [(span.least, span.most) for span in found] == expected
    for span in found:
        for spent in (span.least, span.most):
            share = Fraction(spent, most) if most else Fraction(1)
            assert space.used_masks(0, share) == space.used_masks(0, span.share)


# -- time ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edges", "minute", "found"),
    [([], 600, 0), ([360, 1320], 0, 1320), ([360, 1320], 360, 360), ([360, 1320], 1319, 360), ([0], 5, 0)],
)
def test_a_stretch_of_time_is_known_by_the_edge_it_begins_with(
    edges: list[int], minute: int, found: int
) -> None:
    """The one across midnight by the last edge of the day before."""
    assert stretch(edges, minute) == found


@given(
    st.lists(st.integers(0, 1439), min_size=1, max_size=3).map(lambda found: sorted(set(found))),
    some_instants,
    st.integers(0, 30 * 24 * 60),
    st.integers(1, 10 * 24 * 60),
)
def test_every_instant_looks_like_one_of_the_first_ones(
    edges: list[int], since: datetime, after: int, longer: int
) -> None:
    """Whatever an instant's weekday and stretch of the day, one of the instants before it has the same."""
    at = since + timedelta(minutes=after)
    found = instants(edges, [BERLIN], since, at + timedelta(minutes=longer))
    shown = {looks(one.astimezone(BERLIN), edges) for one in found if one <= at}
    assert looks(at.astimezone(BERLIN), edges) in shown
    assert found[0] == since
    assert found == sorted(found)


def looks(local: datetime, edges: list[int]) -> tuple[int, int]:
    return local.weekday(), stretch(edges, local.hour * 60 + local.minute)


def test_an_hour_that_the_clock_shows_twice_has_its_edges_twice() -> None:
    """On the day it is set back, half past two comes before and after."""
    since = datetime(2026, 10, 25, 0, 45, tzinfo=UTC)  # 2:45 in Berlin, for the first time
    found = instants([150], [BERLIN], since, since + timedelta(hours=2))
    assert found == [since, datetime(2026, 10, 25, 1, 30, tzinfo=UTC)]
