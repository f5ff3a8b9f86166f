"""The past replayed: order, budgets in virtual time, sums, and law 13 under random policies."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from planner.errors import NoPrice
from planner.history import read_history
from planner.loading import shipped_prices
from planner.past import PastRequest, stand_in
from planner.request import CHOICES
from policies.analysis.diff import diff_traffic
from policies.analysis.replay import answers, replay
from policies.decision import Outcome, Verdict
from policies.loading import load_policy, parse_policy
from tests.laws.policy_strategies import labels, policy_data, policy_of

HISTORY = Path(__file__).parents[2] / "data" / "history.csv"
BOOK = shipped_prices()
START = datetime(2026, 10, 1, tzinfo=UTC)


@cache
def history():
    return read_history(HISTORY).past


def policy(text="", budgets="", head="otherwise: allow"):
    return parse_policy(
        f"policy: 1\nname: p\n{head}\ntimezone: UTC\nlabels: {{team: any, stage: any}}\n{budgets}\n{text}",
        "p.yaml",
    )


def past(minute, *, takes=1, status="completed", labels=None, used=None, quoted=None, rate=75_000, **fields):
    """A request that was submitted in that minute of the day and took so many minutes."""
    at = START + timedelta(minutes=minute)
    ended = None if takes is None else at + timedelta(minutes=takes)
    known = fields or {"resolution": "2k"}  # 4 credits
    return PastRequest(
        at, ended, stand_in(known), status, quoted, used, rate, None, None, labels or {}, f"past.csv:{minute}"
    )


def goes(requests, policy_, **options):
    return [answer.goes for answer in answers(requests, policy_, BOOK, **options)]


DAY_OF_8 = "budgets: [{name: day, limit: 8 credits, per: day, when_exhausted: deny}]"


# -- virtual time --------------------------------------------------------------------------------


def test_a_budget_fills_in_the_order_of_submission_and_starts_anew_with_its_window():
    """Two of 4 credits fit into a day of 8; the next day has its own 8."""
    requests = [past(minute) for minute in (30, 10, 20)]
    found = list(answers([*requests, past(24 * 60)], policy(budgets=DAY_OF_8), BOOK))
    assert [(answer.past.where, answer.goes) for answer in found] == [
        ("past.csv:10", True), ("past.csv:20", True), ("past.csv:30", False), ("past.csv:1440", True)
    ]  # fmt: skip


@pytest.mark.parametrize(("takes", "third"), [(60, False), (10, True), (9, True), (None, True)], ids=str)
def test_a_failed_request_holds_its_credits_until_its_end(takes, third):
    """Before its end the budget is full; from that instant on, or without one at once, it is not."""
    requests = [past(0, takes=takes, status="failed"), past(1), past(10)]
    assert goes(requests, policy(budgets=DAY_OF_8)) == [True, True, third]


def test_a_completed_request_counts_after_its_end_as_before():
    """A hold that settles changes nothing for those who come later."""
    assert goes([past(0), past(1), past(600)], policy(budgets=DAY_OF_8)) == [True, True, False]


@pytest.mark.parametrize("status", ["time_out", "canceled", "processing", "a word of tomorrow"])
def test_what_may_have_cost_something_is_never_given_back(status):
    """Only a failure is free: any other end counts as if it had cost its price (laws 16 and 17)."""
    requests = [past(0, status=status), past(1), past(600)]
    assert goes(requests, policy(budgets=DAY_OF_8)) == [True, True, False]


def test_a_failed_request_that_was_charged_counts():
    """The provider said that it cost something."""
    requests = [past(0, status="failed", used=4), past(1), past(600)]
    assert goes(requests, policy(budgets=DAY_OF_8)) == [True, True, False]


def test_what_is_denied_or_waits_holds_nothing():
    """Neither a denial nor a question takes a credit from those who come after."""
    rules = """
rules:
  - {name: no-drafts, when: {stage: draft}, deny: no}
  - {name: ask, when: {stage: ask}, needs_approval: finance}
