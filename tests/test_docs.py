"""The reference of the policy file tells the truth: its example loads, is proven, and names every command."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from planner.loading import shipped_prices
from policies.analysis.lint import lint
from policies.analysis.proof import prove
from policies.cli.policy import COMMANDS
from policies.conditions import DERIVED_ATTRIBUTES, FIELD_ATTRIBUTES
from policies.loading import parse_policy

TEXT = (Path(__file__).parents[1] / "docs" / "policy.md").read_text("utf-8")
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def test_the_example_policy_is_read_proven_and_without_remarks() -> None:
    """What people copy from the reference holds what it promises."""
    (example,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    policy = parse_policy(example, "studio.yaml")
    assert prove(policy, shipped_prices(), NOW).proved
    assert [str(remark) for remark in lint(policy, shipped_prices(), NOW)] == []


def test_every_attribute_and_every_command_is_named() -> None:
    """Nothing that a condition may read, and no command about policies, is missing from the reference."""
    missing = [name for name in (*FIELD_ATTRIBUTES, *DERIVED_ATTRIBUTES) if f"`{name}`" not in TEXT]
    missing += [name for name in COMMANDS if f"planner policy {name}" not in TEXT]
    assert missing == []
