"""What all tests share: properties are tried on the same examples every time, unless somebody explores.

A suite that stands before every change has to say the same of the same code. `PLANNER_TEST_EXPLORE=1`
looks for new examples instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

from tests import ledgers

settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None)
settings.load_profile("explore" if os.environ.get("PLANNER_TEST_EXPLORE") else "steady")


@pytest.fixture(scope="module", params=ledgers.ENGINES)
def each_engine(request: Any) -> Iterator[str]:
    """Ledgers that are named by `ledgers.url` stand in SQLite, and then in PostgreSQL."""
    with ledgers.using(request.param):
        yield request.param
