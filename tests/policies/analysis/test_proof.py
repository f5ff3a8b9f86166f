"""Proofs of policies whose answers are known: what holds, what does not, and on which request."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from planner.errors import NoPrice
from planner.loading import price_book, read_yaml, shipped_latency, shipped_prices
from planner.prices import PriceBook
from planner.request import ASPECT_RATIOS
from policies.analysis.proof import ALWAYS, CHEAPER, FIRE, STABLE, Proof, Result, prove
from policies.budgets import Allowance, Usage
from policies.decision import Decision, Verdict
from policies.engine import Policy
from policies.loading import load_policy, parse_policy, shipped_policies
from policies.spending import scope_name
from tests.laws.policy_strategies import text_of

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)  # A Sunday, half past ten in Berlin.
BOOK = shipped_prices()


def policy_with(*rules: dict[str, Any], **more: Any) -> Policy:
    named = [{"name": f"rule-{number}", **rule} for number, rule in enumerate(rules)]
    head = {"policy": 1, "name": "p", "otherwise": "allow", "timezone": "Europe/Berlin"}
    return parse_policy(text_of({**head, "rules": named, **more}), "p.yaml")


def result_of(never: dict[str, Any], *rules: dict[str, Any], book: PriceBook = BOOK, **more: Any) -> Result:
    """What becomes of one guarantee."""
    policy = policy_with(*rules, **more, guarantees=[{"name": "promise", "never": never}])
    return prove(policy, book, NOW).results[0]


def told(result: Result) -> tuple[dict[str, Any], dict[str, int]] | None:
    """The counterexample: what is asked for beside the prompt, labels included, and what is spent."""
    found = result.counterexample
    if found is None:
        return None
    asked = {**found.asked.inputs, **found.asked.labels}
    del asked["prompt"]
    return asked, {name: amount for name, amount in found.spent.items() if amount}


def by_name(proof: Proof) -> dict[str, Result]:
    return {result.name: result for result in proof.results}


# -- verdicts, prices and final requests -----------------------------------------------------------

ASK = {"when": {"credits": {"at_least": 12}}, "needs_approval": "finance"}
DENY = {"when": {"resolution": "4k"}, "deny": "too large"}
SMALLER = {"when": {"resolution": "4k"}, "rewrite": {"resolution": "2k"}}


@pytest.mark.parametrize(
    ("never", "rules", "expected"),
    [
        ({"verdict": "allow", "credits": {"at_least": 12}}, [ASK], None),
        ({"verdict": "allow", "credits": {"at_least": 11}}, [ASK], None),
        ({"verdict": "allow", "credits": {"at_least": 10}}, [ASK], {"resolution": "4k", "num_images": 2}),
        ({"verdict": "needs_approval", "credits": {"below": 12}}, [ASK], None),
        ({"verdict": "needs_approval", "resolution": "1k", "face_reference": "absent"}, [ASK],
         {"generation_mode": "quality", "num_images": 4}),
        ({"verdict": "deny"}, [ASK], None),
        ({"verdict": "deny"}, [DENY], {"resolution": "4k"}),
        ({"verdict": ["allow", "needs_approval"], "resolution": "4k"}, [DENY], None),
        ({"resolution": "4k"}, [DENY], {"resolution": "4k"}),
        ({"verdict": "allow", "resolution": "4k"}, [{**DENY, "shadow": True}], {"resolution": "4k"}),
        ({"resolution": "4k"}, [SMALLER], None),
        ({"resolution": "4k"}, [{**SMALLER, "shadow": True}], {"resolution": "4k"}),
        ({"resolution": "2k", "credits": {"above": 16}}, [SMALLER],
         {"face_reference": "https://example.com/face.png", "resolution": "2k", "num_images": 3}),
        ({"verdict": "allow", "credits": {"above": 4}},
         [{"downgrade": {"at_most": 4, "give_up_in_order": ["num_images", "resolution"]}}],
         None),
        ({"verdict": "deny"},
         [{"downgrade": {"at_most": 4, "give_up_in_order": ["num_images", "resolution"]}}],
         {"face_reference": "https://example.com/face.png", "generation_mode": "balanced"}),
        ({"verdict": "allow", "usd": {"above": 2}}, [], {
            "face_reference": "https://example.com/face.png", "resolution": "2k", "num_images": 4}),
        ({"verdict": "allow", "usd": {"above": 2}}, [ASK], None),
        ({"verdict": "allow", "seconds": {"above": 300}}, [], None),
        ({"verdict": "allow", "seconds": {"above": 100}}, [], {"resolution": "4k"}),
        ({"not": {"credits": {"at_least": 1}}}, [], None),
        ({"not": {"any": [{"verdict": "allow"}, {"verdict": "deny"}]}}, [ASK],
         {"resolution": "4k", "num_images": 3}),
        ({"verdict": "allow", "output_format": "jpeg", "return_base64": True}, [],
         {"output_format": "jpeg", "return_base64": True}),
        ({"verdict": "allow", "aspect_ratio": {"not": "1:1"}, "image_reference": "absent"}, [],
         {"aspect_ratio": "21:9"}),
        ({"verdict": "allow", "aspect_ratio": {"not": [*ASPECT_RATIOS]}}, [],
         {"image_reference": "https://example.com/pose.png"}),
        ({"verdict": "allow", "face_reference_mode": "match_base"}, [],
         {"face_reference": "https://example.com/face.png", "face_reference_mode": "match_base"}),
    ],
)  # fmt: skip
def test_what_is_said_of_verdicts_prices_and_final_requests(
    never: dict[str, Any], rules: list[dict[str, Any]], expected: dict[str, Any] | None
) -> None:
    """Proven, or refuted by a request with as few fields as there can be, of which there may be several."""
    found = result_of(never, *rules, credit_price="on-demand", latency_profile=shipped_latency().name)
    shown = told(found)
    assert found.proved is (expected is None)
    if expected is not None:
        assert shown is not None
        assert len(shown[0]) == len(expected)
        assert shown[0] == expected or len(expected) > 1
        assert_broken(never, found)


def assert_broken(never: dict[str, Any], result: Result) -> None:
    """The decision of the counterexample is of the verdict and the price that the guarantee forbids."""
    assert result.counterexample is not None
    decision: Decision = result.counterexample.decision
    verdicts = never.get("verdict", decision.verdict.value)
    assert decision.verdict.value in verdicts
    bound = never.get("credits", {})
    assert decision.credits >= bound.get("at_least", 0)
    assert decision.credits > bound.get("above", 0)


def test_the_smallest_counterexample_costs_least_of_those_with_as_few_fields() -> None:
    """For more than eight credits two fields are needed, and of all such requests one costs nine."""
    found = result_of({"verdict": "allow", "credits": {"above": 8}})
    assert found.counterexample is not None
    assert found.counterexample.size == (3, 0, 0, 9)


def test_what_is_told_of_a_result() -> None:
    """Its place in the file; the author's reason where it holds, and what happens where it does not."""
    promises = [
        {"name": "held", "never": {"verdict": "deny"}, "because": "nobody is turned away"},
        {"name": "plain", "never": {"verdict": "needs_approval"}},
        {"name": "broken", "never": {"verdict": "allow", "credits": 1}},
    ]
    found = prove(policy_with(guarantees=promises), BOOK, NOW)
    assert [(result.name, result.proved, result.why, result.where) for result in found.results[:3]] == [
        ("held", True, "nobody is turned away", "p.yaml:1"),
        ("plain", True, "no decision is like that", "p.yaml:1"),
        ("broken", False, "a request for 1 credit is allowed", "p.yaml:1"),
    ]
    assert found.proved is False
    assert str(found.results[2].counterexample.asked) == "a plain request"  # type: ignore[union-attr]


