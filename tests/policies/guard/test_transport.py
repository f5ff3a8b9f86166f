"""The official SDK, unchanged, over the guarded transports, against the real sandbox over HTTP.

What counts is the provider's own bill: how many predictions it accepted, and what the ledger says of them.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import logging
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import fashn
import httpx
import pytest
from sqlalchemy import event

from planner.errors import ConfigError, OperatorError
from policies import AsyncGuardedClient, AsyncGuardTransport, Guard, GuardedClient, GuardTransport
from policies.ledger.states import OPEN, State
from policies.ledger.verify import verify
from policies.server.sandbox.app import Handle, running
from policies.server.sandbox.faults import Faults
from tests.laws.world import OPEN_POLICY, policy_of

SPEED = 300
RULES = """
budgets:
  - {name: all, limit: 60 credits, per: total}
rules:
  - {name: no-brand, when: {team: brand}, deny: brand has its own studio}
  - {name: cap, when: {face_reference: present, resolution: 4k}, rewrite: {resolution: 2k}}
  - {name: large, when: {credits: {above: 20}}, needs_approval: finance}
"""
MODEL = "model-create"
INPUTS = {"prompt": "a linen dress", "resolution": "2k"}
FACE = "https://example.com/face.png"


class Recorder(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """A real transport that keeps what went through it; without keep-alive, as paid calls have it."""

    def __init__(self) -> None:
        limits = httpx.Limits(max_keepalive_connections=0)
        self.inner, self.async_inner = (
            httpx.HTTPTransport(limits=limits),
            httpx.AsyncHTTPTransport(limits=limits),
        )
        self.sent: list[httpx.Request] = []

    def handle_request(self, request):
        request.read()
        self.sent.append(request)
        return self.inner.handle_request(request)

    async def handle_async_request(self, request):
        await request.aread()
        self.sent.append(request)
        return await self.async_inner.handle_async_request(request)

    def close(self):
        self.inner.close()

    async def aclose(self):
        await self.async_inner.aclose()

    @property
    def posts(self) -> list[httpx.Request]:
        return [request for request in self.sent if request.method == "POST"]


class Detour(httpx.BaseTransport):
    """Carries what is addressed to the provider itself to a stand-in."""

    def __init__(self, url: str) -> None:
        self.inner, self.url = httpx.HTTPTransport(), httpx.URL(url)

    def handle_request(self, request):
        url = request.url.copy_with(scheme=self.url.scheme, host=self.url.host, port=self.url.port)
        headers = {**request.headers, "host": self.url.netloc.decode()}
        return self.inner.handle_request(
            httpx.Request(request.method, url, headers=headers, stream=request.stream)
        )

    def close(self):
        self.inner.close()


class CutAfter(httpx.BaseTransport):
    """A line that breaks after so many answers."""

    def __init__(self, answers: int) -> None:
        self.inner, self.left = httpx.HTTPTransport(), answers

    def handle_request(self, request):
        self.left -= 1
        if self.left < 0:
            raise httpx.ReadError("the line is cut")
        return self.inner.handle_request(request)

    def close(self):
        self.inner.close()


@dataclass
class Stage:
    """One sandbox, one ledger, and what went over the wire."""

    guard: Guard
    sandbox: Handle
    wire: Recorder

    @contextmanager
    def sdk(self, *, http: httpx.Client | None = None, **options) -> Iterator[fashn.Fashn]:
        """The SDK with its own defaults: three retries, redirects followed."""
        transport = GuardTransport(self.guard, **{"inner": self.wire, **options})
        with http or httpx.Client(transport=transport, follow_redirects=True) as client:
            yield fashn.Fashn(api_key="key", base_url=self.sandbox.url, http_client=client)

    def strike(self, **faults: float) -> None:
        self.sandbox.provider.faults = Faults(**faults)

    @property
    def accepted(self) -> int:
        return self.sandbox.bill().accepted

    def states(self) -> list[State]:
        return [entry.state for entry in self.guard.store.entries()]

    def ends(self, prediction_id: str) -> None:
        """Let virtual time pass until the prediction has ended."""
        while self.sandbox.provider.webhook_body(prediction_id, self.sandbox.sandbox.clock.now()) is None:
            pass


@contextmanager
def opened(folder: Path) -> Iterator[Stage]:
    with running(speed=SPEED, seed=3, balance=200) as handle:
        policy = policy_of(OPEN_POLICY + RULES)
        with Guard.open(policy, f"sqlite:///{folder / 'ledger.db'}", speed=SPEED) as guard:
            yield Stage(guard, handle, Recorder())
            assert verify(guard.store) == []


@pytest.fixture
def stage(tmp_path: Path):
    with opened(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """One stage for all that never gets as far as being sent."""
    with opened(tmp_path_factory.mktemp("quiet")) as found:
        yield found


def submit(sdk, inputs=INPUTS, **headers):
    """One paid call of the SDK, with headers for the guard: `key`, `shoot`, `label_team`."""
    extra = {f"x-planner-{name.replace('_', '-')}": value for name, value in headers.items()}
    return sdk.predictions.run(model_name=MODEL, inputs=inputs, extra_headers=extra)


def refused(call, *arguments, **options) -> tuple[int, str]:
    """The status and the name of the refusal that a call ends with."""
    with pytest.raises(fashn.APIStatusError) as caught:
        call(*arguments, **options)
    answer = caught.value.response
    assert answer.headers["x-should-retry"] == "false"
    return answer.status_code, answer.json()["error"]


# -- the happy path ------------------------------------------------------------------------------


def test_one_line_guards_the_sdk(stage: Stage) -> None:
    """Subscribed to as ever: the pictures come, and the hold is settled by the header of its own polls."""
    with stage.sdk(labels={"team": "social"}) as sdk:
        result = sdk.predictions.subscribe(
            model_name=MODEL, inputs={**INPUTS, "num_images": 2}, poll_interval=20
        )
    assert (result.status, result.credits_used, len(result.output)) == ("completed", 8, 2)
    (entry,) = stage.guard.store.entries()
    assert (entry.state, entry.credits, entry.estimated) == (State.SETTLED, 8, False)
    assert (entry.prediction_id, entry.label_values) == (result.id, {"team": "social"})
    assert stage.sandbox.bill().credits == 8


def test_the_async_sdk_does_the_same(stage: Stage) -> None:
    """Eight calls in one event loop: never more than six at once, each paid for once and settled."""

    async def studio() -> list[int]:
        transport = AsyncGuardTransport(stage.guard, inner=stage.wire)
        async with httpx.AsyncClient(transport=transport) as client:
            sdk = fashn.AsyncFashn(api_key="key", base_url=stage.sandbox.url, http_client=client)
            calls = (
                sdk.predictions.subscribe(model_name=MODEL, inputs={"prompt": f"{n}"}, poll_interval=20)
                for n in range(8)
            )
            return [result.credits_used for result in await asyncio.gather(*calls)]

    assert asyncio.run(studio()) == [1] * 8
    bill = stage.sandbox.bill()
    assert (bill.accepted, bill.credits, bill.refused) == (8, 8, {})
    assert bill.most_in_flight <= 6
    assert stage.states() == [State.SETTLED] * 8


def test_threads_share_one_transport(stage: Stage) -> None:
    """Twelve threads with one client: each call is paid for once, and no answer says too many."""
    with stage.sdk() as sdk, ThreadPoolExecutor(12) as pool:
        results = list(
            pool.map(
                lambda n: sdk.predictions.subscribe(
                    model_name=MODEL, inputs={"prompt": f"{n}"}, poll_interval=20
                ),
                range(12),
            )
        )
    assert {result.status for result in results} == {"completed"}
    bill = stage.sandbox.bill()
    assert (bill.accepted, bill.credits, bill.refused) == (12, 12, {})
    assert stage.states() == [State.SETTLED] * 12


def test_what_nobody_rewrote_goes_as_the_caller_wrote_it(stage: Stage) -> None:
    """Law 14: the caller's own bytes where nothing changed, else the decided request alone."""
    spaced = b'{ "inputs": {"seed": 7, "prompt": "gr\\u00f6\\u00dfe"},\n "model_name": "model-create" }'
    asked = {"prompt": "x", "resolution": "4k", "face_reference": FACE}
    null = {"model_name": MODEL, "inputs": {"prompt": "x", "seed": None}}
    url = f"{stage.sandbox.url}/v1/run"
    with httpx.Client(transport=GuardTransport(stage.guard, inner=stage.wire)) as client:
        client.headers["authorization"] = "Bearer key"
        for content in (spaced, json.dumps({"model_name": MODEL, "inputs": asked}).encode()):
            assert client.post(url, content=content).status_code == 200
        assert client.post(url, json=null).status_code == 200
    verbatim, rewritten, cleaned = (request.content for request in stage.wire.posts)
    assert verbatim == spaced
    assert json.loads(rewritten) == {"model_name": MODEL, "inputs": {**asked, "resolution": "2k"}}
    assert json.loads(cleaned) == {"model_name": MODEL, "inputs": {"prompt": "x"}}
    lengths = [request.headers.get_list("content-length") for request in stage.wire.posts]
    assert lengths == [[str(len(body))] for body in (verbatim, rewritten, cleaned)]


