"""Every misfortune the sandbox can inject, and the text that names them."""

import pytest

from planner.errors import InputError
from policies.server.sandbox.fates import RUN_TIME_ERRORS
from policies.server.sandbox.faults import Faults
from policies.server.sandbox.limits import Limits
from policies.server.sandbox.loading import shipped

WIDE = Limits(concurrency=10_000, run=(100_000, 1.0), status=(100_000, 1.0))


def test_parse_reads_every_fault_by_its_name():
    """Each name is read back; spaces and an empty text are fine."""
    for name in Faults.names():
        assert Faults.parse(f" {name} = 0.25 ,") == Faults(**{name: 0.25})
    assert Faults.parse("") == Faults()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lost_afer=1", "`lost_afer` is not a fault the sandbox knows (did you mean `lost_after`?)"),
        ("xyz=1", "known: lost_before"),
        ("failed", "`failed` has no probability (write failed=0.05)"),
        ("failed=often", "`failed=often` has no probability"),
        ("failed=1.5", "must be from 0 to 1, not `1.5`"),
        ("failed=nan", "must be from 0 to 1, not `nan`"),
        ("failed=0.1,failed=0.2", "`failed` is given twice"),
    ],
)
def test_parse_says_what_is_wrong(text, said):
    """One line for each part that cannot be used, with a hint."""
    with pytest.raises(InputError) as error:
        Faults.parse(text)
    assert said in str(error.value)


def test_parse_says_everything_at_once():
    """Three wrong parts are three faults of one error."""
    with pytest.raises(InputError) as error:
        Faults.parse("a=1,failed,b=2,slow=0.5")
    assert len(error.value.faults) == 3


@pytest.mark.parametrize(
    ("name", "status", "content_type", "error"),
    [
        ("proxy_before", 502, "text/html", None),
        ("redirect_before", 307, None, None),
        ("server_error", 500, "application/json", "InternalServerError"),
        ("rate_limited", 429, "application/json", "RateLimitExceeded"),
        ("concurrency_limited", 429, "application/json", "ConcurrencyLimitExceeded"),
    ],
)
def test_a_call_that_fails_before_acceptance_costs_nothing(name, status, content_type, error, machine):
    """The answer is the fault's own; nothing was accepted or debited, and the next call is as usual."""
    m = machine(faults=Faults(**{name: 1.0}))
    before = m.left()
    answer = m.run()
    assert (answer.status, answer.accepted, answer.cut) == (status, None, False)
    assert content_type is None or answer.headers["content-type"] == content_type
    assert error is None or answer.json()["error"] == error
    assert m.left() == before
    assert m.bill().accepted == 0
    m.provider.faults = Faults()
    assert m.run().status == 200


@pytest.mark.parametrize(("name", "status"), [("proxy_after", 502), ("redirect_after", 307), ("no_id", 200)])
def test_a_call_that_fails_after_acceptance_is_running_and_billed(name, status, machine):
    """The caller learns no id, the provider has a prediction that completes and is charged."""
    m = machine(faults=Faults(**{name: 1.0}))
    answer = m.run(resolution="2k")
    assert (answer.status, answer.cut) == (status, False)
    assert answer.accepted.encode() not in answer.body
    assert m.finish(answer.accepted).json()["status"] == "completed"
    assert m.bill().credits == 4


def test_a_lost_connection_may_or_may_not_have_been_accepted(machine):
    """Both ends look the same from outside; only the bill knows."""
    before, after = machine(faults=Faults(lost_before=1.0)), machine(faults=Faults(lost_after=1.0))
    assert before.run().cut
    assert after.run().cut
    assert (before.bill().accepted, after.bill().accepted) == (0, 1)


def test_a_redirect_leads_back_to_the_paid_endpoint(machine):
    """Whoever follows it pays again."""
    assert machine(faults=Faults(redirect_after=1.0)).run().headers["location"] == "/v1/run"


def test_stuck_never_ends_and_stays_charged(machine):
    """It says `processing` for ever; its slot is free again after the stated time."""
    m = machine(faults=Faults(stuck=1.0))
    ids = [m.run().accepted for _ in range(6)]
    m.at = shipped().service.stuck_slot_seconds - 1
    assert m.run().status == 429
    m.at += 1
    assert m.run().status == 200
    m.at += 30 * 86400
    answer = m.status(ids[0])
    assert answer.json()["status"] == "processing"
    assert "x-fashn-credits-used" not in answer.headers
    assert m.bill().credits == 7
    assert m.bill().last_completed_seconds is None


def test_vanished_is_gone_once_it_should_be_done(machine):
    """Known while it runs, then 404; the credits stay charged."""
    m = machine(faults=Faults(vanished=1.0))
    id = m.run().accepted
    assert m.status(id).status == 200
    assert m.finish(id).status == 404
    assert m.bill().by_status == {"vanished": 1}
    assert m.bill().credits == 1