# -- labels ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("never", "rules", "expected"),
    [
        ({"verdict": "allow", "team": "absent"}, [{"when": {"team": "absent"}, "deny": "name it"}], None),
        ({"verdict": "allow", "team": "absent"}, [{"when": {"team": "a"}, "deny": "no"}], {}),
        ({"verdict": "allow", "team": {"not": ["a", "b"]}}, [{"when": {"team": "absent"}, "deny": "no"}],
         None),
        ({"verdict": "allow", "team": "b"}, [{"when": {"team": "a"}, "deny": "no"}], {"team": "b"}),
        ({"verdict": "deny", "team": "present"}, [], {"team": "any other"}),
        ({"verdict": "allow", "campaign": {"not": "x"}}, [{"when": {"campaign": "absent"}, "deny": "no"}],
         {"campaign": "any other"}),
        ({"verdict": "allow", "campaign": {"not": "x"}},
         [{"when": {"campaign": {"not": ["x", "y"]}}, "deny": "no"}], {"campaign": "y"}),
        ({"verdict": "allow", "campaign": "x", "team": "a"}, [], {"campaign": "x", "team": "a"}),
    ],
)  # fmt: skip
def test_labels_are_absent_listed_named_or_any_other(
    never: dict[str, Any], rules: list[dict[str, Any]], expected: dict[str, str] | None
) -> None:
    """A value that a list does not have is denied; a label with any value has one nobody names."""
    found = result_of(never, *rules, labels={"team": ["a", "b"], "campaign": "any"})
    assert told(found) == (None if expected is None else (expected, {}))


