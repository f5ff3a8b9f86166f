"""What the laws share: every world is closed when its test has ended."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.laws import world


@pytest.fixture(autouse=True)
def _close_worlds() -> Iterator[None]:
    yield
    while world.ALL:
        world.ALL.pop().close()
