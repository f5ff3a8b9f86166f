"""`planner policy prove`: whether every guarantee of a policy holds in every case.

Here belongs showing what was proven, and the line that reproduces a counterexample. The proof itself
belongs to `policies.analysis.proof`.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from policies.cli.output import DOT, counted, dim, emit_json, example, json_option, plain, say, strong, styled
from policies.cli.settings import at_option, instant_of, price_book, resolve, setting

if TYPE_CHECKING:
    from policies.analysis.proof import Counterexample, Proof, Result
    from policies.engine import Policy


@click.command(epilog=example("planner policy prove studio.yaml", "planner policy prove starter --json"))
@click.argument("file", metavar="FILE|NAME")
@click.option(
    "--max-cells",
    type=click.IntRange(min=1),
    metavar="N",
    help="Past so many cells nothing is decided; 20,000,000 by default.",
)
@setting("prices")
@at_option
@json_option
def command(file: str, max_cells: int | None, prices: str | None, at: str | None, as_json: bool) -> int:
    """Prove every guarantee of a policy: all requests, labels, times and amounts spent.

    Under each price in force now or later. What always has to hold is proven as well: rewriting ends and
    is stable, leaves a valid request, never costs more unasked, and every rule can fire.
    """
    from datetime import UTC, datetime

    from policies.analysis.proof import MOST_CELLS, prove
    from policies.loading import load_policy

    policy = load_policy(file)
    now = instant_of(at) or datetime.now(UTC).replace(microsecond=0)
    settings = resolve(prices=prices)
    proof = prove(policy, price_book(settings), now, most_cells=max_cells or MOST_CELLS)
    if as_json:
        emit_json("policy-prove", _document(policy, proof))
    else:
        _say(policy, proof, Words(file, prices, settings.key_column, policy.enforced))
    return 0 if proof.proved else 1


def _document(policy: Policy, proof: Proof) -> dict[str, Any]:
    return {
        "policy": {"name": policy.name, "digest": policy.digest},
        "proved": proof.proved,
        "cells": proof.cells,
        "covers": proof.covers,
        "guarantees": [
            {
                "name": result.name,
                "proved": result.proved,
                "why": result.why,
                "where": result.where,
                "counterexample": _shown(policy, result.counterexample) if result.counterexample else None,
            }
            for result in proof.results
        ],
    }


def _shown(policy: Policy, found: Counterexample) -> dict[str, Any]:
    decision = found.decision
    return {
        "request": dict(found.asked.inputs),
        "labels": dict(found.asked.labels),
        "at": found.asked.at.astimezone(policy.zone).isoformat(),
        "spent": {name: _amount(policy, name, amount) for name, amount in found.spent.items()},
        "final": decision.request.inputs(),
        "credits": decision.credits,
        "verdict": decision.verdict.value,
    }


def _amount(policy: Policy, name: str, amount: int) -> int | str:
    """An amount as suites and `--spent` write it: whole credits, or dollars with their unit."""
    from planner.money import usd_from_micro

    budget = next(item.budget for item in policy.budgets if name.partition("/")[0] == item.budget.name)
    return amount if budget.limit.unit == "credits" else f"{usd_from_micro(amount)} USD"


def _say(policy: Policy, proof: Proof, words: Words) -> None:
    say(dim(f"policy {policy.name} ({policy.digest[:8]}){DOT}{counted(proof.cells, 'cell')} visited"))
    for result in proof.results:
        say(_line(result))
        if result.counterexample is not None:
            say(_told(policy, result.counterexample))
            say(f"  {dim(words.check_line(_shown(policy, result.counterexample)))}")
    held = sum(result.proved is True for result in proof.results)
    say(strong(f"{held} of {counted(len(proof.results), 'guarantee')} proven"))


def _line(result: Result) -> str:
    word, colour = {True: ("proven", "green"), False: ("refuted", "red"), None: ("not decided", "yellow")}[
        result.proved
    ]
    where = f" {dim(result.where)}" if result.where else ""
    return f"{styled(word, fg=colour, bold=True)} {plain(result.name)}: {plain(result.why)}{where}"


def _told(policy: Policy, found: Counterexample) -> str:
    """The counterexample as a person would tell it."""
    from policies.analysis.proof import VERBS

    lines = [f"  for {found.asked}", f"  at {found.asked.at.astimezone(policy.zone).isoformat()}"]
    spent = {name: amount for name, amount in _shown(policy, found)["spent"].items() if found.spent[name]}
    for name, amount in spent.items():
        told = counted(amount, "credit") if isinstance(amount, int) else amount
        lines.append(f"  with {told} spent of {name}")
    changed = ", ".join(f"{change.field} {_value(change.after)}" for change in found.decision.changes)
    ends = f" with {changed}" if changed else ""
    credits = counted(found.decision.credits, "credit")
    lines.append(f"  it is {VERBS[found.decision.verdict]}{ends}, for {credits}")
    return "\n".join(map(plain, lines))


def _value(value: Any) -> Any:
    return "absent" if value is None or value is False else value


@dataclass(frozen=True, slots=True)
class Words:
    """What makes `planner check` decide as the proof does, whatever stands in a ledger or in the settings."""

    file: str
    prices: str | None = None
    """As given on the command line; what the settings say they say to `check` as well."""
    key_column: str | None = None
    enforced: bool = True

    def check_line(self, shown: dict[str, Any]) -> str:
        """The command that decides the counterexample again."""
        row = {self.key_column: "counterexample"} if self.key_column else {}
        row |= shown["request"] | shown["labels"]
        words = ["planner", "check", "-", "--policy", self.file, "--at", shown["at"]]
        for name, amount in shown["spent"].items():
            words += ["--spent", f"{name}={amount}"]
        words += ["--prices", self.prices] if self.prices else []
        words += [] if self.enforced else ["--json"]  # In shadow only the document has what is decided.
        return f"echo {shlex.quote(json.dumps(row, ensure_ascii=False))} | {shlex.join(words)}"