def test_a_limit_of_a_value_that_no_condition_names_is_visited() -> None:
    """Only denim may spend anything, so something is allowed, and only under that label."""
    month = {"name": "m", "limit": {"denim": 9, "otherwise": 0}, "per": "month", "for_each": ["campaign"]}
    labels = {"campaign": "any"}
    found = result_of({"verdict": "allow"}, labels=labels, budgets=[month])
    assert told(found) == ({"campaign": "denim"}, {})
    only = {"verdict": "allow", "credits": {"above": 9}}
    assert result_of(only, labels=labels, budgets=[month]).proved is True


# -- the clock -------------------------------------------------------------------------------------

NIGHT = {"time": {"from": "22:00", "to": "06:00"}}
WEEKEND = {"weekday": ["saturday", "sunday"]}


@pytest.mark.parametrize(
    ("never", "when", "expected"),
    [
        ({"verdict": "allow", **NIGHT}, NIGHT, None),
        ({"verdict": "deny", "time": {"from": "06:00", "to": "22:00"}}, NIGHT, None),
        ({"verdict": "allow", "time": {"from": "05:00", "to": "06:01"}}, NIGHT, "2026-11-23 06:00"),
        ({"verdict": "allow", "time": {"from": "21:59", "to": "06:00"}}, NIGHT, "2026-11-22 21:59"),
        ({"verdict": "deny", "time": {"from": "00:00", "to": "12:00"}}, NIGHT, "2026-11-23 00:00"),
        ({"verdict": "deny"}, WEEKEND, "2026-11-22 10:30"),
        ({"verdict": "allow", "weekday": "monday"}, WEEKEND, "2026-11-23 00:00"),
        ({"verdict": "allow", "weekday": "friday", "time": {"from": "10:00", "to": "10:01"}}, NIGHT,
         "2026-11-27 10:00"),
        ({"verdict": "deny", "weekday": "sunday", **NIGHT}, WEEKEND, "2026-11-22 22:00"),
    ],
)  # fmt: skip
def test_the_clock_is_visited_where_an_answer_changes(
    never: dict[str, Any], when: dict[str, Any], expected: str | None
) -> None:
    """Across midnight and over the week, in the policy's zone; the first instant from now on is told."""
    found = result_of(never, {"when": when, "deny": "no"})
    if expected is None:
        assert found.proved is True
        return
    assert found.counterexample is not None
    local = found.counterexample.asked.at.astimezone(ZoneInfo("Europe/Berlin"))
    assert f"{local:%Y-%m-%d %H:%M}" == expected


# -- budgets ---------------------------------------------------------------------------------------

