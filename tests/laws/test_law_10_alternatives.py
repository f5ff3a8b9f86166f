"""Law 10: a denial lists what would pass, each alternative verified by the same engine."""

# ruff: noqa: E501 -- a row of a table is read in one line

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from planner.loading import shipped_prices
from planner.prices import PriceBook
from planner.request import ModelCreateRequest, parse_request
from policies.alternatives import Alternatives, alternatives
from policies.budgets import Allowance, AskUsage, Usage
from policies.decision import Alternative, Decision, Verdict
from policies.engine import Policy
from policies.loading import parse_policy
from tests.laws.policy_strategies import instants, labels, policy_data, policy_of, text_of, usage_from
from tests.laws.strategies import FACE, requests

AT = datetime(2026, 11, 22, tzinfo=UTC)  # a Sunday
LABELS = {"team": ["social", "brand"], "campaign": "any"}
SPENT = 100


def spent(allowance: Allowance) -> Usage:
    """As many credits are used of every allowance, or as many dollars."""
    return Usage(settled=SPENT if allowance.unit == "credits" else SPENT * 1_000_000)


def search(
    rules: list[dict[str, Any]],
    inputs: dict[str, Any],
    usage: AskUsage = spent,
    allow_rewrite: bool = True,
    given: dict[str, str] | None = None,
    book: PriceBook | None = None,
    **more: Any,
) -> Alternatives:
    """What is offered by a policy of these rules for a request that it does not allow."""
    named = [{"name": f"rule-{number}", **rule} for number, rule in enumerate(rules, 1)]
    data = {"policy": 1, "name": "p", "otherwise": "allow", "labels": LABELS, "rules": named, **more}
    policy, book = parse_policy(text_of(data), "p.yaml"), book or shipped_prices()
    decision = policy.decide(
        {"prompt": "x", **inputs}, given, book=book, at=AT, usage=usage, allow_rewrite=allow_rewrite
    )
    return alternatives(policy, decision, book=book, at=AT, usage=usage)


def offered(*words: Any, **more: Any) -> list[dict[str, Any]]:
    return [found.as_json() for found in search(*words, **more).found]


def month(limit: Any = 100, **more: Any) -> dict[str, Any]:
    return {"name": "month", "limit": limit, "per": "month", **more}


LARGE = {"when": {"credits": {"above": 12}}, "deny": "too large"}
NIGHT = {"when": {"time": {"from": "22:00", "to": "06:00"}}, "deny": "nobody is awake"}
WEEKEND = {"when": {"weekday": ["saturday", "sunday"]}, "needs_approval": "lead"}


# -- other fields ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "inputs", "expected"),
    [
        ([LARGE], {"resolution": "4k"}, []),
        (
            [LARGE],
            {"resolution": "2k", "num_images": 4},
            [
                {"changes": {"num_images": 3}, "credits": 12},
                {"changes": {"generation_mode": "balanced"}, "credits": 12},
                {"changes": {"resolution": "1k"}, "credits": 4},
            ],
        ),
        (
            [{"when": {"resolution": "absent"}, "deny": "say how large"}],
            {},
            [{"changes": {"resolution": "1k"}, "credits": 1}],
        ),
        (
            [{"when": {"generation_mode": "fast"}, "deny": "no fast pictures"}],
            {"generation_mode": "fast"},
            [{"changes": {"generation_mode": "balanced"}, "credits": 2}],
        ),
        (
            [{"when": {"any": [{"resolution": "4k"}, {"num_images": 4}]}, "needs_approval": "lead"}],
            {"resolution": "4k", "generation_mode": "fast", "num_images": 4},
            [{"changes": {"num_images": 3, "resolution": "2k"}, "credits": 6}],
        ),
        ([{"when": {"team": "absent"}, "deny": "name your team"}], {}, []),
    ],
)
def test_the_fewest_changes_that_would_pass(
    rules: list[dict[str, Any]], inputs: dict[str, Any], expected: list[dict[str, Any]]
) -> None:
    """Alternatives change as few fields as can be, and the nearest in price stands first."""
    assert offered(rules, inputs) == expected


def test_a_full_budget_offers_what_still_fits() -> None:
    """With 5 credits left, four pictures at 2 become two at 2, or four at 1."""
    found = offered([], {"generation_mode": "balanced", "num_images": 4}, budgets=[month(105)])
    assert found[:2] == [
        {"changes": {"num_images": 2}, "credits": 4},
        {"changes": {"generation_mode": "fast"}, "credits": 4},
    ]