def test_labels_key_and_shoot_come_from_headers_and_go_no_further(stage: Stage) -> None:
    """What is for the guard reaches the ledger; the provider sees the SDK's own headers and no other."""
    with stage.sdk(labels={"team": "social"}, shoot="autumn") as sdk:
        submit(sdk, key="sku-17", label_team="ecommerce")
        submit(sdk, shoot="winter", key="sku-17")
        submit(sdk)
    first, second, third = stage.guard.store.entries()
    assert (first.key, first.shoot, first.label_values) == ("sku-17", "autumn", {"team": "ecommerce"})
    assert (second.key, second.shoot, second.label_values) == ("sku-17", "winter", {"team": "social"})
    assert third.key not in ("", "sku-17")
    assert not [name for request in stage.wire.sent for name in request.headers if "planner" in name]
    assert {request.headers["authorization"] for request in stage.wire.posts} == {"Bearer key"}


def test_a_webhook_address_passes_and_nothing_else_beside_it(stage: Stage) -> None:
    """Who is told changes no price, so it stays where the caller put it."""
    with stage.sdk() as sdk:
        hook = "http://127.0.0.1:9/hook"
        sdk.predictions.run(model_name=MODEL, inputs=INPUTS, webhook_url=hook)
        other = refused(sdk.predictions.run, model_name=MODEL, inputs=INPUTS, extra_query={"priority": "1"})
    assert other == (403, "Unpriced")
    (request,) = stage.wire.posts
    assert dict(request.url.params) == {"webhook_url": hook}


