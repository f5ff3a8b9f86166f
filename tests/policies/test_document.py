"""What is said about a policy file that is wrong: one row for each fault."""

# ruff: noqa: E501 -- a row of a table of messages is read in one line

from __future__ import annotations

import json
import time
from zoneinfo import ZoneInfo

import pytest

from planner.documents import read_yaml
from planner.errors import ConfigError
from policies.budgets import Limit
from policies.conditions import AllOf, Compare, OneOf
from policies.decision import Outcome
from policies.document import read_policy
from policies.downgrading import Downgrade
from policies.guarantees import Guarantee
from policies.loading import parse_policy
from policies.schema import policy_schema, suite_schema

HEAD = "policy: 1\nname: p\notherwise: allow\nlabels: {team: [social, brand], campaign: any}\n"


def faults(text: str) -> list[str]:
    """Every fault of a policy, as a person reads it."""
    with pytest.raises(ConfigError) as raised:
        parse_policy(text, "p.yaml")
    return [str(fault) for fault in raised.value.faults]


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("{resolutoin: 4k}", "`resolutoin` is neither a request field nor a declared label (did you mean `resolution`?)"),
        ("{tema: social}", "`tema` is neither a request field nor a declared label (did you mean `team`?)"),
        ("{resolution: 8k}", "`8k` is not a value of `resolution` (use 1k, 2k, 4k)"),
        ("{team: socail}", "`socail` is not a value of `team` (did you mean `social`? use social, brand)"),
        ("{prompt: cat}", "`prompt` cannot stand in a condition (conditions never read prompts; declare a label for what you want to tell apart)"),
        ("{credits: {abve: 4}}", "`abve` is not an operator (did you mean `above`? with `credits` use a value, a list, not, above, at_least, below, at_most, any, all)"),
        ("{team: {above: social}}", "`above` does not go with `team` (with `team` use a value, a list, not, present, absent, any, all)"),
        ("{credits: {above: many}}", "`many` is not a value of `credits` (use a whole number)"),
        ("{credits: present}", "`present` is not a value of `credits` (use a whole number)"),
        ("{num_images: {at_least: 1.5}}", "`1.5` is not a value of `num_images` (use a whole number)"),
        ("{face_reference: https://secret}", "that is not a value of `face_reference` (use present or absent; conditions never read pictures)"),
        ("{return_base64: yes}", "`yes` is not a value of `return_base64` (use true or false)"),
        ("{campaign: true}", "`true` is not a value of `campaign` (write it as text, in quotes where it looks like something else)"),
        ("{resolution: }", "nothing is asked of `resolution` (use a value, a list, not, above, at_least, below, at_most, present, absent, any, all)"),
        ("{resolution: []}", "nothing is asked of `resolution` (use a value, a list, not, above, at_least, below, at_most, present, absent, any, all)"),
        ("{weekday: friyday}", "`friyday` is not a value of `weekday` (did you mean `friday`? use monday, tuesday, wednesday, thursday, friday, saturday, sunday)"),
        ("{time: 22:00}", "`22:00` is not a value of `time` (use `{from: 22:00, to: 06:00}`)"),
        ("{time: {from: 22:00}}", "a time of day has `from` and `to` (such as `{from: 22:00, to: 06:00}`)"),
        ("{time: {from: 25:00, to: 06:00}}", "`25:00` is not a time of day (write it from 00:00 to 23:59, with two digits for minutes)"),
        ("{time: {from: 22:00, to: 24:01}}", "`24:01` is not a time of day (write it from 00:00 to 24:00, with two digits for minutes)"),
        ("{time: {from: 22:00, to: 22:00}}", "the time of day is empty (let `from` and `to` differ)"),
        ("{used: 80%}", "`used` must name a budget (such as `used: {team-month: {above: 80%}}`)"),
        ("{used: {mnth: {above: 80%}}}", "`mnth` is not a budget of this policy (did you mean `month`?)"),
        ("{used: {month: {above: 80}}}", "`80` is not a value of `used month` (use a share of the limit from 0% to 100%, such as 80%)"),
        ("{usd: {above: 1}}", "`usd` needs a credit price (add `credit_price: on-demand` to the policy)"),
        ("{seconds: {above: 1}}", "`seconds` needs a latency profile (add `latency_profile: NAME` to the policy)"),
        ("{any: {resolution: 4k}}", "`any` must be a list (such as `any: [..., ...]`)"),
        ("{}", "a condition must be a mapping (such as `{resolution: 4k}`)"),
        ("[4k]", "a condition must be a mapping (such as `{resolution: 4k}`)"),
    ],
)  # fmt: skip
def test_a_wrong_condition_is_named_with_what_would_be_right(when: str, said: str) -> None:
    """Line, offending text in backticks, and a hint."""
    text = f"{HEAD}budgets: [{{name: month, limit: 5, per: month}}]\nrules:\n  - name: r\n    deny: no\n    when: {when}\n"
    assert faults(text) == [f"p.yaml:9: {said}"]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("rewrite: {resolutoin: 2k}", "`resolutoin` is not an input of model-create (did you mean `resolution`?)"),
        ("rewrite: {resolution: 8k}", "`8k` is not a resolution (use 1k, 2k or 4k)"),
        ("rewrite: {num_images: 9}", "`9` is more than 4 (num_images is a whole number from 1 to 4)"),
        ("rewrite: {prompt: cat}", "`prompt` cannot be rewritten (rules never touch what a picture shows)"),
        ("rewrite: {face_reference: https://x}", "`face_reference` can only be left out (write `face_reference: absent`)"),
        ("rewrite: {seed: null}", "`seed` has no value (write `absent` to leave the field out)"),
        ("rewrite: 2k", "a rewrite must be a mapping (such as `{resolution: 2k}`)"),
        ("needs_approval: true", "`needs_approval` does not say who (such as `needs_approval: finance`)"),
        ("deny: ''", "`` is not a reason (say why in a sentence)"),
        ("downgrade: 4 credits", "a downgrade must be a mapping (such as `{at_most: 4 credits, give_up_in_order: [num_images, generation_mode]}`)"),
        ("downgrade: {at_most: 4 credits}", "`give_up_in_order` is missing (say which fields may be given up, the first one first: num_images, generation_mode, resolution)"),
        ("downgrade: {give_up_in_order: [num_images]}", "`at_most` is missing (say what a request may cost, such as `4 credits`)"),
        ("downgrade: {at_most: lots, give_up_in_order: [num_images]}", "`lots` is not an amount (use `4 credits` or `0.30 USD`)"),
        ("downgrade: {at_most: 0.30 USD, give_up_in_order: [num_images]}", "an amount in USD needs a credit price (add `credit_price: on-demand` to the policy)"),
        ("downgrade: {at_most: 4, give_up_in_order: num_images}", "`num_images` is not a list of fields (use num_images, generation_mode, resolution)"),
        ("downgrade: {at_most: 4, give_up_in_order: [seed]}", "`seed` cannot be given up (use num_images, generation_mode, resolution)"),
        ("downgrade: {at_most: 4, give_up_in_order: [num_image]}", "`num_image` cannot be given up (did you mean `num_images`?)"),
        ("downgrade: {at_most: 4, give_up_in_order: [num_images, num_images]}", "`num_images` stands twice (keep one of the two)"),
        ("downgrade: {at_most: 4, give_up_in_order: [num_images], floor: {resolution: 2k}}", "`resolution` is not given up (add it to `give_up_in_order`, or remove its floor)"),
        ("downgrade: {at_most: 4, give_up_in_order: [num_images], floor: {num_images: 9}}", "`9` is more than 4 (num_images is a whole number from 1 to 4)"),
        ("downgrade: {at_most: 4, give_up_in_order: [num_images], floor: {num_images: absent}}", "`absent` is not a floor (write the least value that will do)"),
        ("downgrade: {at_most: 4, give_up_in_order: [num_images], floor: {seed: 1}}", "`seed` has no floor (use num_images, generation_mode, resolution)"),
        ("downgrade: {at_most: 4, give_up_in_order: [num_images], floor: fast}", "a floor must be a mapping (such as `{generation_mode: fast}`)"),
        ("downgrade: {at_most: 4, give_up_in_order: [num_images], flor: {}}", "`flor` is not known here (did you mean `floor`?)"),
        ("shadow: yes", "`yes` is not true or false (write true or false)"),
        ("when:", "a condition must be a mapping (such as `{resolution: 4k}`)"),
        ("dney: no", "`dney` is not known here (did you mean `deny`?)"),
    ],
)  # fmt: skip
def test_a_wrong_action_is_named_with_what_would_be_right(rule: str, said: str) -> None:
    """The fault stands at the line of the value."""
    assert f"p.yaml:7: {said}" in faults(f"{HEAD}rules:\n  - name: r\n    {rule}\n")


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("{name: r}", "`r` says nothing (a rule says one of rewrite, downgrade, deny, needs_approval, allow)"),
        ("{name: r, deny: a, allow: b}", "`r` says deny and allow (a rule says one of rewrite, downgrade, deny, needs_approval, allow)"),
        ("{name: r, downgrade: {at_most: 4, give_up_in_order: [num_images]}, may_cost_more: true}", "`may_cost_more` goes with a rewrite only (remove it)"),
        ("{name: r, deny: a, replaces: true}", "`replaces` goes with `extends` only (remove it, or say what this policy extends)"),
        ("{name: r, deny: a, when: {verdict: allow}}", "`verdict` can only stand in a guarantee (every rule is asked before there is a verdict)"),
        ("{name: r, deny: a, may_cost_more: true}", "`may_cost_more` goes with a rewrite only (remove it)"),
        ("{name: r, deny: a, may_cost_more: yes}", "`yes` is not true or false (write true or false)"),
        ("{deny: a}", "`name` is missing"),
        ("{name: otherwise, deny: a}", "`otherwise` is not a name (it stands for the case that no rule speaks)"),
        ("{name: 'a/b', deny: a}", "`a/b` is not a name (use up to 80 letters, digits, spaces, `-`, `_` and `.`)"),
        ("text", "`text` is not a mapping"),
    ],
)  # fmt: skip
def test_a_wrong_rule_is_named_with_what_would_be_right(rule: str, said: str) -> None:
    """Each rule says exactly one thing and has a name of its own."""
    assert faults(f"{HEAD}rules:\n  - {rule}\n") == [f"p.yaml:6: {said}"]


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ("limit: 5 EUR, per: day", "`5 EUR` is not a limit (use `5000 credits`, `375 USD` or `{ecommerce: 5000, otherwise: 200}`)"),
        ("limit: 5.5 credits, per: day", "`5.5 credits` is not a limit (use `5000 credits`, `375 USD` or `{ecommerce: 5000, otherwise: 200}`)"),
        ("limit: 9223372036854775808, per: day", "`9223372036854775808` is more than a ledger can count (for no limit leave the budget out)"),
        ("limit: 99999999999999 USD, per: day", "`99999999999999 USD` is more than a ledger can count (for no limit leave the budget out)"),
        ("limit: 5 USD, per: day", "a limit in USD needs a credit price (add `credit_price: on-demand` to the policy)"),
        ("limit: 5, per: fortnight", "`fortnight` is not a value of `per` (use hour, day, week, month, quarter, year or total)"),
        ("limit: 5", "`per` is missing (use hour, day, week, month, quarter, year or total)"),
        ("limit: 5, per: day, for_each: [tem]", "`tem` is not a declared label (did you mean `team`?)"),
        ("limit: 5, per: day, for_each: team", "`team` is not a list of labels (such as `[team]`)"),
        ("limit: 5, per: day, warn_at: [80]", "`80` is not a share (use one from 0% to 100%, such as 80%)"),
        ("limit: 5, per: day, warn_at: [120%]", "`120%` is not a share (use one from 0% to 100%, such as 80%)"),
        ("limit: 5, per: day, when_exhausted: stop", "`stop` is not an answer to a full budget (use `deny`, `{needs_approval: finance}` or `{downgrade: {give_up_in_order: [num_images]}}`)"),
        ("limit: 5, per: day, when_exhausted: {downgrade: {}}", "`give_up_in_order` is missing (say which fields may be given up, the first one first: num_images, generation_mode, resolution)"),
        ("limit: 5, per: day, when_exhausted: {downgrade: {give_up_in_order: [num_images], at_most: 4}}", "`at_most` does not go with a budget (remove it; a full budget goes down to what is left of it)"),
        ("limit: 5, per: day, when_exhausted: {downgrade: [num_images]}", "a downgrade must be a mapping (such as `{give_up_in_order: [num_images]}`)"),
        ("limit: 5, per: day, applies_to: {verdict: deny}", "`verdict` can only stand in a guarantee (every rule is asked before there is a verdict)"),
        ("limit: 5, per: day, applies_to: null", "a condition must be a mapping (such as `{resolution: 4k}`)"),
        ("limit: 5, per: day, applies_to: {used: {b: 1%}}", "what a budget counts cannot depend on what is used (use labels, request fields, credits, usd, time or weekday)"),
        ("limit: {social: 5}, per: day, for_each: [team]", "`otherwise` is missing (say what all other values may spend)"),
        ("limit: {social: 5, otherwise: 1}, per: day", "a limit by value needs exactly one label in `for_each` (add `for_each: [team]` with the label whose values stand in the limit)"),
        ("limit: {socail: 5, otherwise: 1}, per: day, for_each: [team]", "`socail` is not a value of `team` (use social, brand, otherwise)"),
    ],
)  # fmt: skip
def test_a_wrong_budget_is_named_with_what_would_be_right(budget: str, said: str) -> None:
    """Amounts name their unit, windows and labels are known ones."""
    assert faults(f"{HEAD}budgets:\n  - {{name: b, {budget}}}\n") == [f"p.yaml:6: {said}"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("timezone: Europe/Berln", "`Europe/Berln` is not a time zone (did you mean `Europe/Berlin`?)"),
        ("enforcement: true", "`true` is not a value of `enforcement` (use on or shadow)"),
        ("credit_price: on-demnd", "`on-demnd` is not a credit price (did you mean `on-demand`? use on-demand, tier-1, tier-2, tier-3 or a figure such as 0.041)"),
        ("latency_profile: fast", "`fast` is not a latency profile (use fashn-documented@2026-11-22, or a file of `planner latency fit` such as ./latency.yaml)"),
        ("guarantees: {}", "`{}` is not a list"),
        ("guarantees: [{name: g}]", "`never` is missing (say what must not be, such as `{verdict: allow, credits: {above: 24}}`)"),
        ("guarantees: [{name: g, never: {verdict: maybe}}]", "`maybe` is not a value of `verdict` (use allow, needs_approval, deny)"),
        ("extend: starter", "`extend` is not known here (did you mean `extends`?)"),
        ("reuse: yes", "`yes` is not true or false (write true or false)"),
        ("other_models: 8", "`8` does not say what to hold (such as `{hold: 8 credits}`)"),
        ("other_models: {hold: 8 USD}", "`{hold: 8 USD}` does not say what to hold (such as `{hold: 8 credits}`)"),
        ("other_models: {hold: 0}", "`{hold: 0}` does not say what to hold (such as `{hold: 8 credits}`)"),
        ("on_drift: panic", "`panic` is not a value of `on_drift` (use warn or stop)"),
        ("ruls: []", "`ruls` is not known here (did you mean `rules`?)"),
        ("rules: {}", "`{}` is not a list"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named_with_what_would_be_right(line: str, said: str) -> None:
    """Top-level keys, each with the nearest one that is known."""
    assert faults(f"{HEAD}{line}\n") == [f"p.yaml:5: {said}"]


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("{seed: any}", "`seed` cannot be a label (conditions already read it)"),
        ("{verdict: any}", "`verdict` cannot be a label (conditions already read it)"),
        (
            "{x y: any}",
            "`x y` is not how a label is written "
            "(write `x_y`: a column finds it in any case, with spaces or hyphens)",
        ),
        ("{team: []}", "`[]` does not say what `team` may be (write `any`, or the list of its values)"),
        ("{team: [a, a]}", "`a` stands twice (keep one of the two)"),
        ("{team: [true]}", "`true` is not text (put it in quotes)"),
        ("{team: [absent]}", "`absent` cannot be a value (conditions use the word)"),
        ("team", "`labels` must be a mapping (such as `{team: [ecommerce, social], campaign: any}`)"),
    ],
)
def test_a_wrong_label_is_named_with_what_would_be_right(labels: str, said: str) -> None:
    """Declared labels never shadow what a condition can read."""
    text = f"policy: 1\nname: p\notherwise: allow\nlabels: {labels}\n"
    assert faults(text) == [f"p.yaml:4: {said}"]


