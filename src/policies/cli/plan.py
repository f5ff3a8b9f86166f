"""`planner plan`: a workload file as pictures, credits, money and a finish time, and cheaper ways to it.

Here belong its flags and its layout; the sums are made in `planning`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from policies.cli.durations import seconds_of
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
from policies.cli.pinning import Pinning, pin_options
from policies.cli.settings import resolve, setting
from policies.cli.wishes import Flags, wish_options

if TYPE_CHECKING:
    from planner.capacity import Capacity
    from planner.savings import Saving
    from policies.cli.applying import Applied
    from policies.cli.fitting import Fitted
    from policies.cli.planning import Kind, Plan, Tally
    from policies.cli.timing import Timing


@click.command(
    epilog=example(
        "planner plan lookbook.csv",
        "planner plan lookbook.csv --policy studio.yaml --credit-price tier-2 --json",
        "planner plan lookbook.csv --at-most '800 credits' --give-up-in-order num_images,generation_mode",
    )
)
@click.argument("file", metavar="FILE")
@pin_options
@setting("policy", "ledger", "account", "shoot", "prices", "credit_price", "latency", "key_column")
@wish_options
@click.option("--timing", is_flag=True, help="More about time: percentiles, polls, pictures per request.")
@json_option
def command(file: str, timing: bool, as_json: bool, **flags: Any) -> None:
    """FILE as jobs, pictures, credits, money and a finish time, and cheaper ways to the same pictures.

    With a policy also how many rows it would allow, and what they would cost then. With --at-most and
    --give-up-in-order what to give up so that everything fits, losing least; docs/planning.md has the rules.
    With -o the plan is written down and `planner run PLAN` sends just that; `plan show PLAN` shows it.
    """
    from policies.cli.planning import plan_file

    pinning = Pinning.taken(file, flags, as_json=as_json)
    wished = Flags.taken(flags)
    settings = resolve(**flags)
    if pinning.done(settings, beside=wished.given + (["--timing"] if timing else [])):
        return
    found = plan_file(file, settings)
    fitted = _fitted(found, wished, as_json=pinning.layout == "json") if wished.is_wish else None
    times = _timing(found, wished, in_full=timing)
    applied = _applied(found, wished, fitted)
    if pinning.layout == "json":
        _say_json(found, fitted, times, applied)
    else:
        _say_text(found, fitted, times)
        if applied:
            say("\n" + applied.text())


def _fitted(found: Plan, wished: Flags, *, as_json: bool) -> Fitted:
    """What fits, and its chart where one is asked for."""
    from policies.cli.fitted import draw
    from policies.cli.fitting import fit_plan

    fitted = fit_plan(found, wished, with_frontier=as_json or wished.chart is not None)
    if wished.chart:
        draw(fitted, wished.chart)
    return fitted


def _applied(found: Plan, wished: Flags, fitted: Fitted | None) -> Applied | None:
    """The workload written again, where that is asked for."""
    if wished.apply is None:
        return None
    from policies.cli.applying import apply_changes

    return apply_changes(found, wished, fitted)


def _timing(found: Plan, wished: Flags, *, in_full: bool) -> Timing | None:
    """What else there is to say about time, where it was asked or pictures could be lost."""
    from planner.capacity import Draws
    from planner.pacing import CDN_SECONDS

    if not (in_full or wished.deadline is not None or found.finish.p90_seconds > CDN_SECONDS):
        return None
    from policies.cli.timing import timed

    deadline = None if wished.deadline is None else seconds_of(wished.deadline, "--deadline")
    if found.tally is None:
        return timed(found.draws, found.cells, found.by_cell, deadline, in_full=in_full)
    cells = found.tally.cells
    return timed(Draws.of(cells, found.by_cell), cells, found.by_cell, deadline, in_full=in_full)


# -- layout --------------------------------------------------------------------------------------


def _say_json(found: Plan, fitted: Fitted | None, times: Timing | None, applied: Applied | None) -> None:
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
            "savings": [_saving_json(saving, found) for saving in found.savings],
            "groups": [kind.as_json() for kind in found.kinds],
            "price_book": found.price_entry,
            "repairs": [repair_json(repair) for repair in found.repairs],
            "decided": tally.as_json(found.price, found.decided_finish()) if tally else None,
            "fit": _fit_json(fitted, found) if fitted else None,
            "applied": applied.as_json() if applied else None,
            "timing": times.as_json() if times else None,
        },
    )


def _fit_json(fitted: Fitted, found: Plan) -> dict[str, Any]:
    from policies.cli.fitted import fit_json

    return fit_json(fitted, found.price)


def _say_text(found: Plan, fitted: Fitted | None, times: Timing | None) -> None:
    say(dim(f"{plain(found.file)}{DOT}prices {found.price_entry}"))
    say_repairs(found.repairs)
    say("\n" + _headline(found))
    say("\n" + table(_facts(found, times), style="plain"))
    if found.kinds:
        headers = ("what is billed", "jobs", "images", "credits", "seconds a job", "basis")
        say("\n" + table(_kind_rows(found.kinds), headers, right=(1, 2, 3, 4)))
    if found.savings:
        rows = [_saving_row(saving, found) for saving in found.savings]
        headers = ("could save", "", "jobs", "by this", "it is", "by name")
        say("\n" + table(rows, headers, right=(0, 1, 2)))
    if found.tally:
        say("\n" + _tally_text(found, found.tally))
    if times is not None and times.polls is not None:
        from policies.cli.timing import in_full

        say("\n" + in_full(times))
    if fitted:
        from policies.cli.fitted import fit_text

        say("\n" + fit_text(fitted, found.price))


def _headline(found: Plan) -> str:
    money = f"{usd_text(found.price.usd(found.credits))} ({found.price.name})"
    jobs, images = counted(found.jobs, "job"), counted(found.images, "image")
    return strong(f"{jobs}{DOT}{images}{DOT}{credits_text(found.credits)}{DOT}{money}")


def _facts(found: Plan, times: Timing | None) -> list[tuple[str, str]]:
    """Time and money, each in a line or two."""
    ways = (f"{name} {usd_text(price.usd(found.credits))}" for name, price in found.prices.items())
    best = found.best_credit_price
    month = usd_text(found.month_usd[best])
    return [
        ("done in", _finish_text(found.finish)),
        *_time_facts(times),
        ("credits cost", DOT.join(ways)),
        ("", f"in a month with no other credits {best} is cheapest: {month} in all"),
    ]


def _time_facts(times: Timing | None) -> Iterator[tuple[str, str]]:
    if times is not None:
        from policies.cli.timing import facts

        yield from facts(times)


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


def _saving_row(saving: Saving, found: Plan) -> Sequence[Any]:
    look, name = ("the same picture", "") if saving.same_picture else ("another picture", saving.name)
    money = usd_text(found.price.usd(saving.credits_saved))
    return saving.credits_saved, money, saving.jobs, saving.what, look, name


def _saving_json(saving: Saving, found: Plan) -> dict[str, Any]:
    return {**saving.as_json(), "usd_saved": str(found.price.usd(saving.credits_saved))}


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
