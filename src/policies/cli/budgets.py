"""`planner budgets`: how full every budget is, what was granted on top, and granting more.

Here belong the two commands and their words. What a grant is belongs to `policies.ledger.grants`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from planner.errors import InputError, nearest
from policies.cli.allowances import amount_text, budget_json, budgets_text, scope_text
from policies.cli.ledgers import opened, said
from policies.cli.output import emit_json, example, json_option, minute_text, plain, say, strong, table
from policies.cli.settings import instant_of, setting

if TYPE_CHECKING:
    from datetime import datetime

    from policies.budgets import Allowance, Budget
    from policies.engine import Policy
    from policies.ledger.entries import Counter
    from policies.ledger.grants import Grant
    from policies.ledger.store import Store


@click.group(
    epilog=example("planner budgets show", 'planner budgets raise team-month --for team=social --by 500 '
                   '--because "two more looks" --by-name "Ana"')
)  # fmt: skip
def command() -> None:
    """How full the budgets are, and letting one pass its limit for once."""


# -- show ----------------------------------------------------------------------------------------


@command.command(epilog=example("planner budgets show", "planner budgets show --ledger spend.db --json"))
@setting("ledger")
@json_option
def show(ledger: str | None, as_json: bool) -> None:
    """Every budget in force with what counts in its window, and the raises that stand."""
    with opened(ledger) as store:
        now = store.now()
        counters = _counters(store, now)
        raises = [grant for grant in store.grants(now) if grant.entry is None]
    if as_json:
        shown = {"budgets": [*map(budget_json, counters)], "raises": [*map(_grant_json, raises)]}
        emit_json("budgets-show", shown)
        return
    say(budgets_text(counters) if counters else "no policy with budgets is in force in this ledger")
    if raises:
        say()
        say(_raises_text(raises))


def _counters(store: Store, now: datetime) -> list[Counter]:
    """The counters of the windows that run, and one for each budget or raise that has none yet."""
    from policies.ledger.entries import Counter

    known = store.policies_in_force()
    found = {(one.policy, _place(one.allowance)): one for one in store.counters(now) if one.policy in known}
    for name, allowance in _others(store, known, now):
        if (name, _place(allowance)) not in found:
            used = store.usage(known[name])(allowance)
            found[name, _place(allowance)] = Counter(0, name, allowance, *used)
    return sorted(found.values(), key=lambda one: (one.policy, _place(one.allowance)))


def _others(store: Store, known: Mapping[str, Policy], now: datetime) -> Iterator[tuple[str, Allowance]]:
    """The allowances of budgets that are one for all, and of all raises."""
    for name, policy in known.items():
        for item in policy.budgets:
            if not item.budget.for_each:
                yield name, policy.allowance(item.budget, {}, now)
    for grant in store.grants(now):
        if grant.policy not in known:
            continue
        for item in known[grant.policy].budgets:
            if item.budget.name == grant.allowance.budget:
                labels = {label: value for label, value in grant.allowance.scope if value is not None}
                yield grant.policy, known[grant.policy].allowance(item.budget, labels, now)


def _place(allowance: Allowance) -> tuple[str, str]:
    return allowance.budget, str(sorted(allowance.scope))


def _grant_json(grant: Grant) -> dict[str, Any]:
    allowance = grant.allowance
    ends = grant.until or allowance.end
    return {
        "policy": grant.policy,
        "name": allowance.budget,
        "scope": dict(allowance.scope),
        "window": [allowance.start.isoformat(), allowance.end and allowance.end.isoformat()],
        "unit": allowance.unit,
        "amount": grant.amount,
        "until": ends and ends.isoformat(),
        "by": grant.who,
        "because": grant.because,
        "at": grant.at.isoformat(),
    }


def _raises_text(raises: Sequence[Grant]) -> str:
    rows = []
    for grant in raises:
        allowance, ends = grant.allowance, grant.until or grant.allowance.end
        until = minute_text(ends.isoformat()) if ends else "for good"
        amount = amount_text(allowance.unit, grant.amount)
        rows.append(
            (
                allowance.budget,
                scope_text(allowance),
                f"+{amount}",
                until,
                plain(grant.who),
                plain(grant.because),
            )
        )
    return table(rows, ["raised", "for", "by", "until", "said by", "because"], right=(2,))


# -- raise ---------------------------------------------------------------------------------------


@command.command(
    "raise",
    epilog=example(
        'planner budgets raise team-month --for team=social --by 500 --because "relaunch" --by-name "Ana"',
        'planner budgets raise day --by "20 USD" --because "late looks" --by-name "Ana"',
    ),
)
@click.argument("name")
@click.option(
    "--for", "scope", multiple=True, metavar="LABEL=VALUE", help="Whose allowance; `team=` for no team."
)
@click.option("--by", "amount", required=True, metavar="AMOUNT", help="Such as 500, or `20 USD`.")
@click.option("--until", metavar="INSTANT", help="It ends then; default: with the window.")
@click.option("--because", required=True, metavar="TEXT", help="Why; kept in the ledger.")
@click.option("--by-name", "who", required=True, metavar="NAME", help="Who says so; kept in the ledger.")
@click.option("--of", "policy_name", metavar="POLICY", help="Whose budget, where several policies have one.")
@setting("ledger")
@json_option
def raise_(
    name: str,
    scope: Sequence[str],
    amount: str,
    until: str | None,
    because: str,
    who: str,
    policy_name: str | None,
    ledger: str | None,
    as_json: bool,
) -> None:
    """Let budget NAME pass its limit by so much, in the window that runs now.

    A raise ends by itself, with its window at the latest. The limit of the policy stays as it is.
    """
    from policies.ledger.grants import Grant

    who, because = said(who, "--by-name"), said(because, "--because")
    with opened(ledger) as store:
        now = store.now()
        policy, budget = _budget(store.policies_in_force(), name, policy_name)
        allowance = policy.allowance(budget, _scope(policy, budget, scope), now)
        ends = instant_of(until, "--until")
        _check_end(ends, allowance, now)
        grant = Grant(policy.name, allowance, _amount(amount, budget), now, ends, who, because)
        store.grant(grant)
        after = store.usage(policy)(allowance)
    if as_json:
        emit_json("budgets-raise", {**_grant_json(grant), "limit": allowance.limit, "granted": after.granted})
        return
    total = amount_text(allowance.unit, allowance.limit + after.granted)
    whose = "" if not allowance.scope else f" for {scope_text(allowance)}"
    say(strong(f"{plain(name)}{whose}: raised by {amount_text(allowance.unit, grant.amount)}, now {total}"))
    say(_raises_text([grant]))


def _budget(known: Mapping[str, Policy], name: str, policy_name: str | None) -> tuple[Policy, Budget]:
    """The budget that is meant, and its policy."""
    if policy_name is not None and policy_name not in known:
        hint = f"in force: {', '.join(sorted(known)) or 'none'}"
        raise InputError(
            f"no policy `{policy_name}` is in force", code="no_such_policy", where="--of", hint=hint
        )
    found = [
        (policy, item.budget)
        for policy in known.values()
        for item in policy.budgets
        if item.budget.name == name and policy_name in (None, policy.name)
    ]
    if not found:
        names = [item.budget.name for policy in known.values() for item in policy.budgets]
        guess = nearest(name, names)
        hint = f"did you mean `{guess}`?" if guess else f"known: {', '.join(names) or 'none'}"
        raise InputError(f"no policy in force has a budget `{name}`", code="no_such_budget", hint=hint)
    if len(found) > 1:
        listed = ", ".join(f"--of {policy.name}" for policy, _ in found)
        raise InputError(
            f"several policies have a budget `{name}`", code="unclear_budget", hint=f"say which: {listed}"
        )
    return found[0]


def _scope(policy: Policy, budget: Budget, given: Sequence[str]) -> dict[str, str]:
    """The labels of the allowance; each that the budget is kept apart by is named, and no other."""
    named = dict(text.partition("=")[::2] for text in given)
    if sorted(named) != sorted(budget.for_each):
        told = " ".join(f"--for {label}=…" for label in budget.for_each)
        hint = f"write {told}" if told else "leave --for out"
        raise InputError(f"`{budget.name}` is kept for {', '.join(budget.for_each) or 'all together'}",
                         code="bad_scope", where="--for", hint=hint)  # fmt: skip
    found = policy.declared(named)
    for label, value in found.items():
        values = policy.labels[label].values
        if values is not None and value not in values:
            raise InputError(f"`{value}` is not one of {', '.join(values)}", code="bad_scope", where="--for")
    return found


def _amount(text: str, budget: Budget) -> int:
    from policies.values import amount_of

    found = amount_of(int(text) if text.isdecimal() else text)
    if found is None or found[0] != budget.limit.unit or found[1] < 1:
        such = "500" if budget.limit.unit == "credits" else "`20 USD`"
        raise InputError(f"`{text}` is no amount of `{budget.name}`", code="bad_amount", where="--by",
                         hint=f"write such as {such}")  # fmt: skip
    return found[1]


def _check_end(ends: datetime | None, allowance: Allowance, now: datetime) -> None:
    if ends is None:
        return
    if ends <= now:
        raise InputError("that instant is over", code="bad_instant", where="--until")
    if allowance.end is not None and ends > allowance.end:
        last = allowance.end.isoformat()
        hint = f"a raise belongs to one window, and this one ends at {last}"
        raise InputError(
            "it ends with its window before that", code="bad_instant", where="--until", hint=hint
        )
