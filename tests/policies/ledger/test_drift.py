"""Drift: what was charged differently from the price book, and what follows under `on_drift: stop`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from planner.loading import shipped_prices
from planner.prices import PriceBook
from policies.guard.machine import Job
from policies.ledger.drift import drift_of
from policies.ledger.entries import Evidence, TurnedDown
from policies.ledger.states import Happened, State
from tests.laws.world import World, policy_of, request

pytestmark = pytest.mark.usefixtures("each_engine")

STOPS = "policy: 1\nname: test\ntimezone: UTC\notherwise: allow\non_drift: {on_drift}\n"
BOOK = shipped_prices()


@pytest.fixture
def world(tmp_path):
    found = World(tmp_path, policy_of(STOPS.format(on_drift="stop")))
    yield found
    found.close()


def dearer(entry):
    """The table of a price entry in which everything costs one credit more."""
    return {mode: {tier: credits + 1 for tier, credits in row.items()} for mode, row in entry.credits.items()}


def charged(world, key, credits, *, outputs=None, **fields):
    """A job that the provider charges so much for, and what its entry is then."""
    worker = world.worker()
    found = worker.submit(world.ask(key, request(**fields)))
    if not isinstance(found, Job):
        worker.owner.close()
        return found
    made = fields.get("num_images", 1) if outputs is None else outputs
    entry = world.store.record(found.entry, (Happened.CHARGED, Evidence(credits=credits, outputs=made)))
    worker.owner.close()
    return entry


def test_a_charge_as_quoted_is_no_drift_and_another_one_is(world):
    """In both directions; it names the cell and the price entry that no longer holds."""
    assert drift_of(charged(world, "a", 4, resolution="2k"), BOOK) is None
    less = drift_of(charged(world, "b", 3, resolution="2k"), BOOK)
    assert less is not None
    assert (less.what, less.dearer, less.price_entry) == (
        "quality at 2k (mode omitted)",
        False,
        "fashn@2026-05-01",
    )
    more = drift_of(charged(world, "c", 8, face_reference="https://example.com/f.png", resolution="2k"), BOOK)
    assert more is not None
    assert str(more) == (
        "`c` was charged 8 credits instead of 7: `fashn@2026-05-01` no longer holds for"
        " quality at 2k (mode omitted) and face reference"
    )


def test_fewer_pictures_may_cost_less(world):
    """What the provider asks for the pictures that came is no drift; anything else is."""
    assert drift_of(charged(world, "a", 8, outputs=2, resolution="2k", num_images=4), BOOK) is None
    assert drift_of(charged(world, "b", 7, outputs=2, resolution="2k", num_images=4), BOOK) is not None


def test_every_price_in_force_between_admission_and_end_is_as_good(world):
    """A job that was admitted before a price ended may be charged the one that followed."""
    entry = charged(world, "a", 5, resolution="2k")
    assert drift_of(entry, BOOK) is not None
    [first] = BOOK.entries
    change = entry.booked_at + timedelta(seconds=1)
    later = replace(first, start=change, end=None, credits=dearer(first))
    book = PriceBook([replace(first, end=change), later], BOOK.checked_at)
    ended = entry._replace(ended_us=entry.booked_us + 2_000_000)
    assert drift_of(ended, book) is None
    assert drift_of(ended._replace(ended_us=entry.booked_us), book) is not None


def test_what_nobody_observed_is_no_drift(world):
    """Neither an estimate nor a person's word, nor a failed job that was charged."""
    entry = charged(world, "a", 9)
    assert drift_of(entry._replace(estimated=True), BOOK) is None
    assert drift_of(entry._replace(outputs=0), BOOK) is None
    assert drift_of(entry._replace(state=State.RELEASED), BOOK) is None


def test_a_cell_that_costs_more_than_the_book_says_is_stopped(world):
    """For every number of images of the same tier, mode and face; other cells and less go on."""
    charged(world, "less", 3, resolution="2k")
    assert charged(world, "again", 4, resolution="2k").state is State.SETTLED
    charged(world, "more", 5, resolution="2k")
    turned = charged(world, "next", 8, resolution="2k", num_images=2)
    assert isinstance(turned, TurnedDown)
    assert turned.decision.verdict == "deny"
    assert turned.decision.findings[-1].because == (
        "`more` was charged 5 credits instead of 4: `fashn@2026-05-01` no longer holds for"
        " quality at 2k (mode omitted); add an entry with today's prices to the file of --prices"
    )
    assert charged(world, "other", 3, resolution="2k", generation_mode="balanced").state is State.SETTLED


@pytest.mark.parametrize("text", ["on_drift: warn\n", "on_drift: stop\nenforcement: shadow\n"])
def test_nothing_is_stopped_where_the_policy_only_warns_or_watches(tmp_path, text):
    """What costs more goes on, and is told."""
    world = World(tmp_path, policy_of("policy: 1\nname: test\ntimezone: UTC\notherwise: allow\n" + text))
    charged(world, "more", 5, resolution="2k")
    assert charged(world, "next", 5, resolution="2k").state is State.SETTLED
    world.close()


def test_a_new_price_entry_starts_with_a_clean_sheet(world):
    """Once the book says what is charged, the cell goes again."""
    charged(world, "more", 5, resolution="2k")
    [first] = BOOK.entries
    now = world.store.now()
    later = replace(first, start=now, end=None, credits=dearer(first))
    worker = world.worker()
    worker.machine.book = PriceBook([replace(first, end=now), later], BOOK.checked_at)
    found = worker.submit(world.ask("next", request(resolution="2k")))
    assert isinstance(found, Job)
    assert found.entry.quoted_credits == 5
    worker.owner.close()
