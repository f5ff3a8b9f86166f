"""The frame of the `planner` command: which commands there are, and how anything that fails is told.

Here belong the table of commands, exit codes and the way from an exception to one line. A command's
module is imported when the command is run, so that `planner --help` is there at once.

A command is a click command named `command`; it returns its exit code, or None for 0.

    0 done · 1 something was denied, waits, failed or does not hold · 2 bad input or configuration
    3 provider, ledger or a file out of reach · 4 out of credits · 130 interrupted
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, TextIO

import click

import planner
from planner.errors import Fault, InputError, PlannerError, nearest
from policies.cli.output import emit_errors, example, wants_json

INTERRUPTED: Final = 130
OUT_OF_REACH: Final = 3
READER_GONE: Final = 141
"""Whoever read our output has left, as in `planner plan … | head`; the code of any Unix tool then."""

SECTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "Before you spend": {
        "quote": "The exact price of one request, line by line.",
        "plan": "A workload file as credits, money and a finish time.",
        "expand": "A workload's rows, a matrix written out, as any table file.",
        "credits": "The cheapest way to buy a month's credits, and when to buy more.",
        "latency": "How long requests take: documented, or learned from yours.",
        "check": "What a policy says to every row of a file.",
    },
    "Spend": {
        "demo": "One minute in the sandbox: nothing is charged.",
        "run": "Send a file within its budgets, and bring every picture home.",
        "collect": "Finish and bring home what other processes left.",
        "approvals": "Which jobs wait for a person, and the person's answer.",
        "budgets": "How full the budgets are, and raising one for once.",
    },
    "Afterwards": {
        "report": "Where the credits of a month went.",
        "ledger": "Look into the ledger: show, holds, settle, verify.",
        "reconcile": "Hold the ledger against the provider's balance.",
    },
    "Set up": {
        "init": "Begin in a folder: settings, a policy, a template.",
        "doctor": "Whether a run could begin here: key, clock, ledger, prices.",
        "policy": "Change a policy without fear: test, prove, diff, replay.",
        "sandbox": "Serve a local stand-in of the provider.",
        "simulate": "A file and a policy in virtual time, with everything going wrong.",
    },
}
"""The commands by what they are for. `NAME` stands in `policies.cli.NAME`."""

NAMES: Final = tuple(name for section in SECTIONS.values() for name in section)
_NAME_WIDTH: Final = max(map(len, NAMES))


class Commands(click.Group):
    """A group that imports a command only to run it, and tells every failure in the same way."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in NAMES:
            return None
        from importlib import import_module

        found: click.Command = import_module(f"policies.cli.{cmd_name}").command
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] in NAMES or args[0].startswith("-"):
            return super().resolve_command(ctx, args)
        guess = nearest(args[0], NAMES, cutoff=0.6)
        hint = f"did you mean `{guess}`?" if guess else "`planner --help` lists the commands"
        raise InputError(f"there is no command `{args[0]}`", code="usage", hint=hint)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:<{_NAME_WIDTH}}", text) for name, text in commands.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            code = super().invoke(ctx)
            if sys.stdout is not None:  # as after `planner … >&-`
                sys.stdout.flush()
        except BrokenPipeError:
            _stop_writing(sys.stdout)
            ctx.exit(READER_GONE)
        return code

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command line and exit; click's own way of reporting errors is not used."""
        words = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(
                words or ["--help"], prog_name or "planner", complete_var, standalone_mode=False, **extra
            )
        except Exception as error:
            code = told(error, as_json=wants_json(words))
            _let_go()
        sys.exit(code if isinstance(code, int) else 0)


def told(error: Exception, *, as_json: bool) -> int:
    """Tell why the command failed, in its own form; returns the exit code.

    Where that form cannot be written either, as on a full disk, one line on stderr says so.
    """
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return error.exit_code
    if isinstance(error, click.Abort):
        return INTERRUPTED
    code, faults = exit_code_and_faults(error)
    if code == OUT_OF_REACH and faults[0].code == "internal" and os.environ.get("PLANNER_DEBUG"):
        with suppress(OSError):
            click.echo(_frames(error), err=True)
    try:
        emit_errors(faults, as_json=as_json)
    except BrokenPipeError:
        return READER_GONE
    except OSError as unwritten:
        with suppress(OSError):
            emit_errors([_file(unwritten)], as_json=False)
        return OUT_OF_REACH
    return code


def exit_code_and_faults(error: Exception) -> tuple[int, tuple[Fault, ...]]:
    """What an exception means for whoever typed the command.

    >>> exit_code_and_faults(ValueError("a prompt"))
    (3, (Fault(code='internal', message='internal error: `ValueError`', where='', field=None, \
hint='run it with PLANNER_DEBUG=1 and report what it prints'),))
    """
    match error:
        case PlannerError():
            return error.exit_code, error.faults
        case click.ClickException():
            return error.exit_code, (_usage(error),)
        case OSError():
            return OUT_OF_REACH, (_file(error),)
        case UnicodeEncodeError():
            message = "a word of the command line, or a text of a file, is not UTF-8"
            return InputError.exit_code, (Fault("bad_text", message, hint="write it anew"),)
        case _:
            hint = "run it with PLANNER_DEBUG=1 and report what it prints"
            message = f"internal error: `{type(error).__name__}`"
            return OUT_OF_REACH, (Fault("internal", message, _place(error.__traceback__), hint=hint),)


def _usage(error: click.ClickException) -> Fault:
    """Click's own complaint in our words: lower case, the user's text in backticks, the hint apart."""
    message = re.sub(r"'([^']*)'", r"`\1`", error.format_message())
    message, _, guess = message.partition(" Did you mean ")
    context = error.ctx if isinstance(error, click.UsageError) else None
    command = context.command_path if context else "planner"
    hint = f"did you mean {guess.rstrip('?')}?" if guess else f"`{command} --help` shows how"
    message = " ".join(message.split()).rstrip(".")
    return Fault("usage", message[:1].lower() + message[1:], hint=hint)


_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""What a write to an open file fails with; only the standard streams are without a name."""


def _file(error: OSError) -> Fault:
    reason = (error.strerror or type(error).__name__).lower()
    if error.filename is None and error.errno in _FULL:
        return Fault("file", f"the output cannot be written: {reason}", hint="make room for it")
    if error.filename is None:
        return Fault("file", f"a file cannot be used: {reason}")
    name = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else str(error.filename)
    return Fault("file", f"cannot use `{name}`: {reason}", hint="check the path and its permissions")


def _place(trace: TracebackType | None) -> str:
    """Module and line of the innermost of our own frames."""
    found = ""
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        if module.split(".")[0] in ("planner", "policies"):
            found = f"{module}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found


def _frames(error: BaseException) -> str:
    """Where it failed and the kinds of the errors, but not their texts, which may quote a prompt."""
    import traceback

    lines = [*traceback.format_tb(error.__traceback__), type(error).__name__]
    below = error.__cause__ or error.__context__
    return "".join(lines) if below is None else f"{_frames(below)}\n\n{''.join(lines)}"


def _let_go() -> None:
    """Give up what a full or closed stream did not take: the interpreter would complain at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            _stop_writing(stream)


def _stop_writing(stream: TextIO) -> None:
    """Let nothing be written to that stream again, not even when the interpreter ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


@click.command(
    cls=Commands,
    epilog=example("planner quote --resolution 2k --num-images 2", "planner plan lookbook.csv"),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(planner.__version__, prog_name="planner", message="%(prog)s %(version)s")
def main() -> None:
    """Know and control what generated images cost, before they cost it."""
