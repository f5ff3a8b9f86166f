"""`planner policy prove`: what is shown, how it exits, and that its lines can be typed in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from planner.request import ModelCreateRequest, closed_fields, parse_request
from policies.loading import load_policy
from tests.laws.world import World

HOLDS = """
policy: 1
name: small
otherwise: allow
rules:
  - {name: large, when: {credits: {above: 20}}, needs_approval: finance}
guarantees:
  - {name: kept, never: {verdict: allow, credits: {above: 20}}, because: finance wants to know}
"""
BROKEN = """
policy: 1
name: broken
timezone: Europe/Berlin
otherwise: allow
credit_price: on-demand
labels: {team: [a, b], campaign: any}
budgets:
  - {name: month, limit: 100 credits, per: month, for_each: [team, campaign]}
  - {name: usd week, limit: 3 USD, per: week, when_exhausted: {needs_approval: "it's me"}}
rules:
  - {name: night, when: {time: {from: 22:00, to: 06:00}, num_images: {above: 2}}, rewrite: {num_images: 2}}
  - {name: faces, when: {face_reference: present, team: b}, rewrite: {face_reference: absent}}
  - {name: odd, when: {campaign: "ss/26 \\"x\\" 'y' $z"}, deny: no}
  - {name: never, when: {credits: {above: 32}}, deny: no}
guarantees:
  - {name: shown, never: {verdict: deny, campaign: "ss/26 \\"x\\" 'y' $z", used: {month: {at_least: 50%}}}}
  - name: nearly-full
    never: {verdict: allow, used: {month: {at_least: 90%}}, num_images: 2, time: {from: 22:00, to: 06:00}}
  - {name: asked, never: {verdict: needs_approval, team: a}}
  - {name: posed, never: {verdict: allow, image_reference: present, credits: {above: 20}, weekday: friday}}
  - {name: full, never: {verdict: deny, campaign: absent, team: absent}}
  - {name: rewritten, never: {verdict: allow, team: b, num_images: 2, time: {from: "23:00", to: "23:30"}}}
  - {name: unlisted, never: {verdict: deny, team: {not: [a, b]}, used: {usd week: 0%}}}
  - {name: held, never: {verdict: allow, credits: {above: 32}}}
"""
AT = ("--at", "2026-11-22T10:30:00+01:00")


@pytest.fixture
def written(folder: Path) -> Path:
    (folder / "holds.yaml").write_text(HOLDS)
    (folder / "broken file.yaml").write_text(BROKEN)
    return folder


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A line as somebody types it, with the command of this environment."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, capture_output=True, text=True, env={**os.environ, "PATH": path}
    )


def lines_of(out: str) -> dict[str, str]:
    """The line that reproduces a counterexample, by the guarantee that it refutes."""
    found, name = {}, ""
    for line in out.splitlines():
        if line.startswith("refuted "):
            name = line.split()[1].rstrip(":")
        elif line.startswith("  echo "):
            found[name] = line.strip()
    return found


def test_what_holds_exits_0_and_is_told_in_a_line_each(planner, written):
    """The guarantee with its reason and place, then what is proven of every policy."""
    found = planner("policy", "prove", "holds.yaml", *AT)
    assert found.code == 0
    lines = found.out.splitlines()
    assert lines[0].startswith("policy small (")
    assert lines[0].endswith("160 cells visited")
    assert lines[1] == "proven kept: finance wants to know holds.yaml:8"
    assert lines[-1] == "6 of 6 guarantees proven"
    assert len(lines) == 8


def test_what_does_not_hold_exits_1_with_the_smallest_request(planner, written):
    """The labels, the instant in the policy's zone, what is spent and what comes of it."""
    found = planner("policy", "prove", "broken file.yaml", *AT)
    assert found.code == 1
    place = found.out.index("refuted nearly-full: a request for 2 credits is allowed broken file.yaml:18\n")
    assert found.out[place:].splitlines()[1:5] == [
        "  for num_images: 2",
        "  at 2026-11-22T22:00:00+01:00",
        "  with 90 credits spent of month/absent/absent",
        "  it is allowed, for 2 credits",
    ]
    assert "  with 2.925001 USD spent of usd week\n" in found.out
    assert "refuted every-rule-can-fire: nothing reaches `never` broken file.yaml:15\n" in found.out
    assert "proven held: no decision is like that broken file.yaml:25\n" in found.out
    assert found.out.endswith("5 of 13 guarantees proven\n")


