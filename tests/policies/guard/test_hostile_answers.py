"""A provider that is broken or somebody else: huge, mistyped and misleading answers cost nothing more.

Real sockets, a real ledger and the real client. Whatever comes back from a paid POST without a usable id
is unknown and is sent exactly once (law 15); whatever cannot be read of a status or a balance is unclear.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterable

import fashn
import httpx
import pytest

from planner.errors import PlannerError
from policies.guard import bodies
from policies.guard.answers import (
    OUTPUTS_MOST,
    Answer,
    Completed,
    Failed,
    Lost,
    Odd,
    Unclear,
    read_credits,
    read_run,
    read_status,
)
from policies.guard.client import GuardedClient
from policies.guard.guard import Guard
from policies.guard.transport import GuardTransport
from policies.guard.wire import AsyncWire, Wire
from policies.ledger.states import State
from policies.ledger.verify import verify
from policies.loading import parse_policy
from tests.policies.guard.peers import Peer, endless, http, peer

POLICY = parse_policy("{policy: 1, name: open, timezone: UTC, otherwise: allow}", "open.yaml")
MOST_SENT = 16 << 20
"""What the buffers between two sockets may hold beyond the limit of an answer."""
BOMB = gzip.compress(b" " * (8 << 20))


def run_answer(answer: bytes | Iterable[bytes]):
    """A provider that says so to a paid POST, and knows nothing else."""

    def say(request: bytes) -> Iterable[bytes]:
        if request.startswith(b"POST"):
            return [answer] if isinstance(answer, bytes) else answer
        return [http(404, {"error": "NotFound"})]

    return say


def calls(url: str):
    """Both wires' three calls, each as a function that makes it."""

    def with_wire(call):
        wire = Wire(url, "key")
        try:
            return call(wire)
        finally:
            wire.close()

    async def with_async_wire(call):
        wire = AsyncWire(url, "key")
        try:
            return await call(wire)
        finally:
            await wire.close()

    def made(call):
        return [lambda: with_wire(call), lambda: asyncio.run(with_async_wire(call))]

    return {
        "run": made(lambda wire: wire.run(b"{}")),
        "status": made(lambda wire: wire.get(wire.status_url("p-1"))),
        "credits": made(lambda wire: wire.get(wire.credits_url)),
    }


# -- huge ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["run", "status", "credits"])
def test_an_answer_without_end_is_read_up_to_its_limit(what, monkeypatch) -> None:
    """A stated number of bytes and not a piece more; then a run is lost, and all else is unclear."""
    monkeypatch.setattr(bodies, "STATUS", bodies.Limit(4 << 20, 60.0))
    with peer(lambda _: endless()) as found:
        for call in calls(found.url)[what]:
            before = found.sent_bytes
            reply = call()
            assert isinstance(read_run(reply), Lost)
            assert isinstance(read_status(reply, "p-1"), Unclear)
            assert read_credits(reply) == {}
            assert found.sent_bytes - before < MOST_SENT
        assert len(found.requests) == 2


def test_the_limits_are_those_of_what_may_honestly_come() -> None:
    """Four pictures of 16 megapixels fit into a status as base64, one fits into a file."""
    raw_bytes = 16_000_000 * 3
    assert bodies.STATUS.most_bytes > 4 * raw_bytes * 4 / 3
    assert bodies.PICTURE.most_bytes > raw_bytes
    assert bodies.ANSWER.most_bytes < 2 << 20


@pytest.mark.parametrize("what", ["run", "credits"])
def test_a_small_answer_that_unpacks_to_a_huge_one_is_none(what) -> None:
    """Eight kilobytes on the wire, eight megabytes behind them."""
    with peer(lambda _: [http(200, BOMB, "content-encoding: gzip")]) as found:
        for call in calls(found.url)[what]:
            assert isinstance(read_run(call()), Lost)


