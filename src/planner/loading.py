"""The edge that reads the shipped data files, and a user's own prices, into the planner's types.

How a YAML text becomes plain values belongs to `documents`, what a policy may say to `policies`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any, Final

from planner.documents import Document, Path_, read_yaml, read_yaml_file
from planner.errors import ConfigError, Fault, nearest
from planner.latency import LatencyProfile, Seconds
from planner.money import CreditPlan, CreditPrice, micro_from_usd
from planner.prices import PriceBook, PriceEntry
from planner.request import GENERATION_MODES, RESOLUTIONS

_DATA: Final = Path(__file__).with_name("data")


def instant(value: object) -> datetime | None:
    """An instant from `2026-05-01` (midnight UTC) or an ISO text with its offset; else None."""
    try:
        if isinstance(value, str) and len(value) == 10:
            return datetime.combine(date.fromisoformat(value), time(), UTC)
        moment = datetime.fromisoformat(str(value))
        found = moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None
    return found if found and found.year < _LAST_YEAR else None


_LAST_YEAR: Final = 9000
"""Windows and waits are worked out beyond an instant, and there is no year 10000."""


@lru_cache(maxsize=1)
def shipped_prices() -> PriceBook:
    """The price book that comes with the package."""
    return price_book(_shipped("prices.yaml"))


@lru_cache(maxsize=1)
def shipped_credit_plans() -> Mapping[str, CreditPlan]:
    """The provider's ways to buy credits, by name: `on-demand`, `tier-1`, …"""
    plans = _shipped("credit_prices.yaml").data["plans"]
    return {
        name: CreditPlan(
            CreditPrice(name, micro_from_usd(plan["usd_per_credit"])),
            micro_from_usd(Decimal(plan["usd_per_month"])),
            plan["credits_per_month"],
            CreditPrice(f"{name} top-up", micro_from_usd(plan["usd_per_top_up_credit"])),
        )
        for name, plan in plans.items()
    }


@lru_cache(maxsize=1)
def shipped_latency() -> LatencyProfile:
    """The documented service times that come with the package; several images are estimates."""
    data = _shipped("latency.yaml").data
    rows = {}
    for mode, resolution, images in product(GENERATION_MODES, RESOLUTIONS, data["images"]):
        factor = float(data["images"][images])
        for face, row in ((False, "alone"), (True, "with_face")):
            p50, p90, basis = data["seconds"][mode][resolution][row]
            found = Seconds(p50 * factor, p90 * factor, basis if images == "1" else "estimated")
            rows[mode, resolution, face, int(images)] = found
    return LatencyProfile(data["profile"], rows)


def _shipped(name: str) -> Document:
    return read_yaml((_DATA / name).read_text("utf-8"), name)


def load_prices(path: Path) -> PriceBook:
    """The shipped book extended by the dated entries of a user's own file."""
    return shipped_prices().extended(price_book(read_yaml_file(path)).entries)


def price_book(document: Document) -> PriceBook:
    """A price book from its document; raises `ConfigError` with every fault of the file."""
    faults: list[Fault] = []
    data = document.data if isinstance(document.data, dict) else {}
    provider, checked = data.get("price_book"), instant(data.get("checked"))
    if not isinstance(provider, str):
        where = document.where()
        faults.append(Fault("price_book", "`price_book` is missing", where, hint="name the provider"))
    if checked is None:
        where = document.where(("checked",))
        faults.append(Fault("price_book", "`checked` is not a date", where, hint="write it as 2026-11-22"))
    items = data.get("entries")
    if not isinstance(items, list) or not items:
        faults.append(Fault("price_book", "`entries` is missing or empty", document.where(("entries",))))
    known = ("price_book", "checked", "unit", "entries")
    faults += [_unknown_key(document, (key,), known) for key in data if key not in known]
    entries = [
        _price_entry(document, str(provider), ("entries", place), item, faults)
        for place, item in enumerate(items if isinstance(items, list) else ())
    ]
    if faults or checked is None:
        raise ConfigError(faults=faults)
    return PriceBook([entry for entry in entries if entry], checked)


_ENTRY_KEYS: Final = ("from", "to", "source", "credits", "face_reference", "omitted_mode")


def _price_entry(
    document: Document, provider: str, path: Path_, item: Any, faults: list[Fault]
) -> PriceEntry | None:
    """One entry, or None after noting its faults."""
    before = len(faults)

    def fault(message: str, *place: str, hint: str = "") -> None:
        faults.append(Fault("price_entry", message, document.where((*path, *place)), hint=hint))

    if not isinstance(item, dict):
        fault("an entry must be a mapping")
        return None
    faults += [_unknown_key(document, (*path, key), _ENTRY_KEYS) for key in item if key not in _ENTRY_KEYS]
    start, end = instant(item.get("from")), instant(item["to"]) if "to" in item else None
    if start is None:
        fault("`from` is not a date", "from", hint="write it as 2026-05-01")
    if "to" in item and (end is None or (start and end <= start)):
        fault("`to` is not a date after `from`", "to", hint="leave it out where the price has no end yet")
    table = item.get("credits")
    for mode in GENERATION_MODES:
        for tier in RESOLUTIONS:
            found = table.get(mode, {}) if isinstance(table, dict) else {}
            credits = found.get(tier) if isinstance(found, dict) else None
            if not _whole(credits):
                fault(f"`credits` has no whole number for {mode} at {tier}", "credits", mode, tier)
    if not _whole(item.get("face_reference")):
        fault("`face_reference` is not a whole number of credits", "face_reference")
    omitted = item.get("omitted_mode")
    for tier in RESOLUTIONS:
        if not isinstance(omitted, dict) or omitted.get(tier) not in GENERATION_MODES:
            fault(f"`omitted_mode` does not name a mode for {tier}", "omitted_mode", tier)
    if len(faults) > before or start is None:
        return None
    face, where = item["face_reference"], document.where(path)
    return PriceEntry(provider, start, end, item["credits"], face, item["omitted_mode"], where)


def _whole(value: object) -> bool:
    return type(value) is int and value >= 0


def _unknown_key(document: Document, path: Path_, known: Sequence[str]) -> Fault:
    guess = nearest(str(path[-1]), known)
    hint = f"did you mean `{guess}`?" if guess else "known: " + ", ".join(known)
    return Fault("unknown_key", f"`{path[-1]}` is not known here", document.where(path), hint=hint)