MONTH = {"name": "m", "limit": 100, "per": "month"}
ASKS = {"when_exhausted": {"needs_approval": "finance"}}
LARGE = {"verdict": "allow", "used": {"m": {"at_least": "90%"}}}
DOWN = {"downgrade": {"give_up_in_order": ["num_images", "resolution"]}}


@pytest.mark.parametrize(
    ("never", "budget", "rules", "expected"),
    [
        ({"verdict": "deny"}, {}, [], ({}, {"m": 100})),
        ({"verdict": "deny", "credits": {"above": 27}}, {}, [], (3, {"m": 73})),
        ({"verdict": "deny"}, ASKS, [], None),
        ({"verdict": "needs_approval"}, ASKS, [], ({}, {"m": 100})),
        ({"verdict": "allow", "used": {"m": {"at_least": "100%"}}}, {}, [], None),
        ({"verdict": "allow", "used": {"m": {"at_least": "99%"}}}, {}, [], ({}, {"m": 99})),
        ({"verdict": "allow", "used": {"m": {"above": "99%"}}}, {}, [], None),
        (LARGE, {}, [{"when": {"used": {"m": {"at_least": "80%"}}}, "deny": "nearly full"}], None),
        (LARGE, {}, [{"when": {"used": {"m": {"above": "90%"}}}, "deny": "nearly full"}], ({}, {"m": 90})),
        (LARGE, {"applies_to": {"num_images": 4}}, [], ({"num_images": 4}, {"m": 90})),
        ({"verdict": "allow", "num_images": 4}, {"limit": 3}, [], None),
        ({"verdict": "allow", "num_images": 4}, {"limit": 4}, [], ({"num_images": 4}, {})),
        ({"verdict": "allow"}, {"limit": 0}, [], None),
        ({"verdict": "allow", "num_images": 4}, {"limit": "0.225 USD"}, [], None),
        ({"verdict": "deny"}, {"limit": "3 USD"}, [], ({}, {"m": 2_925_001})),
        ({"verdict": "deny"}, {"when_exhausted": DOWN}, [], ({}, {"m": 100})),
        ({"verdict": "deny", "generation_mode": "fast"}, {"limit": 4, "when_exhausted": DOWN}, [],
         ({}, {"m": 4})),
        ({"verdict": "deny", "face_reference": "absent", "used": {"m": {"at_most": "0%"}}},
         {"limit": 2, "when_exhausted": DOWN}, [], ({"generation_mode": "quality"}, {})),
        ({"verdict": "deny", "face_reference": "absent", "used": {"m": {"at_most": "0%"}}},
         {"limit": 3, "when_exhausted": DOWN}, [], None),
        ({"verdict": "allow", "credits": {"above": 100}}, {"when_exhausted": DOWN}, [], None),
    ],
)  # fmt: skip
def test_budgets_are_as_full_as_it_takes(
    never: dict[str, Any], budget: dict[str, Any], rules: list[dict[str, Any]], expected: Any
) -> None:
    """As little is spent as leads there; where the number of fields is given, only they are counted."""
    found = result_of(never, *rules, budgets=[{**MONTH, **budget}], credit_price="on-demand")
    shown = told(found)
    if expected is not None and isinstance(expected[0], int):
        assert shown is not None
        shown = len(shown[0]), shown[1]  # type: ignore[assignment]
    assert shown == expected


def test_of_several_budgets_only_those_are_spent_that_matter() -> None:
    """A full one that asks and one that denies with room; a third that does not count the request."""
    budgets = [
        {"name": "asks", "limit": 50, "per": "day", "when_exhausted": {"needs_approval": "finance"}},
        {"name": "denies", "limit": 80, "per": "day"},
        {"name": "other", "limit": 10, "per": "day", "applies_to": {"resolution": "4k"}},
    ]
    asked = result_of({"verdict": "needs_approval"}, budgets=budgets)
    assert told(asked) == ({}, {"asks": 50})
    assert result_of({"verdict": "needs_approval", "credits": {"above": 80}}, budgets=budgets).proved is True
    assert told(result_of({"verdict": "deny"}, budgets=budgets)) == ({}, {"denies": 80})