def test_an_answer_that_drips_for_ever_ends(monkeypatch) -> None:
    """Each byte comes in time and the last one never does: the time of a body is limited, too."""
    monkeypatch.setattr(bodies, "ANSWER", bodies.Limit(1 << 20, 0.0))
    with peer(lambda _: endless(piece=b" ")) as found:
        for call in calls(found.url)["run"]:
            assert read_run(call()) == Lost("ReadTimeout")


@pytest.mark.parametrize("status", [200, 400, 429, 500])
def test_a_paid_post_that_is_answered_hugely_is_unknown_and_sent_once(tmp_path, status) -> None:
    """Law 15: even if it began like an error that allows another try; its credits stay counted."""
    start = b'{"error": "RateLimitExceeded", "id": "p-1", "message": "'
    with (
        peer(run_answer(endless(status, start))) as found,
        Guard.open(POLICY, f"sqlite:///{tmp_path}/spend.db") as guard,
        GuardedClient(guard, api_key="key", base_url=found.url) as client,
    ):
        with pytest.raises(PlannerError) as caught:
            client.create({"prompt": "x"}, key="look-1")
        with pytest.raises(PlannerError):
            client.create({"prompt": "x"}, key="look-1")
        entry = guard.store.latest("main", "main", "look-1")
        assert (caught.value.code, entry.state, entry.credits) == ("outcome_unknown", State.UNKNOWN, 1)
        assert found.paths("POST") == ["/v1/run"]
        assert found.sent_bytes < MOST_SENT


@pytest.mark.parametrize("headers", [(), ("content-encoding: gzip",)])
def test_the_sdk_gets_a_refusal_for_a_huge_answer(tmp_path, headers) -> None:
    """Through the transport too: one POST, no retry of the SDK, and a look that fails harmlessly."""
    huge = http(200, BOMB, *headers) if headers else b"".join([http(200, b" " * (2 << 20))])
    with (
        peer(run_answer(huge)) as found,
        Guard.open(POLICY, f"sqlite:///{tmp_path}/spend.db") as guard,
    ):
        client = httpx.Client(transport=GuardTransport(guard))
        sdk = fashn.Fashn(http_client=client, api_key="key", base_url=found.url)
        with sdk, pytest.raises(fashn.ConflictError) as caught:
            sdk.predictions.run(model_name="model-create", inputs={"prompt": "x"})
        assert caught.value.body["error"] == "OutcomeUnknown"
        assert found.paths("POST") == ["/v1/run"]


# -- mistyped ------------------------------------------------------------------------------------

NO_IDS = [
    17, 1.5, True, None, ["p-1"], {"id": "p-1"}, "", " ", "x" * 10_000, "a/b", "../credits", "..", ".",
    "a\nb", "a\x1b[2Jb", "p‮1", "a?b", "a b", "größe", "a%2fb", "\x00",
]  # fmt: skip


@pytest.mark.parametrize("found", NO_IDS, ids=lambda value: repr(value)[:20])
def test_what_is_no_id_is_no_id(found) -> None:
    """Numbers, lists, ten kilobytes, control characters and slashes: nobody knows what is running."""
    answer = Answer(200, {}, json.dumps({"id": found}).encode())
    assert read_run(answer) == Lost("no id in the answer")


DEEP = b"[" * 200_000
NOT_JSON = [
    b"", b"<html>", b"null", b"[]", b'"p-1"', b'{"id": "p-1"', DEEP, b'{"id": "p-1", "x": ' + DEEP,
    b'{"id": "p-1", "id": "p-2"}', b'{"id": "p-1", "x": NaN}', b'{"id": "p-1", "x": -Infinity}',
    b'{"id": "p-1", "x": ' + b"9" * 10_000 + b"}", b'\xff{"id": "p-1"}', b'{"id": "p-1"}\x00',
    b'{"id": "p-1"} {"id": "p-2"}',
]  # fmt: skip