# -- refusals ------------------------------------------------------------------------------------


def test_the_policys_no_is_an_answer_and_sends_nothing(stage: Stage) -> None:
    """Denied and needing approval reach the SDK as its own error, once, with the policy's words."""
    large = {"prompt": "x", "resolution": "4k", "generation_mode": "quality", "num_images": 4,
             "face_reference_mode": "match_base", "face_reference": FACE}  # fmt: skip
    with stage.sdk() as sdk:
        with pytest.raises(fashn.PermissionDeniedError, match="brand has its own studio"):
            submit(sdk, label_team="brand")
        assert refused(submit, sdk, label_team="brand") == (403, "PolicyDenied")
        assert refused(submit, sdk, large) == (403, "NeedsApproval")
    assert stage.wire.sent == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"model_name": "tryon-v1.6", "inputs": {"model_image": FACE}}, (403, "Unpriced")),
        ({"model_name": MODEL, "inputs": INPUTS, "priority": "high"}, (403, "Unpriced")),
        ({"model_name": MODEL, "inputs": {**INPUTS, "upscale": 8}}, (403, "Unpriced")),
        ({"model_name": MODEL, "inputs": {**INPUTS, "num_images": 9}}, (400, "BadRequest")),
        ({"model_name": MODEL, "inputs": {**INPUTS, "num_images": 1.0}}, (400, "BadRequest")),
        ({"model_name": MODEL, "inputs": {**INPUTS, "upscale": 8, "seed": -1}}, (400, "BadRequest")),
        ({"model_name": MODEL}, (400, "BadRequest")),
        ({"inputs": INPUTS}, (400, "BadRequest")),
        ([], (400, "BadRequest")),
        (b"", (400, "BadRequest")),
        (b"\xff\xfe{", (400, "BadRequest")),
        (b"[" * 100_000, (400, "BadRequest")),
        (b'{"model_name": "model-create", "inputs": {"prompt": "x", "num_images": 1, "num_images": 4}}',
         (400, "BadRequest")),
        (b'{"model_name": "model-create", "inputs": {"prompt": "x"}, "inputs": {"prompt": "y"}}',
         (400, "BadRequest")),
        (b'{"model_name": "model-create", "inputs": {"prompt": "\\ud800"}}', (400, "BadRequest")),
        (b'{"model_name": "model-create", "inputs": {"prompt": "x", "seed": NaN}}', (400, "BadRequest")),
    ],
)  # fmt: skip
def test_what_cannot_be_priced_or_read_is_not_sent(quiet: Stage, body, expected) -> None:
    """Another model, another field, or a body that two readers could read differently: an answer of ours."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with httpx.Client(transport=GuardTransport(quiet.guard, inner=quiet.wire)) as client:
        answer = client.post(f"{quiet.sandbox.url}/v1/run", content=content)
    assert (answer.status_code, answer.json()["error"]) == expected
    assert answer.headers["x-should-retry"] == "false"
    assert quiet.wire.posts == []
    assert quiet.guard.store.entries() == []


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/run/"), ("POST", "/v2/run"), ("PUT", "/v1/run"), ("DELETE", "/v1/status/a"),
     ("POST", "/v1/status/a"), ("GET", "/v1/predictions"), ("POST", "/"), ("GET", "/v1/status/a/b")],
)  # fmt: skip
def test_another_path_under_the_key_is_refused(quiet: Stage, method: str, path: str) -> None:
    """Nobody knows what it would cost; a picture is fetched without the key and passes."""
    with httpx.Client(transport=GuardTransport(quiet.guard, inner=quiet.wire)) as client:
        key = {"authorization": "Bearer key"}
        answer = client.request(method, f"{quiet.sandbox.url}{path}", headers=key)
        assert (answer.status_code, answer.json()["error"]) == (403, "Unpriced")
        assert client.get(f"{quiet.sandbox.url}/outputs/x/output_0.png").status_code == 404
    assert {request.url.path for request in quiet.wire.sent} == {"/outputs/x/output_0.png"}


@pytest.mark.parametrize("header", ["x-planner-lable-team", "x-planner-keys"])
def test_a_mistyped_header_of_the_guard_is_told(quiet: Stage, header: str) -> None:
    """A job without its label would be counted for somebody else."""
    with quiet.sdk() as sdk:
        call = {"model_name": MODEL, "inputs": INPUTS, "extra_headers": {header: "x"}}
        assert refused(sdk.predictions.run, **call) == (400, "BadRequest")
    assert quiet.wire.posts == []


def test_no_slot_in_time_sends_nothing(stage: Stage) -> None:
    """With six in flight the seventh is told so in the provider's own words."""
    stage.strike(stuck=1.0)
    with stage.sdk(wait_seconds=0) as sdk:
        for number in range(6):
            submit(sdk, key=f"{number}")
        assert refused(submit, sdk) == (429, "ConcurrencyLimitExceeded")
    assert (len(stage.wire.posts), stage.accepted) == (6, 6)


