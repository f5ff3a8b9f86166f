"""A policy that extends another: what the two come to, where each part stands, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.documents import read_yaml
from planner.errors import ConfigError
from planner.loading import shipped_prices
from policies.budgets import Usage
from policies.engine import Policy
from policies.loading import extended, load_policy, parse_policy, shipped_policies
from policies.writing import written
from tests.laws.policy_strategies import policy_data, text_of

BASE = """policy: 1
name: base
timezone: Europe/Berlin
otherwise: deny
credit_price: 0.075
on_drift: stop
labels:
  team: [social, brand]
  campaign: any
conditions:
  night: {time: {from: 22:00, to: 06:00}}
budgets:
  - {name: month, limit: 500 credits, per: month}
rules:
  - name: no-night
    when: night
    deny: it is night
  - {name: small, when: {credits: {above: 4}}, deny: too large}
guarantees:
  - {name: never-dear, never: {verdict: allow, credits: {above: 24}}}
"""
OWN = """policy: 1
name: own
extends: ./base.yaml
"""


class Files:
    """Policy files in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("base.yaml", BASE)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    def own(self, text: str) -> Policy:
        """The policy that extends the base and says that as well."""
        return load_policy(self.write("own.yaml", f"{OWN}{text}"))

    def faults(self, text: str) -> list[str]:
        """All that is wrong, with the folder left out."""
        self.write("own.yaml", text)
        with pytest.raises(ConfigError) as raised:
            load_policy(self.folder / "own.yaml")
        return [str(fault).replace(f"{self.folder}/", "") for fault in raised.value.faults]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def wheres(policy: Policy) -> dict[str, str]:
    """Where every entry stands, by its name and in its order."""
    return {
        **{item.budget.name: item.budget.where for item in policy.budgets},
        **{rule.name: rule.finding.where for rule in policy.rules},
        **{guarantee.name: guarantee.where for guarantee in policy.guarantees},
    }


def test_what_is_extended_comes_first_and_all_of_it_counts(files: Files) -> None:
    """The base's entries, then the own ones; values that are not said are the base's."""
    policy = files.own(
        "rules: [{name: mine, deny: no, when: {all: [night, {team: brand}]}}]\non_drift: warn\n"
    )
    assert wheres(policy) == {
        "month": "base.yaml:13",
        "no-night": "base.yaml:15",
        "small": "base.yaml:18",
        "mine": "own.yaml:4",
        "never-dear": "base.yaml:20",
    }
    assert (policy.name, policy.zone.key, policy.on_drift) == ("own", "Europe/Berlin", "warn")
    assert policy.otherwise is not None
    assert policy.otherwise.where == "base.yaml:4"
    assert policy.rate_microusd == 75_000
    assert [path.name for path in policy.sources] == ["own.yaml", "base.yaml"]


def test_a_finding_names_the_file_in_which_its_rule_stands(files: Files) -> None:
    """A denial by a rule of the base is told at the base's line."""
    found = files.own("otherwise: allow\n").decide(
        {"prompt": "x"},
        book=shipped_prices(),
        at=datetime(2026, 11, 20, 23, tzinfo=UTC),
        usage=lambda _: Usage(),
    )
    assert [(item.rule, item.where) for item in found.findings] == [("no-night", "base.yaml:15")]


def test_an_entry_that_replaces_stands_in_the_place_of_the_other(files: Files) -> None:
    """Under the same name or under its own, in rules, budgets and guarantees."""
    policy = files.own(
        """rules:
  - {name: new, deny: no, when: {seed: 4}}
  - {name: night-shift, replaces: no-night, when: night, needs_approval: lead}
budgets: [{name: month, replaces: true, limit: 900, per: month}]
guarantees: [{name: cheap, replaces: never-dear, never: {verdict: allow, credits: {above: 12}}}]
"""
    )
    assert list(wheres(policy).items()) == [
        ("month", "own.yaml:7"),
        ("night-shift", "own.yaml:6"),
        ("small", "base.yaml:18"),
        ("new", "own.yaml:5"),
        ("cheap", "own.yaml:8"),
    ]
    assert policy.budgets[0].budget.limit.otherwise == 900


