"""`planner demo`: one minute in the sandbox, with the commands that a person would type.

Here belongs the order of the tour. It calls the commands themselves, so it cannot show anything that
they do not do.
"""

from __future__ import annotations

import contextlib
import io
import json
import time
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import click

from policies.cli.output import credits_text, dim, emit_json, example, json_option, say, span_text, strong

FOLDER: Final = "planner-demo"
WORKLOAD: Final = "lookbook.csv"
POLICY: Final = "starter"
LEDGER: Final = "sqlite:///sandbox.db"
SPEED: Final = 80.0
"""Fast enough for all 240 looks in less than a minute on two slow cores."""


@click.command(epilog=example("planner demo", "planner demo --into tour"))
@click.option("--into", metavar="DIR", type=click.Path(path_type=Path), default=FOLDER, show_default=True)
@json_option
@click.pass_context
def command(ctx: click.Context, into: Path, as_json: bool) -> int:
    """One minute in the sandbox: plan, decide, run and report a look-book of 240 looks.

    Nothing is charged and no key is needed. Everything it makes stays in one folder, and a second demo
    finds every look paid for.
    """
    began = time.monotonic()
    _lay_out(into)
    with contextlib.chdir(into):
        if as_json:
            return _quietly(ctx, into, began)
        code = _tour(ctx, into)
    say(dim(f"\nall of it in {span_text(time.monotonic() - began)}, and nothing was charged"))
    _say_what_next(into)
    return code


def _lay_out(into: Path) -> None:
    """The folder with the example workload in it."""
    into.mkdir(parents=True, exist_ok=True)
    example_file = files("planner") / "data" / WORKLOAD
    if not (into / WORKLOAD).exists():
        (into / WORKLOAD).write_bytes(example_file.read_bytes())


def _tour(ctx: click.Context, into: Path) -> int:
    """The three questions, each with its command and the command's own answer."""
    from policies.cli import plan, report, run

    say(strong("a look-book of 240 looks, from the question to the bill") + dim(f" · in {into}/"))
    _say_step("what will it cost, how long will it take, may it go?", f"plan {WORKLOAD} --policy {POLICY}")
    ctx.invoke(plan.command, file=WORKLOAD, policy=POLICY, ledger=LEDGER, account="sandbox", shoot="main")
    _say_step("run it", f"run {WORKLOAD} --policy {POLICY} --sandbox --speed {SPEED:g}")
    code: int = ctx.invoke(run.command, **_run_flags(as_json=False))
    if code not in (0, 1):
        return code
    _say_step("where did the credits go?", "report --ledger sandbox.db --by team,month")
    ctx.invoke(report.command, ledger=LEDGER, by="team,month")
    return code


def _run_flags(*, as_json: bool) -> dict[str, Any]:
    flags = {"ledger": LEDGER, "account": "sandbox", "shoot": "main", "pictures": "pictures/main"}
    return {
        **flags,
        "file": WORKLOAD,
        "policy": POLICY,
        "sandbox": True,
        "speed": SPEED,
        "yes": True,
        "as_json": as_json,
    }


def _say_step(question: str, words: str) -> None:
    say(f"\n{strong(question)}\n{dim('$ planner ' + words)}\n")


def _quietly(ctx: click.Context, into: Path, began: float) -> int:
    """The run alone, as one document."""
    from policies.cli import run

    told = io.StringIO()
    try:
        with contextlib.redirect_stdout(told):
            code: int = ctx.invoke(run.command, **_run_flags(as_json=True))
    except click.exceptions.Exit:
        click.echo(told.getvalue(), nl=False)
        raise
    document = json.loads(told.getvalue())
    emit_json("demo", {"folder": str(into), "run": document, "seconds": round(time.monotonic() - began, 1)})
    return code


def _say_what_next(into: Path) -> None:
    free = dim(f"# again: {credits_text(0)}")
    say(
        "\n".join(
            [
                "",
                strong("what to try next"),
                f"  open {into / 'pictures' / 'main' / 'contact.html'}",
                f"  cd {into} && planner run {WORKLOAD} --policy {POLICY} --sandbox {free}",
                f"  planner quote --resolution 4k --num-images 4 {dim('# one price, line by line')}",
                f"  planner plan YOUR.csv {dim('# your own spreadsheet')}",
            ]
        )
    )