def test_a_ledger_that_cannot_be_used_stops_everything_but_answers(stage: Stage) -> None:
    """Nothing is sent without a durable hold; the status of what was paid for still comes home."""
    with stage.sdk() as sdk:
        run = submit(sdk)
        stage.ends(run.id)
        with read_only(stage.guard):
            assert refused(submit, sdk) == (503, "LedgerUnavailable")
            assert sdk.predictions.status(run.id).status == "completed"
        assert stage.states() == [State.ACCEPTED]
        assert sdk.predictions.status(run.id).status == "completed"
    assert (stage.states(), len(stage.wire.posts)) == ([State.SETTLED], 1)


@contextmanager
def read_only(guard: Guard):
    """A disk that takes nothing for a while."""

    def refuse(connection, _) -> None:
        connection.execute("PRAGMA query_only = 1")

    engine = guard.store._engine
    event.listen(engine, "connect", refuse)
    engine.dispose()
    yield
    event.remove(engine, "connect", refuse)
    engine.dispose()


def test_a_stand_in_is_never_booked_in_a_live_ledger(tmp_path: Path, stage: Stage) -> None:
    """Law 23: nothing is sent to the other kind, and what it says of a job or a balance is not believed."""
    client = httpx.Client(transport=stage.wire, mounts={"https://api.fashn.ai": Detour(stage.sandbox.url)})
    with Guard.open(stage.guard.policy, f"sqlite:///{tmp_path / 'live.db'}") as guard, guard.wrap(client):
        sdk = fashn.Fashn(api_key="key", base_url="https://api.fashn.ai", http_client=client)
        stand_in = sdk.with_options(base_url=stage.sandbox.url)
        run = submit(sdk)
        stage.ends(run.id)
        assert refused(submit, stand_in) == (503, "LedgerUnavailable")
        assert stand_in.predictions.status(run.id).status == "completed"
        assert stand_in.get("/v1/credits", cast_to=httpx.Response).status_code == 200
        (entry,) = guard.store.entries()
        assert (entry.state, guard.store.kind()) == (State.ACCEPTED, "live")
        assert sdk.predictions.status(run.id).status == "completed"
        assert [entry.state for entry in guard.store.entries()] == [State.SETTLED]
    assert (len(stage.wire.posts), stage.accepted) == (0, 1)


# -- the provider's own answers ------------------------------------------------------------------


def test_the_providers_refusals_reach_the_caller_as_they_are(stage: Stage) -> None:
    """A wrong key: the provider's own body, once; the hold is given back."""
    stage.sandbox.provider._api_key = "right"
    with stage.sdk() as sdk, pytest.raises(fashn.AuthenticationError, match="API key"):
        submit(sdk)
    assert (stage.states(), len(stage.wire.posts)) == ([State.RELEASED], 1)


def test_out_of_credits_is_one_post(stage: Stage) -> None:
    """429 of the provider ends the account's sending: later calls are answered without a POST."""
    stage.sandbox.provider._balance.on_demand = stage.sandbox.provider._balance.subscription = 0
    with stage.sdk() as sdk:
        for _ in range(2):
            assert refused(submit, sdk) == (429, "OutOfCredits")
        assert len(stage.wire.posts) == 1
        stage.sandbox.top_up(50)
        assert submit(sdk).id


def test_a_balance_that_the_caller_asks_for_ends_the_stop(stage: Stage) -> None:
    """The provider's answer passes unchanged, and the ledger learns from it."""
    stage.sandbox.provider._balance.on_demand = stage.sandbox.provider._balance.subscription = 0
    with stage.sdk() as sdk:
        assert refused(submit, sdk) == (429, "OutOfCredits")
        stage.sandbox.top_up(50)
        assert sdk.get("/v1/credits", cast_to=httpx.Response).json()["credits"]["total"] == 50
        before = len(stage.wire.sent)
        submit(sdk)
        assert [request.method for request in stage.wire.sent[before:]] == ["POST"]


def test_what_may_be_sent_again_is_sent_again_by_the_guard_alone(stage: Stage) -> None:
    """500 with the provider's body: four tries of the machine, none of the SDK, its answer at the end."""
    stage.strike(server_error=1.0)
    with stage.sdk() as sdk:
        assert refused(submit, sdk) == (500, "InternalServerError")
    assert (len(stage.wire.posts), stage.states()) == (4, [State.RELEASED])


def test_whatever_a_transport_beneath_raises_is_an_unknown_outcome(stage: Stage) -> None:
    """An error that httpx does not know says nothing about the money, so nothing is sent again."""

    class Broken(Recorder):
        def handle_request(self, request):
            super().handle_request(request).close()
            raise OSError("something of the house")

    wire = Broken()
    with stage.sdk(inner=wire) as sdk:
        assert refused(submit, sdk) == (409, "OutcomeUnknown")
    assert (stage.accepted, len(wire.posts), stage.states()) == (1, 1, [State.UNKNOWN])


def test_a_transport_beneath_that_reads_answers_loses_nothing(stage: Stage) -> None:
    """One that logs or unpacks answers hands over a body that was read: the id in it was paid for."""

    class Reading(Recorder):
        def handle_request(self, request):
            packed = gzip.compress(super().handle_request(request).read())
            return httpx.Response(200, headers={"content-encoding": "gzip"}, content=packed)

    class Packing(Recorder):
        def handle_request(self, request):
            packed = gzip.compress(super().handle_request(request).read())
            return httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(packed))

    for wire in (Reading(), Packing()):
        with stage.sdk(inner=wire) as sdk:
            run = submit(sdk)
            assert sdk.predictions.status(run.id).id == run.id
    assert stage.states() == [State.ACCEPTED] * 2


