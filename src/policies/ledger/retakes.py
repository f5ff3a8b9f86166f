"""Takes that are wished for by a command which has not come to its end.

Here belong keeping such a wish and forgetting it, inside a transaction that `store` has begun. It is what
makes a command with `--retake KEY` safe to run again: a wish that a crash left behind names the take that
was meant, so that the command goes on with that one instead of making one more. A wish holds no credits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, delete, insert, select

from policies.ledger.entries import canonical_json
from policies.ledger.schema import facts


def wanted(connection: Connection, account: str, shoot: str) -> dict[str, int]:
    """By key the take that is wished for."""
    query = select(facts.c.value).where(facts.c.name == _name(account, shoot))
    found = connection.execute(query).scalar()
    return {} if found is None else dict(json.loads(found))


def want(connection: Connection, account: str, shoot: str, takes: Mapping[str, int]) -> None:
    """Remember these takes beside the others."""
    _keep(connection, account, shoot, {**wanted(connection, account, shoot), **takes})


def forget(connection: Connection, account: str, shoot: str, keys: Iterable[str]) -> None:
    """They were made: whoever wishes for these keys again wishes for the next take."""
    made = frozenset(keys)
    takes = wanted(connection, account, shoot)
    _keep(connection, account, shoot, {key: take for key, take in takes.items() if key not in made})


def _keep(connection: Connection, account: str, shoot: str, takes: Mapping[str, int]) -> None:
    name = _name(account, shoot)
    connection.execute(delete(facts).where(facts.c.name == name))
    if takes:
        connection.execute(insert(facts), {"name": name, "value": canonical_json(dict(takes))})


def _name(account: str, shoot: str) -> str:
    """The name of the fact: short, however long the names of the account and the shoot are."""
    return f"takes:{hashlib.sha256(canonical_json([account, shoot]).encode()).hexdigest()[:32]}"
