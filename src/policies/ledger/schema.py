"""The tables of a ledger, as SQLAlchemy Core; one schema for every engine.

Here belong names, types and constraints. Instants are whole micro-seconds of UTC (`_us`), credits are
whole numbers, money is whole micro-dollars. What an entry keeps is closed: no prompt, no reference, no
picture, and fingerprints only as HMAC under the ledger's own salt.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from policies.ledger.states import OPEN, TAKEN

VERSION: Final = 2
"""Each step to a newer one stands in `migrations`."""

metadata = MetaData()

_Id = BigInteger().with_variant(Integer, "sqlite")


def _states(names: frozenset[str]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(names))


facts = Table(
    "facts",
    metadata,
    Column("name", String(40), primary_key=True),  # version, ledger id, salt, live or sandbox
    Column("value", Text, nullable=False),
)

accounts = Table(
    "accounts",
    metadata,
    Column("account", String(200), primary_key=True),
    Column("address", Text, nullable=False),  # the provider it is bound to, from its first use on
    Column("live", Boolean, nullable=False),
    Column("concurrency", Integer, nullable=False),
    Column("run_limit", Integer, nullable=False),
    Column("run_seconds", Integer, nullable=False),
    Column("unknown_slot_seconds", Integer, nullable=False),
    Column("stopped_us", BigInteger),  # since when the provider says OutOfCredits
    Column("needed_credits", Integer),  # the balance that ends the stop
    Column("balance_credits", Integer),  # the last one read
    Column("balance_us", BigInteger),
)

policies = Table(
    "policies",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("name", String(200), nullable=False, index=True),
    Column("text", Text, nullable=False),
    Column("in_force", Boolean, nullable=False),
    Column("since_us", BigInteger, nullable=False),
)

owners = Table(
    "owners",
    metadata,
    Column("owner", String(40), primary_key=True),
    Column("host", String(200), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("since_us", BigInteger, nullable=False),
    Column("seen_us", BigInteger),  # the lease: when it last showed that it lives, on a server only
)

entries = Table(
    "entries",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("booked_us", BigInteger, nullable=False, index=True),
    Column("account", String(200), nullable=False),
    Column("shoot", String(200), nullable=False),
    Column("key", String(200), nullable=False),
    Column("take", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("owner", String(40)),
    Column("epoch", Integer, nullable=False),
    Column("sends", Integer, nullable=False),  # paid POSTs begun
    Column("model", String(80), nullable=False),
    # the closed fields of the final request; null means omitted, or that the model has no such field
    Column("resolution", String(8)),
    Column("generation_mode", String(16)),
    Column("num_images", Integer),
    Column("aspect_ratio", String(8)),
    Column("face_reference", Boolean, nullable=False),
    Column("face_reference_mode", String(20)),
    Column("image_reference", Boolean, nullable=False),
    Column("seed", BigInteger),
    Column("output_format", String(8)),
    Column("return_base64", Boolean),
    Column("labels", Text, nullable=False),  # canonical JSON of the declared labels
    # price
    Column("billed_mode", String(16), nullable=False),  # empty for another model
    Column("quoted_credits", Integer, nullable=False),
    Column("asked_credits", Integer, nullable=False),  # what it would have cost as asked
    Column("credits", Integer, nullable=False),  # what counts now: the hold, then the charge
    Column("estimated", Boolean, nullable=False),  # settled, and no header confirmed it
    Column("rate_microusd", BigInteger, nullable=False),
    Column("price_entry", String(80), nullable=False),  # empty where the policy's own hold was taken
    # decision
    Column("policy", String(200), nullable=False),
    Column("policy_digest", String(64), nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("shadow_verdict", String(16)),  # what would have been decided, where the policy only watches
    Column("shadow_credits", Integer),
    Column("changes", Text, nullable=False),  # JSON: the receipts of every rewrite
    Column("findings", Text, nullable=False),  # JSON: rule, outcome
    # identity
    Column("asked_mac", String(64), nullable=False),
    Column("final_mac", String(64), nullable=False),
    Column("prediction_id", String(200)),
    # progress
    Column("sent_us", BigInteger),
    Column("accepted_us", BigInteger),
    Column("ended_us", BigInteger),
    Column("slot_until_us", BigInteger),  # an unknown entry keeps its slot until then
    Column("reason", String(80)),  # the provider's error name, or why it ended
    Column("outputs", Integer, nullable=False),  # pictures the provider made
    Column("outputs_home", Integer, nullable=False),
    Column("outputs_lost", Boolean, nullable=False),  # expired or gone before they were fetched
    Index(
        "one_taken_entry_per_key",
        "account",
        "shoot",
        "key",
        "take",
        unique=True,
        sqlite_where=text(f"state IN ({_states(TAKEN)})"),
        postgresql_where=text(f"state IN ({_states(TAKEN)})"),
    ),
    Index(
        "open_entries",
        "account",
        "state",
        sqlite_where=text(f"state IN ({_states(OPEN | {'unknown'})})"),
        postgresql_where=text(f"state IN ({_states(OPEN | {'unknown'})})"),
    ),
    Index("entries_by_key", "account", "shoot", "key"),
    Index("entries_by_prediction", "prediction_id"),
    Index(
        "dearer_entries",
        "account",
        "price_entry",
        sqlite_where=text("credits > quoted_credits"),
        postgresql_where=text("credits > quoted_credits"),
    ),
)

events = Table(
    "events",
    metadata,
    Column("seq", _Id, primary_key=True, autoincrement=True),
    Column("entry", ForeignKey("entries.id"), nullable=False, index=True),
    Column("at_us", BigInteger, nullable=False),
    Column("happened", String(16), nullable=False),
    Column("state", String(16), nullable=False),  # the state after it
    Column("owner", String(40)),
    Column("epoch", Integer, nullable=False),
    Column("credits", Integer, nullable=False),  # what the entry counts after it
    Column("detail", Text, nullable=False),  # JSON: error name, header as read, person, attempt
)

counters = Table(
    "counters",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("policy", String(200), nullable=False),
    Column("budget", String(200), nullable=False),
    Column("scope", Text, nullable=False),  # canonical JSON: the label values it is for
    Column("start_us", BigInteger, nullable=False),
    Column("end_us", BigInteger),
    Column("unit", String(10), nullable=False),  # credits or microusd
    Column("limit", BigInteger, nullable=False),
    Column("settled", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    Column("unknown", BigInteger, nullable=False),
    UniqueConstraint("policy", "budget", "scope", "start_us"),
)
"""Sums over entries, kept beside them; `verify` derives them again."""

counted = Table(
    "counted",
    metadata,
    Column("entry", ForeignKey("entries.id"), primary_key=True),
    Column("counter", ForeignKey("counters.id"), primary_key=True, index=True),
)
"""Which counters an entry stands in."""

starts = Table(
    "starts",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("account", String(200), nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Index("starts_by_account", "account", "at_us"),
)
"""Paid POSTs of the last minutes: the rate window that all processes share."""

approvals = Table(
    "approvals",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("at_us", BigInteger, nullable=False),
    Column("waiting", ForeignKey("entries.id"), nullable=False),  # the entry that asked
    Column("account", String(200), nullable=False),
    Column("shoot", String(200), nullable=False),
    Column("key", String(200), nullable=False),
    Column("final_mac", String(64), nullable=False),
    Column("labels", Text, nullable=False),
    Column("approved", Boolean, nullable=False),  # else a person denied it
    Column("findings", Text, nullable=False),  # JSON: the rules and budgets that it answers
    Column("most_credits", Integer, nullable=False),
    Column("until_us", BigInteger, nullable=False),
    Column("who", String(200), nullable=False),
    Column("because", Text, nullable=False),
    Index("approvals_by_key", "account", "shoot", "key"),
)
"""What named persons said to jobs that wait; only ever added to."""

approval_uses = Table(
    "approval_uses",
    metadata,
    Column("entry", ForeignKey("entries.id"), primary_key=True),
    Column("approval", ForeignKey("approvals.id"), nullable=False, index=True),
)
"""Which approval an entry used; where the provider accepted nothing of it, it can be used again."""

grants = Table(
    "grants",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("at_us", BigInteger, nullable=False),
    Column("policy", String(200), nullable=False),
    Column("budget", String(200), nullable=False),
    Column("scope", Text, nullable=False),
    Column("start_us", BigInteger, nullable=False),  # the window it belongs to
    Column("end_us", BigInteger),
    Column("unit", String(10), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("until_us", BigInteger),  # when it ends; None where it ends with its window
    Column("entry", ForeignKey("entries.id"), index=True),  # the job that it was made for
    Column("who", String(200), nullable=False),
    Column("because", Text, nullable=False),
    Index("grants_by_allowance", "policy", "budget", "scope", "start_us"),
)
"""What was granted on top of a budget's limit, in one window; only ever added to."""

plans = Table(
    "plans",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("account", String(200), nullable=False),
    Column("shoot", String(200), nullable=False),
    Column("begun_us", BigInteger, nullable=False),
    Column("ended_us", BigInteger),  # every job of it had come to an end
)
"""Plan files that were run; each is spent once."""

plan_answers = Table(
    "plan_answers",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("at_us", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False, index=True),
    Column("approved", Boolean, nullable=False),  # else a person denied it
    Column("until_us", BigInteger, nullable=False),
    Column("who", String(200), nullable=False),
    Column("because", Text, nullable=False),
)
"""What named persons said to plan files; only ever added to."""

observations = Table(
    "observations",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("at_us", BigInteger, nullable=False),
    Column("account", String(200), nullable=False),
    Column("total", Integer, nullable=False),  # what the provider said
    Column("subscription", Integer),
    Column("on_demand", Integer),
    Column("settled_credits", BigInteger, nullable=False),  # what the ledger had settled for the account
    Column("in_flight", Integer, nullable=False),  # jobs that were not at their end
    Column("exclusive", Boolean, nullable=False),  # nobody else spends from the account, it was said
    Index("observations_by_account", "account", "id"),
)
"""Balances as they were read, beside what the ledger knew then; only ever added to."""
