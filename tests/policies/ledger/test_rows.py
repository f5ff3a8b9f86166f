"""Report rows: which figures, in which group, in which period, at which rate."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import InputError
from policies.guard.machine import Job
from policies.ledger.entries import Evidence
from policies.ledger.periods import named_zone, parse_period
from policies.ledger.rows import report, standing
from policies.ledger.states import Happened, State
from policies.server.sandbox.faults import Faults
from tests import ledgers
from tests.policies.ledger.books import studio

pytestmark = pytest.mark.usefixtures("each_engine")

BERLIN, ZULU = ZoneInfo("Europe/Berlin"), ZoneInfo("UTC")


@pytest.fixture
def books(tmp_path):
    with studio(tmp_path) as found:
        yield found


def totals(books, **kwargs):
    return report(books.store, (), None, ZULU, **kwargs).total


# -- figures -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("charged", {"settled": 4, "jobs": 1, "quoted": 4, "usd": "0.30"}),
        ("estimated", {"settled": 4, "estimated": 4, "jobs": 1, "quoted": 4, "usd": "0.30"}),
        ("failed", {"jobs": 1, "failed": 1, "released": 4}),
        ("charged failure", {"settled": 4, "jobs": 1, "failed": 1, "quoted": 4, "usd": "0.30"}),
        ("refused", {"jobs": 1, "failed": 1, "released": 4}),
        ("lost", {"unknown": 4, "jobs": 1, "usd_at_most": "0.30"}),
        ("running", {"held": 4, "jobs": 1, "usd_at_most": "0.30"}),
        ("waiting", {"waiting": 1}),
        ("rewritten", {"settled": 4, "jobs": 1, "quoted": 4, "usd": "0.30", "saved_by_rewrites": 1}),
        ("given back unsent", {"released": 4}),
    ],
)
def test_each_end_is_told_by_its_figures(books, what, expected):
    """One job of 4 credits, ended in each way there is."""
    match what:
        case "charged":
            books.job("a", resolution="2k")
        case "estimated":
            books.job("a", resolution="2k", faults=Faults(missing_header=1.0))
        case "failed":
            books.job("a", resolution="2k", faults=Faults(failed=1.0))
        case "charged failure":
            books.job("a", resolution="2k", faults=Faults(failed=1.0, charged_failure=1.0))
        case "refused":
            books.job("a", resolution="2k", faults=Faults(server_error=1.0))
        case "lost":
            books.lost("a", resolution="2k")
        case "running":
            books.running("a", resolution="2k")
        case "waiting":
            books.job("a", {"campaign": "ask"}, resolution="2k")
        case "rewritten":
            books.job("a", {"campaign": "draft"}, resolution="4k")
        case "given back unsent":
            job = books.running("a", resolution="2k")
            books.sql("UPDATE entries SET state = 'held'")
            books.store.record(books.store.entry(job.entry.id), (Happened.CANCELLED, Evidence()))
    found = totals(books).as_json()
    assert found.pop("settled_by_hand") == {"jobs": 0, "credits": 0}
    dollars = {"usd": "0.00", "usd_at_most": expected.get("usd", "0.00")}
    assert found == {**dict.fromkeys(found, 0), **dollars, **expected}


def test_drift_is_a_price_difference(books):
    """Charged and quoted stand beside each other, and the report says what lies between them."""
    books.job("a", resolution="2k", faults=Faults(drift=1.0))
    found = totals(books)
    assert found.quoted == 4
    assert abs(found.price_difference) == 1
    assert found.as_json()["price_difference"] == found.settled - 4


def test_each_entry_counts_at_its_own_rate(books):
    """Money is the sum of whole micro-dollars, whatever a credit costs today."""
    books.job("a", {"team": "x"}, rate_microusd=67_400)
    books.job("b", {"team": "x"}, rate_microusd=48_801, resolution="2k")
    assert totals(books).usd_micro == 1 * 67_400 + 4 * 48_801
    assert totals(books).as_json()["usd"] == "0.262604"


def test_a_person_settles_and_it_is_charged(books):
    """What a named person says is charged and unconfirmed by a header; released is a job without cost."""
    first, second = books.lost("a", resolution="2k"), books.lost("b", resolution="2k")
    books.store.record(first.entry, (Happened.SETTLED_BY, Evidence(credits=5)))
    books.store.record(second.entry, (Happened.RELEASED_BY, Evidence()))
    found = totals(books)
    assert (found.settled, found.estimated, found.unknown, found.released) == (5, 5, 0, 4)
    assert (found.jobs, found.failed) == (2, 0)
    assert standing(books.store)["estimated"] == 5


def test_a_persons_word_is_no_price_difference(books):
    """It stands under a figure of its own, beside the drift of what the provider did charge."""
    books.job("drifted", resolution="2k", faults=Faults(drift=1.0))
    drift = totals(books).price_difference
    assert drift
    books.store.record(books.lost("a", resolution="2k").entry, (Happened.SETTLED_BY, Evidence(credits=1)))
    assert totals(books).price_difference == drift
    assert totals(books).as_json()["settled_by_hand"] == {"jobs": 1, "credits": 1}


def test_evidence_outranks_a_persons_word(books):
    """Once the provider has said what it cost, nothing is settled by hand and the price compares again."""
    entry = books.lost("a", resolution="2k").entry
    settled = books.store.record(entry, (Happened.SETTLED_BY, Evidence(credits=1)))
    books.store.record(settled, (Happened.ADJUSTED, Evidence(credits=3)))
    found = totals(books)
    assert (found.settled, found.estimated, found.by_hand_jobs, found.price_difference) == (3, 0, 0, -1)


def test_a_job_that_is_turned_down_at_every_run_is_one_job(books):
    """However often it is tried, and none at all once it went; entries stay counted as entries."""
    for _ in range(3):
        books.job("a", {"campaign": "ask"})
        books.job("b", {"campaign": "ask"})
    assert totals(books).waiting == 2
    books.world.advance(60)
    books.job("b")
    assert totals(books).waiting == 1
    shown = standing(books.store)
    assert (shown["counts"]["waiting"], shown["stopped_jobs"]["waiting"]) == (6, 1)


def test_a_later_month_does_not_change_who_waited_in_this_one(books):
    """What counts is the last entry of the period; over both months the job is none that waits."""
    books.job("a", {"campaign": "ask"})
    books.world.now = datetime(2026, 12, 1, 9, tzinfo=UTC)
    books.job("a")
    assert report(books.store, (), parse_period("2026-11", ZULU), ZULU).total.waiting == 1
    assert totals(books).waiting == 0


# -- groups --------------------------------------------------------------------------------------


def groups(books, *by, period=None, zone=ZULU):
    found = report(books.store, by, period and parse_period(period, zone), zone)
    return {row.group: row.figures.settled for row in found.rows}


def test_a_missing_label_is_a_value_of_its_own(books):
    """Rows are in order, and what has no label comes last."""
    books.job("a", {"team": "social"}, resolution="2k")
    books.job("b", {"team": "brand", "campaign": "autumn"})
    books.job("c")
    assert list(groups(books, "team").items()) == [(("brand",), 1), (("social",), 4), ((None,), 1)]
    assert groups(books, "campaign", "team") == {
        ("autumn", "brand"): 1,
        (None, "social"): 4,
        (None, None): 1,
    }


def test_settings_are_read_as_the_provider_acts_on_them(books):
    """An omitted resolution is 1k, an omitted mode the mode that was billed."""
    books.job("a")
    books.job("b", resolution="2k", num_images=2)
    assert groups(books, "resolution", "generation_mode", "num_images") == {
        ("1k", "fast", 1): 1,
        ("2k", "quality", 2): 8,
    }


def test_the_booking_decides_the_month_in_the_zone_that_is_named(books):
    """Half past eleven at night in London is the next month in Berlin."""
    books.world.now = datetime(2026, 11, 30, 23, 30, tzinfo=UTC)
    books.job("a")
    books.world.now = datetime(2026, 12, 1, 9, tzinfo=UTC)
    books.job("b", resolution="2k")
    assert groups(books, "month") == {("2026-11",): 1, ("2026-12",): 4}
    assert groups(books, "month", zone=BERLIN) == {("2026-12",): 5}
    assert groups(books, "day", zone=BERLIN) == {("2026-12-01",): 5}
    assert groups(books, period="2026-11") == {(): 1}
    assert groups(books, period="2026-11", zone=BERLIN) == {}
    assert groups(books, period="2026-12-01", zone=BERLIN) == {(): 5}


def test_a_job_counts_where_it_was_booked_however_late_it_ends(books):
    """Booked in November, settled in December: November."""
    books.world.now = datetime(2026, 11, 30, 23, 59, 58, tzinfo=UTC)
    books.job("a")
    assert books.world.now.month == 12
    assert groups(books, "month") == {("2026-11",): 1}


def test_without_a_period_it_is_the_whole_months_of_the_ledger(books):
    """And the present month where the ledger is empty."""
    empty = report(books.store, ("team",), None, ZULU)
    assert empty.period == parse_period("2026-11", ZULU)
    assert empty.rows == ()
    assert empty.total.settled == 0
    books.job("a")
    books.world.advance(20 * 86400)
    books.job("b")
    assert report(books.store, (), None, ZULU).period == parse_period("2026-11..2026-12", ZULU)


def test_a_label_that_nobody_declared_is_refused_with_a_guess(books):
    """A typing mistake is not a report of nothing."""
    books.job("a", {"team": "x"})
    with pytest.raises(InputError) as error:
        report(books.store, ("teem",), None, ZULU)
    assert str(error.value) == "no policy declares the label `teem` (did you mean `team`?)"


fates = st.lists(
    st.tuples(
        st.sampled_from([None, "social", "brand"]),
        st.sampled_from([None, "1k", "2k", "4k"]),
        st.sampled_from(["charged", "lost", "failed", "missing_header", "drift"]),
        st.integers(1, 40),
    ),
    max_size=8,
)


def test_rows_add_up_to_the_total_and_to_the_entries(tmp_path_factory):
    """Whatever happened, however it is grouped: no credit is missing and none is counted twice."""

    def add_up(jobs):
        _rows_add_up(tmp_path_factory.mktemp("books"), jobs)

    settings(max_examples=ledgers.examples(15), deadline=None)(given(fates)(add_up))()


def _rows_add_up(folder, jobs):
    with studio(folder) as books:
        for number, (team, resolution, fate, hours) in enumerate(jobs):
            books.world.advance(hours * 3600)
            faults = {"lost": Faults(lost_after=1.0), "charged": Faults()}.get(fate)
            labels = {"team": team} if team else {}
            books.job(f"k{number}", labels, faults=faults or Faults(**{fate: 1.0}), resolution=resolution)
        entries = books.store.entries()
        for by in ((), ("team",), ("day", "team"), ("resolution", "month")):
            found = report(books.store, by, None, BERLIN)
            assert found.total.settled == sum(e.credits for e in entries if e.state is State.SETTLED)
            assert found.total.unknown == sum(e.credits for e in entries if e.state is State.UNKNOWN)
            assert found.total.estimated == sum(e.credits for e in entries if e.estimated)
            assert sum(row.figures.settled for row in found.rows) == found.total.settled
            assert sum(row.figures.usd_micro for row in found.rows) == found.total.usd_micro
            assert len({row.group for row in found.rows}) == len(found.rows)


def test_standing_counts_every_entry_once(books):
    """The sums of `ledger show`: reserved is everything that is on its way."""
    books.job("a", resolution="2k", faults=Faults(missing_header=1.0))
    books.job("b", faults=Faults(failed=1.0))
    books.lost("c")
    assert isinstance(books.running("d", num_images=2), Job)
    books.job("e", {"campaign": "ask"})
    assert standing(books.store) == {
        "settled": 4,
        "estimated": 4,
        "held": 2,
        "unknown": 1,
        "released": 1,
        "counts": {"settled": 1, "held": 1, "unknown": 1, "released": 1, "denied": 0, "waiting": 1},
        "stopped_jobs": {"denied": 0, "waiting": 1},
    }


# -- periods -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026", "2026-01-01T00:00+01:00", "2027-01-01T00:00+01:00"),
        ("2026-Q3", "2026-07-01T00:00+02:00", "2026-10-01T00:00+02:00"),
        ("2026-q4", "2026-10-01T00:00+02:00", "2027-01-01T00:00+01:00"),
        ("2026-10", "2026-10-01T00:00+02:00", "2026-11-01T00:00+01:00"),
        ("2026-10-25", "2026-10-25T00:00+02:00", "2026-10-26T00:00+01:00"),
        (" 2026-10-03 .. 2026-10-05 ", "2026-10-03T00:00+02:00", "2026-10-06T00:00+02:00"),
        ("2026-Q1..2026-05", "2026-01-01T00:00+01:00", "2026-06-01T00:00+02:00"),
    ],
)
def test_periods_are_spans_of_the_zones_calendar(text, start, end):
    """With days of 23 and 25 hours where the clock changes; the last day of FROM..TO is included."""
    found = parse_period(text, BERLIN)
    assert (found.start, found.end) == (datetime.fromisoformat(start), datetime.fromisoformat(end))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-13",
        "2026-02-30",
        "26",
        "2026-Q5",
        "2026-10..",
        "..",
        "2026-10..2026-09",
        "9999",
        "0000",
        "now",
    ],
)
def test_what_is_no_period_is_refused(text):
    """One line, with the forms that there are."""
    with pytest.raises(InputError) as error:
        parse_period(text, ZULU)
    assert error.value.faults[0].code == "bad_period"


@given(st.dates(date(1990, 1, 1), date(2090, 1, 1)))
def test_the_days_of_a_month_are_the_month(day):
    """Nothing lies between two periods, and nothing in both."""
    month = parse_period(f"{day:%Y-%m}", BERLIN)
    one, following = parse_period(f"{day}", BERLIN), parse_period(f"{day + timedelta(days=1)}", BERLIN)
    assert one.end == following.start
    assert month.start <= one.start < one.end <= month.end
    assert one.days(BERLIN) == str(day)


def test_an_unknown_zone_is_refused_and_none_is_utc():
    """With a guess where one is near."""
    assert named_zone(None).key == "UTC"
    with pytest.raises(InputError, match="did you mean `Europe/Berlin`"):
        named_zone("europe/berlinn")
