"""Laws 1 to 4: the price function."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner import NoPrice, quote
from planner.documents import read_yaml
from planner.errors import ConfigError
from planner.loading import price_book, shipped_prices
from planner.money import CreditPrice, micro_from_usd, usd_from_micro
from planner.prices import PriceBook
from planner.quoting import CELLS, quotes
from tests.laws.strategies import requests

VECTORS = Path(__file__).parents[1] / "data" / "credits.csv"


def vector_rows() -> list[dict[str, str]]:
    with VECTORS.open(newline="") as file:
        return list(csv.DictReader(file))


def vector_request(row: dict[str, str]) -> dict[str, object]:
    request: dict[str, object] = {"prompt": "linen dress"}
    request |= {name: row[name] for name in ("generation_mode", "resolution") if row[name]}
    if row["num_images"]:
        request["num_images"] = int(row["num_images"])
    if row["face_reference"] == "yes":
        request["face_reference"] = "https://example.com/face.png"
    return request


def test_law_01_the_price_function_equals_the_table() -> None:
    """Every one of the 160 combinations of the table has its credits and its billed mode."""
    rows = vector_rows()
    assert len(rows) == 160
    for row in rows:
        found = quote(vector_request(row))
        assert (found.credits, found.billed_mode) == (int(row["credits"]), row["billed_mode"]), row


@given(requests())
def test_law_01_the_price_function_is_total_over_valid_requests(request) -> None:
    """Whatever is valid has a price from 1 to 32 credits inside the book."""
    assert 1 <= quote(request).credits <= 32


@given(st.integers(0, 10**9), st.integers(1, 10**7))
def test_law_02_money_is_exact(credits: int, rate_microusd: int) -> None:
    """Credits become money and back without losing a micro-dollar, and never by way of a float."""
    usd = CreditPrice("own", rate_microusd).usd(credits)
    assert isinstance(usd, Decimal)
    assert micro_from_usd(usd) == credits * rate_microusd
    assert usd_from_micro(micro_from_usd(usd)) == usd


@given(requests())
def test_law_02_credits_are_whole_numbers(request) -> None:
    """A quote and its lines hold ints, not numbers that look like them."""
    found = quote(request)
    assert all(type(n) is int for line in found.lines for n in (line.credits, line.times, line.total))
    assert type(found.credits) is int


CLOSED_ENTRIES: dict[str, str] = {}
"""Digest by entry id for every entry that has an end. Append when an entry is closed; never edit."""

OPEN_ENTRY = ("fashn@2026-05-01", "1f266c1a")


def test_law_03_a_closed_price_entry_never_changes() -> None:
    """Entries with an end keep their digests; the open one is pinned too, so that a change is a choice."""
    book = shipped_prices()
    assert {entry.id: entry.digest for entry in book.entries if entry.end} == CLOSED_ENTRIES
    (last,) = [entry for entry in book.entries if entry.end is None]
    assert (last.id, last.digest[:8]) == OPEN_ENTRY


@given(st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(days=300_000)))
def test_law_03_outside_the_book_is_an_error(before: timedelta) -> None:
    """Before the first entry there is no price, and none is guessed."""
    with pytest.raises(NoPrice):
        quote({"prompt": "x"}, at=datetime(2026, 5, 1, tzinfo=UTC) - before)


BOOK = """
price_book: fashn
checked: 2026-11-22
entries:
"""
ENTRY = """
  - from: {start}
    to: {end}
    credits:
      fast: {{1k: 1, 2k: 2, 4k: 3}}
      balanced: {{1k: 2, 2k: 3, 4k: 4}}
      quality: {{1k: 3, 2k: 4, 4k: 5}}
    face_reference: {face}
    omitted_mode: {{1k: fast, 2k: balanced, 4k: balanced}}
"""


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 60)), min_size=1, max_size=6))
def test_law_03_entries_never_overlap(spans: list[tuple[int, int]]) -> None:
    """A book is refused exactly when two of its entries claim the same day; else every day is right."""
    first = datetime(2025, 1, 1, tzinfo=UTC)
    days: list[int] = [day for start, length in spans for day in range(start, start + length)]
    text = BOOK + "".join(
        ENTRY.format(
            start=(first + timedelta(days=start)).date(),
            end=(first + timedelta(days=start + length)).date(),
            face=3,
        )
        for start, length in spans
    )
    if len(days) != len(set(days)):
        with pytest.raises(ConfigError) as caught:
            price_book(read_yaml(text, "own.yaml"))
        assert {fault.code for fault in caught.value.faults} == {"price_overlap"}
        return
    book = price_book(read_yaml(text, "own.yaml"))
    for day in range(465):
        instant = first + timedelta(days=day)
        if day in days:
            assert book.entry_at(instant).start <= instant
        else:
            with pytest.raises(NoPrice):
                book.entry_at(instant)


def test_law_03_an_own_entry_extends_the_book_from_its_first_day_on() -> None:
    """A later entry closes the open one at its first instant and changes nothing before it."""
    text = BOOK + ENTRY.format(start="2027-01-01", end="2028-01-01", face=4)
    book = shipped_prices().extended(price_book(read_yaml(text)).entries)
    face = {"prompt": "x", "face_reference": "https://example.com/face.png"}
    before, after = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    assert (quote(face, book, before).credits, quote(face, book, after).credits) == (4, 5)
    with pytest.raises(NoPrice):
        quote(face, book, datetime(2028, 1, 1, tzinfo=UTC))


def test_law_03_an_entry_inside_another_is_refused() -> None:
    """Extending never cuts a hole into an entry that has an end."""
    year = price_book(read_yaml(BOOK + ENTRY.format(start="2025-01-01", end="2026-01-01", face=3)))
    june = price_book(read_yaml(BOOK + ENTRY.format(start="2025-06-01", end="2025-07-01", face=3)))
    with pytest.raises(ConfigError):
        year.extended(june.entries)


def test_law_04_every_quote_adds_up() -> None:
    """The lines of all 96 cells add up to their credits, and each line to its product."""
    for found in quotes(shipped_prices().entry_at()):
        assert sum(line.total for line in found.lines) == found.credits
        assert all(line.total == line.credits * line.times for line in found.lines)


@given(requests())
def test_law_04_a_quote_explains_itself(request) -> None:
    """The lines name the billed mode, the tier and the face, and the quote names its price entry."""
    found = quote(request)
    text = json.dumps([line.as_json() for line in found.lines])
    resolution, mode, face, images = CELLS[found.cell]
    assert f"{found.billed_mode} at {resolution}" in text
    assert ("face reference" in text) is face is (request.face_reference is not None)
    assert ("mode omitted" in text) is (mode is None)
    assert all(line.times == images for line in found.lines)
    assert found.price_book == shipped_prices().entry_at().id


def test_law_03_the_shipped_book_says_when_it_was_checked() -> None:
    """Without an instant the price is that of the day the book was last checked."""
    book = shipped_prices()
    assert isinstance(book, PriceBook)
    assert book.entry_at() is book.entry_at(book.checked_at)