def test_labels_are_replaced_one_by_one(files: Files) -> None:
    """An own entry stands for the base's one of that label, the others stay, new ones come."""
    policy = files.own("labels: {team: [social, wholesale], stage: any}\n")
    assert {name: label.values for name, label in policy.labels.items()} == {
        "team": ("social", "wholesale"),
        "campaign": None,
        "stage": None,
    }
    assert {name: label.where for name, label in policy.labels.items()} == {
        "team": "own.yaml:4",
        "campaign": "base.yaml:9",
        "stage": "own.yaml:4",
    }


def test_several_levels_are_laid_over_each_other(files: Files) -> None:
    """A file in a folder extends one beside it, which extends a shipped policy."""
    files.write("base.yaml", "policy: 1\nname: base\nextends: cheap-drafts\nreuse: true\n")
    (files.folder / "inner").mkdir()
    path = files.write("inner/own.yaml", "policy: 1\nname: own\nextends: ../base.yaml\notherwise: deny\n")
    policy, shipped = load_policy(path), load_policy("cheap-drafts")
    assert extended(path) == ("base.yaml", "cheap-drafts/policy.yaml")
    assert [path.name for path in policy.sources] == ["own.yaml", "base.yaml"]
    assert (policy.reuse, policy.otherwise is None) == (True, False)
    assert [rule.name for rule in policy.rules] == [rule.name for rule in shipped.rules]
    assert {where.rpartition(":")[0] for where in wheres(policy).values()} == {"cheap-drafts/policy.yaml"}


def test_a_text_may_extend_a_shipped_policy_and_no_file() -> None:
    """A ledger's text lies nowhere, so a path in it leads nowhere."""
    assert parse_policy("policy: 1\nname: own\nextends: starter\n", "own").sources == ()
    for path in ("./base.yaml", "/etc/base.yaml", "base.yaml"):
        with pytest.raises(ConfigError, match="a text without a file cannot extend") as raised:
            parse_policy(f"policy: 1\nname: own\nextends: {path}\n", "own")
        assert raised.value.faults[0].where == "own:3"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("extends: startr", "own.yaml:3: there is no shipped policy `startr` (did you mean `starter`?)"),
        (
            "extends: [a]",
            "own.yaml:3: `[a]` is not a policy to extend "
            "(name a file such as ./base.yaml, or a shipped policy: " + ", ".join(shipped_policies()) + ")",
        ),
        (
            'extends: "./base\\0.yaml"',
            "own.yaml:3: `./base?.yaml` is not a policy to extend "
            "(name a file such as ./base.yaml, or a shipped policy: " + ", ".join(shipped_policies()) + ")",
        ),
        (
            "extends: ./bse.yaml",
            "own.yaml:3: cannot read `bse.yaml`: no such file or directory "
            "(the path starts from the file that says it)",
        ),
        (
            "extends: ./own.yaml",
            "own.yaml:3: `own.yaml` extends itself: own.yaml → own.yaml "
            "(let one of them do without the next)",
        ),
        (
            "extends: ./base.yaml\nrules: [{name: small, deny: no}]",
            "own.yaml:4: the name `small` stands twice "
            "(the other stands in base.yaml:18; say `replaces: true` to put this one in its place)",
        ),
        (
            "extends: ./base.yaml\nrules: [{name: month, deny: no}]",
            "own.yaml:4: the name `month` stands twice (the other stands in base.yaml:13)",
        ),
        (
            "extends: ./base.yaml\nrules: [{name: r, replaces: smal, deny: no}]",
            "own.yaml:4: there is no `smal` among the rules to replace (did you mean `small`?)",
        ),
        (
            "extends: ./base.yaml\nrules: [{name: r, replaces: month, deny: no}]",
            "own.yaml:4: there is no `month` among the rules to replace (there are no-night, small)",
        ),
        (
            "extends: ./base.yaml\nrules: [{name: r, replaces: true, deny: no}]",
            "own.yaml:4: there is no `r` among the rules to replace (there are no-night, small)",
        ),
        (
            "extends: ./base.yaml\nrules: [{name: r, replaces: 4, deny: no}]",
            "own.yaml:4: `4` does not say what is replaced (write `true`, or the name of the other)",
        ),
        (
            "extends: ./base.yaml\nrules:\n  - {name: small, replaces: true, deny: no}\n"
            "  - {name: r, replaces: small, deny: no}",
            "own.yaml:6: `small` is replaced twice (keep one of the two)",
        ),
        (
            "extends: ./base.yaml\nconditions: {night: {seed: 4}}",
            "own.yaml:4: the condition `night` stands twice "
            "(the other stands in base.yaml:11, and rules there read it; choose another name)",
        ),
        ("extends: ./base.yaml\nrules: 5", "own.yaml:4: `5` is not a list"),
    ],
)
def test_what_does_not_go_together_is_told_with_what_would_help(files: Files, text: str, said: str) -> None:
    """At the line of the file that says it."""
    assert files.faults(f"policy: 1\nname: own\n{text}\n") == [said]


