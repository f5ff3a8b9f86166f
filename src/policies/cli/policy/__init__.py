"""`planner policy`: a policy tried out, compared and proven before it is in force.

Here belongs the table of its commands, one module for each; a module is imported when its command is
run. What is found out about policies belongs to `policies.suite` and `policies.analysis`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from planner.errors import InputError, nearest
from policies.cli.output import example

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "test": ("suites", "Run the suite of a policy."),
    "prove": ("prove", "Prove every guarantee, or show what breaks it."),
    "lint": ("lint", "What is odd about a policy although it can be read."),
    "activate": ("activate", "Bring a policy in force on purpose, also one that was replaced."),
    "diff": ("diff", "What changes between two policies."),
    "replay": ("replay", "Past requests in order under another policy."),
    "show": ("show", "A policy with all that it extends, and where each part stands."),
    "schema": ("schemas", "The JSON Schema of policies or suites."),
}
"""The module and the short help of every command."""


class Commands(click.Group):
    """A group that imports a command only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        found: click.Command = import_module(f"{__name__}.{COMMANDS[cmd_name][0]}").command
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] in COMMANDS or args[0].startswith("-"):
            return super().resolve_command(ctx, args)
        guess = nearest(args[0], tuple(COMMANDS), cutoff=0.6)
        hint = f"did you mean `{guess}`?" if guess else "`planner policy --help` lists the commands"
        raise InputError(f"there is no command `policy {args[0]}`", code="usage", hint=hint)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=Commands, epilog=example("planner policy test studio.yaml"))
def command(**_: Any) -> None:
    """Change a policy without fear: test it, prove it, compare it, replay the past under it."""
