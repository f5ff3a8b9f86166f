"""`planner policy activate`: bring a policy in force on purpose, also one that was replaced.

Here belong its flags and what is told. What being in force means belongs to `policies.ledger.in_force`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from policies.cli.allowances import budget_json, budgets_text
from policies.cli.ledgers import opened
from policies.cli.output import DOT, dim, emit_json, example, json_option, plain, say, strong
from policies.cli.settings import setting

if TYPE_CHECKING:
    from policies.ledger.entries import Counter
    from policies.ledger.in_force import Activation, Standing


@click.command(
    epilog=example(
        "planner policy activate studio.yaml",
        "planner policy activate studio-2027.yaml --retire studio",
    ),
)
@click.argument("file", metavar="FILE|NAME")
@click.option("--retire", metavar="NAME", help="End the policy of that name, as after a renaming.")
@setting("ledger")
@json_option
def command(file: str, retire: str | None, ledger: str | None, as_json: bool) -> None:
    """Bring FILE in force in the ledger, also a text that was replaced there.

    A changed file comes in force by itself; one that was replaced returns only in this way. Its budgets
    count what was spent in their windows before, so nobody gets an allowance twice.
    """
    from policies.loading import load_policy

    policy = load_policy(file)
    with opened(ledger) as store:
        found = store.activate(policy, retire=retire)
        counters = [item for item in store.counters(store.now()) if item.policy == policy.name]
    if as_json:
        emit_json("policy-activate", _document(found, counters))
    else:
        _say_result(found, counters)


def _document(found: Activation, counters: Sequence[Counter]) -> dict[str, Any]:
    return {
        "policy": _standing_json(found.now),
        "before": found.before and _standing_json(found.before),
        "changed": found.changed,
        "retired": found.retired and _standing_json(found.retired),
        "budgets": [budget_json(counter) for counter in counters],
    }


def _standing_json(standing: Standing) -> dict[str, str]:
    return {"name": standing.name, "digest": standing.digest, "since": standing.since.isoformat()}


def _say_result(found: Activation, counters: Sequence[Counter]) -> None:
    if found.changed:
        say(strong(f"{_named(found.now)} is in force"))
        say(dim(f"before  {_since(found.before) if found.before else 'no policy of this name'}"))
    else:
        since = f"{DOT}since {found.now.since:%Y-%m-%d %H:%M} UTC"
        say(strong(f"{_named(found.now)} was in force already") + dim(since))
    if found.retired:
        say(dim(f"retired {_since(found.retired)}"))
    say()
    say(budgets_text(counters) if counters else dim("nothing counts in its budgets yet"))


def _named(standing: Standing) -> str:
    return f"{plain(standing.name)} ({standing.digest[:8]})"


def _since(standing: Standing) -> str:
    return f"{_named(standing)} since {standing.since:%Y-%m-%d %H:%M} UTC"
