"""The pure provider in virtual time: lifecycle, balance, outputs, determinism."""

import base64
import json
import math
import statistics
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.server.sandbox.faults import Faults
from policies.server.sandbox.limits import Limits
from policies.server.sandbox.loading import shipped, shipped_provider

WIDE = Limits(concurrency=10_000, run=(100_000, 1.0), status=(100_000, 1.0))


def test_a_prediction_goes_through_the_documented_words(machine):
    """starting, in_queue, processing, completed; output, error and header only when they are due."""
    m = machine()
    id = m.run().json()["id"]
    seen = []
    for at in (0.0, 0.5, 2.0, m.provider.ends_seconds(id) - 0.001):
        m.at = at
        answer = m.status(id)
        assert answer.json() | {"status": ""} == {"id": id, "status": "", "output": None, "error": None}
        assert "x-fashn-credits-used" not in answer.headers
        seen.append(answer.json()["status"])
    assert seen == ["starting", "in_queue", "processing", "processing"]
    done = m.finish(id)
    assert done.json()["status"] == "completed"
    assert done.json()["output"] == [f"http://sandbox.invalid/outputs/{id}/output_0.png"]
    assert done.headers["x-fashn-credits-used"] == "1"


def test_an_id_looks_like_the_providers_and_is_never_used_twice(machine):
    """Ids are 32 hexadecimal digits and a suffix, and all different."""
    m = machine(limits=WIDE)
    ids = {m.run().json()["id"] for _ in range(300)}
    assert len(ids) == 300
    assert all(len(id) == 35 and id.endswith("-u1") for id in ids)


@pytest.mark.parametrize("key", [None, "", "Bearer", "Bearer ", "Basic abc", "test-key"])
def test_a_call_without_a_key_is_unauthorized(key, machine):
    """All three endpoints answer 401 in the provider's shape, and nothing is accepted."""
    m = machine()
    for answer in (
        m.provider.run(m.body(), key, 0.0),
        m.provider.status("x", key, 0.0),
        m.provider.credits(key, 0.0),
    ):
        assert answer.status == 401
        assert set(answer.json()) == {"error", "message"}
        assert answer.json()["error"] == "UnauthorizedAccess"
    assert m.bill().accepted == 0


def test_only_the_named_key_is_right(body):
    """With `api_key` another key is refused."""
    provider = shipped_provider(api_key="right")
    assert provider.credits("Bearer right", 0.0).status == 200
    assert provider.credits("Bearer wrong", 0.0).status == 401


def test_an_unknown_id_is_not_found(machine):
    """404 in the provider's shape."""
    answer = machine().status("nobody-u1")
    assert (answer.status, answer.json()["error"]) == (404, "NotFound")


def test_a_payload_that_is_too_large_never_heals(machine):
    """It is a 500 with the provider's body, and nothing was accepted."""
    m = machine()
    answer = m.run(face_reference="data:image/png;base64," + "A" * shipped().service.largest_body_bytes)
    assert (answer.status, answer.json()["error"]) == (500, "InternalServerError")
    assert m.bill().accepted == 0


def test_subscription_credits_go_first_and_come_back_last(machine):
    """A debit empties the subscription before on-demand credits; a failure restores both as they were."""
    m = machine(faults=Faults(failed=1.0))
    before = m.left()
    m.provider.top_up(7, m.at)
    start = {**before, "total": before["total"] + 7, "on_demand": before["on_demand"] + 7}
    assert m.left() == start
    id = m.run(generation_mode="quality", resolution="4k", num_images=4).accepted
    assert m.left() == {**start, "total": start["total"] - 20, "subscription": start["subscription"] - 20}
    m.finish(id)
    assert m.left() == start


