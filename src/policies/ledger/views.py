"""Views that only read, for tools that draw charts: `spend`, `budgets` and `open_holds`.

Here belong their columns and how each engine says them. Instants are UTC: ISO text in SQLite, timestamps
with a zone in PostgreSQL. Money is an exact number of dollars as text in SQLite and `numeric` in
PostgreSQL. What the columns mean is told in `docs/ledger.md`.
"""

from __future__ import annotations

from typing import Final

from policies.ledger.states import OPEN, TAKEN

NAMES: Final = ("spend", "budgets", "open_holds")


def statements(schema: str | None) -> tuple[str, ...]:
    """What makes the views anew; a schema means PostgreSQL."""
    within = f"{schema}." if schema else ""
    dropped = [f"DROP VIEW IF EXISTS {within}{name}" for name in NAMES]
    speech = _Postgres() if schema else _Sqlite()
    shown = {"spend": _spend, "budgets": _budgets, "open_holds": _open_holds}
    made = [f"CREATE VIEW {within}{name} AS {shown[name](speech, within)}" for name in NAMES]
    return (*dropped, *made)


class _Sqlite:
    """How SQLite says it."""

    now_us = "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)"

    def instant(self, column: str) -> str:
        seconds = f"strftime('%Y-%m-%dT%H:%M:%S', {column} / 1000000, 'unixepoch')"
        return f"{seconds} || printf('.%06dZ', {column} % 1000000)"

    def dollars(self, micro: str) -> str:
        return f"printf('%d.%06d', ({micro}) / 1000000, ({micro}) % 1000000)"


class _Postgres:
    """How PostgreSQL says it."""

    now_us = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

    def instant(self, column: str) -> str:
        return f"TIMESTAMPTZ 'epoch' + {column} * INTERVAL '1 microsecond'"

    def dollars(self, micro: str) -> str:
        return f"(({micro}) / 1000000::numeric)::numeric(24, 6)"


_Speech = _Sqlite | _Postgres


def _spend(say: _Speech, within: str) -> str:
    """One row for each job that cost or may have cost something."""
    return f"""
SELECT id, {say.instant("booked_us")} AS booked_at, account, shoot, key, take, state, labels,
    resolution, billed_mode, num_images, face_reference,
    quoted_credits, credits, estimated, {say.dollars("credits * rate_microusd")} AS usd,
    policy, price_entry, prediction_id, {say.instant("ended_us")} AS ended_at
FROM {within}entries WHERE state IN ({_texts(TAKEN)})"""


def _budgets(say: _Speech, within: str) -> str:
    """One row for each allowance: its window, its limit, and what counts in it, in its unit."""
    return f"""
SELECT policy, budget, scope, unit, {say.instant("start_us")} AS window_start,
    {say.instant("end_us")} AS window_end, "limit", settled, held, unknown, {_granted(say, within)} AS granted
FROM {within}counters AS c"""


def _granted(say: _Speech, within: str) -> str:
    """A grant that was made for one job is never more than that job counts."""
    counts = "e.credits * (CASE WHEN g.unit = 'credits' THEN 1 ELSE e.rate_microusd END)"
    own = (
        f"CASE WHEN g.entry IS NULL THEN g.amount WHEN e.state = 'released' THEN 0"
        f" WHEN g.amount > {counts} THEN {counts} ELSE g.amount END"
    )
    return f"""
    (SELECT coalesce(sum({own}), 0) FROM {within}grants AS g LEFT JOIN {within}entries AS e ON e.id = g.entry
     WHERE g.policy = c.policy AND g.budget = c.budget AND g.scope = c.scope AND g.start_us = c.start_us
       AND g.unit = c.unit AND coalesce(g.end_us, -1) = coalesce(c.end_us, -1)
       AND (g.until_us IS NULL OR g.until_us > {say.now_us}))"""


def _open_holds(say: _Speech, within: str) -> str:
    """One row for each job that is reserved, or of which nobody knows what it cost."""
    return f"""
SELECT e.id, e.account, e.shoot, e.key, e.take, e.state, e.labels, e.credits,
    {say.dollars("e.credits * e.rate_microusd")} AS usd, {say.instant("e.booked_us")} AS booked_at,
    {say.instant("e.sent_us")} AS sent_at, e.prediction_id, e.reason, o.host, o.pid
FROM {within}entries AS e LEFT JOIN {within}owners AS o ON o.owner = e.owner
WHERE e.state IN ({_texts(OPEN | {"unknown"})})"""


def _texts(names: frozenset[str]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(names))