def test_a_provider_that_cannot_be_reached_is_an_answer(stage: Stage) -> None:
    """No connection was made: nothing is owed, and the key is free."""
    with httpx.Client(transport=GuardTransport(stage.guard, inner=stage.wire)) as client:
        sdk = fashn.Fashn(api_key="key", base_url="http://127.0.0.1:9", http_client=client)
        assert refused(submit, sdk) == (503, "ProviderUnreachable")
    assert stage.states() == [State.RELEASED]


@pytest.mark.parametrize("fault", ["lost_before", "lost_after", "proxy_after", "redirect_after", "no_id"])
def test_an_outcome_that_nobody_knows_is_one_post(stage: Stage, fault: str) -> None:
    """Law 15 under the SDK's own retries and redirects: 409, one POST, the credits stay counted."""
    stage.strike(**{fault: 1.0})
    with stage.sdk() as sdk:
        assert refused(submit, sdk, key="a") == (409, "OutcomeUnknown")
        stage.strike()
        assert refused(submit, sdk, key="a") == (409, "OutcomeUnknown")
    (entry,) = stage.guard.store.entries()
    assert (entry.state, entry.credits, len(stage.wire.posts)) == (State.UNKNOWN, 4, 1)


def test_a_slow_accept_with_a_time_out_of_the_client_is_one_post(stage: Stage) -> None:
    """What made four paid predictions of one call: now one, unknown, and counted."""
    stage.strike(silent_after=1.0)
    with stage.sdk() as sdk:
        assert refused(submit, sdk.with_options(timeout=0.2)) == (409, "OutcomeUnknown")
    assert (stage.accepted, len(stage.wire.posts), stage.states()) == (1, 1, [State.UNKNOWN])


def test_an_answer_that_was_thrown_away_is_not_paid_for_again(stage: Stage, monkeypatch) -> None:
    """A hook that raises makes the SDK send everything again: it gets the id that it has already."""
    monkeypatch.setattr("fashn._base_client.INITIAL_RETRY_DELAY", 0.01)
    failures = iter([True, True])

    def hook(response: httpx.Response) -> None:
        if response.request.method == "POST" and next(failures, False):
            raise RuntimeError("a careless hook")

    client = httpx.Client(
        transport=GuardTransport(stage.guard, inner=stage.wire), event_hooks={"response": [hook]}
    )
    with stage.sdk(http=client) as sdk:
        run = submit(sdk)
        assert submit(sdk).id != run.id
    assert (stage.accepted, len(stage.wire.posts)) == (2, 2)


def test_an_id_that_the_ledger_cannot_note_is_told_and_noted_later(stage: Stage) -> None:
    """Law 22: paid for while the disk fills up: the caller gets the id, and a later look books it all."""
    with ExitStack() as jam:

        class Jamming(Recorder):
            def handle_request(self, request):
                response = super().handle_request(request)
                if request.method == "POST":
                    jam.enter_context(read_only(stage.guard))
                return response

        with stage.sdk(inner=Jamming()) as sdk:
            run = submit(sdk, key="a")
            assert stage.states() == [State.SENDING]
            stage.ends(run.id)
            assert sdk.predictions.status(run.id).status == "completed"
            jam.close()
            assert sdk.predictions.status(run.id).status == "completed"
            assert stage.states() == [State.SETTLED]
            assert submit(sdk, key="a").id == run.id
    assert stage.accepted == 1


def test_the_async_transport_refuses_and_doubts_alike(stage: Stage) -> None:
    """Denied, lost, silent, thrown away by the caller, and the same key twice: the answers of the other."""

    async def studio() -> list[tuple[int, str]]:
        transport = AsyncGuardTransport(stage.guard, inner=stage.wire)
        async with httpx.AsyncClient(transport=transport, follow_redirects=True) as client:
            sdk = fashn.AsyncFashn(api_key="key", base_url=stage.sandbox.url, http_client=client, timeout=0.3)

            async def end(key: str, team: str = "social", **faults: float) -> tuple[int, str]:
                stage.strike(**faults)
                extra = {"x-planner-key": key, "x-planner-label-team": team}
                try:
                    run = await sdk.predictions.run(model_name=MODEL, inputs=INPUTS, extra_headers=extra)
                except fashn.APIStatusError as error:
                    return error.status_code, error.body["error"]
                return 200, run.id

            found = [await end("a", team="brand"), await end("b", lost_after=1.0), await end("b")]
            found += [await end("c", silent_after=1.0), await end("d", redirect_after=1.0)]
            first, again = await end("e"), await end("e")
            assert (first[0], first) == (200, again)
            return found

    doubt = (409, "OutcomeUnknown")
    assert asyncio.run(studio()) == [(403, "PolicyDenied"), doubt, doubt, doubt, doubt]
    assert (stage.accepted, len(stage.wire.posts)) == (4, 4)


# -- keys ----------------------------------------------------------------------------------------


