"""The JSON Schema of policy files: what is right by it is right for the reader, and the other way round."""

from __future__ import annotations

import re
from decimal import Decimal
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given, settings

from planner.documents import read_yaml
from policies.loading import parse_policy, shipped_policies
from policies.schema import policy_schema, suite_schema
from tests.laws.policy_strategies import policy_data, policy_of, text_of

FULL = """policy: 1
name: full
extends: starter
timezone: Europe/Berlin
otherwise: "needs_approval: finance"
enforcement: shadow
credit_price: 0.041
latency_profile: fashn-documented@2026-11-22
reuse: true
other_models: {hold: 8 credits}
on_drift: stop
labels: {region: [emea, apac], shop: any}
conditions:
  big: {credits: {above: 12}, seconds: {at_least: 59.5}}
  late: {any: [big, {time: {from: 22:00, to: 06:00}}], weekday: {not: [saturday, sunday]}}
  goes: {verdict: allow}
budgets:
  - {name: day, limit: {emea: 20, otherwise: 10 credits}, per: day, for_each: [region], applies_to: late,
     warn_at: [50%], when_exhausted: {downgrade: {give_up_in_order: [num_images], floor: {num_images: 2}}}}
  - {name: asks, limit: 5 USD, per: total, when_exhausted: {needs_approval: finance}}
rules:
  - {name: none, when: {all: [late, {not: big}], face_reference: present}, deny: true, shadow: true}
  - {name: less, downgrade: {at_most: 0.30 USD, give_up_in_order: [generation_mode, num_images]}}
  - {name: one, when: {used: {day: {above: 80%}}, shop: a}, rewrite: {num_images: 1, seed: absent},
     may_cost_more: true, because: little is left}
  - {name: lead, when: {seed: [1, 2], resolution: {at_least: 2k}}, needs_approval: lead}
guarantees:
  - {name: never, never: {all: [goes, big]}, because: of the costs}
"""


TYPES: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, Decimal), "boolean": bool,
    "null": type(None),
}  # fmt: skip


def fits(schema: Any, value: Any, root: Any) -> bool:
    """Whether a value fits a schema, in the words that ours is written in."""
    if isinstance(schema, bool):
        return schema
    if "$ref" in schema:
        return fits(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], value, root)
    ways = schema.get("anyOf")
    return (
        _plain_fits(schema, value)
        and (ways is None or any(fits(way, value, root) for way in ways))
        and (not isinstance(value, dict) or _mapping_fits(schema, value, root))
        and (not isinstance(value, list) or all(fits(schema.get("items", {}), item, root) for item in value))
    )


def _plain_fits(schema: Any, value: Any) -> bool:
    names = schema.get("type", [])
    kinds = [names] if isinstance(names, str) else names
    allowed = schema.get("enum", [schema["const"]] if "const" in schema else None)
    return (
        (not kinds or any(_is(kind, value) for kind in kinds))
        and (allowed is None or any(type(item) is type(value) and item == value for item in allowed))
        and (not isinstance(value, str) or bool(re.search(schema.get("pattern", ""), value)))
        and (not isinstance(value, list) or len(value) >= schema.get("minItems", 0))
    )


def _is(kind: str, value: Any) -> bool:
    return isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _mapping_fits(schema: Any, value: dict[str, Any], root: Any) -> bool:
    known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
    if not value.keys() >= set(schema.get("required", [])) or len(value) < schema.get("minProperties", 0):
        return False
    return all(fits(known.get(key, others), item, root) for key, item in value.items())


SCHEMA = policy_schema()


def test_every_word_of_the_language_is_known() -> None:
    """A policy that says everything there is to say fits, and the reader takes it."""
    document = read_yaml(FULL).data
    assert parse_policy(FULL, "full.yaml").name == "full"
    assert fits(SCHEMA, document, SCHEMA)
    assert SCHEMA["properties"].keys() == document.keys()
    for shape, section in (("Rule", "rules"), ("Budget", "budgets"), ("Guarantee", "guarantees")):
        said = {key for entry in document[section] for key in entry} | {"replaces"}
        assert SCHEMA["$defs"][f"{shape}Shape"]["properties"].keys() - said <= {"allow"}


@pytest.mark.parametrize("name", shipped_policies())
def test_shipped_policies_and_their_suites_fit(name: str) -> None:
    """What comes with the package is shown without a fault in an editor."""
    for file, schema in (("policy.yaml", SCHEMA), ("suite.yaml", suite_schema())):
        text = (files("policies") / "library" / name / file).read_text("utf-8")
        assert fits(schema, read_yaml(text).data, schema)


@settings(deadline=None)
@given(policy_data())
def test_what_the_reader_takes_fits(data: Any) -> None:
    """Over random policies of the whole language."""
    if policy_of(data) is not None:
        assert fits(SCHEMA, read_yaml(text_of(data)).data, SCHEMA)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("policy: 1", "policy: 2"),
        ("reuse: true", "reuse: yes"),
        ("{hold: 8 credits}", "8 credits"),
        ("on_drift: stop", "on_drift: panic"),
        ("deny: true", "dney: true"),
        ("rewrite: {num_images: 1, seed: absent}", "rewrite: {resolution: 8k}"),
        ("rewrite: {num_images: 1, seed: absent}", "rewrite: {prompt: cat}"),
        ("at_most: 0.30 USD, ", ""),
        ("{downgrade: {give_up_in_order", "{downgrade: {at_most: 4, give_up_in_order"),
        ("floor: {num_images: 2}", "floor: {num_images: 9}"),
        ("[generation_mode, num_images]", "[seed]"),
        ("resolution: {at_least: 2k}", "resolution: {at_least: 3k}"),
        ("when: {all: [late", "when: {verdict: allow, all: [late"),
        ("never: {all: [goes, big]}", "never: {verdict: perhaps}"),
        ("weekday: {not: [saturday, sunday]}", "weekday: funday"),
        ("otherwise: \"needs_approval: finance\"\n", "otherwise: perhaps\n"),
    ],
)  # fmt: skip
def test_what_is_wrong_does_not_fit(before: str, after: str) -> None:
    """An editor marks it before anything is run."""
    assert FULL.count(before) == 1
    document = read_yaml(FULL.replace(before, after)).data
    assert not fits(SCHEMA, document, SCHEMA)


def test_only_a_policy_that_extends_may_leave_out_what_happens_otherwise() -> None:
    """`otherwise` is stated, here or in what is extended."""
    document = {"policy": 1, "name": "p"}
    assert not fits(SCHEMA, document, SCHEMA)
    assert fits(SCHEMA, {**document, "extends": "starter"}, SCHEMA)
    assert fits(SCHEMA, {**document, "otherwise": "allow"}, SCHEMA)
