"""What is said about a policy file that is wrong: one row for each fault."""

# ruff: noqa: E501 -- a row of a table of messages is read in one line

from __future__ import annotations

import json
import time
from zoneinfo import ZoneInfo

import pytest

from planner.errors import ConfigError
from planner.loading import read_yaml
from policies.budgets import Limit
from policies.document import read_policy
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
        ("{time: {from: 25:00, to: 06:00}}", "a time of day has `from` and `to` (such as `{from: 22:00, to: 06:00}`)"),
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
        ("downgrade: {at_most: 4 credits}", "`downgrade` is not supported (remove it; this version does not know it)"),
        ("dney: no", "`dney` is not known here (did you mean `deny`?)"),
    ],
)  # fmt: skip
def test_a_wrong_action_is_named_with_what_would_be_right(rule: str, said: str) -> None:
    """The fault stands at the line of the value."""
    assert f"p.yaml:7: {said}" in faults(f"{HEAD}rules:\n  - name: r\n    {rule}\n")


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("{name: r}", "`r` says nothing (a rule says one of rewrite, deny, needs_approval, allow)"),
        ("{name: r, deny: a, allow: b}", "`r` says deny and allow (a rule says one of rewrite, deny, needs_approval, allow)"),
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
        ("limit: 5, per: day, when_exhausted: stop", "`stop` is not an answer to a full budget (use `deny` or `{needs_approval: finance}`)"),
        ("limit: 5, per: day, when_exhausted: {downgrade: {}}", "`downgrade` is not supported (use deny or needs_approval)"),
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
        ("latency_profile: fast", "`fast` is not a latency profile (use fashn-documented@2026-11-22)"),
        ("guarantees: []", "`guarantees` is not supported (remove it; this version does not know it)"),
        ("extends: starter", "`extends` is not supported (remove it; this version does not know it)"),
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


def test_the_schemas_know_the_language() -> None:
    """An editor is offered the fields, operators and values, and told of keys that are not there."""
    schema = policy_schema()
    condition = schema["$defs"]["Condition"]["properties"]
    assert {"resolution", "credits", "used", "time", "any", "not"} <= condition.keys()
    assert {"enum": ["1k", "2k", "4k"]} in condition["resolution"]["anyOf"]
    assert schema["$defs"]["RuleShape"]["properties"]["when"] == {"$ref": "#/$defs/Condition"}
    assert schema["additionalProperties"] is False
    assert suite_schema()["$defs"]["ExpectShape"]["required"] == ["verdict"]
    assert json.loads(json.dumps([schema, suite_schema()])) == [schema, suite_schema()]
