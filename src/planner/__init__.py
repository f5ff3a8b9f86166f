"""What a generated image will cost and how long it will take: pure values and functions.

Nothing here knows a policy, a ledger or a socket. Names are loaded when they are first used, so that
`import planner` costs next to nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as type checkers read it; the module `typing` costs more than all the rest here
if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from typing import Any

    from planner.errors import Fault as Fault
    from planner.errors import InvalidRequest as InvalidRequest
    from planner.errors import NoPrice as NoPrice
    from planner.errors import PlannerError as PlannerError
    from planner.prices import PriceBook as PriceBook
    from planner.quoting import Quote as Quote
    from planner.request import ModelCreateRequest as ModelCreateRequest

__version__ = "0.1.0"

_HOMES = {
    "Fault": "planner.errors",
    "InvalidRequest": "planner.errors",
    "ModelCreateRequest": "planner.request",
    "NoPrice": "planner.errors",
    "PlannerError": "planner.errors",
    "PriceBook": "planner.prices",
    "Quote": "planner.quoting",
}

__all__ = [
    "Fault",
    "InvalidRequest",
    "ModelCreateRequest",
    "NoPrice",
    "PlannerError",
    "PriceBook",
    "Quote",
    "quote",
]


def quote(
    request: ModelCreateRequest | Mapping[str, Any],
    book: PriceBook | None = None,
    at: datetime | None = None,
) -> Quote:
    """The exact price of a request, from the shipped price book unless another is given.

    Without an instant: the entry in force when the book was last checked. Raises `InvalidRequest`
    and `NoPrice`.

    >>> quote({"prompt": "linen dress", "resolution": "2k"}).credits
    4
    """
    from planner.loading import shipped_prices
    from planner.quoting import quote as price

    return price(request, book or shipped_prices(), at)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'planner' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