def test_a_caller_who_refuses_rewriting_is_told_what_the_policy_would_have_made() -> None:
    """The rewritten request stands as the one alternative, with every field that changes."""
    rule = {"when": {"face_reference": "present"}, "rewrite": {"resolution": "1k", "output_format": "jpeg"}}
    inputs = {"resolution": "4k", "generation_mode": "fast", "face_reference": FACE}
    assert offered([rule], inputs, allow_rewrite=False) == [
        {"changes": {"resolution": "1k", "output_format": "jpeg"}, "credits": 4}
    ]


def test_in_shadow_the_alternatives_are_those_of_the_denial_beside_it() -> None:
    """What would be denied once the policy is enforced can be prepared for."""
    inputs = {"resolution": "2k", "num_images": 4}
    assert offered([LARGE], inputs, enforcement="shadow") == offered([LARGE], inputs)


# -- waiting --------------------------------------------------------------------------------------

DECEMBER = "2026-12-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("rules", "more", "expected"),
    [
        ([], {"budgets": [month()]}, DECEMBER),
        ([], {"budgets": [month()], "timezone": "Europe/Berlin"}, "2026-12-01T00:00:00+01:00"),
        ([], {"budgets": [month(per="day")], "timezone": "Asia/Kolkata"}, "2026-11-23T00:00:00+05:30"),
        ([], {"budgets": [month(per="total")]}, None),
        ([], {"budgets": [month(0)]}, None),
        ([], {"budgets": [month(), {"name": "year", "limit": 100, "per": "year"}]}, "2027-01-01T00:00:00+00:00"),
        ([NIGHT], {}, "2026-11-22T06:00:00+00:00"),
        ([WEEKEND], {}, "2026-11-23T00:00:00+00:00"),
        ([{"when": {"weekday": {"not": "saturday"}}, "deny": "not today"}], {}, "2026-11-28T00:00:00+00:00"),
        ([NIGHT, WEEKEND], {}, "2026-11-23T06:00:00+00:00"),
        ([NIGHT], {"budgets": [month()]}, "2026-12-01T06:00:00+00:00"),
        ([{"when": {"used": {"month": {"at_least": "50%"}}}, "deny": "enough"}], {"budgets": [month(200)]}, DECEMBER),
        ([{"when": {"time": {"from": "22:00", "to": "06:00"}}, "rewrite": {"resolution": "1k"}}], {"budgets": [month()]}, DECEMBER),
        ([NIGHT, LARGE], {}, None),
    ],
)  # fmt: skip
def test_the_first_instant_from_which_it_would_go(
    rules: list[dict[str, Any]], more: dict[str, Any], expected: str | None
) -> None:
    """Ends of windows and edges of times are told in the policy's zone, if nothing else is spent."""
    found = offered(rules, {"resolution": "2k", "num_images": 4, "generation_mode": "quality"}, **more)
    waits = [(item["wait_until"], item["assuming"]) for item in found if "wait_until" in item]
    assert waits == ([(expected, "nothing else is spent")] if expected else [])


def test_a_wait_says_what_the_policy_makes_of_the_request_by_then() -> None:
    """Where the policy rewrites at that instant, the changes and the new price are told."""
    day = {"when": {"time": {"from": "06:00", "to": "22:00"}}, "rewrite": {"resolution": "1k"}}
    inputs = {"resolution": "4k", "generation_mode": "fast"}
    (wait,) = [item for item in offered([NIGHT, day], inputs) if "wait_until" in item]
    assert (wait["changes"], wait["credits"]) == ({"resolution": "1k"}, 1)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-03-29T00:30:00+00:00", "2026-03-29T03:00:00+02:00"),  # 02:30 is skipped
        ("2026-10-25T00:10:00+00:00", "2026-10-25T02:30:00+02:00"),  # 02:10 for the first time
        ("2026-10-25T01:10:00+00:00", "2026-10-25T02:30:00+01:00"),  # 02:10 for the second time
    ],
)
def test_edges_are_right_where_the_clock_is_changed(at: str, expected: str) -> None:
    """A local time that is skipped is reached with the skip, one that comes twice is reached twice."""
    rule = {"name": "n", "when": {"time": {"from": "00:00", "to": "02:30"}}, "deny": "no"}
    data = {"policy": 1, "name": "p", "otherwise": "allow", "timezone": "Europe/Berlin", "rules": [rule]}
    policy, instant = parse_policy(text_of(data), "p.yaml"), datetime.fromisoformat(at)
    book = opened(shipped_prices())
    decision = policy.decide({"prompt": "x"}, book=book, at=instant, usage=spent)
    found = alternatives(policy, decision, book=book, at=instant, usage=spent).found
    assert [item.as_json()["wait_until"] for item in found] == [expected]


