"""A policy that names a fitted profile decides by it, keeps it in its text, and learns nothing by itself."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from planner.errors import ConfigError
from planner.latency import LatencyProfile
from planner.loading import shipped_latency, shipped_prices
from planner.profiles import profile_text
from policies.budgets import Usage
from policies.guard.guard import Guard
from policies.loading import load_policy, parse_policy

TEXT = """\
policy: 1
name: timed
otherwise: allow
latency_profile: ./latency.yaml
rules:
  - {name: slow, when: {seconds: {above: 60}}, deny: nobody waits that long}
"""
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def write(folder, factor, text=TEXT):
    """A policy beside a profile in which everything takes that many times as long as documented."""
    known = shipped_latency()
    rows = {row: seconds.scaled(factor) for row, seconds in known.rows.items()}
    (folder / "latency.yaml").write_text(profile_text(LatencyProfile("own@2026-11-01", rows), "a test"))
    path = folder / "timed.yaml"
    path.write_text(text)
    return path


def verdict(policy, **fields):
    found = policy.decide(
        {"prompt": "x", **fields}, {}, book=shipped_prices(), at=NOW, usage=lambda allowance: Usage()
    )
    return found.verdict.value


def test_what_was_learned_decides(tmp_path):
    """The same request is quick enough by one profile and too slow by another."""
    assert verdict(load_policy(write(tmp_path, 1))) == "allow"
    assert verdict(load_policy(write(tmp_path, 10))) == "deny"


def test_the_text_stands_by_itself(tmp_path):
    """What a ledger keeps is read again without the file: the same digest, the same decisions."""
    policy = load_policy(write(tmp_path, 10))
    (tmp_path / "latency.yaml").unlink()
    again = parse_policy(policy.text, "timed.yaml")
    assert again.digest == policy.digest
    assert (verdict(again), verdict(again, generation_mode="fast")) == ("deny", "deny")


def test_another_fit_is_another_text(tmp_path):
    """The digest follows the figures, and a base may name the profile for those that extend it."""
    one, other = (load_policy(write(tmp_path, factor)) for factor in (1, 2))
    assert one.digest != other.digest
    (tmp_path / "child.yaml").write_text("policy: 1\nname: child\nextends: ./timed.yaml\n")
    write(tmp_path, 10)
    child = load_policy(tmp_path / "child.yaml")
    assert verdict(child) == "deny"
    assert parse_policy(child.text, "child.yaml").digest == child.digest


def test_a_guard_sees_a_new_fit(tmp_path):
    """The profile is one of the files that are looked at between two decisions."""
    with Guard.open(write(tmp_path, 1), f"sqlite:///{tmp_path}/spend.db") as guard:
        assert guard.check({"prompt": "x"}).verdict.value == "allow"
        write(tmp_path, 10)
        assert guard.check({"prompt": "x"}).verdict.value == "deny"
        assert guard.policy_error is None


@pytest.mark.parametrize(
    ("text", "profile", "said"),
    [
        (TEXT.replace("./latency", "./nowhere"), None, "no such file"),
        (TEXT, "profile: x\n", "does not say [p50, p90, basis, observations]"),
        (
            TEXT.replace("./latency.yaml", "{profile: x}"),
            None,
            "does not say [p50, p90, basis, observations]",
        ),
        (TEXT.replace("./latency.yaml", "[1]"), None, "is not a latency profile"),
    ],
)
def test_a_profile_that_is_none_is_refused_by_its_line(tmp_path, text, profile, said):
    """A missing file, one of another form, and values that are none: `file:line`, and no traceback."""
    path = write(tmp_path, 1, text)
    if profile is not None:
        (tmp_path / "latency.yaml").write_text(profile)
    with pytest.raises(ConfigError, match=re.escape(said)) as caught:
        load_policy(path)
    assert caught.value.faults[0].where == f"{path}:4"


def test_a_text_without_a_file_names_no_file():
    """What came from nowhere lies beside nothing."""
    with pytest.raises(ConfigError, match="is not a latency profile"):
        parse_policy(TEXT, "timed.yaml")
