"""The edge that reads the sandbox's own data files, and the shortest way to a provider.

Here belong files and what stands in them. The values they become belong to `prices` and `service`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from policies.server.sandbox.faults import Faults
from policies.server.sandbox.limits import Limits
from policies.server.sandbox.prices import Prices
from policies.server.sandbox.provider import Provider
from policies.server.sandbox.service import Service


@dataclass(frozen=True, slots=True)
class Shipped:
    """What the data files say. The two balances are the credits of a new account."""

    prices: Prices
    service: Service
    subscription_credits: int
    on_demand_credits: int


@lru_cache(maxsize=1)
def shipped() -> Shipped:
    """The data files, read once."""
    prices, service = _yaml("prices.yaml"), _yaml("service.yaml")
    return Shipped(
        prices=Prices(
            per_image=_cells(prices["per_image"]),
            face_credits=prices["face_reference"],
            omitted_mode=prices["omitted_mode"],
        ),
        service=_service(service["times"], service["largest_body_bytes"]),
        subscription_credits=service["account"]["subscription"],
        on_demand_credits=service["account"]["on_demand"],
    )


def shipped_provider(
    *,
    seed: int = 0,
    balance_credits: int | None = None,
    limits: Limits | None = None,
    faults: Faults | None = None,
    api_key: str | None = None,
) -> Provider:
    """A provider with the shipped prices and times, to be driven in virtual time.

    A balance is all on-demand; without one the account holds what the data file says.

    >>> provider = shipped_provider(balance_credits=10)
    >>> body = b'{"model_name": "model-create", "inputs": {"prompt": "linen dress", "resolution": "2k"}}'
    >>> provider.run(body, "Bearer any", now=0.0).status
    200
    >>> provider.credits("Bearer any", now=0.0).json()["credits"]["total"]
    6
    """
    data = shipped()
    own = balance_credits is None
    return Provider(
        prices=data.prices,
        service=data.service,
        limits=limits or Limits(),
        faults=faults or Faults(),
        seed=seed,
        subscription_credits=data.subscription_credits if own else 0,
        on_demand_credits=data.on_demand_credits if balance_credits is None else balance_credits,
        api_key=api_key,
    )


def _service(times: dict[str, Any], largest_body_bytes: int) -> Service:
    return Service(
        median_seconds=_cells(times["median"]),
        sigma=times["sigma"],
        face_seconds=(times["face"][0], times["face"][1]),
        another_image=times["another_image"],
        starting_seconds=times["starting"],
        in_queue_seconds=times["in_queue"],
        slow_factor=times["slow_factor"],
        stuck_slot_seconds=times["stuck_slot"],
        cdn_kept_seconds=times["cdn_kept"],
        private_kept_seconds=times["private_kept"],
        largest_body_bytes=largest_body_bytes,
    )


def _cells(table: dict[str, dict[str, int]]) -> dict[tuple[str, str], int]:
    return {(mode, tier): cell for mode, row in table.items() for tier, cell in row.items()}


def _yaml(name: str) -> Any:
    import yaml

    return yaml.safe_load(files(__package__).joinpath(name).read_text(encoding="utf-8"))