"""
    requests = [past(n, labels={"stage": stage}) for n, stage in enumerate(("draft", "ask", "a", "b", "c"))]
    assert goes(requests, policy(rules, DAY_OF_8)) == [False, False, True, True, False]


def test_given_approvals_let_it_run_and_count():
    """With every approval given a waiting request goes and fills the budget that others stand before."""
    rules = "rules: [{name: ask, when: {stage: ask}, needs_approval: finance}]"
    requests = [past(n, labels={"stage": "ask"}) for n in range(2)] + [past(3)]
    assert goes(requests, policy(rules, DAY_OF_8)) == [False, False, True]
    assert goes(requests, policy(rules, DAY_OF_8), approve=True) == [True, True, False]


def test_an_approval_of_a_full_budget_is_a_grant_of_what_is_missing():
    """It lets one request through; the next one has to ask again."""
    asks = DAY_OF_8.replace("deny", "{needs_approval: lead}")
    found = list(answers([past(n) for n in range(4)], policy(budgets=asks), BOOK, approve=True))
    assert [answer.goes for answer in found] == [True] * 4
    assert [answer.decision.verdict is Verdict.ALLOW for answer in found] == [True, True, False, False]


def test_a_grant_stays_with_its_window_when_its_request_fails():
    """What an approval added to the budget is there for the next one, who does not have to ask."""
    asks = DAY_OF_8.replace("deny", "{needs_approval: lead}")
    requests = [past(0), past(1), past(2, status="failed", takes=5), past(10), past(11)]
    found = list(answers(requests, policy(budgets=asks), BOOK, approve=True))
    said = [answer.decision.verdict.value for answer in found]
    assert said == ["allow", "allow", "needs_approval", "allow", "needs_approval"]


def test_a_policy_in_shadow_is_replayed_as_if_it_were_enforced():
    """What it would do is the question, and the answer says so."""
    shadow = policy(budgets=DAY_OF_8, head="otherwise: allow\nenforcement: shadow")
    assert goes([past(n) for n in range(3)], shadow) == [True, True, False]
    assert any("shadow" in line for line in replay([past(0)], shadow, BOOK).assumptions)


def test_requests_outside_the_price_book_are_an_error_that_names_the_first():
    """A past without a price is not replayed at a guess."""
    early = replace(past(0), submitted_at=datetime(2020, 1, 1, tzinfo=UTC), where="past.csv:2")
    with pytest.raises(NoPrice) as caught:
        replay([past(5), early, early], policy(), BOOK)
    (fault,) = caught.value.faults
    assert fault.where == "past.csv:2"
    assert "nor for 1 more request" in fault.message


# -- figures -------------------------------------------------------------------------------------


def test_a_policy_that_changes_nothing_costs_what_was_quoted():
    """The sample history under `otherwise: allow` alone: every recorded quote, less what failed free."""
    found = replay(history(), policy(), BOOK).total
    quoted = sum(one.credits_quoted for one in history() if one.status == "completed")
    assert found.credits == found.asked_credits == found.were_credits == quoted
    assert (found.allowed, found.rewritten, found.denied, found.needs_approval) == (12_000, 0, 0, 0)
    rates = Counter()
    for one in history():
        rates[one.rate_microusd] += one.credits_quoted if one.status == "completed" else 0
    assert found.microusd == sum(rate * credits for rate, credits in rates.items())


@pytest.mark.parametrize("name", ["starter", "cheap-drafts", "strict-finance"])
def test_the_figures_of_a_shipped_policy_add_up(name):
    """What was asked is what goes, what rewrites save, what waits and what is denied; rows sum to totals."""
    found = replay(history(), load_policy(name), BOOK)
    total = found.total
    assert total.requests == total.allowed + total.needs_approval + total.denied == 12_000
    assert total.asked_credits == (
        total.credits + total.saved_credits + total.waiting_credits + total.denied_credits
    )
    for names in (("team",), ("campaign", "stage"), ("day",), ("month", "team"), ()):
        rows = [group.figures for group in found.by(*names)]
        assert [sum(column) for column in zip(*rows, strict=True)] == list(total)


def test_monthly_budgets_of_the_starter_policy_are_filled_and_never_passed():
    """Law 13 on the sample: no team's month takes more than its limit."""
    found = replay(history(), load_policy("starter"), BOOK)
    months = {group.values: group.figures.credits for group in found.by("team", "month")}
    limits = {"ecommerce": 3000, "social": 2000}
    most = max(months[team, month] - limits.get(team, 1000) for team, month in months)
    # Months of the policy's zone; what failed was held for a while, so a month may end a little short.
    assert -8 <= most <= 0