def test_all_faults_of_a_file_come_at_once_and_in_order() -> None:
    """A file with faults in every section is repaired in one go."""
    text = """policy: 2
timezone: Mars
otherwise: perhaps
labels: {team: [social]}
budgets:
  - {name: same, limit: much, per: day}
rules:
  - name: same
    deny: no
    when: {resolutoin: 4k, team: scoial}
  - name: third
    rewrite: {num_images: 7}
"""
    found = faults(text)
    assert [fault.split(" ")[0] for fault in found] == [
        "p.yaml:1:", "p.yaml:1:", "p.yaml:2:", "p.yaml:3:", "p.yaml:6:", "p.yaml:8:", "p.yaml:10:",
        "p.yaml:10:", "p.yaml:12:",
    ]  # fmt: skip
    assert "p.yaml:8: the name `same` stands twice (the other stands in p.yaml:6)" in found


@pytest.mark.parametrize("text", ["", "- a", "just text"])
def test_what_is_no_mapping_is_no_policy(text: str) -> None:
    """An empty file, a list or a text has one fault."""
    assert faults(text) == ["p.yaml:1: a policy must be a mapping"]


def test_a_condition_that_splits_too_often_is_refused_at_once() -> None:
    """Six choices among four attributes would be thousands of cases; the author is told to split it."""
    choice = "{any: [{seed: 1}, {num_images: 2}, {credits: 3}, {team: social}]}"
    started = time.monotonic()
    found = faults(
        f"{HEAD}rules:\n  - name: r\n    deny: no\n    when: {{all: [{', '.join([choice] * 6)}]}}\n"
    )
    assert found == ["p.yaml:8: the condition splits into more than 256 cases (write it as several rules)"]
    assert time.monotonic() - started < 2


