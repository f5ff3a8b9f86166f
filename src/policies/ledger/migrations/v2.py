"""Version 2: approvals, raises, balances as observed, and leases for ledgers that many hosts share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Integer, String, Text, text

if TYPE_CHECKING:
    from alembic.operations import Operations

Step = Callable[["Operations", str | None], None]


def upgrade(op: Operations, schema: str | None) -> None:
    place: dict[str, Any] = {"schema": schema}
    within = f"{schema}." if schema else ""
    number = BigInteger().with_variant(Integer, "sqlite")

    def entry(name: str, **options: Any) -> Column[Any]:
        return Column(name, number, ForeignKey(f"{within}entries.id"), **options)

    op.add_column("owners", Column("seen_us", BigInteger), **place)
    op.create_table(
        "approvals",
        Column("id", number, primary_key=True, autoincrement=True),
        Column("at_us", BigInteger, nullable=False),
        entry("waiting", nullable=False),
        Column("account", String(200), nullable=False),
        Column("shoot", String(200), nullable=False),
        Column("key", String(200), nullable=False),
        Column("final_mac", String(64), nullable=False),
        Column("labels", Text, nullable=False),
        Column("approved", Boolean, nullable=False),
        Column("findings", Text, nullable=False),
        Column("most_credits", Integer, nullable=False),
        Column("until_us", BigInteger, nullable=False),
        Column("who", String(200), nullable=False),
        Column("because", Text, nullable=False),
        **place,
    )
    op.create_index("approvals_by_key", "approvals", ["account", "shoot", "key"], **place)
    op.create_table(
        "approval_uses",
        entry("entry", primary_key=True, autoincrement=False),
        Column("approval", number, ForeignKey(f"{within}approvals.id"), nullable=False),
        **place,
    )
    op.create_index("ix_approval_uses_approval", "approval_uses", ["approval"], **place)
    op.create_table(
        "grants",
        Column("id", number, primary_key=True, autoincrement=True),
        Column("at_us", BigInteger, nullable=False),
        Column("policy", String(200), nullable=False),
        Column("budget", String(200), nullable=False),
        Column("scope", Text, nullable=False),
        Column("start_us", BigInteger, nullable=False),
        Column("end_us", BigInteger),
        Column("unit", String(10), nullable=False),
        Column("amount", BigInteger, nullable=False),
        Column("until_us", BigInteger),
        entry("entry"),
        Column("who", String(200), nullable=False),
        Column("because", Text, nullable=False),
        **place,
    )
    op.create_index("ix_grants_entry", "grants", ["entry"], **place)
    by_allowance = ["policy", "budget", "scope", "start_us"]
    op.create_index("grants_by_allowance", "grants", by_allowance, **place)
    op.drop_column("counters", "granted", **place)
    dearer = text("credits > quoted_credits")
    op.create_index(
        "dearer_entries",
        "entries",
        ["account", "price_entry"],
        sqlite_where=dearer,
        postgresql_where=dearer,
        **place,
    )
    op.create_table(
        "plans",
        Column("digest", String(64), primary_key=True),
        Column("account", String(200), nullable=False),
        Column("shoot", String(200), nullable=False),
        Column("begun_us", BigInteger, nullable=False),
        Column("ended_us", BigInteger),
        **place,
    )
    op.create_table(
        "plan_answers",
        Column("id", number, primary_key=True, autoincrement=True),
        Column("at_us", BigInteger, nullable=False),
        Column("digest", String(64), nullable=False),
        Column("approved", Boolean, nullable=False),
        Column("until_us", BigInteger, nullable=False),
        Column("who", String(200), nullable=False),
        Column("because", Text, nullable=False),
        **place,
    )
    op.create_index("ix_plan_answers_digest", "plan_answers", ["digest"], **place)
    op.create_table(
        "observations",
        Column("id", number, primary_key=True, autoincrement=True),
        Column("at_us", BigInteger, nullable=False),
        Column("account", String(200), nullable=False),
        Column("total", Integer, nullable=False),
        Column("subscription", Integer),
        Column("on_demand", Integer),
        Column("settled_credits", BigInteger, nullable=False),
        Column("in_flight", Integer, nullable=False),
        Column("exclusive", Boolean, nullable=False),
        **place,
    )
    op.create_index("observations_by_account", "observations", ["account", "id"], **place)
