"""Whether there is a ledger, making one, and bringing an older one up to date.

Here belong the version that `facts` keeps and what opening makes of it. A file is brought up to date as
it is opened, in one transaction. A server is changed only when somebody says so (`planner ledger
upgrade`), because others may be at work on it and the role that works there need not own the tables.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sqlalchemy import Connection, Engine, insert, inspect, select, text, update

from planner.errors import ConfigError
from policies.ledger import views
from policies.ledger.database import is_server, making, reading, schema_of, shown
from policies.ledger.migrations import STEPS
from policies.ledger.schema import VERSION, entries, facts, metadata

if TYPE_CHECKING:
    from alembic.operations import Operations


def prepare(engine: Engine, *, create: bool) -> dict[str, str]:
    """The facts of the ledger, which is made where there is none and `create` says so.

    Raises `ConfigError` where there is none, or one of another version that cannot be opened as it is.
    """
    known = known_facts(engine)
    if known is None:
        if not create:
            raise _no_ledger(engine)
        _create(engine)
        known = known_facts(engine) or {}
    version = int(known["version"])
    if version < VERSION and is_server(engine):
        raise ConfigError(
            f"the ledger `{shown(engine)}` was made by an older version (schema {version})",
            code="older_ledger",
            hint="bring it up to date with `planner ledger upgrade`",
        )
    if version < VERSION:
        upgrade(engine)
    return known


def known_facts(engine: Engine) -> dict[str, str] | None:
    """What the ledger keeps of itself, or None where there is none; raises for a newer one."""
    if not is_server(engine) and not Path(shown(engine)).exists():
        return None
    with reading(engine) as connection:
        tables = set(inspect(connection).get_table_names(schema_of(engine)))
        if not tables:
            return None
        if facts.name not in tables or entries.name not in tables:
            raise ConfigError(
                f"`{shown(engine)}` is not a ledger", code="bad_ledger", hint="name another file"
            )
        known = {row.name: row.value for row in connection.execute(select(facts))}
    if int(known["version"]) > VERSION:
        raise ConfigError(
            f"the ledger `{shown(engine)}` was made by a newer version (schema {known['version']})",
            code="newer_ledger",
            hint="upgrade with `pip install --upgrade fashn-planner`",
        )
    return known


def _no_ledger(engine: Engine) -> ConfigError:
    message = f"there is no ledger at `{shown(engine)}`"
    return ConfigError(message, code="no_ledger", hint="name it with --ledger")


def _create(engine: Engine) -> None:
    with making(engine) as connection:
        if facts.name in inspect(connection).get_table_names(schema_of(engine)):
            return  # somebody else was faster
        metadata.create_all(connection, checkfirst=False)
        rows = {"version": str(VERSION), "ledger_id": uuid4().hex, "salt": secrets.token_hex(32)}
        connection.execute(insert(facts), [{"name": name, "value": value} for name, value in rows.items()])
        _run(connection, views.statements(schema_of(engine)))


def upgrade(engine: Engine) -> tuple[int | None, int]:
    """Bring a ledger up to date in one transaction, or make it; the versions before and after."""
    known = known_facts(engine)
    if known is None:
        if not is_server(engine):
            raise _no_ledger(engine)
        _create(engine)
        return None, VERSION
    with making(engine) as connection:
        # Somebody else may have done it while this one waited for its turn.
        found = connection.execute(select(facts.c.value).where(facts.c.name == "version")).scalar_one()
        if int(found) < VERSION:
            _climb(_operations(connection=connection), int(found), schema_of(engine))
            _run(connection, views.statements(schema_of(engine)))
            connection.execute(update(facts).where(facts.c.name == "version").values(value=str(VERSION)))
    return int(known["version"]), VERSION


def upgrade_sql(engine: Engine) -> str:
    """What `upgrade` would run, for somebody else to run; empty where nothing is to do."""
    known = known_facts(engine)
    if known is None:
        raise _no_ledger(engine)
    if int(known["version"]) == VERSION:
        return ""
    schema, written = schema_of(engine), io.StringIO()
    _climb(_operations(dialect=engine.dialect, output=written), int(known["version"]), schema)
    for statement in (*views.statements(schema), _said_version(schema)):
        written.write(f"{statement.strip()};\n\n")
    return f"BEGIN;\n\n{written.getvalue()}COMMIT;\n"


def _said_version(schema: str | None) -> str:
    table = f"{schema}.facts" if schema else "facts"
    return f"UPDATE {table} SET value = '{VERSION}' WHERE name = 'version'"


def _climb(op: Operations, version: int, schema: str | None) -> None:
    for step in range(version + 1, VERSION + 1):
        STEPS[step](op, schema)


def _operations(
    connection: Connection | None = None, dialect: Any = None, output: io.StringIO | None = None
) -> Operations:
    """Alembic's operations, on a connection or as text. It is imported by those who need it alone."""
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    if connection is not None:
        return Operations(MigrationContext.configure(connection))
    opts = {"as_sql": True, "output_buffer": output}
    return Operations(MigrationContext.configure(dialect=dialect, opts=opts))


def _run(connection: Connection, statements: Iterable[str]) -> None:
    for statement in statements:
        connection.execute(text(statement))