def test_a_full_policy_is_read_as_it_is_meant() -> None:
    """Zones, limits, shares, approvers and rewrites become values of their own types."""
    text = f"""{HEAD}timezone: Europe/Berlin
credit_price: 0.041
budgets:
  - name: usd
    limit: {{social: 37.50 USD, otherwise: 1 USD}}
    per: month
    for_each: [team]
    warn_at: [50%, 12.5%]
    when_exhausted: "needs_approval: finance"
  - {{name: small, limit: 1 credit, per: hour, when_exhausted: {{needs_approval: lead}}}}
rules:
  - name: leave-the-face-out
    when: {{campaign: 2026, time: {{from: 22:00, to: 06:00}}}}
    rewrite: {{face_reference: absent, num_images: 1}}
"""
    shape, found = read_policy(read_yaml(text, "p.yaml"))
    assert (shape is not None, found) == (True, [])
    assert shape is not None
    assert (shape.timezone, shape.credit_price) == (ZoneInfo("Europe/Berlin"), "0.041")
    assert shape.budgets[0].limit == Limit("microusd", 1_000_000, {"social": 37_500_000})
    assert [str(share) for share in shape.budgets[0].warn_at] == ["1/2", "1/8"]
    assert [budget.when_exhausted for budget in shape.budgets] == ["finance", "lead"]
    assert shape.rules[0].rewrite == {"face_reference": None, "num_images": 1}