def test_the_same_key_twice_is_one_post(stage: Stage) -> None:
    """While it runs and when it has ended, the key answers with the id it has."""
    with stage.sdk() as sdk:
        first = submit(sdk, key="a")
        assert submit(sdk, key="a") == first
        stage.ends(first.id)
        assert sdk.predictions.status(first.id).status == "completed"
        assert submit(sdk, key="a") == first
        assert refused(submit, sdk, {"prompt": "another"}, key="a") == (409, "KeyConflict")
    assert (stage.accepted, len(stage.wire.posts)) == (1, 1)


def test_the_same_key_at_once_is_one_post(stage: Stage) -> None:
    """Eight threads with one key: one sends, seven wait for its id."""
    with stage.sdk() as sdk, ThreadPoolExecutor(8) as pool:
        ids = {run.id for run in pool.map(lambda _: submit(sdk, key="a"), range(8))}
    assert (len(ids), stage.accepted) == (1, 1)


def test_a_key_that_came_free_while_it_was_waited_for_is_tried_again(stage: Stage, monkeypatch) -> None:
    """Refused to the call that had it, the key belongs to the one that waited: decided and sent anew."""
    waiting = threading.Event()
    take_over = stage.guard.store.take_over
    monkeypatch.setattr(stage.guard.store, "take_over", lambda owner: (waiting.set(), take_over(owner))[1])

    class RefusedOnce(Recorder):
        def handle_request(self, request):
            if request.method == "POST" and not self.posts:
                self.sent.append(request)
                assert waiting.wait(20)
                return httpx.Response(400, json={"error": "BadRequest", "message": "no"})
            return super().handle_request(request)

    wire = RefusedOnce()
    with stage.sdk(inner=wire) as sdk, ThreadPoolExecutor(1) as pool:
        first = pool.submit(refused, submit, sdk, key="a")
        while not wire.posts:
            pass
        assert submit(sdk, key="a").id
        assert first.result() == (400, "BadRequest")
    assert (len(wire.posts), stage.states()) == (2, [State.RELEASED, State.ACCEPTED])


def test_without_a_key_every_call_is_a_key_of_its_own(stage: Stage) -> None:
    """Calling twice pays twice, because nothing says that it is the same job."""
    with stage.sdk() as sdk:
        assert submit(sdk).id != submit(sdk).id
    assert stage.accepted == 2


# -- polls ---------------------------------------------------------------------------------------


def test_giving_up_polling_keeps_the_hold(stage: Stage) -> None:
    """The SDK's `PollingTimeout` says nothing about the money: it stays held until somebody asks again."""
    stage.strike(slow=1.0)
    with stage.sdk() as sdk:
        result = sdk.predictions.subscribe(model_name=MODEL, inputs=INPUTS, poll_interval=5, timeout=1)
        assert (result.status, result.error.name) == ("time_out", "PollingTimeout")
        (entry,) = stage.guard.store.entries()
        assert (entry.state, entry.credits) == (State.ACCEPTED, 4)
        stage.ends(result.id)
        assert sdk.predictions.status(result.id).status == "completed"
    assert stage.states() == [State.SETTLED]


def test_a_failed_prediction_gives_its_hold_back(stage: Stage) -> None:
    """Failed is free by the provider's rule, and the caller sees the failure as it was."""
    stage.strike(failed=1.0)
    with stage.sdk() as sdk:
        result = sdk.predictions.subscribe(model_name=MODEL, inputs=INPUTS, poll_interval=20)
    assert (result.status, stage.states()) == ("failed", [State.RELEASED])


def test_a_missing_header_is_read_again_and_then_estimated(stage: Stage) -> None:
    """A missing cost is never 0: settled at the quote and marked, and corrected by a later look."""
    stage.strike(missing_header=1.0)
    with stage.sdk() as sdk:
        result = sdk.predictions.subscribe(model_name=MODEL, inputs=INPUTS, poll_interval=20)
        assert (result.status, result.credits_used) == ("completed", None)
        (entry,) = stage.guard.store.entries()
        assert (entry.state, entry.credits, entry.estimated) == (State.SETTLED, 4, True)
        stage.strike()
        sdk.predictions.status(result.id)
    (entry,) = stage.guard.store.entries()
    assert (entry.credits, entry.estimated) == (4, False)


def test_a_line_that_breaks_while_the_header_is_read_again_loses_no_picture(stage: Stage) -> None:
    """Law 22: the caller's look was answered, and what the guard asks for itself changes nothing of it."""
    stage.strike(missing_header=1.0)
    with stage.sdk() as sdk:
        run = submit(sdk)
    stage.ends(run.id)
    with stage.sdk(inner=CutAfter(1)) as sdk:
        assert sdk.with_options(max_retries=0).predictions.status(run.id).status == "completed"
    assert stage.states() == [State.ACCEPTED]


def test_a_prediction_that_vanished_is_unknown_after_two_answers(stage: Stage) -> None:
    """404 twice in a row is what the provider says last; the credits stay counted."""
    stage.strike(vanished=1.0)
    with stage.sdk() as sdk:
        run = submit(sdk)
        while stage.sandbox.provider.ends_seconds(run.id) > stage.sandbox.sandbox.clock.now():
            pass
        for expected in (State.ACCEPTED, State.UNKNOWN):
            with pytest.raises(fashn.NotFoundError):
                sdk.predictions.status(run.id)
            assert stage.states() == [expected]


