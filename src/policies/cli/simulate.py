"""`planner simulate`: a workload and a policy in virtual time, with everything going wrong that can.

Here belong its flags and how what was found is shown. The lives belong to `policies.simulation`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from policies.cli.output import (
    counted,
    dim,
    emit_json,
    example,
    json_option,
    plain,
    say,
    span_text,
    strong,
    styled,
    table,
)
from policies.cli.settings import price_book, resolve, setting

if TYPE_CHECKING:
    from policies.simulation.audit import Findings
    from policies.simulation.lives import Setting

BROKEN: Final = 1
SHOWN_MOST: Final = 10
"""Broken laws that are shown; the document has all."""


class Percentage(click.ParamType):  # type: ignore[type-arg]
    """A share written as `5%` or `0.05`."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        text = str(value).strip()
        try:
            share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            share = -1.0
        if not 0.0 <= share <= 0.5:
            self.fail(f"`{text}` is no share from 0% to 50%", param, ctx)
        return share


@click.command(
    epilog=example(
        "planner simulate",
        "planner simulate shoot.csv --policy studio.yaml --faults 20% --seeds 100",
        "planner simulate shoot.csv --policy studio.yaml --faults 20% --seed 17 --seeds 1",
    )
)
@click.argument("file", required=False, type=click.Path(path_type=Path))
@setting("policy", "prices", "key_column")
@click.option("--seed", metavar="N", type=click.IntRange(min=0), default=1, help="The first seed (1).")
@click.option("--seeds", metavar="N", type=click.IntRange(min=1), default=10, help="How many lives (10).")
@click.option(
    "--faults", metavar="SHARE", type=Percentage(), default="10%", help="How much goes wrong (10%)."
)
@click.option("--processes", metavar="N", type=click.IntRange(1, 16), default=3, help="At once, at most (3).")
@click.option("--workers", metavar="N", type=click.IntRange(min=1), help="Lives side by side: one a core.")
@json_option
def command(
    file: Path | None,
    seed: int,
    seeds: int,
    faults: float,
    processes: int,
    workers: int | None,
    as_json: bool,
    **flags: Any,
) -> int:
    """Run a file under a policy in virtual time; exit 1 where a law did not hold.

    The guard, the ledger, the pacer and the runner are the real ones; time, the wire and the provider
    are not. In each life answers are lost before and after acceptance, jobs fail, vanish and never end,
    processes die and are cancelled between any two steps, the clock is set, credits run out. Then the
    ledger is held against what the provider charged. A life is replayed by its seed. Without a file the
    example look-book is run, without a policy the starter's.
    """
    from policies.simulation.lives import simulate

    chosen = range(seed, seed + seeds)
    share = _setting(file, faults, processes, flags)
    found: dict[int, Findings] = {}
    with _progress(seeds) as advance:
        for number, findings in simulate(share, chosen, workers=min(seeds, workers or os.cpu_count() or 1)):
            found[number] = findings
            advance()
    if as_json:
        emit_json("simulate", _document(found, share))
    else:
        _say(found, share, file)
    return BROKEN if any(findings.broken for findings in found.values()) else 0


def _setting(file: Path | None, faults: float, processes: int, flags: dict[str, Any]) -> Setting:
    from planner.workload import read_workload
    from policies.loading import load_policy
    from policies.simulation.lives import Setting

    settings = resolve(**flags)
    with as_file(files("planner") / "data" / "lookbook.csv") as shipped:
        jobs = read_workload(file or shipped, settings.key_column)
    policy = load_policy(settings.policy or "starter")
    return Setting.of(jobs, policy, price_book(settings), fault_rate=faults, most_processes=processes)


@contextmanager
def _progress(lives: int) -> Iterator[Callable[[], object]]:
    """A bar on a terminal, nothing in a pipe."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    with click.progressbar(length=lives, label="lives", file=sys.stderr) as bar:
        yield partial(bar.update, 1)


# -- telling -------------------------------------------------------------------------------------


def _document(found: dict[int, Findings], share: Setting) -> dict[str, Any]:
    """The `simulate` document."""
    from policies.simulation.lives import total

    return {
        "policy": share.policy_name,
        "fault_rate": share.fault_rate,
        "most_processes": share.most_processes,
        "seeds": [min(found), max(found)],
        "held": sum(not findings.broken for findings in found.values()),
        "lives": len(found),
        "total": _figures(total([*found.values()])),
        "broken": [
            {"seed": seed, "what": text} for seed, findings in found.items() for text in findings.broken
        ],
    }


def _figures(findings: Findings) -> dict[str, Any]:
    return {name: getattr(findings, name) for name in findings.names()}


def _say(found: dict[int, Findings], share: Setting, file: Path | None) -> None:
    from policies.simulation.lives import total

    whole = total([*found.values()])
    seeds = f"seed {min(found)}" if len(found) == 1 else f"seeds {min(found)} to {max(found)}"
    lives = counted(len(found), "life", "lives")
    say(
        f"{strong(lives)} of {counted(len(share.rows), 'job')} under policy {plain(share.policy_name)}"
        f" · {seeds} · faults {share.fault_rate:.0%} · {counted(whole.starts, 'process', 'processes')}"
        f" · {span_text(whole.seconds)} of virtual time"
    )
    say()
    say(table(_rows(whole), style="plain", right=(1,)))
    say()
    _say_laws(found, share, file)


def _rows(whole: Findings) -> Iterator[tuple[str, int, str]]:
    yield "completed", whole.completed, f"of {counted(whole.jobs, 'job')}"
    yield "denied or waiting", whole.turned_down, "nothing was sent for them"
    yield "charged by the provider", whole.billed_credits, "credits"
    yield "settled in the ledger", whole.settled_credits, ""
    yield "unconfirmed", whole.unknown_credits, f"in {counted(whole.unknown_jobs, 'job')}"
    yield "over a budget", whole.over_budget_credits, ""
    yield "out of sight", whole.out_of_sight_credits, ""
    yield "submitted twice", whole.double_submissions, ""
    yield "stranded", whole.stranded_credits, "unconfirmed and never charged"


def _say_laws(found: dict[int, Findings], share: Setting, file: Path | None) -> None:
    broken = {seed: findings.broken for seed, findings in found.items() if findings.broken}
    if not broken:
        say(styled(f"every law held in {counted(len(found), 'life', 'lives')}", fg="green"))
        if not share.enforced:
            say(dim("the policy is in shadow: its budgets stop nothing, so they were not put to the test"))
        return
    say(styled(f"a law did not hold in {len(broken)} of {counted(len(found), 'life', 'lives')}", fg="red"))
    for seed, text in _first(broken):
        say(f"  seed {seed}: {plain(text)}")
    words = (
        f"--faults {share.fault_rate:.0%} --processes {share.most_processes} --seed {min(broken)} --seeds 1"
    )
    say(dim(f"again: planner simulate {file or ''} {words}".replace("  ", " ")))


def _first(broken: Mapping[int, Sequence[str]]) -> list[tuple[int, str]]:
    return [(seed, text) for seed, texts in broken.items() for text in texts][:SHOWN_MOST]