def test_downgrades_shadow_and_guarantees_are_read_as_they_are_meant() -> None:
    """Amounts become credits or micro-dollars, orders stay in order, and shadow goes with any action."""
    policy = parse_policy(
        f"""{HEAD}credit_price: on-demand
reuse: true
other_models: {{hold: 8 credits}}
on_drift: stop
budgets:
  - name: month
    limit: 500
    per: month
    when_exhausted: {{downgrade: {{give_up_in_order: [num_images], floor: {{num_images: 2}}}}}}
rules:
  - name: cheap
    downgrade: {{at_most: 0.30 USD, give_up_in_order: [generation_mode, resolution], floor: {{resolution: 2k}}}}
  - {{name: few, shadow: true, downgrade: {{at_most: 4, give_up_in_order: [num_images]}}}}
  - {{name: none, shadow: true, deny: not now}}
guarantees:
  - {{name: never-dear, never: {{verdict: [allow, needs_approval], credits: {{above: 24}}}}, because: a limit}}
""",
        "p.yaml",
    )
    assert [rule.downgrade for rule in policy.rules] == [
        Downgrade(("generation_mode", "resolution"), {"resolution": "2k"}, 300_000, "microusd"),
        Downgrade(("num_images",), {}, 4, "credits"),
        None,
    ]
    assert [rule.finding.outcome for rule in policy.rules[:2]] == [Outcome.DOWNGRADE] * 2
    assert [rule.shadow for rule in policy.rules] == [False, True, True]
    assert policy.budgets[0].budget.downgrade == Downgrade(("num_images",), {"num_images": 2})
    assert (policy.reuse, policy.other_models_hold, policy.on_drift) == (True, 8, "stop")
    verdict = OneOf("verdict", frozenset({"allow", "needs_approval"}))
    assert policy.guarantees == (
        Guarantee("never-dear", AllOf((verdict, Compare("credits", "above", 24))), "a limit", "p.yaml:20"),
    )