def test_the_document_has_all_that_is_shown(planner, written):
    """Its shape is a contract: requests and labels as asked, what is spent and its unit, what comes of it."""
    document = planner("policy", "prove", "broken file.yaml", *AT, "--json").document
    assert document["schema"] == "planner.policy-prove/1"
    assert document["policy"]["name"] == "broken"
    assert document["proved"] is False
    assert 0 < document["cells"] <= document["covers"]
    found = {guarantee["name"]: guarantee for guarantee in document["guarantees"]}
    assert [name for name, one in found.items() if one["proved"]] == [
        "held", "rewriting-ends", "rewriting-is-stable", "final-request-is-valid", "price-is-never-raised"
    ]  # fmt: skip
    assert all((one["counterexample"] is None) is (one["proved"] or one["name"] == "every-rule-can-fire")
               for one in document["guarantees"])  # fmt: skip
    assert found["asked"]["counterexample"] == {
        "request": {"prompt": "x"},
        "labels": {"team": "a"},
        "at": "2026-11-22T10:30:00+01:00",
        "spent": {"month/a/absent": 0, "usd week": "2.925001 USD"},
        "final": {"prompt": "x"},
        "credits": 1,
        "verdict": "needs_approval",
    }
    final = found["rewritten"]["counterexample"]
    assert final["request"]["num_images"] >= 2
    assert (final["final"]["num_images"], final["labels"]) == (2, {"team": "b"})


def test_the_lines_reproduce_the_counterexamples_in_a_shell(planner, written):
    """Verdict, credits and final request are those of the proof, even with quotes, slashes and spaces."""
    document = planner("policy", "prove", "broken file.yaml", *AT, "--json").document
    wanted = {one["name"]: one["counterexample"] for one in document["guarantees"] if one["counterexample"]}
    lines = lines_of(planner("policy", "prove", "broken file.yaml", *AT).out)
    assert lines.keys() == wanted.keys()
    assert len(lines) == 7
    for name, line in lines.items():
        ran = shell(f"{line} --json", written)
        assert ran.returncode == (0 if wanted[name]["verdict"] == "allow" else 1), (name, ran.stderr)
        (decision,) = json.loads(ran.stdout)["decisions"]
        assert decision["verdict"] == wanted[name]["verdict"]
        assert decision["credits"] == wanted[name]["credits"]
        final = parse_request(wanted[name]["final"])
        assert decision["fields"] == json.loads(json.dumps(closed_fields(final)))


def test_a_ledger_and_settings_change_nothing_about_it(planner, written):
    """What a ledger has spent does not count, and a key column of the settings is filled in."""
    (written / "one.yaml").write_text(
        "policy: 1\nname: one\notherwise: allow\nbudgets:\n"
        "  - {name: day, limit: 8, per: day}\n  - {name: all, limit: 20, per: total}\n"
        "guarantees:\n  - {name: free, never: {verdict: allow, credits: {at_least: 8}}}\n"
    )
    (written / "planner.toml").write_text('ledger = "ledger.db"\nkey_column = "sku"\n')
    line = lines_of(planner("policy", "prove", "one.yaml", *AT).out)["free"]
    assert "--spent day=0 --spent all=0" in line
    spend(written)
    (decision,) = json.loads(shell(f"{line} --json", written).stdout)["decisions"]
    assert (decision["verdict"], decision["credits"], decision["key"]) == ("allow", 8, "counterexample")
    bare = line.replace(" --spent day=0", "").replace(" --spent all=0", "")
    (full,) = json.loads(shell(f"{bare} --json", written).stdout)["decisions"]
    assert full["verdict"] == "deny"