def test_the_day_is_that_of_the_policys_zone():
    """A quarter to midnight in UTC is the next day in Berlin."""
    one = past(23 * 60 + 45)
    assert replay([one], policy(), BOOK).days == ("2026-10-01",)
    berlin = parse_policy("policy: 1\nname: b\notherwise: allow\ntimezone: Europe/Berlin", "b.yaml")
    assert replay([one], berlin, BOOK).days == ("2026-10-02",)


def test_drift_is_a_price_difference_and_no_saving():
    """A charge that is not the quote belongs to the past, not to the policy."""
    total = replay([past(0, used=6, quoted=4), past(1, quoted=5)], policy(), BOOK).total
    assert (total.were_credits, total.asked_credits, total.credits) == (11, 8, 8)
    assert (total.price_difference, total.saved_credits) == (3, 0)


def test_a_missing_label_is_a_row_of_its_own():
    """It comes last, and nobody's name is made up for it."""
    found = replay([past(0), past(1, labels={"team": "brand"})], policy(), BOOK)
    assert [group.values for group in found.by("team")] == [("brand",), (None,)]


def test_rules_are_counted_with_what_they_save_or_stop():
    """A rewrite saves the difference; a denial stops the price as asked; what failed costs nothing."""
    rules = """
rules:
  - {name: small, when: {stage: draft}, rewrite: {resolution: 1k}}
  - {name: no-4k, when: {resolution: 4k}, deny: no}
"""
    draft = {"stage": "draft"}
    requests = [
        past(0, labels=draft),
        past(1, labels=draft, status="failed"),
        past(2, resolution="4k"),
        past(3),
    ]
    found = {rule.rule: rule for rule in replay(requests, policy(rules), BOOK).rules}
    assert (found["small"].outcome, found["small"].requests, found["small"].credits) == (
        Outcome.REWRITE,
        2,
        3,
    )
    assert (found["no-4k"].outcome, found["no-4k"].requests, found["no-4k"].credits) == (Outcome.DENY, 1, 5)


def test_what_is_denied_is_not_counted_as_rewritten():
    """A rewrite before a denial saves nothing and changes nothing."""
    rules = """
rules:
  - {name: small, when: {stage: draft}, rewrite: {resolution: 1k}}
  - {name: no-drafts, when: {stage: draft}, deny: no}
"""
    found = replay([past(0, labels={"stage": "draft"})], policy(rules), BOOK)
    assert (found.total.rewritten, found.total.saved_credits, found.total.denied_credits) == (0, 0, 4)
    assert {rule.rule: rule.credits for rule in found.rules} == {"small": 0, "no-drafts": 4}


def test_money_is_counted_at_the_rate_of_then():
    """A recorded price of a credit outranks the policy's."""
    priced = policy(head="otherwise: allow\ncredit_price: 0.05")
    assert replay([past(0, rate=60_000)], priced, BOOK).total.as_json()["usd"] == "0.24"


def test_no_sum_of_money_where_nobody_says_what_a_credit_cost():
    """Without a recorded rate the policy's price serves; without that there is no figure in USD."""
    assert replay([past(0, rate=None)], policy(), BOOK).total.as_json()["usd"] is None
    priced = policy(head="otherwise: allow\ncredit_price: 0.05")
    assert replay([past(0, rate=None)], priced, BOOK).total.as_json()["usd"] == "0.20"


def test_assumptions_speak_only_of_what_is_there():
    """A past without failures, gaps or budgets needs few sentences; each gap adds its own."""
    plain = replay([past(0, used=4)], policy(), BOOK).assumptions
    assert len(plain) == 3
    odd = [past(0, status="failed", takes=None), past(1, status="time_out"), past(2, rate=None)]
    more = replay(odd, policy(budgets=DAY_OF_8), BOOK).assumptions
    words = (
        "start empty",
        "1 request failed",
        "unknown instant",
        "neither completed",
        "no recorded charge",
        "USD",
    )
    assert [word for word in words if not any(word in line for line in more)] == []


def test_nothing_comes_of_nothing():
    """An empty past is replayed, to nothing."""
    found = replay([], policy(), BOOK)
    assert (found.total.requests, found.by("team"), found.rules) == (0, (), ())


# -- differences ---------------------------------------------------------------------------------


def words(before, after, requests):
    found = diff_traffic(requests, before, after, BOOK)
    return [
        (str(one.difference), one.requests, one.credits_before, one.credits_after) for one in found.changed
    ]