def test_a_status_passes_unchanged(stage: Stage) -> None:
    """Body and headers of a look are the provider's own bytes, of our ids and of others."""
    with httpx.Client(transport=GuardTransport(stage.guard, inner=stage.wire)) as client:
        client.headers["authorization"] = "Bearer key"
        url = stage.sandbox.url
        run = client.post(f"{url}/v1/run", json={"model_name": MODEL, "inputs": INPUTS}).json()["id"]
        stage.ends(run)
        for prediction_id in (run, "nobody-u1"):
            place = f"{url}/v1/status/{prediction_id}"
            seen, own = client.get(place), httpx.get(place, headers=dict(client.headers), trust_env=False)
            assert (seen.status_code, seen.content) == (own.status_code, own.content)
            assert seen.headers.get("x-fashn-credits-used") == own.headers.get("x-fashn-credits-used")
        with client.stream("GET", f"{url}/v1/status/{run}") as streamed:
            assert b"".join(streamed.iter_raw()) == client.get(f"{url}/v1/status/{run}").content


def test_a_look_that_fails_on_the_way_is_raised_as_ever(stage: Stage) -> None:
    """Asking is free: the SDK may try again by itself, and nothing is booked for it."""
    with stage.sdk() as sdk:
        run = submit(sdk)
        away = sdk.with_options(base_url="http://127.0.0.1:9", max_retries=0)
        with pytest.raises(fashn.APIConnectionError):
            away.predictions.status(run.id)
    assert stage.states() == [State.ACCEPTED]


# -- cancelled -----------------------------------------------------------------------------------


def test_a_cancelled_call_is_booked_before_it_is_gone(stage: Stage) -> None:
    """Cancelled while the answer is awaited: unknown, counted, and its key sends nothing again."""
    stage.strike(silent_after=1.0)

    async def studio() -> None:
        transport = AsyncGuardTransport(stage.guard, inner=stage.wire)
        async with httpx.AsyncClient(transport=transport) as client:
            sdk = fashn.AsyncFashn(api_key="key", base_url=stage.sandbox.url, http_client=client)
            extra = {"x-planner-key": "a"}
            call = sdk.predictions.run(model_name=MODEL, inputs=INPUTS, extra_headers=extra)
            running_call = asyncio.ensure_future(call)
            while stage.accepted == 0:
                await asyncio.sleep(0)
            running_call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running_call
            assert stage.states() == [State.UNKNOWN]
            stage.strike()
            with pytest.raises(fashn.ConflictError):
                await sdk.predictions.run(model_name=MODEL, inputs=INPUTS, extra_headers=extra)

    asyncio.run(studio())
    assert (stage.accepted, len(stage.wire.posts)) == (1, 1)


# -- clients that are there already --------------------------------------------------------------


def test_wrap_guards_a_client_and_keeps_what_is_beneath(stage: Stage) -> None:
    """The client's own transport and its mounts carry what may go, and nothing goes past the guard."""
    own, mounted = Recorder(), Recorder()
    client = httpx.Client(transport=own, mounts={"http://127.0.0.1": mounted, "all://direct.example": None})
    assert stage.guard.wrap(client, labels={"team": "brand"}) is client
    with stage.sdk(http=client) as sdk:
        assert refused(submit, sdk) == (403, "PolicyDenied")
        submit(sdk, label_team="social")
    assert (len(own.posts), len(mounted.posts)) == (0, 1)
    with pytest.raises(ConfigError, match="already"):
        stage.guard.wrap(client)


def test_wrap_takes_an_async_client(stage: Stage) -> None:
    """The same for an event loop."""

    async def studio() -> None:
        async with stage.guard.wrap(httpx.AsyncClient(transport=stage.wire)) as client:
            sdk = fashn.AsyncFashn(api_key="key", base_url=stage.sandbox.url, http_client=client)
            result = await sdk.predictions.subscribe(model_name=MODEL, inputs=INPUTS, poll_interval=20)
            assert result.credits_used == 4

    asyncio.run(studio())
    assert stage.states() == [State.SETTLED]


# -- webhooks ------------------------------------------------------------------------------------


def test_a_webhook_is_a_reason_to_ask(stage: Stage) -> None:
    """It settles by what the provider says; a second one finds nothing new."""
    with GuardedClient(stage.guard, api_key="key", base_url=stage.sandbox.url) as client:
        job = client.submit(INPUTS, key="a")
        early = client.on_webhook({"id": job.prediction_id, "status": "completed", "output": []})
        assert (early.changed, stage.states()) == (False, [State.ACCEPTED])
        stage.ends(job.prediction_id)
        body = stage.sandbox.provider.webhook_body(job.prediction_id, stage.sandbox.sandbox.clock.now())
        heard = client.on_webhook(body)
        assert (heard.changed, heard.entry.state, heard.entry.credits) == (True, State.SETTLED, 4)
        assert client.on_webhook(body.decode()).reason == "it has ended already"


@pytest.mark.parametrize(
    "body",
    [b"", b"not json", b"[]", b"[" * 100_000, "null", b'{"id": 7}', b'{"id": "../../v1/credits"}', b"\xff",
     {"id": "nobody-u1", "status": "completed"}, {"status": "failed"}, b'{"id": "x y"}'],
)  # fmt: skip
def test_a_forged_webhook_changes_nothing_and_asks_nobody(stage: Stage, body) -> None:
    """Malformed bodies and unknown ids are told apart from news, without a call."""
    with GuardedClient(stage.guard, api_key="key", base_url=stage.sandbox.url) as client:
        client.submit(INPUTS, key="a")
        calls = stage.sandbox.provider._status_calls
        heard = client.on_webhook(body)
    assert (heard.entry, heard.changed) == (None, False)
    assert heard.reason in ("the body names no prediction", "the ledger knows no such prediction")
    assert (stage.states(), stage.sandbox.provider._status_calls) == ([State.ACCEPTED], calls)


