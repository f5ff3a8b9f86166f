"""`planner policy replay`: what past requests would have come to under a policy, or under two.

Here belong the command and its document; `replayed` shows the same to people. Past requests are found
by `past`; what they come to is the work of `policies.analysis.replay`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from planner.errors import InputError, nearest
from policies.cli.enforcement import enforcement
from policies.cli.output import emit_json, example, json_option, repair_json, say, say_repairs
from policies.cli.policy.past import Past, past_options, read_past
from policies.cli.settings import price_book, resolve, setting

if TYPE_CHECKING:
    from policies.analysis.replay import Replayed


@click.command(
    epilog=example(
        "planner policy replay studio.yaml --history history.csv",
        "planner policy replay new.yaml --against studio.yaml --ledger spend.db --by team,month",
    )
)
@click.argument("file", metavar="FILE|NAME")
@past_options
@click.option("--against", metavar="FILE|NAME", help="Another policy, to be shown beside it.")
@click.option("--by", metavar="NAMES", help="Labels, `day` or `month`, such as team,campaign.")
@click.option("--approve", is_flag=True, help="As if every approval were given.")
@setting("prices")
@json_option
def command(
    file: str,
    history: str | None,
    ledger: str | None,
    against: str | None,
    by: str | None,
    approve: bool,
    prices: str | None,
    as_json: bool,
) -> None:
    """Past requests in order under a policy, with budgets of its own: what is saved, denied, rewritten.

    They come from a history file, or from the ledger; nothing is sent or written.
    """
    from policies.analysis.replay import replay
    from policies.loading import load_policy

    settings = resolve(ledger=ledger, prices=prices)
    policies = [load_policy(name) for name in (file, against) if name is not None]
    labels = tuple(dict.fromkeys(name for policy in policies for name in policy.labels))
    groups = _groups(by, labels)
    past = read_past(history, ledger, settings, labels)
    book = price_book(settings)
    replays = [replay(past.requests, policy, book, labels, approve=approve) for policy in policies]
    if as_json:
        say(str(past), aside=True)
        say_repairs(past.repairs, aside=True)
        emit_json("policy-replay", _document(past, replays, groups))
    else:
        from policies.cli.policy.replayed import say_replays

        say_replays(past, replays, groups, brief=by is None)


def _groups(by: str | None, labels: Sequence[str]) -> list[tuple[str, ...]]:
    """One grouping by all names that were given; else each label by itself, and the days."""
    from policies.analysis.replay import SPANS

    if by is None:
        return [*((name,) for name in labels), ("day",)]
    names = tuple(dict.fromkeys(name.strip() for name in by.split(",") if name.strip()))
    known = (*labels, *SPANS)
    for name in names:
        if name not in known:
            guess = nearest(name, known)
            hint = f"did you mean `{guess}`?" if guess else f"use {', '.join(known)}"
            raise InputError(f"no policy declares the label `{name}`", code="unknown_label", hint=hint)
    return [names]


# -- JSON ----------------------------------------------------------------------------------------


def _document(past: Past, replays: Sequence[Replayed], groups: Sequence[tuple[str, ...]]) -> dict[str, Any]:
    return {
        "past": past.name,
        "requests": len(past.requests),
        "period": [at.isoformat() for at in past.span] if past.span else None,
        "policies": [_replay_json(found, groups) for found in replays],
        "repairs": [repair_json(repair) for repair in past.repairs],
    }


def _replay_json(found: Replayed, groups: Sequence[tuple[str, ...]]) -> dict[str, Any]:
    return {
        "policy": {"name": found.policy.name, "digest": found.policy.digest},
        "enforcement": enforcement(found.policy),
        "timezone": found.policy.zone.key,
        "totals": found.total.as_json(),
        "groups": [
            {
                "by": list(names),
                "rows": [
                    {"labels": dict(zip(names, group.values, strict=True)), **group.figures.as_json()}
                    for group in found.by(*names)
                ],
            }
            for names in groups
        ],
        "rules": [rule.as_json() for rule in found.rules],
        "assumptions": list(found.assumptions),
    }