def test_a_debit_that_spans_both_pots_is_given_back_to_both(body):
    """With two subscription credits left, a debit of four takes two of each and a failure returns them."""
    provider = shipped_provider(balance_credits=10, faults=Faults(failed=1.0))
    provider._balance.subscription = 2
    id = provider.run(body(resolution="2k"), "Bearer k", 0.0).accepted
    assert provider.credits("Bearer k", 0.0).json()["credits"] == {
        "total": 8,
        "subscription": 0,
        "on_demand": 8,
    }
    end = provider.ends_seconds(id)
    assert provider.credits("Bearer k", end).json()["credits"] == {
        "total": 12,
        "subscription": 2,
        "on_demand": 10,
    }


def test_out_of_credits_until_a_top_up(machine):
    """A request the balance cannot pay is refused with its own 429, a smaller one is not, a top-up heals."""
    m = machine(balance_credits=5)
    refused = m.run(resolution="2k", num_images=2)
    assert (refused.status, refused.json()["error"]) == (429, "OutOfCredits")
    assert m.run(resolution="2k").status == 200
    assert m.left()["total"] == 1
    m.provider.top_up(7, m.at)
    assert m.run(resolution="2k", num_images=2).status == 200
    assert m.left()["total"] == 0


def test_cdn_outputs_live_72_hours(machine):
    """An output is there from the end of the prediction until 72 hours later, and only those that exist."""
    m = machine()
    id = m.run(num_images=2).accepted
    end = m.provider.ends_seconds(id)
    assert m.provider.output(id, 1, end - 1) is None
    assert m.provider.output(id, 1, end).index == 1
    assert m.provider.output(id, 2, end) is None
    assert m.provider.output("nobody", 0, end) is None
    assert m.provider.output(id, 0, end + 72 * 3600 - 1) is not None
    assert m.provider.output(id, 0, end + 72 * 3600) is None


def test_private_outputs_are_never_on_the_cdn_and_live_60_minutes(machine):
    """base64 outputs stand in the status answer for an hour, and nowhere else."""
    m = machine()
    id = m.run(return_base64=True, output_format="jpeg").accepted
    (output,) = m.finish(id).json()["output"]
    head, _, data = output.partition(",")
    assert head == "data:image/jpeg;base64"
    assert base64.b64decode(data)[:3] == b"\xff\xd8\xff"
    assert m.provider.output(id, 0, m.at) is None
    m.at += 3600 - 1
    assert m.status(id).json()["output"] == [output]
    m.at += 1
    assert m.status(id).json() == {"id": id, "status": "completed", "output": None, "error": None}


def test_time_never_goes_back(machine):
    """A call with an earlier instant is answered as of the latest one."""
    m = machine()
    id = m.run().accepted
    m.finish(id)
    m.at = 0.0
    assert m.status(id).json()["status"] == "completed"


def test_the_bill_tells_the_whole_story(machine):
    """Credits, statuses, slots, polls and refusals add up to what was done."""
    m = machine()
    first, second = m.run(resolution="2k").accepted, m.run(resolution="2k").accepted
    m.run(resolution="none")
    for _ in range(3):
        m.status(first)
    m.at = max(m.provider.ends_seconds(first), m.provider.ends_seconds(second)) + 10
    third = m.run(num_images=2).accepted
    m.at += 1
    bill = m.bill()
    ends = [m.provider.ends_seconds(id) for id in (first, second)]
    assert (bill.credits, bill.accepted, bill.duplicates, bill.most_in_flight) == (10, 3, 1, 2)
    assert bill.by_status == {"completed": 2, "in_queue": 1}
    assert bill.refused == {"BadRequest": 1}
    assert bill.most_status_polls == 3
    assert (bill.first_submitted_seconds, bill.last_completed_seconds) == (0.0, max(ends))
    assert bill.slots_busy_seconds == pytest.approx(sum(ends) + 1)
    assert bill.busy_share == pytest.approx((sum(ends) + 1) / (max(ends) * 6))
    assert [line.id for line in bill.predictions] == [first, second, third]
    assert [line.completed_seconds for line in bill.predictions] == [*ends, None]
    assert json.loads(json.dumps(bill.as_json()))["credits"] == 10


