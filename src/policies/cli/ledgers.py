"""The ledger that the settings name, opened for a command that makes none.

Here belong opening it, and reading what a named person says to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from policies.cli.settings import resolve

if TYPE_CHECKING:
    from policies.ledger.store import Store


@contextmanager
def opened(ledger: str | None) -> Iterator[Store]:
    """The ledger that the settings name; a missing one is an error, not a new one."""
    from policies.ledger.store import Store

    store = Store.open(resolve(ledger=ledger).ledger, create=False)
    try:
        yield store
    finally:
        store.close()


def said(text: str, flag: str) -> str:
    """What a person says, or who it is; it must not be empty."""
    if not text.strip():
        raise click.BadOptionUsage(flag, f"{flag} must not be empty.")
    return text.strip()