def test_its_own_name_is_never_another_ones(files: Files) -> None:
    """`policy` and `name` are said in every file."""
    assert files.faults("extends: ./base.yaml\n") == [
        "own.yaml:1: `policy` is missing (start with `policy: 1`)",
        "own.yaml:1: `name` is missing",
    ]


def test_texts_of_several_lines_stay_as_they_are(files: Files) -> None:
    """In the text of what was merged, where the entries are indented."""
    policy = files.own('rules: [{name: r, deny: "one\\n\\n  two\\n three: four", when: night}]\n')
    again = parse_policy(policy.text, "own")
    assert again.rules[-1].finding.because == policy.rules[-1].finding.because == "one\n\n  two\n three: four"


def test_a_circle_is_told_in_the_file_that_closes_it(files: Files) -> None:
    """It names the whole way round, however the path is spelled."""
    files.write("base.yaml", "policy: 1\nname: base\nextends: ./third.yaml\n")
    files.write("third.yaml", f"policy: 1\nname: third\nextends: ../{files.folder.name}/base.yaml\n")
    assert files.faults(OWN) == [
        "third.yaml:3: `base.yaml` extends itself: base.yaml → third.yaml → base.yaml "
        "(let one of them do without the next)"
    ]


def test_all_faults_of_all_files_come_at_once(files: Files) -> None:
    """The own ones first, then those of the base, each at its own line."""
    files.write("base.yaml", BASE.replace("deny: too large", "dney: x").replace("timezone: E", "timezone: U"))
    found = files.faults(f"{OWN}on_drift: panic\nrules: [{{name: r, deny: no, when: {{tema: brand}}}}]\n")
    assert [fault.split(" ")[0] for fault in found] == [
        "own.yaml:4:", "own.yaml:5:", "base.yaml:3:", "base.yaml:18:",
    ]  # fmt: skip


def test_what_is_extended_has_to_be_a_policy(files: Files) -> None:
    """A file of another kind, or of a later version, is told by its own name."""
    for text, said in [
        ("- a", "base.yaml:1: a policy must be a mapping"),
        ("rules: []", "base.yaml:1: `policy` is missing (start with `policy: 1`)"),
        ("policy: 2", "base.yaml:1: `2` is not a value of `policy` (use 1)"),
        ("policy: true", "base.yaml:1: `true` is not a value of `policy` (use 1)"),
    ]:
        files.write("base.yaml", text)
        assert files.faults(f"{OWN}otherwise: allow\n") == [said]
    files.write("base.yaml", "policy: 1\nname: 'base\n")
    assert [fault.split(": ")[0] for fault in files.faults(OWN)] == ["base.yaml:3"]