def test_two_budgets_that_let_go_down_are_stuck_together() -> None:
    """Only where the second floor holds as well there is nothing left that fits."""
    down = {"give_up_in_order": ["num_images", "resolution"]}
    budgets = [
        {"name": "one", "limit": 30, "per": "day", "when_exhausted": {"downgrade": down}},
        {"name": "two", "limit": 30, "per": "day",
         "when_exhausted": {"downgrade": {**down, "floor": {"num_images": 2}}}},
    ]  # fmt: skip
    never = {"verdict": "deny", "used": {"one": {"at_most": "98%"}, "two": {"at_most": "95%"}}}
    found = result_of(
        {**never, "resolution": "1k", "generation_mode": "fast", "face_reference": "absent"}, budgets=budgets
    )
    assert found.counterexample is not None
    assert found.counterexample.decision.request.num_images is not None
    assert found.counterexample.spent["one"] >= 27


def test_a_request_that_is_stuck_at_once_needs_nothing_spent() -> None:
    """Five credits do not fit in two, nor does anything smaller with a face."""
    budget = {**MONTH, "limit": 2, "when_exhausted": DOWN}
    never = {"verdict": "deny", "face_reference": "present", "credits": {"above": 4}}
    found = result_of(never, budgets=[budget])
    assert found.counterexample is not None
    assert found.counterexample.size == (3, 0, 0, 5)


def test_what_has_room_in_a_budget_that_asks_still_has_room_when_it_is_smaller() -> None:
    """One image does not count in the budget that lets go down, and fits in the other one if two did."""
    many = {"num_images": {"above": 1}}
    budgets = [
        {"name": "many", "limit": 10, "per": "day", "applies_to": many, "when_exhausted": DOWN},
        {"name": "all", "limit": 20, "per": "day", **ASKS},
    ]
    assert result_of({"verdict": "deny"}, budgets=budgets).proved is True


def test_scopes_are_named_as_they_are_typed() -> None:
    """By the labels of the request; a budget alone where a slash in a value would be misread."""
    labels = {"team": ["a"], "campaign": "any"}
    both = {**MONTH, "for_each": ["team", "campaign"]}
    never = {"verdict": "deny", "team": "a"}
    assert told(result_of(never, labels=labels, budgets=[both])) == ({"team": "a"}, {"m/a/absent": 100})
    slashed = {**never, "campaign": "ss/26"}
    assert told(result_of(slashed, labels=labels, budgets=[both]))[1] == {"m": 100}  # type: ignore[index]
    each = {**MONTH, "for_each": ["campaign"]}
    assert told(result_of(slashed, labels=labels, budgets=[each]))[1] == {"m/ss/26": 100}  # type: ignore[index]


# -- prices ----------------------------------------------------------------------------------------

LATER = """
price_book: fashn
checked: 2027-02-01
entries:
  - from: 2027-01-01
    source: a price list that turns the modes around
    credits:
      fast:     {1k: 9, 2k: 9, 4k: 9}
      balanced: {1k: 2, 2k: 3, 4k: 4}
      quality:  {1k: 3, 2k: 4, 4k: 5}
    face_reference: 3
    omitted_mode: {1k: balanced, 2k: quality, 4k: quality}
"""


@pytest.fixture
def later() -> PriceBook:
    """The shipped prices, and from January on others."""
    return BOOK.extended(price_book(read_yaml(LATER)).entries)


def until(end: datetime) -> PriceBook:
    """The shipped prices, but only until then."""
    return PriceBook([replace(BOOK.entries[0], end=end)], BOOK.checked_at)


def test_a_price_that_comes_later_is_tried_as_well(later: PriceBook) -> None:
    """Fast costs nine credits from January on; that instant is told."""
    never = {"verdict": "allow", "generation_mode": "fast", "num_images": 1, "credits": {"above": 6}}
    assert result_of(never).proved is True
    found = result_of(never, book=later)
    assert found.counterexample is not None
    assert found.counterexample.asked.at == datetime(2027, 1, 1, tzinfo=UTC)
    assert found.counterexample.decision.credits == 9