def test_a_policy_does_not_differ_from_itself():
    """Nothing changes between two readings of one file."""
    found = diff_traffic(history()[:2000], load_policy("strict-finance"), load_policy("strict-finance"), BOOK)
    assert found.changed == ()
    assert found.credits_before == found.credits_after > 0


def test_differences_are_told_in_words_and_credits():
    """A verdict with the rule that asks for it, a request field by field; the greatest change first."""
    old = policy("rules: [{name: ask, when: {stage: ask}, needs_approval: finance}]")
    new = policy("""
rules:
  - {name: small, when: {stage: draft}, rewrite: {resolution: 1k}}
  - {name: no-4k, when: {resolution: 4k}, deny: no}
""")
    requests = [
        past(0, labels={"stage": "draft"}),
        past(1, resolution="4k", num_images=2),
        past(2, labels={"stage": "ask"}, resolution="1k", generation_mode="quality"),
        past(3),
    ]
    assert words(old, new, requests) == [
        ("allowed → denied by `no-4k`", 1, 10, 0),
        ("resolution 2k → 1k by `small`", 1, 4, 1),
        ("needs approval by `ask` → allowed", 1, 0, 3),
    ]
    assert words(new, policy(), requests[:1]) == [("resolution 1k → 2k without `small`", 1, 1, 4)]


def test_two_denials_are_the_same_whatever_their_reasons():
    """What does not go in either case changes nobody's bill, even where one of them rewrote it first."""
    old = policy("rules: [{name: no-drafts, when: {stage: draft}, deny: no}]")
    new = policy("""
rules:
  - {name: small, when: {stage: draft}, rewrite: {resolution: 1k}}
  - {name: not-now, when: {stage: draft}, deny: no}
""")
    assert words(old, new, [past(0, labels={"stage": "draft"})]) == []


def test_a_request_may_differ_because_of_the_budget_before_it():
    """The cheaper form of one request leaves room for another."""
    old = policy(budgets=DAY_OF_8)
    new = policy("rules: [{name: small, when: {stage: draft}, rewrite: {resolution: 1k}}]", DAY_OF_8)
    requests = [past(0, labels={"stage": "draft"}), past(1), past(2)]
    found = words(old, new, requests)
    assert ("resolution 2k → 1k by `small`", 1, 4, 1) in found
    assert sum(after - before for _, _, before, after in found) == (1 + 4) - (4 + 4)
    assert goes(requests, new) == [True, True, False]
    assert goes(requests, old) == [True, True, False]


# -- law 13 --------------------------------------------------------------------------------------

closed = st.fixed_dictionaries(
    {},
    optional={
        **{
            name: st.sampled_from(CHOICES[name])
            for name in ("resolution", "generation_mode", "output_format")
        },
        "num_images": st.integers(1, 4),
        "face_reference": st.just(True),
        "seed": st.sampled_from([7, 42, 43]),
    },
)


@st.composite
def pasts(draw):
    """Requests that come in clusters over a few days, some of them failed or never ended."""
    minutes = draw(st.lists(st.integers(0, 4 * 24 * 60), min_size=1, max_size=40))
    return [
        past(
            minute,
            takes=draw(st.one_of(st.none(), st.integers(0, 600))),
            status=draw(st.sampled_from(["completed", "completed", "failed", "time_out"])),
            labels=draw(labels()),
            **draw(closed),
        )
        for minute in minutes
    ]


@given(policy_data(), pasts(), st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_law_13_no_admission_in_a_replay_passes_a_limit(data, requests, approve):
    """At every admission everything that counts, added up anew from all admissions so far, fits."""
    policy_ = policy_of(data)
    assume(policy_ is not None)
    rate, admitted = policy_.rate_microusd, []
    for answer in answers(requests, policy_, BOOK, approve=approve):
        if not answer.goes:
            continue
        admitted.append(answer)
        if answer.decision.verdict is not Verdict.ALLOW:
            continue  # a full budget was granted what this one needs
        for allowance in answer.decision.allowances:
            others = [one for one in admitted if allowance in one.decision.allowances]
            now = answer.past.submitted_at
            counted = [
                allowance.amount(one.decision.quote.credits, rate)
                for one in others
                if not (one.past.free and one is not answer and _ended(one.past) <= now)
            ]
            granted = any(one.decision.verdict is not Verdict.ALLOW for one in others)
            assert granted or sum(counted) <= allowance.limit


def _ended(one):
    return one.completed_at or one.submitted_at