def spend(folder: Path) -> None:
    """Sixteen credits of twenty are spent in the ledger, under the policy that is asked about."""
    world = World(folder, load_policy(folder / "one.yaml"))
    worker = world.worker()
    for number in range(2):
        request = ModelCreateRequest(prompt="x", resolution="2k", num_images=2)
        worker.finish(worker.submit(world.ask(f"sku-{number}", request)))
        world.advance(86_400)
    worker.owner.close()
    world.close()


def test_prices_of_the_command_line_stand_in_the_line(planner, written):
    """What is refuted under prices of one's own is checked under them."""
    (written / "later.yaml").write_text(PRICES)
    (written / "p.yaml").write_text(
        "policy: 1\nname: p\notherwise: allow\n"
        "guarantees: [{name: cheap, never: {verdict: allow, credits: {above: 50}}}]\n"
    )
    assert planner("policy", "prove", "p.yaml", *AT).code == 0
    line = lines_of(planner("policy", "prove", "p.yaml", *AT, "--prices", "later.yaml").out)["cheap"]
    assert line.endswith("--prices later.yaml")
    (decision,) = json.loads(shell(f"{line} --json", written).stdout)["decisions"]
    assert decision["credits"] > 50
    assert "--at 2027-01-01T00:00:00+00:00" in line


PRICES = """
price_book: fashn
checked: 2027-01-01
entries:
  - from: 2027-01-01
    source: twice as much
    credits:
      fast:     {1k: 20, 2k: 40, 4k: 60}
      balanced: {1k: 40, 2k: 60, 4k: 80}
      quality:  {1k: 60, 2k: 80, 4k: 100}
    face_reference: 3
    omitted_mode: {1k: fast, 2k: quality, 4k: quality}
"""


def test_in_shadow_the_line_asks_for_what_would_have_been_decided(planner, written):
    """`check` lets everything go, and its document has beside it what the proof speaks of."""
    (written / "shadow.yaml").write_text(
        "policy: 1\nname: s\notherwise: deny\nenforcement: shadow\n"
        "guarantees: [{name: open, never: {verdict: deny}}]\n"
    )
    line = lines_of(planner("policy", "prove", "shadow.yaml", *AT).out)["open"]
    (decision,) = json.loads(shell(line, written).stdout)["decisions"]
    assert (decision["verdict"], decision["shadowed"]["verdict"]) == ("allow", "deny")


@pytest.mark.parametrize(("most", "code", "proved"), [(160, 0, True), (159, 1, None), (1, 1, None)])
def test_past_max_cells_nothing_is_decided_and_that_is_no_success(
    planner, written, most: int, code: int, proved: bool | None
):
    """One cell less than there are is too few; nothing is guessed from those that were visited."""
    found = planner("policy", "prove", "holds.yaml", *AT, "--max-cells", most, "--json")
    assert (found.code, found.document["proved"]) == (code, proved)
    assert {guarantee["proved"] for guarantee in found.document["guarantees"]} == {proved}
    if proved is None:
        out = planner("policy", "prove", "holds.yaml", *AT, "--max-cells", most).out
        assert f"not decided kept: not decided: there are more than {most} cells holds.yaml:8\n" in out
        assert out.endswith("0 of 6 guarantees proven\n")


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (HOLDS.replace("above: 20", "abve: 20"), "policy", "did you mean `above`?"),
        (
            HOLDS.replace("needs_approval: finance", "rewrite: {resolution: 4k}"),
            "policy",
            "`large` would raise the price",
        ),
        (None, "no_policy", "there is no policy `wrong.yaml`"),
    ],
)
def test_what_cannot_be_read_or_is_unstable_exits_2(planner, written, text: str | None, code: str, said: str):
    """As an error with its place, before anything is proven."""
    if text is not None:
        (written / "wrong.yaml").write_text(text)
    found = planner("policy", "prove", "wrong.yaml", *AT, "--json")
    assert (found.code, found.codes[0]) == (2, code)
    assert said in found.out


def test_an_instant_that_is_none_exits_2(planner, written):
    """Before the first price there is none in force, but one that comes later."""
    assert planner("policy", "prove", "holds.yaml", "--at", "2026-01-01").code == 0
    wrong = planner("policy", "prove", "holds.yaml", "--at", "yesterday", "--json")
    assert (wrong.code, wrong.codes) == (2, ["bad_instant"])