def test_a_price_that_will_come_and_go_is_tried_as_well() -> None:
    """Fast costs nine credits from January until June; what follows is not known yet."""
    text = LATER.replace("    source:", "    to: 2027-06-01\n    source:")
    book = BOOK.extended(price_book(read_yaml(text)).entries)
    never = {"verdict": "allow", "generation_mode": "fast", "num_images": 1, "credits": {"above": 6}}
    assert result_of(never, book=book).proved is False


def test_a_price_that_is_over_is_not_tried(later: PriceBook) -> None:
    """In February the old prices are history."""
    policy = policy_with(guarantees=[{"name": "p", "never": {"verdict": "allow", "credits": 1}}])
    assert prove(policy, later, NOW).results[0].proved is False
    assert prove(policy, later, datetime(2027, 2, 1, tzinfo=UTC)).results[0].proved is True


def test_rules_that_are_at_fault_only_under_a_later_price_are_refuted(later: PriceBook) -> None:
    """What loading could not know: the counterexamples are denied by the engine, and so nothing goes."""
    policy = policy_with(
        {"when": {"credits": {"at_least": 9}}, "rewrite": {"num_images": 1}},
        {"rewrite": {"generation_mode": "fast"}, "may_cost_more": True},
        guarantees=[{"name": "promise", "never": {"verdict": "allow", "credits": {"at_least": 18}}}],
    )
    assert prove(policy, BOOK, NOW).proved is True
    found = by_name(prove(policy, later, NOW))
    assert found["promise"].proved is True
    broken = found[STABLE].counterexample
    assert broken is not None
    assert broken.asked.inputs == {"prompt": "x", "num_images": 2}
    assert broken.decision.verdict is Verdict.DENY
    dearer = prove(policy_with({"rewrite": {"generation_mode": "fast"}}), later, NOW)
    assert [name for name, result in by_name(dearer).items() if not result.proved] == [CHEAPER]
    assert str(by_name(dearer)[CHEAPER].counterexample.asked) == "a plain request"  # type: ignore[union-attr]


def test_only_weekdays_that_come_before_the_price_ends_are_tried() -> None:
    """Until Tuesday midnight there is no Wednesday, but there is a Tuesday, which Monday stands for else."""
    never = {"verdict": "deny"}
    ends = datetime(2026, 11, 24, 23, tzinfo=UTC)
    wednesday = {"when": {"weekday": "wednesday"}, "deny": "no"}
    assert result_of(never, wednesday, book=until(ends)).proved is True
    assert result_of(never, wednesday, book=until(ends + timedelta(minutes=1))).proved is False
    ordinary = {"when": {"weekday": ["monday", "tuesday"]}, "deny": "no"}
    policy = policy_with(ordinary, guarantees=[{"name": "promise", "never": never}])
    found = prove(policy, until(ends), datetime(2026, 11, 24, 12, 5, 30, tzinfo=UTC)).results[0]
    assert found.counterexample is not None
    assert found.counterexample.asked.at == datetime(2026, 11, 24, 12, 5, 30, tzinfo=UTC)


def test_a_rule_for_a_day_that_does_not_come_any_more_cannot_fire() -> None:
    """The price ends on Sunday evening, and no other one is known."""
    policy = policy_with({"when": {"weekday": "monday"}, "deny": "no"})
    sunday = until(datetime(2026, 11, 22, 20, tzinfo=UTC))
    assert by_name(prove(policy, BOOK, NOW))[FIRE].proved is True
    assert by_name(prove(policy, sunday, NOW))[FIRE].proved is False


def test_nothing_is_proven_where_no_price_is_in_force() -> None:
    """Everything would hold of no request at all, so it is an error."""
    with pytest.raises(NoPrice):
        prove(policy_with(), until(NOW), NOW)


# -- what always has to hold -----------------------------------------------------------------------