def test_what_a_policy_does_not_say_is_the_careful_choice() -> None:
    """Nothing is reused, nothing without a price goes, drift is told, and nothing is promised."""
    policy = parse_policy(HEAD, "p.yaml")
    assert (policy.reuse, policy.other_models_hold, policy.on_drift) == (False, None, "warn")
    assert (policy.guarantees, policy.sources) == ((), ())


def test_the_schemas_know_the_language() -> None:
    """An editor is offered the fields, operators and values, and told of keys that are not there."""
    schema = policy_schema()
    condition, guarantee = (
        schema["$defs"][f"{name}Tests"]["properties"] for name in ("Condition", "Guarantee")
    )
    assert {"resolution", "credits", "used", "time", "any", "not"} <= condition.keys()
    assert (condition["verdict"], guarantee["verdict"]["anyOf"][0]["enum"][0]) == (False, "allow")
    assert {"enum": ["1k", "2k", "4k"]} in condition["resolution"]["anyOf"]
    assert schema["$defs"]["RuleShape"]["properties"]["when"] == {"$ref": "#/$defs/Condition"}
    assert schema["$defs"]["GuaranteeShape"]["properties"]["never"] == {"$ref": "#/$defs/Guarantee"}
    assert schema["additionalProperties"] is False
    assert suite_schema()["$defs"]["ExpectShape"]["required"] == ["verdict"]
    assert json.loads(json.dumps([schema, suite_schema()])) == [schema, suite_schema()]
