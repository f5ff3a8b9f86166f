"""Which policies are in force: the texts that the ledger keeps, one of them for each name.

Here belong bringing a text in force, with its counters counted anew in the same transaction, and ending
one, inside a transaction that `store` has begun. What a policy decides belongs to `engine`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from weakref import WeakValueDictionary

from sqlalchemy import Connection, bindparam, insert, select, update

from planner.errors import ConfigError, OperatorError
from policies.engine import Policy
from policies.ledger import counting
from policies.ledger.entries import from_us, to_us
from policies.ledger.schema import owners
from policies.ledger.schema import policies as texts
from policies.ledger.statements import ONE, Statement
from policies.loading import parse_policy


@dataclass(frozen=True, slots=True)
class Standing:
    """A text in force: the policy's name, the digest of its text, and since when."""

    name: str
    digest: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Activation:
    """What bringing a text in force on purpose has changed."""

    before: Standing | None
    """What was in force under the name until then; the same digest where nothing changed."""
    now: Standing
    retired: Standing | None = None
    """Another policy that was ended with it."""

    @property
    def changed(self) -> bool:
        return self.before is None or self.before.digest != self.now.digest


def all_of(connection: Connection) -> dict[str, Policy]:
    """The policies in force, by name."""
    return _read(connection, _NAMES.rows(connection))


def asked_by(connection: Connection, owner_id: str) -> tuple[bool, dict[str, Policy]]:
    """Whether that owner is known, and the policies in force: what every job has to know, asked at once."""
    rows = _ASKED.rows(connection, {"owner_": owner_id})
    return rows[0].owner is not None, _read(connection, [row for row in rows if row.name is not None])


def _read(connection: Connection, rows: Iterable[Any]) -> dict[str, Policy]:
    return {row.name: _READ.get(row.digest) or _of_text(connection, row.digest) for row in rows}


def named(known: Mapping[str, Policy], name: str) -> Policy:
    """One of the policies in force; raises `OperatorError` for one that somebody has retired."""
    if name not in known:
        message = f"the policy `{name}` is no longer in force in this ledger"
        raise OperatorError(message, code="policy_retired", hint=_RETURN)
    return known[name]


def bring(connection: Connection, policy: Policy, at: datetime) -> Policy:
    """What is in force under the policy's name, once the ledger knows the policy.

    A digest that the ledger has not seen comes in force. One that it has seen changes nothing: a host
    with an old file goes on with the ledger's copy, and a policy that was retired is refused.
    """
    _READ[policy.digest] = policy
    if not is_known(connection, policy):
        _put(connection, policy, at)
        return policy
    row = connection.execute(_OF_NAME, {"name_": policy.name}).first()
    if row is None:
        message = f"the policy `{policy.name}` was retired in this ledger"
        raise ConfigError(message, code="policy_retired", hint=_RETURN)
    return _READ.get(row.digest) or _of_text(connection, row.digest)


def activate(connection: Connection, policy: Policy, at: datetime, retire: str | None) -> Activation:
    """Bring this very text in force, whatever was before it, and end the policy named `retire` with it."""
    before = _standing(connection, policy.name)
    retired = None if retire is None else _retire(connection, retire, policy, at)
    if before is None or before.digest != policy.digest:
        _put(connection, policy, at)
    now = _standing(connection, policy.name)
    assert now is not None
    return Activation(before, now, retired)


_RETURN: Final = "`planner policy activate FILE` brings it back"


def _put(connection: Connection, policy: Policy, at: datetime) -> None:
    """Replace what is in force under the policy's name, and count its running windows from entries."""
    connection.execute(_END, {"name_": policy.name})
    row = {"name": policy.name, "text": policy.text, "in_force": True, "since_us": to_us(at)}
    if is_known(connection, policy):
        connection.execute(update(texts).where(texts.c.digest == policy.digest).values(**row))
    else:
        connection.execute(insert(texts), {"digest": policy.digest, **row})
    counting.recount(connection, policy, at)


def _retire(connection: Connection, name: str, instead: Policy, at: datetime) -> Standing:
    """End a policy: it decides and counts nothing more, and what it has counted stays in the entries."""
    if name == instead.name:
        raise ConfigError(
            f"`{name}` is the policy that comes in force", code="bad_retire", hint="name the other one"
        )
    found = _standing(connection, name)
    if found is None:
        known = ", ".join(f"`{other}`" for other in sorted(all_of(connection)))
        hint = f"in force: {known}" if known else ""
        raise ConfigError(f"no policy `{name}` is in force", code="bad_retire", hint=hint)
    connection.execute(_END, {"name_": name})
    counting.forget(connection, name, at)
    return found


def is_known(connection: Connection, policy: Policy) -> bool:
    """Whether the ledger has seen that text, so that `bring` changes nothing."""
    return connection.execute(_KNOWN, {"digest_": policy.digest}).first() is not None


def _standing(connection: Connection, name: str) -> Standing | None:
    row: Any = connection.execute(_OF_NAME, {"name_": name}).first()
    return None if row is None else Standing(row.name, row.digest, from_us(row.since_us))


_READ: Final[WeakValueDictionary[str, Policy]] = WeakValueDictionary()
"""Policies by the digest of their text, which never changes under it.

Those that were read from files come first: their findings name lines that somebody can open.
"""
_PARSED: Final[deque[Policy]] = deque(maxlen=64)
"""The last that were read from the ledger, which nobody else may hold on to."""


def _of_text(connection: Connection, digest: str) -> Policy:
    """A policy as the ledger's own text has it."""
    row: Any = connection.execute(_OF_DIGEST, {"digest_": digest}).one()
    policy = parse_policy(row.text, row.name)
    _PARSED.append(policy)
    _READ[digest] = policy
    return policy


_IN_FORCE: Final = select(texts).where(texts.c.in_force)
_NAMES: Final = Statement(select(texts.c.name, texts.c.digest).where(texts.c.in_force))
_ASKED: Final = Statement(
    select(owners.c.owner, texts.c.name, texts.c.digest).select_from(
        ONE.outerjoin(owners, owners.c.owner == bindparam("owner_")).outerjoin(texts, texts.c.in_force)
    )
)
_OF_DIGEST: Final = select(texts.c.name, texts.c.text).where(texts.c.digest == bindparam("digest_"))
_OF_NAME: Final = _IN_FORCE.where(texts.c.name == bindparam("name_"))
_KNOWN: Final = select(texts.c.digest).where(texts.c.digest == bindparam("digest_"))
_END: Final = update(texts).where(texts.c.name == bindparam("name_")).values(in_force=False)
