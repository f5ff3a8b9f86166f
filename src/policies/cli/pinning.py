"""The flags of `plan` that have to do with plan files, and what they ask for.

Here belongs what is asked, and telling a plan file from a workload by its first bytes; how one is written
and shown belongs to `plan_files`, which is imported only where there is one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import click

from policies.cli.output import Command, Decorator

if TYPE_CHECKING:
    from policies.cli.settings import Settings


@dataclass(frozen=True, slots=True)
class Pinning:
    """Which plan file is to be written or shown."""

    file: str
    """A workload or a plan file."""
    is_shown: bool
    out: str | None
    old: str | None
    needs_approval: str | None
    layout: str

    @classmethod
    def taken(cls, file: str, flags: dict[str, Any], *, as_json: bool) -> Self:
        """From FILE and the flags of a call, which are taken out of `flags`."""
        shown, layout = flags.pop("shown"), flags.pop("layout")
        if shown is not None and file != "show":
            raise click.UsageError("Name one file, or `show` and a plan file.")
        return cls(
            file=file if shown is None else shown,
            is_shown=shown is not None,
            out=flags.pop("out"),
            old=flags.pop("old"),
            needs_approval=flags.pop("needs_approval"),
            layout="json" if as_json else layout,
        )

    def done(self, settings: Settings, beside: Sequence[str]) -> bool:
        """Write and show the plan file that is asked for; false where none is.

        The flags `beside` would be without effect on it, and are refused rather than overlooked.
        """
        wished = self.is_shown or self.out or self.old or self.needs_approval or self.layout == "markdown"
        if not wished and not is_plan_file(self.file):
            return False
        from policies.cli import plan_files

        before = plan_files.known_plan(self.old) if self.old else None
        plan = plan_files.known_plan(self.file) if self.is_shown else plan_files.plan_in(self.file)
        if plan is None:
            _refuse(beside)
            plan, place = plan_files.made(self.file, settings, self.out, self.needs_approval), self.out
        elif self.out or self.needs_approval:
            raise click.UsageError("It is a plan file already; -o writes one from a workload.")
        else:
            _refuse(beside)
            place = self.file
        plan_files.show(plan, place, settings, self.layout, before)
        return True


_HEAD_BYTES: Final = 400


def is_plan_file(file: str) -> bool:
    """Whether a file is a plan, or means to be one, by its first bytes or by its name.

    A pipe is left alone: what is read from it here, nobody could read any more.
    """
    if not os.path.isfile(file):
        return False
    return is_plan(head_of(file)) or file.endswith(".plan.json")


def head_of(file: str) -> str:
    """How a file begins; nothing where it cannot be read, which whoever reads all of it will tell."""
    try:
        with open(file, "rb") as stream:
            return stream.read(_HEAD_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def is_plan(head: str) -> bool:
    """Whether a text means to be a plan file, of whatever version and however its names are ordered.

    >>> is_plan('{\\n  "schema": "planner.plan-file/1",'), is_plan('{"prompt": "x"}')
    (True, False)
    """
    return '"planner.plan-file/' in head and head.lstrip("\ufeff \t\r\n").startswith("{")


def _refuse(flags: Sequence[str]) -> None:
    if flags:
        told = f"{', '.join(flags)} {'does' if len(flags) == 1 else 'do'} not go with a plan file"
        raise click.UsageError(f"{told}: write the workload that fits with --apply, and plan that.")


def pin_options(command: Command) -> Command:
    """What a plan file is asked for with."""
    layouts = click.Choice(["table", "markdown", "json"])
    decorators: list[Decorator] = [
        click.argument("shown", metavar="", required=False),
        click.option("-o", "--out", metavar="PLAN", help="Write what the policy lets go as a plan file."),
        click.option("--diff", "old", metavar="OLD", help="What changed since that plan file."),
        click.option("--needs-approval", metavar="WHO", help="Who has to approve the plan file."),
        click.option("--format", "layout", type=layouts, default="table", help="Default: table."),
    ]
    for decorate in reversed(decorators):
        command = decorate(command)
    return command
