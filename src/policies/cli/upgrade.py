"""`planner ledger upgrade`: bring a ledger's tables up to date, or make them on a server.

Here belong the command and its words; what an upgrade does belongs to `policies.ledger.upgrading`.
"""

from __future__ import annotations

import click

from policies.cli.output import emit_json, example, json_option, say
from policies.cli.settings import resolve, setting


@click.command(
    "upgrade", epilog=example("planner ledger upgrade", "planner ledger upgrade --sql > upgrade.sql")
)
@setting("ledger")
@click.option("--sql", "as_sql", is_flag=True, help="Write what would be run, for somebody else to run it.")
@json_option
def command(ledger: str | None, as_sql: bool, as_json: bool) -> None:
    """Bring the ledger up to date, in one transaction.

    A ledger in a file does that by itself when it is opened. One on a server waits for this command, which
    also makes it where there is none; its role has to own the tables, the role that works there need not.
    """
    from policies.ledger.database import open_engine, shown
    from policies.ledger.upgrading import upgrade, upgrade_sql

    engine = open_engine(resolve(ledger=ledger).ledger)
    try:
        if as_sql:
            sql = upgrade_sql(engine)
            if as_json:
                emit_json("ledger-upgrade", {"sql": sql})
            elif sql:
                click.echo(sql, nl=False)
            else:
                say("-- nothing to do: the ledger is up to date")
            return
        before, after = upgrade(engine)
    finally:
        engine.dispose()
    if as_json:
        emit_json("ledger-upgrade", {"before": before, "after": after})
    else:
        say(f"{shown(engine)}: {_told(before, after)}")


def _told(before: int | None, after: int) -> str:
    if before is None:
        return f"made (schema {after})"
    if before == after:
        return f"is up to date (schema {after})"
    return f"upgraded from schema {before} to {after}"
