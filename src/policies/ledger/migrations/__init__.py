"""The steps from one version of the ledger's tables to the next, in Alembic's operations.

A step is a module with a function `upgrade(op, schema)`: what it takes to come from the version before it
to its own. It names columns as they were then and imports nothing from `schema`, which says how they are
now. A new table is one more step here, its `Table` in `schema`, and `schema.VERSION` raised by one; a
test holds both ways to the same tables against each other. Views are made anew after every upgrade and
belong to `views`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from policies.ledger.migrations import v2

STEPS: Final[Mapping[int, v2.Step]] = {2: v2.upgrade}
"""By the version that a step leads to."""