def opened(book: PriceBook) -> PriceBook:
    """The book as if its first entry had always been in force."""
    first, *others = book.entries
    return PriceBook([replace(first, start=datetime(2020, 1, 1, tzinfo=UTC)), *others], book.checked_at)


def test_a_wait_never_leaves_the_price_book() -> None:
    """Where no price is known at the end of the window, the wait goes on to the next one, if there is one."""
    book = shipped_prices()
    (*before, last) = book.entries
    ends, again = datetime(2026, 11, 30, tzinfo=UTC), datetime(2026, 12, 10, tzinfo=UTC)
    ending = [*before, replace(last, end=ends)]
    for entries, expected in ((ending, []), ([*ending, replace(last, start=again)], [again.isoformat()])):
        found = offered([], {}, book=PriceBook(entries, book.checked_at), budgets=[month()])
        assert [item["wait_until"] for item in found if "wait_until" in item] == expected


# -- more credits ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budgets", "expected"),
    [
        ([month(103)], [{"budget": "month", "scope": {}, "credits": 1}]),
        (
            [month(102, for_each=["team", "campaign"])],
            [{"budget": "month", "scope": {"team": "social", "campaign": None}, "credits": 2}],
        ),
        ([month("100.10 USD")], [{"budget": "month", "scope": {}, "usd": "0.20"}]),
        (
            [month(103), {"name": "ever", "limit": 104, "per": "total"}, {"name": "day", "limit": 1, "per": "day"}],
            [{"budget": "month", "scope": {}, "credits": 1}, {"budget": "day", "scope": {}, "credits": 103}],
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("full", ["deny", {"needs_approval": "finance"}])
def test_how_much_more_the_full_budgets_would_have_to_let_through(
    budgets: list[dict[str, Any]], expected: list[dict[str, Any]], full: Any
) -> None:
    """For every budget that is full: its scope and what is missing, in its own unit."""
    given = [{**budget, "when_exhausted": full} for budget in budgets]
    found = offered(
        [], {"resolution": "2k"}, given={"team": "social"}, budgets=given, credit_price="on-demand"
    )
    assert found[-1] == {"changes": {}, "credits": 4, "more": expected}


def test_where_nothing_helps_by_itself_a_smaller_request_is_offered_later_or_with_more() -> None:
    """Too large for a rule and for what is left: the nearest form that only the budget refuses."""
    found = offered([LARGE], {"resolution": "2k", "num_images": 4}, budgets=[month()])
    changes = {"changes": {"num_images": 3}, "credits": 12}
    assert found == [
        {**changes, "wait_until": DECEMBER, "assuming": "nothing else is spent"},
        {**changes, "more": [{"budget": "month", "scope": {}, "credits": 12}]},
    ]


DOWN = {"downgrade": {"give_up_in_order": ["num_images", "resolution"], "floor": {"resolution": "2k"}}}


def test_where_nothing_is_small_enough_to_go_down_to_more_credits_are_offered_all_the_same() -> None:
    """A floor binds what the policy makes of a request, not what its sender may choose instead."""
    found = offered([], {"resolution": "4k"}, budgets=[month(102, when_exhausted=DOWN)])
    assert found == [
        {"changes": {"resolution": "1k"}, "credits": 1},
        {"changes": {}, "credits": 5, "wait_until": DECEMBER, "assuming": "nothing else is spent"},
        {"changes": {}, "credits": 5, "more": [{"budget": "month", "scope": {}, "credits": 3}]},
    ]


def test_a_caller_who_refuses_rewriting_is_told_what_a_full_budget_would_have_left() -> None:
    """The request as it would have gone down is the one alternative, its mode written out."""
    budgets = [month(104, when_exhausted=DOWN)]
    assert offered([], {"resolution": "4k", "num_images": 2}, allow_rewrite=False, budgets=budgets) == [
        {"changes": {"resolution": "2k", "generation_mode": "quality", "num_images": 1}, "credits": 4}
    ]


def test_a_rule_in_shadow_stands_in_nobodys_way() -> None:
    """What a rule would do once it is in force is no reason to offer less."""
    shadow = {"when": {"num_images": {"below": 4}}, "deny": "not yet", "shadow": True}
    inputs = {"resolution": "2k", "num_images": 4}
    assert offered([LARGE, shadow], inputs) == offered([LARGE], inputs)


def test_more_credits_are_not_offered_where_they_would_not_help() -> None:
    """What a rule denies stays denied, however much a budget lets through."""
    found = search([{"deny": "never"}], {}, budgets=[month()])
    assert found == Alternatives((), "`rule-1` and `month` deny it at any number, mode and resolution")


# -- why there is none ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "given", "expected"),
    [
        (
            [{"when": {"team": "absent"}, "deny": "name it"}],
            {},
            "`rule-1` denies it at any number, mode and resolution; with `team` social or brand it would pass",
        ),
        (
            [{"when": {"team": "absent"}, "deny": "name it"}, {"when": {"team": "brand"}, "deny": "not they"}],
            {},
            "`rule-1` denies it at any number, mode and resolution; with `team` social it would pass",
        ),
        (
            [],
            {"team": "socail"},
            "`label team` denies it at any number, mode and resolution; with `team` social or brand it would pass",
        ),
        ([{"when": {"campaign": "absent"}, "deny": "name it"}], {}, "`rule-1` denies it at any number, mode and resolution"),
        (
            [{"deny": "a"}, {"needs_approval": "b"}, {"deny": "c"}],
            {"team": "social"},
            "`rule-1` and `rule-3` deny it at any number, mode and resolution",
        ),
        ([{"needs_approval": "b"}], {"team": "social"}, "`rule-1` asks for approval of it at any number, mode and resolution"),
        (
            [{"when": {"num_images": 1}, "deny": "a"}, {"when": {"num_images": {"above": 1}}, "deny": "b"}],
            {"team": "social"},
            "every other number, mode and resolution is refused too, by `rule-1` or `rule-2`",
        ),
    ],
)  # fmt: skip
def test_an_empty_list_says_why(rules: list[dict[str, Any]], given: dict[str, str], expected: str) -> None:
    """The rules that refuse every form are named, and the label with which it would pass."""
    assert search(rules, {}, given=given) == Alternatives((), expected)


def test_an_allowed_request_needs_neither_alternatives_nor_a_reason() -> None:
    """There is nothing to say where nothing was refused."""
    assert search([], {}) == Alternatives()


def test_usage_is_asked_once_for_all_alternatives() -> None:
    """A ledger is not asked again for each candidate, nor about windows that have not begun."""
    asked: list[Allowance] = []

    def usage(allowance: Allowance) -> Usage:
        asked.append(allowance)
        return Usage(settled=100)

    assert offered([], {}, usage=usage, budgets=[month()]) == [
        {"changes": {}, "credits": 1, "wait_until": DECEMBER, "assuming": "nothing else is spent"},
        {"changes": {}, "credits": 1, "more": [{"budget": "month", "scope": {}, "credits": 1}]},
    ]
    assert len(asked) == 2  # once for the decision, once for its alternatives


# -- over random policies --------------------------------------------------------------------------


class Refusal:
    """A random request that a random policy does not allow, and everything around it."""

    def __init__(
        self, data: dict[str, Any], request: ModelCreateRequest, given_labels: dict[str, str], at: datetime
    ) -> None:
        policy = policy_of(data)
        assume(policy is not None)
        assert policy is not None
        self.policy: Policy = policy
        self.request = request
        self.labels = given_labels
        self.at = at
        self.usage = usage_from(3)
        self.decision = self.judge(request, allow_rewrite=True)
        assume(self.decision.verdict is not Verdict.ALLOW)
        self.offered = alternatives(policy, self.decision, book=shipped_prices(), at=at, usage=self.usage)

    def judge(self, request: ModelCreateRequest, allow_rewrite: bool = False, **other: Any) -> Decision:
        around = {"book": shipped_prices(), "at": self.at, "usage": self.usage, **other}
        return self.policy.judge(request, self.labels, allow_rewrite=allow_rewrite, **around)

    def later(self, allowance: Allowance) -> Usage:
        """If nothing else is spent: what is used stays used, and a window that begins is empty."""
        return self.usage(allowance) if allowance.start <= self.at else Usage()

    def changed(self, alternative: Alternative) -> ModelCreateRequest:
        """What was asked for, with the changes of an alternative."""
        inputs = self.request.inputs()
        for name, value in alternative.changes.items():
            if not name.endswith("_reference"):
                inputs[name] = value
            elif not value:
                del inputs[name]
        return parse_request({name: value for name, value in inputs.items() if value is not None})


def refusals() -> st.SearchStrategy[Refusal]:
    return st.builds(Refusal, policy_data(), requests(), labels(), instants)


def answer(found: Decision) -> tuple[Verdict, tuple[Any, ...], int]:
    return found.verdict, found.changes, found.credits


@settings(max_examples=40, deadline=None)
@given(refusals())
def test_each_alternative_is_allowed_as_it_stands(refusal: Refusal) -> None:
    """Sent instead of what was asked, it is allowed unchanged at the price that was named."""
    for alternative in refusal.offered.found:
        if alternative.wait_until is None and not alternative.more:
            again = refusal.judge(refusal.changed(alternative))
            assert answer(again) == (Verdict.ALLOW, (), alternative.credits)


@settings(max_examples=60, deadline=None)
@given(refusals(), st.lists(st.integers(0, 10**6 - 1), min_size=12, max_size=12))
def test_a_wait_ends_when_the_request_would_first_be_allowed(refusal: Refusal, moments: list[int]) -> None:
    """At its instant the request is allowed, and at no instant before; without one, at none at all."""
    found = [item for item in refusal.offered.found if item.wait_until is not None]
    assert len(found) <= 1
    end = refusal.at + timedelta(days=500)
    for alternative in found:
        assert alternative.wait_until is not None
        end = alternative.wait_until.astimezone(UTC)
        again = refusal.judge(refusal.changed(alternative), at=end, usage=refusal.later)
        assert answer(again) == (Verdict.ALLOW, (), alternative.credits)
    span = (end - refusal.at) // timedelta(minutes=1)
    for minutes in (*(moment * span // 10**6 for moment in moments), max(0, span - 1)):
        at = refusal.at + timedelta(minutes=minutes)
        early = refusal.judge(refusal.request, allow_rewrite=True, at=at, usage=refusal.later)
        assert early.verdict is not Verdict.ALLOW


@settings(max_examples=60, deadline=None)
@given(refusals())
def test_more_credits_are_as_few_as_will_do(refusal: Refusal) -> None:
    """Granted to the budgets that are named, they let the request pass; with one unit less they do not."""
    for alternative in refusal.offered.found:
        asked = {more.allowance: more.amount for more in alternative.more}
        if not asked:
            continue
        assert all(amount > 0 for amount in asked.values())
        request = refusal.changed(alternative)
        again = refusal.judge(request, usage=granting(refusal.usage, asked))
        assert answer(again) == (Verdict.ALLOW, (), alternative.credits)
        for allowance in asked:
            less = {**asked, allowance: asked[allowance] - 1}
            assert refusal.judge(request, usage=granting(refusal.usage, less)).verdict is not Verdict.ALLOW


def granting(usage: AskUsage, grants: dict[Allowance, int]) -> AskUsage:
    def granted(allowance: Allowance) -> Usage:
        found = usage(allowance)
        return found._replace(granted=found.granted + grants.get(allowance, 0))

    return granted


@settings(max_examples=40, deadline=None)
@given(refusals())
def test_what_is_refused_has_an_alternative_or_a_reason(refusal: Refusal) -> None:
    """Never both and never neither; the fewest changes come first, then waiting, then more credits."""
    found, why = refusal.offered.found, refusal.offered.why
    assert bool(found) != bool(why)
    kinds = [(bool(item.more), item.wait_until is not None, len(item.changes)) for item in found]
    fields = [kind for kind in kinds if kind[:2] == (False, False)]
    assert [kind[:2] for kind in kinds] == sorted(kind[:2] for kind in kinds)
    assert len(fields) <= 3
    assert len(kinds) - len(fields) <= 2