def test_the_async_client_hears_webhooks_too(stage: Stage) -> None:
    """Forged, then real, in an event loop."""

    async def studio() -> list[bool]:
        async with AsyncGuardedClient(stage.guard, api_key="key", base_url=stage.sandbox.url) as client:
            job = await client.submit(INPUTS, key="a")
            stage.ends(job.prediction_id)
            bodies = ({"id": "made-up"}, {"id": job.prediction_id}, {"id": job.prediction_id})
            return [(await client.on_webhook(body)).changed for body in bodies]

    assert asyncio.run(studio()) == [False, True, False]
    assert stage.states() == [State.SETTLED]


def test_a_webhook_that_the_ledger_cannot_take_is_an_error(stage: Stage) -> None:
    """So that the web server answers 500 and the provider sends it again."""
    with GuardedClient(stage.guard, api_key="key", base_url=stage.sandbox.url) as client:
        job = client.submit(INPUTS, key="a")
        stage.ends(job.prediction_id)
        with read_only(stage.guard), pytest.raises(OperatorError):
            client.on_webhook({"id": job.prediction_id})
        assert stage.states() == [State.ACCEPTED]
        assert client.on_webhook({"id": job.prediction_id}).changed


def test_a_forged_failure_does_not_free_the_hold(stage: Stage) -> None:
    """A body that says failed about a prediction that runs: the provider is asked, and it still runs."""
    stage.strike(stuck=1.0)
    with GuardedClient(stage.guard, api_key="key", base_url=stage.sandbox.url) as client:
        job = client.submit(INPUTS, key="a")
        heard = client.on_webhook({"id": job.prediction_id, "status": "failed", "credits_used": 0})
    assert (heard.changed, heard.entry.state, heard.entry.credits) == (False, State.ACCEPTED, 4)
    assert stage.guard.store.entries(states=OPEN) != []


# -- what is kept --------------------------------------------------------------------------------


PRIVATE = {
    "prompt": 'a canaryprompt dress, "größe 38"',
    "face_reference": "data:image/png;base64," + base64.b64encode(b"\x89PNG canarypicture").decode(),
    "image_reference": "https://example.com/canarypose.png?token=canarytoken",
}
CANARIES = ("canary", "größe", "gr\\u00f6\\u00dfe", base64.b64encode(b"\x89PNG canarypicture").decode()[:20])


def test_law_21_nothing_private_stays_behind(stage: Stage, tmp_path: Path, caplog) -> None:
    """Key, prompt, pictures, and labels nobody declared: not in the ledger, the log or a refusal."""
    # The SDK itself logs whole requests when it is asked to debug; what is ours logs at any level.
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.INFO, logger="fashn")
    endings = [{}, {"lost_after": 1.0}, {"proxy_after": 1.0}, {"server_error": 1.0}, {"failed": 1.0}]
    bad = [{"resolution": "8k"}, {"face_reference": "canaryface"}, {"promt": "canaryprompt"}, {"prompt": 7}]
    with stage.sdk() as sdk, httpx.Client(transport=GuardTransport(stage.guard)) as client:
        sdk.api_key = "fa-canarykey"
        for faults in endings:
            stage.strike(**faults)
            shown(submit, sdk, PRIVATE, label_client="canaryclient", label_team="social")
        stage.strike()
        for fields in bad:
            shown(submit, sdk, {**PRIVATE, **fields})
        shown(submit, sdk, PRIVATE, label_team="brand")
        shown(submit, sdk, PRIVATE, key="a")
        shown(submit, sdk, {**PRIVATE, "seed": 1}, key="a")
        stage.sandbox.provider._api_key = "other"
        shown(submit, sdk, PRIVATE)
        shown(sdk.with_options(base_url="http://127.0.0.1:9", max_retries=0).predictions.status, "x-u1")
        secret = {"authorization": "Bearer fa-canarykey"}
        answer = client.post(f"{stage.sandbox.url}/v1/run", content=b"canary", headers=secret)
        assert_clean(answer.text)
        assert_clean(repr(client._transport) + repr(vars(client._transport)["_exchange"]))
    assert caplog.records
    assert_clean(caplog.text)
    for path in tmp_path.rglob("*"):
        assert_clean(str(path.name) + (path.read_bytes().decode("latin-1") if path.is_file() else ""))
    assert len(stage.guard.store.entries()) >= len(endings)


def shown(call, *arguments, **options) -> None:
    """Make a call, and look through all that it or its error shows."""
    try:
        assert_clean(repr(call(*arguments, **options)))
    except fashn.FashnError as error:
        held = {name: value for name, value in vars(error).items() if name != "request"}
        assert_clean("".join(traceback.format_exception(error)) + repr(error) + repr(held))


def assert_clean(text: str) -> None:
    found = [canary for canary in CANARIES if canary in text or canary.encode().decode("latin-1") in text]
    assert found == []