def test_failed_names_every_run_time_error_and_costs_nothing(machine):
    """Over many failures all names of the documents occur, with a message; header 0, credits given back."""
    m = machine(faults=Faults(failed=1.0), limits=WIDE)
    before, names = m.left(), set()
    ids = [m.run().accepted for _ in range(150)]
    m.at = 1000.0
    for id in ids:
        answer = m.status(id)
        assert answer.json()["status"] == "failed"
        assert answer.json()["output"] is None
        assert answer.json()["error"]["message"]
        assert answer.headers["x-fashn-credits-used"] == "0"
        names.add(answer.json()["error"]["name"])
    assert names == set(RUN_TIME_ERRORS)
    assert m.left() == before
    assert m.bill().credits == 0


@pytest.mark.parametrize("name", ["failed", "canceled", "time_out"])
def test_an_unsuccessful_end_is_charged_only_by_its_own_fault(name, machine):
    """Header 0 as a rule; with `charged_failure` the header says what was kept."""
    free, charged = (
        machine(faults=Faults(**{name: 1.0})),
        machine(faults=Faults(**{name: 1.0}, charged_failure=1.0)),
    )
    for m, credits in ((free, 0), (charged, 4)):
        answer = m.finish(m.run(resolution="2k").accepted)
        assert answer.json()["status"] == name
        assert answer.headers["x-fashn-credits-used"] == str(credits)
        assert m.bill().credits == credits


def test_an_unknown_status_is_a_word_of_no_document(machine):
    """It is none of the seven known words, has no header, and stays charged."""
    m = machine(faults=Faults(unknown_status=1.0))
    answer = m.finish(m.run().accepted)
    known = {"starting", "in_queue", "processing", "completed", "failed", "canceled", "time_out"}
    assert answer.json()["status"] not in known
    assert "x-fashn-credits-used" not in answer.headers
    assert m.bill().credits == 1


def test_slow_takes_four_times_as_long(machine):
    """The same prediction with the fault ends at four times its time."""
    usual, slow = machine(), machine(faults=Faults(slow=1.0))
    ends = [m.provider.ends_seconds(m.run().accepted) for m in (usual, slow)]
    assert ends[1] == pytest.approx(4 * ends[0])


def test_drift_is_one_credit_either_way_and_stands_in_header_debit_and_bill(machine):
    """The charge is one more or less than the table; never free."""
    m = machine(faults=Faults(drift=1.0), limits=WIDE, balance_credits=10_000)
    ids = [m.run(resolution="2k").accepted for _ in range(40)]
    m.at = 500.0
    charged = [int(m.status(id).headers["x-fashn-credits-used"]) for id in ids]
    assert set(charged) == {3, 5}
    assert m.bill().credits == sum(charged) == 10_000 - m.left()["total"]
    assert m.finish(m.run().accepted).headers["x-fashn-credits-used"] == "2"


def test_a_partial_result_is_charged_for_what_came(machine):
    """Fewer outputs than asked, at least one, and the header decides; a single image is never partial."""
    m = machine(faults=Faults(partial=1.0), limits=WIDE)
    came = set()
    for _ in range(40):
        answer = m.finish(m.run(resolution="2k", num_images=4).accepted)
        outputs = len(answer.json()["output"])
        assert answer.headers["x-fashn-credits-used"] == str(4 * outputs)
        came.add(outputs)
    assert came == {1, 2, 3}
    assert len(m.finish(m.run().accepted).json()["output"]) == 1


def test_headers_go_missing_or_wrong_and_heal(machine):
    """A missing header and one that is no whole number, each until the fault is gone."""
    m = machine(limits=WIDE)
    ids = [m.run(resolution="2k").accepted for _ in range(60)]
    m.at = 500.0
    m.provider.faults = Faults(missing_header=1.0)
    assert all("x-fashn-credits-used" not in m.status(id).headers for id in ids)
    m.provider.faults = Faults(malformed_header=1.0)
    said = {m.status(id).headers["x-fashn-credits-used"] for id in ids}
    assert len(said) > 3
    assert not any(text.isdigit() for text in said)
    m.provider.faults = Faults()
    assert {m.status(id).headers["x-fashn-credits-used"] for id in ids} == {"4"}


def test_a_status_call_can_fail_and_the_next_one_succeed(machine):
    """500 on a poll says nothing about the prediction."""
    m = machine(faults=Faults(status_error=0.5))
    id = m.run().accepted
    m.finish(id)
    answers = [m.status(id) for _ in range(40)]
    assert {answer.status for answer in answers} == {200, 500}
    assert {answer.json()["status"] for answer in answers if answer.status == 200} == {"completed"}


def test_probabilities_are_kept(machine):
    """A fault at 10 % strikes about one call in ten, and by other calls than another fault at 10 %."""
    m = machine(faults=Faults(lost_before=0.1, server_error=0.1), limits=WIDE)
    struck = [m.run(resolution="none") for _ in range(3000)]
    cut = sum(answer.cut for answer in struck)
    errors = sum(answer.status == 500 for answer in struck)
    assert cut == pytest.approx(300, abs=75)
    assert errors == pytest.approx(270, abs=75)


def test_a_restarted_sandbox_meets_new_luck(machine):
    """The same call number after a restart need not fail again."""
    fates = []
    for starts in range(12):
        m = machine(faults=Faults(lost_before=0.5))
        m.provider.starts = starts
        fates.append(m.run().cut)
    assert set(fates) == {True, False}