@pytest.mark.parametrize("body", NOT_JSON, ids=lambda body: repr(body[:24]))
def test_a_body_that_has_no_single_reading_says_nothing(body) -> None:
    """Not JSON, a name given twice, `NaN`, numbers and nesting without end: lost, unclear, no balance."""
    assert isinstance(read_run(Answer(200, {}, body)), Lost)
    assert isinstance(read_run(Answer(500, {}, body)), Lost)
    assert isinstance(read_status(Answer(200, {}, body), "p-1"), Unclear)
    assert read_credits(Answer(200, {}, body)) == {}


@pytest.mark.parametrize(
    "error",
    [7, None, [], {"name": "RateLimitExceeded"}, "ratelimitexceeded", "RateLimitExceeded\n", "x" * 10_000],
)
def test_an_error_that_is_not_one_of_the_table_allows_no_second_post(error) -> None:
    """429 without one of the provider's own names is not a reason to send again."""
    assert read_run(Answer(429, {}, json.dumps({"error": error}).encode())) == Lost("HTTP 429")


@pytest.mark.parametrize("word", [7, None, True, ["completed"], {"status": "completed"}])
def test_a_status_that_is_no_word_is_unclear(word) -> None:
    """It is asked for again later, and nothing is booked."""
    answer = Answer(200, {}, json.dumps({"id": "p-1", "status": word, "output": ["https://x/1"]}).encode())
    assert isinstance(read_status(answer, "p-1"), Unclear)


def test_a_status_of_any_length_leaves_a_short_reason() -> None:
    """A word that we do not know is kept as a word or not at all."""
    answer = Answer(200, {}, json.dumps({"id": "p-1", "status": "x" * 10_000}).encode())
    assert read_status(answer, "p-1") == Odd("unknown status", 0, False)
    failed = {"id": "p-1", "status": "failed", "error": {"name": "a\x1b[2J", "message": "x" * 10_000}}
    assert read_status(Answer(200, {}, json.dumps(failed).encode()), "p-1") == Failed("unnamed failure", 0)


@pytest.mark.parametrize("output", [None, 7, "https://x/1", {"0": "https://x/1"}, [7, None, {}], []])
def test_outputs_that_are_no_list_of_texts_are_none(output) -> None:
    """It is completed and is paid for; there is nothing to fetch."""
    answer = Answer(200, {"x-fashn-credits-used": "4"}, completed(output))
    assert read_status(answer, "p-1") == Completed((), 4)


def test_outputs_without_end_are_cut() -> None:
    """A million addresses for one job are not a million files."""
    found = read_status(Answer(200, {}, completed(["https://x/1"] * 100_000)), "p-1")
    assert isinstance(found, Completed)
    assert len(found.outputs) == OUTPUTS_MOST


@pytest.mark.parametrize(
    "text", ["4.0", "-1", "+4", "1e1", "10" * 15, "4, 4", "0x4", "４", "", "many", "4\x00", "9" * 10_000]
)
def test_a_cost_that_is_no_whole_number_is_missing(text) -> None:
    """Missing and never 0, so that what completed is settled at its quote and marked."""
    answer = Answer(200, {"x-fashn-credits-used": text}, completed(["https://x/1"]))
    assert read_status(answer, "p-1") == Completed(("https://x/1",), None)


def completed(output) -> bytes:
    return json.dumps({"id": "p-1", "status": "completed", "output": output}).encode()


@pytest.mark.parametrize("total", ["many", "12", 1.5, True, None, [], 10**30, -(10**30)])
def test_a_balance_that_is_no_whole_number_is_none(total) -> None:
    """Text, halves and numbers that no ledger holds are not a balance; other names are not read."""
    body = json.dumps({"credits": {"total": total, "on_demand": 7, "x" * 1000: 9}}).encode()
    assert read_credits(Answer(200, {}, body)) == {"on_demand": 7}
    assert read_credits(Answer(200, {}, json.dumps({"credits": [total]}).encode())) == {}