def test_an_empty_bill_has_no_share(machine):
    """Nothing submitted, nothing to divide by."""
    assert machine().bill().busy_share is None


def drive(seed, calls):
    """The wire answers of a provider with many faults to a fixed series of calls."""
    faults = Faults(**dict.fromkeys(Faults.names(), 0.1))
    provider, now, said, ids = shipped_provider(seed=seed, faults=faults), 0.0, [], []
    for number in calls:
        now += number
        inputs = {"prompt": "x", "num_images": number % 4 + 1}
        body = json.dumps({"model_name": "model-create", "inputs": inputs}).encode()
        answer = provider.run(body, "Bearer k", now)
        ids += [answer.accepted] if answer.accepted else []
        said.append(answer)
        said += [provider.status(id, "Bearer k", now) for id in ids[-3:]]
    return said, provider.bill(now)


@given(st.integers(0, 2**32), st.lists(st.integers(0, 30), max_size=30))
def test_the_same_calls_with_the_same_seed_give_the_same_answers(seed, calls):
    """Every answer and the bill are a function of seed and calls."""
    assert drive(seed, calls) == drive(seed, calls)


@given(st.integers(0, 2**32), st.lists(st.integers(0, 30), max_size=40))
def test_the_balance_and_the_bill_always_agree(seed, calls):
    """Under every fault at once, what left the account is what stands on the bill, and six slots hold."""
    faults = Faults(**dict.fromkeys(Faults.names(), 0.15))
    provider, now = shipped_provider(seed=seed, faults=faults, balance_credits=60), 0.0
    for number in calls:
        now += number
        body = json.dumps(
            {"model_name": "model-create", "inputs": {"prompt": "x", "num_images": number % 4 + 1}}
        )
        provider.run(body.encode(), "Bearer k", now)
        left = provider.credits("Bearer k", now).json()["credits"]
        assert left["total"] == 60 - provider.bill(now).credits
        assert left["total"] >= 0
    assert provider.bill(now).most_in_flight <= 6


@pytest.mark.parametrize(("mode", "tier"), [("fast", "1k"), ("balanced", "2k"), ("quality", "4k")])
def test_service_times_have_the_stated_median_and_spread(mode, tier, machine):
    """Over many draws the logarithms have the median and sigma of the data file."""
    service = shipped().service
    draws = [math.log(service.seconds(mode, tier, False, 1, 3, n)) for n in range(3000)]
    assert math.exp(statistics.median(draws)) == pytest.approx(service.median_seconds[mode, tier], rel=0.03)
    assert statistics.stdev(draws) == pytest.approx(service.sigma, rel=0.06)


def test_faces_and_further_images_take_longer():
    """A face adds 20 to 32 s; each further image adds its share of the base."""
    service = shipped().service
    for n in range(50):
        base = service.seconds("fast", "1k", False, 1, n)
        assert 20 <= service.seconds("fast", "1k", True, 1, n) - base <= 32
        assert service.seconds("fast", "1k", False, 4, n) == pytest.approx(base * 1.81)


def test_an_omitted_mode_takes_as_long_as_the_mode_billed(machine):
    """Automatic at 2k is quality, in credits and in time."""
    auto, quality = machine(), machine()
    one, other = (
        auto.run(resolution="2k").accepted,
        quality.run(resolution="2k", generation_mode="quality").accepted,
    )
    assert auto.provider.ends_seconds(one) == quality.provider.ends_seconds(other)


def test_the_provider_is_light():
    """Driving it in virtual time needs no server, no picture library and no file reader."""
    code = (
        "import sys, policies.server.sandbox.provider, policies.server.sandbox.app;"
        "print([m for m in ('starlette', 'uvicorn', 'PIL', 'yaml', 'httpx', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