def test_the_text_stands_by_itself_and_tells_where_its_parts_come_from(files: Files) -> None:
    """What a ledger keeps is read again without the files, as the same policy with the same digest."""
    policy = files.own("rules: [{name: small, replaces: true, deny: 'no: never'}]\n")
    again = parse_policy(policy.text, "own")
    assert (again.digest, again.text) == (policy.digest, policy.text)
    assert [rule.when for rule in again.rules] == [rule.when for rule in policy.rules]
    for line in ("# own.yaml, which extends base.yaml", "name: own  # own.yaml:2", "  # base.yaml:13"):
        assert line in policy.text.splitlines()
    assert files.write("plain.yaml", BASE).read_text("utf-8") == load_policy(files.folder / "plain.yaml").text


def test_formatting_and_files_do_not_change_the_digest(files: Files) -> None:
    """The same policy written in one file, in another order, with comments, is the same policy."""
    text = "rules:\n  - {name: small, replaces: no-night, when: night, deny: because}\n"
    files.write(
        "base.yaml", BASE.replace("  - {name: small, when: {credits: {above: 4}}, deny: too large}\n", "")
    )
    found = files.own(text)
    one = BASE.replace("name: base", "name: own").split("rules:")[0]
    whole = f"""# all in one
{one}
guarantees:
  - never:
      credits: {{"above": 24}}
      verdict: allow
    name: never-dear
rules:
  - deny: because
    when: night
    name: small
"""
    assert parse_policy(whole, "whole.yaml").digest == found.digest


def policy_or_none(path: Path) -> Policy | None:
    """The policy, or None where it is refused because of its rewrites; any other fault is an error."""
    try:
        return load_policy(path)
    except ConfigError as error:
        reasons = ("raise the price", "changes again", "changes its own")
        if all(any(reason in fault.message for reason in reasons) for fault in error.faults):
            return None
        raise


@settings(deadline=None, max_examples=20)
@given(policy_data(), policy_data())
def test_the_merged_text_is_the_merged_policy(
    tmp_path_factory: pytest.TempPathFactory, base: Any, own: Any
) -> None:
    """Over random policies: read again from its text, a merged policy has the same values and digest."""
    folder = tmp_path_factory.mktemp("merged")
    (folder / "base.yaml").write_text(text_of(base), "utf-8")
    for section in ("rules", "budgets"):
        names = {entry["name"] for entry in base[section]}
        own[section] = [
            {**entry, "replaces": True} if entry["name"] in names else entry for entry in own[section]
        ]
    (folder / "own.yaml").write_text(text_of({**own, "extends": "./base.yaml"}), "utf-8")
    policy = policy_or_none(folder / "own.yaml")
    if policy is None:
        return
    again = parse_policy(policy.text, "own.yaml")
    assert again.digest == policy.digest
    assert read_yaml(again.text).data == read_yaml(policy.text).data
    assert [rule.when for rule in again.rules] == [rule.when for rule in policy.rules]


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12) | st.sampled_from(
    [
        "no",
        "16:9",
        "007",
        "1e3",
        "1.",
        "~",
        "null",
        "True",
        "",
        "- a",
        "a: b",
        "#",
        "a\nb",
        "\u2028",
        "'",
        '"',
    ]
)
scalars = (
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | texts
    | st.decimals(-(10**20), 10**20, allow_nan=False, allow_infinity=False, places=6)
    | st.sampled_from([Decimal("1E+3"), Decimal("1"), Decimal("0.10"), Decimal("-0.0"), Decimal("1E-30")])
)  # fmt: skip
plain_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(texts, plain_values, min_size=1, max_size=4))
def test_what_is_written_is_read_again_as_it_was(values: dict[str, Any]) -> None:
    """Texts that look like something else, and the zeros of a decimal, survive."""
    found = read_yaml(written(values)).data
    assert found == values
    assert repr(found) == repr(values)