# -- the whole way -------------------------------------------------------------------------------


def teller(status: bytes):
    """A provider that takes every job and says the same about each."""

    def say(request: bytes) -> Iterable[bytes]:
        if request.startswith(b"POST"):
            return [http(200, {"id": "p-1"})]
        return [status]

    return say


@pytest.mark.parametrize("header", ["4.0", "-1", "10" * 15, "many"])
def test_a_mistyped_cost_is_settled_at_its_quote(tmp_path, header) -> None:
    """Law 17 over a socket: paid for, estimated, and its pictures are told."""
    answer = http(200, completed(["https://cdn.example.com/1.png"]), f"x-fashn-credits-used: {header}")
    with (
        peer(teller(answer)) as found,
        Guard.open(POLICY, f"sqlite:///{tmp_path}/spend.db", speed=200.0) as guard,
        GuardedClient(guard, api_key="key", base_url=found.url) as client,
    ):
        result = client.create({"prompt": "x", "resolution": "2k", "generation_mode": "fast"}, key="look-1")
        assert (result.credits, result.estimated, len(result.outputs)) == (2, True, 1)
        assert verify(guard.store) == []


@pytest.mark.parametrize("field", ["total", "subscription"])
def test_a_balance_that_no_ledger_holds_stops_nothing(tmp_path, field) -> None:
    """10^30 credits: not a balance, so nothing is booked, and no command ends in a traceback."""
    with (
        peer(lambda _: [http(200, {"credits": {"total": 5, field: 10**30}})]) as found,
        Guard.open(POLICY, f"sqlite:///{tmp_path}/spend.db") as guard,
    ):
        client = httpx.Client(transport=GuardTransport(guard))
        answer = client.get(f"{found.url}/v1/credits", headers={"authorization": "Bearer key"})
        client.close()
        assert answer.json()["credits"][field] == 10**30
        assert verify(guard.store) == []


# -- elsewhere -----------------------------------------------------------------------------------


def test_a_redirect_is_never_followed_and_the_key_goes_nowhere_else() -> None:
    """Run, status and balance, on both wires: the other host is not asked at all."""
    with peer(lambda _: [http(200, {"id": "p-1", "status": "completed"})]) as other:

        def away(_: bytes) -> Iterable[bytes]:
            return [http(307, {"id": "p-1"}, f"location: {other.url}/v1/run")]

        with peer(away) as found:
            for both in calls(found.url).values():
                for call in both:
                    reply = call()
                    assert isinstance(read_run(reply), Lost)
                    assert isinstance(read_status(reply, "p-1"), Unclear)
                    assert read_credits(reply) == {}
            assert len(found.requests) == 6
            assert all(b"authorization: bearer key" in request.lower() for request in found.requests)
    assert other.requests == []


def test_a_redirected_status_leaves_the_job_open(tmp_path) -> None:
    """Through the official SDK, which follows redirects by itself: not with the guard's key in hand."""
    with peer(lambda _: [http(200, {"id": "p-1", "status": "failed"})]) as other:
        away = http(302, "", f"location: {other.url}/v1/status/p-1")
        with (
            peer(teller(away)) as found,
            Guard.open(POLICY, f"sqlite:///{tmp_path}/spend.db") as guard,
        ):
            entry = _through_the_sdk(guard, found)
    assert entry.state is State.ACCEPTED
    assert not any(b"bearer secret-key" in request.lower() for request in other.requests)


def _through_the_sdk(guard: Guard, found: Peer):
    client = httpx.Client(transport=GuardTransport(guard), follow_redirects=True)
    with fashn.Fashn(http_client=client, api_key="secret-key", base_url=found.url, max_retries=0) as sdk:
        job = sdk.predictions.run(model_name="model-create", inputs={"prompt": "x"})
        with pytest.raises(fashn.APIError):
            sdk.predictions.status(job.id)
    return guard.store.by_prediction("p-1")
