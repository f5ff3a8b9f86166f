"""Three months of a studio in the ledger, reported, against sums made from the file by hand."""

from __future__ import annotations

import csv
from collections import defaultdict
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from planner.history import read_history
from planner.loading import shipped_prices
from policies.ledger.periods import parse_period
from policies.ledger.rows import SPANS, report
from policies.ledger.store import Store

HISTORY = Path(__file__).parents[2] / "data" / "history.csv"
BERLIN, ZULU = ZoneInfo("Europe/Berlin"), ZoneInfo("UTC")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("history")
    with closing(Store.open(f"sqlite:///{folder}/spend.db")) as found:
        found.import_past(read_history(HISTORY).past, "main", shipped_prices(), 75_000)
        yield found


def rows():
    with HISTORY.open(newline="") as file:
        yield from csv.DictReader(file)


def by_hand(key, zone):
    """Credits and dollars of each group, by the columns of the file alone."""
    credits, usd = defaultdict(int), defaultdict(Decimal)
    for row in rows():
        if row["status"] == "failed":
            continue
        at = datetime.fromisoformat(row["submitted_at"]).astimezone(zone)
        used = int(row["credits_used"] or row["credits_quoted"])
        credits[key(row, at)] += used
        usd[key(row, at)] += used * Decimal(row["usd_per_credit"])
    return {group: (number, usd[group]) for group, number in credits.items()}


def reported(store, by, zone, period=None):
    found = report(store, by, period and parse_period(period, zone), zone)
    return {
        row.group: (row.figures.settled, Decimal(row.figures.usd_micro) / 1_000_000) for row in found.rows
    }


@pytest.mark.parametrize("zone", [ZULU, BERLIN])
def test_months_by_team(store, zone):
    """Every month and team, credits to the credit and money to the micro-dollar, in either zone."""
    expected = by_hand(lambda row, at: (f"{at:%Y-%m}", row["team"]), zone)
    assert reported(store, ("month", "team"), zone) == expected


def test_a_job_belongs_to_the_month_of_its_zone(store):
    """Twelve jobs fall in another month in Berlin than in UTC, and each report has them in its own."""
    moved = 0
    for row in rows():
        at = datetime.fromisoformat(row["submitted_at"])
        moved += at.astimezone(BERLIN).month != at.astimezone(ZULU).month
    assert moved == 12
    here, there = (
        {row.group[0]: row.figures.jobs for row in report(store, ("month",), None, zone).rows}
        for zone in (BERLIN, ZULU)
    )
    assert sum(abs(here.get(month, 0) - there.get(month, 0)) for month in {*here, *there}) > 0
    assert sum(here.values()) == sum(there.values()) == 12_000


@pytest.mark.parametrize(
    ("span", "name"),
    [
        ("year", lambda at: str(at.year)),
        ("quarter", lambda at: f"{at.year}-Q{(at.month - 1) // 3 + 1}"),
        ("week", lambda at: f"{at.isocalendar().year}-W{at.isocalendar().week:02}"),
        ("day", lambda at: f"{at.year}-{at.month:02}-{at.day:02}"),
    ],
)
def test_every_span_of_the_calendar(store, span, name):
    """Years, quarters, weeks from Monday and days, by the zone's calendar."""
    assert span in SPANS
    expected = by_hand(lambda _, at: (name(at),), BERLIN)
    assert reported(store, (span,), BERLIN) == expected


def test_what_nobody_confirmed_is_told(store):
    """The rows whose `credits_used` is empty are estimates, and count at their quotes."""
    empty = [row for row in rows() if row["status"] != "failed" and not row["credits_used"]]
    total = report(store, (), None, ZULU).total
    assert total.estimated == sum(int(row["credits_quoted"]) for row in empty) > 0