def test_every_rule_has_to_fire_somewhere_and_those_that_do_not_are_named() -> None:
    """Of every kind, in shadow or not; where they stand is told."""
    policy = policy_with(
        {"when": {"resolution": "4k"}, "rewrite": {"resolution": "2k"}},
        {"when": {"resolution": "4k", "face_reference": "present"}, "rewrite": {"face_reference": "absent"}},
        {"when": {"resolution": "4k"}, "deny": "never reached", "shadow": True},
        {"when": {"credits": {"above": 32}}, "needs_approval": "nobody"},
        {"when": {"resolution": "2k"}, "rewrite": {"num_images": 1}, "shadow": True},
        {"when": {"num_images": 4}, "allow": "fine", "shadow": True},
    )
    found = by_name(prove(policy, BOOK, NOW))[FIRE]
    assert (found.proved, found.why) == (False, "nothing reaches `rule-1`, `rule-2`, `rule-3`")
    assert found.where == "p.yaml:1"


def test_what_is_denied_because_nothing_fits_is_neither_restless_nor_dearer() -> None:
    """The second rule would raise the price of what the first one denies, and so it does not matter."""
    four = {"num_images": 4}
    down = {"at_most": 1, "give_up_in_order": ["num_images"], "floor": {"num_images": 2}}
    policy = policy_with({"when": four, "downgrade": down}, {"when": four, "rewrite": {"resolution": "4k"}})
    assert prove(policy, BOOK, NOW).proved is True


@pytest.mark.parametrize("name", shipped_policies())
def test_shipped_policies_hold_what_they_promise(name: str) -> None:
    """All their guarantees, and what always has to hold."""
    found = prove(load_policy(name), BOOK, NOW)
    assert [result.name for result in found.results if not result.proved] == []
    assert [result.name for result in found.results[-len(ALWAYS) :]] == list(ALWAYS)


# -- how much is visited ---------------------------------------------------------------------------


def test_past_so_many_cells_nothing_is_decided() -> None:
    """Neither what would hold nor what would not; one cell less than there are is too few."""
    policy = policy_with(
        {"when": {"team": "a"}, "deny": "no"},
        labels={"team": "any"},
        guarantees=[{"name": "promise", "never": {"verdict": "deny"}}],
    )
    whole = prove(policy, BOOK, NOW)
    assert (whole.cells, whole.covers, whole.proved) == (320, 480, False)
    assert prove(policy, BOOK, NOW, most_cells=320).proved is False
    for most in (319, 1):
        found = prove(policy, BOOK, NOW, most_cells=most)
        assert found.proved is None
        assert {result.proved for result in found.results} == {None}
        assert {result.why for result in found.results} == {f"not decided: there are more than {most} cells"}
        assert found.results[0].where == "p.yaml:1"


def test_what_is_left_of_budgets_counts_as_cells() -> None:
    """Each way in which a share can be told apart is visited by itself, and counts."""
    rule = {"when": {"used": {"m": {"at_least": "50%"}}}, "deny": "no"}
    policy = policy_with(rule, budgets=[MONTH])
    assert prove(policy, BOOK, NOW).cells == 320
    assert prove(policy, BOOK, NOW, most_cells=319).proved is None


def test_counterexamples_name_what_every_budget_has_that_was_asked() -> None:
    """With nothing spent as well, so that they can be tried before a ledger that has something."""
    budgets = [MONTH, {"name": "other", "limit": 10, "per": "day", "for_each": ["team"]}]
    found = result_of({"verdict": "allow", "num_images": 4}, budgets=budgets, labels={"team": ["a"]})
    example = found.counterexample
    assert example is not None
    assert example.spent == {"m": 0, "other/absent": 0}
    asked: list[str] = []

    def usage(allowance: Allowance) -> Usage:
        asked.append(scope_name(allowance))
        return Usage(settled=example.spent[scope_name(allowance)])

    policy = policy_with(budgets=budgets, labels={"team": ["a"]})
    asked_of = example.asked
    again = policy.decide(asked_of.inputs, asked_of.labels, book=BOOK, at=asked_of.at, usage=usage)
    assert again.verdict is example.decision.verdict
    assert set(asked) == example.spent.keys()
