"""`planner plan`: a workload file as pictures, credits, money and a finish time, and cheaper ways to it.

Here belong its flags and its layout; the sums are made in `planning`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from policies.cli.output import (
    DOT,
    counted,
    credits_text,
    dim,
    emit_json,
    example,
    json_option,
    plain,
    repair_json,
    say,
    say_repairs,
    span_text,
    strong,
    table,
    usd_text,
)
from policies.cli.settings import resolve, setting

if TYPE_CHECKING:
    from planner.capacity import Capacity
    from planner.savings import Saving
    from policies.cli.planning import Kind, Plan, Tally


@click.command(
    epilog=example(
        "planner plan lookbook.csv",
        "planner plan lookbook.csv --policy studio.yaml --credit-price tier-2 --json",
    )
)
@click.argument("file", metavar="FILE")
@setting("policy", "ledger", "account", "shoot", "prices", "credit_price", "latency", "key_column")
@json_option
def command(file: str, as_json: bool, **flags: Any) -> None:
    """FILE as jobs, pictures, credits, money and a finish time, and cheaper ways to the same pictures.

    With a policy also how many rows it would allow, and what they would cost then.
    """
    from policies.cli.planning import plan_file

    found = plan_file(file, resolve(**flags))
    if as_json:
        _say_json(found)
    else:
        _say_text(found)


# -- layout --------------------------------------------------------------------------------------


def _say_json(found: Plan) -> None:
    if found.tally:
        say(found.tally.note, aside=True)
    say_repairs(found.repairs, aside=True)
    tally = found.tally
    emit_json(
        "plan",
        {
            "jobs": found.jobs,
            "images": found.images,
            "credits": found.credits,
            "usd": {name: str(price.usd(found.credits)) for name, price in found.prices.items()},
            "credit_price": found.price.name,
            "best_credit_price": found.best_credit_price,
            "month_usd": {name: str(usd) for name, usd in found.month_usd.items()},
            **found.finish.as_json(),
            "savings": [saving.as_json() for saving in found.savings],
            "groups": [kind.as_json() for kind in found.kinds],
            "price_book": found.price_entry,
            "repairs": [repair_json(repair) for repair in found.repairs],
            "decided": tally.as_json(found.price, found.decided_finish()) if tally else None,
        },
    )


def _say_text(found: Plan) -> None:
    say(dim(f"{plain(found.file)}{DOT}prices {found.price_entry}"))
    say_repairs(found.repairs)
    say("\n" + _headline(found))
    say("\n" + table(_facts(found), style="plain"))
    if found.kinds:
        headers = ("what is billed", "jobs", "images", "credits", "seconds a job", "basis")
        say("\n" + table(_kind_rows(found.kinds), headers, right=(1, 2, 3, 4)))
    if found.savings:
        rows = [(item.credits_saved, item.jobs, item.what, _look(item)) for item in found.savings]
        say("\n" + table(rows, ("could save", "jobs", "by this", "it is"), right=(0, 1)))
    if found.tally:
        say("\n" + _tally_text(found, found.tally))


def _headline(found: Plan) -> str:
    money = f"{usd_text(found.price.usd(found.credits))} ({found.price.name})"
    jobs, images = counted(found.jobs, "job"), counted(found.images, "image")
    return strong(f"{jobs}{DOT}{images}{DOT}{credits_text(found.credits)}{DOT}{money}")


def _facts(found: Plan) -> list[tuple[str, str]]:
    """Time and money, each in a line or two."""
    ways = (f"{name} {usd_text(price.usd(found.credits))}" for name, price in found.prices.items())
    best = found.best_credit_price
    month = usd_text(found.month_usd[best])
    return [
        ("done in", _finish_text(found.finish)),
        ("credits cost", DOT.join(ways)),
        ("", f"in a month with no other credits {best} is cheapest: {month} in all"),
    ]


def _finish_text(finish: Capacity) -> str:
    """`6 min 10 s, nine of ten runs within 6 min 40 s; …`"""
    p50, p90, bound = map(span_text, (finish.p50_seconds, finish.p90_seconds, finish.lower_bound_seconds))
    limit = "how many run at once" if finish.limited_by == "concurrency" else "the rate of starts"
    method = "" if finish.method == "simulated" else f", {finish.method}"
    return f"{p50}, nine of ten runs within {p90}; at best {bound}; limited by {limit}{method}"


def _kind_rows(kinds: Sequence[Kind]) -> list[Sequence[Any]]:
    """The kinds by what is billed, whatever the number of images and however the mode was said."""
    rows: dict[str, list[Kind]] = {}
    for kind in kinds:
        face = " with a face" if kind.face else ""
        rows.setdefault(f"{kind.quote.billed_mode} at {kind.resolution}{face}", []).append(kind)
    found = [(name, *_sums(same)) for name, same in rows.items()]
    return sorted(found, key=lambda row: -row[3])


def _sums(kinds: Sequence[Kind]) -> tuple[int, int, int, str, str]:
    """Jobs, images, credits, the span of seconds that one job takes, and where the seconds come from."""
    least = min(kind.seconds.p50_seconds for kind in kinds)
    most = max(kind.seconds.p90_seconds for kind in kinds)
    return (
        sum(kind.jobs for kind in kinds),
        sum(kind.jobs * kind.images for kind in kinds),
        sum(kind.credits for kind in kinds),
        f"{least:.0f} to {most:.0f}",
        ", ".join(sorted({kind.seconds.basis for kind in kinds})),
    )


def _look(saving: Saving) -> str:
    return "the same picture" if saving.same_picture else "another picture"


def _tally_text(found: Plan, tally: Tally) -> str:
    policy, verdicts = tally.rehearsal.policy, tally.verdicts
    parts = [
        f"{verdicts['allow']:,} allowed" + (f" ({tally.rewritten:,} rewritten)" if tally.rewritten else "")
    ]
    parts += [f"{tally.reused:,} paid before, free now"] if tally.reused else []
    waiting = verdicts["needs_approval"]
    parts += [counted(waiting, "needs approval", "need approval")] if waiting else []
    parts += [f"{verdicts['deny']:,} denied"] if verdicts["deny"] else []
    after = [strong(credits_text(tally.credits)), usd_text(found.price.usd(tally.credits))]
    finish = _finish_text(found.decided_finish())
    head = dim(f"with policy {policy.name} ({policy.digest[:8]}){DOT}{tally.note}")
    return f"{head}\n{DOT.join(parts + after)}\ndone in {finish}"
