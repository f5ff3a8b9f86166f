"""Models without a price through the transports: held for as the policy says, and settled from the header.

The SDK is the official one, unchanged. The sandbox knows one model only: a recording transport asks it for a
picture of 4 credits in place of each call that it would refuse.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator
from contextlib import chdir, contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import fashn
import httpx
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.errors import Fault
from planner.loading import shipped_prices
from planner.request import ModelCreateRequest
from policies import AsyncGuardTransport, Guard, GuardedClient, GuardTransport
from policies.cli.main import main
from policies.guard.machine import Job
from policies.ledger.drift import drift_of
from policies.ledger.entries import Taken
from policies.ledger.rows import report, standing
from policies.ledger.states import State
from policies.ledger.verify import verify
from policies.other_models import OtherRequest
from policies.server.sandbox.app import running
from tests import ledgers
from tests.laws.world import HOW, Crashed, Plan, World, policy_of, request
from tests.policies.guard import stage as batch
from tests.policies.guard.test_transport import Recorder, Stage, refused

pytestmark = pytest.mark.usefixtures("each_engine")

SPEED = 300
HOLDS = """
policy: 1
name: test
timezone: UTC
otherwise: allow
labels: {team: any}
other_models: {hold: 8 credits}
budgets:
  - {name: all, limit: 60 credits, per: total}
  - {name: pictures, limit: 60 credits, per: total, applies_to: {resolution: [1k, 2k, 4k]}}
rules:
  - {name: no-brand, when: {team: brand}, deny: brand has its own studio}
  - {name: lead-asks, when: {team: lead}, needs_approval: finance}
"""
TRYON = "tryon-v1.6"
PERSON, GARMENT = "https://example.com/person.png", "https://example.com/garment.png"
INPUTS = {"model_image": PERSON, "garment_image": GARMENT}
PICTURE = {"model_name": "model-create", "inputs": {"prompt": "x", "resolution": "2k"}}
NONE_OF_THEM = {
    "resolution": None, "generation_mode": None, "num_images": None, "aspect_ratio": None,
    "face_reference": False, "face_reference_mode": None, "image_reference": False, "seed": None,
    "output_format": None, "return_base64": None,
}  # fmt: skip


def understood(body: bytes) -> bytes:
    """The body itself where the sandbox takes it, else that of a picture of its own for 4 credits."""
    document = json.loads(body)
    extra = document.keys() - PICTURE.keys() | document["inputs"].keys() - ModelCreateRequest("x").__dict__
    if document["model_name"] == "model-create" and not extra:
        return body
    prompt = hashlib.sha256(body).hexdigest()
    return json.dumps({**PICTURE, "inputs": {"prompt": prompt, "resolution": "2k"}}).encode()


class Translator(Recorder):
    """Keeps what was sent, and carries what the sandbox understands."""

    def handle_request(self, request):
        request.read()
        self.sent.append(request)
        return self.inner.handle_request(translated(request))

    async def handle_async_request(self, request):
        await request.aread()
        self.sent.append(request)
        return await self.async_inner.handle_async_request(translated(request))


def translated(request: httpx.Request) -> httpx.Request:
    if request.method != "POST":
        return request
    headers = [item for item in request.headers.raw if item[0].lower() != b"content-length"]
    content = understood(request.content)
    return httpx.Request("POST", request.url, headers=headers, content=content, extensions=request.extensions)


class OtherWorld(World):
    """A world whose provider knows other models."""

    def post(self, body: bytes):
        reply = super().post(understood(body))
        if self.sent:
            self.sent[-1].body = body
        return reply


@contextmanager
def opened(folder: Path, policy: str = HOLDS) -> Iterator[Stage]:
    url = ledgers.url(folder / "ledger.db")
    with (
        running(speed=SPEED, seed=3, balance=200) as handle,
        Guard.open(policy_of(policy), url, speed=SPEED) as guard,
    ):
        yield Stage(guard, handle, Translator())
        assert verify(guard.store) == []


@pytest.fixture
def stage(tmp_path: Path):
    with opened(tmp_path) as found:
        yield found


def try_on(sdk, inputs=INPUTS, model: str = TRYON, **headers):
    """One paid call of the SDK for another model, with headers for the guard."""
    extra = {f"x-planner-{name.replace('_', '-')}": value for name, value in headers.items()}
    return sdk.predictions.run(model_name=model, inputs=inputs, extra_headers=extra)


def post(stage: Stage, content: bytes | dict, path: str = "/v1/run", **headers: str) -> httpx.Response:
    """One call of a plain client, to the byte."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    with httpx.Client(transport=GuardTransport(stage.guard, inner=stage.wire)) as client:
        secret = {"authorization": "Bearer key", **headers}
        return client.post(f"{stage.sandbox.url}{path}", content=body, headers=secret)


def other(number: int = 0, known: ModelCreateRequest | None = None) -> OtherRequest:
    """A call of another model, or of a request with a field that nobody knows, for the machine itself."""
    inputs = (
        {"garment_image": f"{GARMENT}?{number}"} if known is None else {**known.inputs(), "upscale": number}
    )
    model = TRYON if known is None else "model-create"
    body = json.dumps({"model_name": model, "inputs": inputs}).encode()
    return OtherRequest(model, body, b"other:" + body, (Fault("unpriced", "no price"),), known)


# -- the happy path ------------------------------------------------------------------------------


def sync_call(stage: Stage, wrap: bool) -> fashn.types.PredictionSubscribeResponse:
    inner = stage.wire
    client = stage.guard.wrap(httpx.Client(transport=inner)) if wrap else None
    with stage.sdk(http=client) as sdk:
        return sdk.predictions.subscribe(model_name=TRYON, inputs=INPUTS, poll_interval=20)


def async_call(stage: Stage, wrap: bool) -> fashn.types.PredictionSubscribeResponse:
    async def studio():
        inner = stage.wire
        client = (
            stage.guard.wrap(httpx.AsyncClient(transport=inner))
            if wrap
            else httpx.AsyncClient(transport=AsyncGuardTransport(stage.guard, inner=inner))
        )
        async with client:
            sdk = fashn.AsyncFashn(api_key="key", base_url=stage.sandbox.url, http_client=client)
            return await sdk.predictions.subscribe(model_name=TRYON, inputs=INPUTS, poll_interval=20)

    return asyncio.run(studio())


@pytest.mark.parametrize("wrap", [False, True], ids=["transport", "wrap"])
@pytest.mark.parametrize("call", [sync_call, async_call])
def test_another_model_is_held_for_and_settled_from_the_header(stage: Stage, call, wrap: bool) -> None:
    """Under both transports and `wrap`: 8 credits held, 4 charged, its own polls book it."""
    result = call(stage, wrap)
    assert (result.status, result.credits_used) == ("completed", 4)
    (entry,) = stage.guard.store.entries()
    assert (entry.state, entry.credits, entry.estimated) == (State.SETTLED, 4, False)
    assert (entry.quoted_credits, entry.asked_credits, entry.prediction_id) == (8, 8, result.id)
    assert (stage.accepted, len(stage.wire.posts), stage.sandbox.bill().credits) == (1, 1, 4)


def test_an_entry_keeps_the_name_and_nothing_of_what_was_asked(stage: Stage) -> None:
    """No closed field and no price entry; every budget that speaks of no field counts its hold."""
    with stage.sdk() as sdk:
        try_on(sdk, label_team="social")
    (entry,) = stage.guard.store.entries()
    assert (entry.model, entry.closed_fields, entry.price_entry) == (TRYON, NONE_OF_THEM, "")
    assert (entry.state, entry.credits, entry.label_values) == (State.ACCEPTED, 8, {"team": "social"})
    assert {one.allowance.budget: one.held for one in stage.guard.store.counters()} == {"all": 8}


BODIES = [
    b'{ "inputs": {"b": 1.50, "a": "gr\\u00f6\\u00dfe"},\n "model_name": "tryon-v1.6" }',
    b'{"model_name": "tryon-v1.6", "inputs": {}, "priority": "high"}',
    b'{"model_name": "model-create", "inputs": {"prompt": "x", "upscale": null}}',
    b'{"model_name":"model-create", "inputs": {"prompt": "x"}, "priority": "high"}',
]


@pytest.mark.parametrize("body", BODIES)
def test_law_14_its_bytes_are_sent_as_they_are(stage: Stage, body: bytes) -> None:
    """However they are spaced, ordered and escaped, and once."""
    assert post(stage, body).status_code == 200
    (sent,) = stage.wire.posts
    assert sent.content == body
    assert sent.headers.get_list("content-length") == [str(len(body))]
    (entry,) = stage.guard.store.entries()
    assert (entry.model, entry.credits, entry.sends) == (json.loads(body)["model_name"], 8, 1)


def test_a_field_that_nobody_knows_is_judged_with_the_fields_beside_it(stage: Stage) -> None:
    """Its entry keeps them, they count where they count, and their price is the least that is held."""
    inputs = {"prompt": "x", "resolution": "4k", "generation_mode": "quality", "num_images": 4, "upscale": 8}
    assert post(stage, {"model_name": "model-create", "inputs": inputs}).status_code == 200
    (entry,) = stage.guard.store.entries()
    assert (entry.resolution, entry.num_images, entry.billed_mode) == ("4k", 4, "quality")
    assert (entry.model, entry.credits, entry.price_entry) == ("model-create", 20, "")
    held = {one.allowance.budget: one.held for one in stage.guard.store.counters()}
    assert held == {"all": 20, "pictures": 20}


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", BODIES)
def test_without_the_policys_word_it_is_refused(tmp_path: Path, body: bytes) -> None:
    """The answer is the one of ever, and nothing is booked or sent."""
    with opened(tmp_path, HOLDS.replace("other_models: {hold: 8 credits}", "")) as stage:
        answer = post(stage, body)
        assert (answer.status_code, answer.json()["error"]) == (403, "Unpriced")
        assert answer.headers["x-should-retry"] == "false"
        assert (stage.wire.posts, stage.states()) == ([], [])


@pytest.mark.parametrize(
    ("body", "path", "expected"),
    [
        (b'{"inputs": {}}', "/v1/run", (400, "BadRequest")),
        (b'{"model_name": "tryon-v1.6"}', "/v1/run", (400, "BadRequest")),
        (b'{"model_name": "tryon-v1.6", "inputs": []}', "/v1/run", (400, "BadRequest")),
        (b'{"model_name": "tryon-v1.6", "inputs": {"a": 1, "a": 2}}', "/v1/run", (400, "BadRequest")),
        (b'{"model_name": "tryon-v1.6", "inputs": {"a": NaN}}', "/v1/run", (400, "BadRequest")),
        (b'{"model_name": "tryon-v1.6", "inputs": {"a": "\\ud800"}}', "/v1/run", (400, "BadRequest")),
        (b'{"model_name": "model-create", "inputs": {"upscale": 8}}', "/v1/run", (400, "BadRequest")),
        (b'{"model_name": "model-create", "inputs": {"prompt": "x", "num_images": 9, "upscale": 8}}',
         "/v1/run", (400, "BadRequest")),
        (b"tryon", "/v1/run", (400, "BadRequest")),
        (b'{"model_name": "Model-Create", "inputs": {}}', "/v1/run", (403, "Unpriced")),
        (b'{"model_name": "model-create ", "inputs": {}}', "/v1/run", (403, "Unpriced")),
        (b'{"model_name": "", "inputs": {}}', "/v1/run", (403, "Unpriced")),
        (b'{"model_name": "a dress by the sea", "inputs": {}}', "/v1/run", (403, "Unpriced")),
        (b'{"model_name": "' + b"a" * 61 + b'", "inputs": {}}', "/v1/run", (403, "Unpriced")),
        (BODIES[0], "/v1/run?priority=1", (403, "Unpriced")),
        (BODIES[0], "/v1/train", (403, "Unpriced")),
        (BODIES[0], "/v2/run", (403, "Unpriced")),
    ],
)  # fmt: skip
def test_what_cannot_be_read_and_other_paths_stay_refused(
    stage: Stage, body: bytes, path: str, expected: tuple[int, str]
) -> None:
    """A body that two readers could read differently, a name that is none, another place."""
    answer = post(stage, body, path)
    assert (answer.status_code, answer.json()["error"]) == expected
    assert (stage.wire.posts, stage.states()) == ([], [])


def test_rules_and_full_budgets_say_no_to_it(tmp_path: Path) -> None:
    """Denied by a label; two holds of 8 fill 20 credits until one of them is charged 4."""
    with opened(tmp_path, HOLDS.replace("60 credits", "20 credits")) as stage, stage.sdk() as sdk:
        assert refused(try_on, sdk, label_team="brand") == (403, "PolicyDenied")
        run = try_on(sdk)
        try_on(sdk, {"seed": 1})
        assert refused(try_on, sdk, {"seed": 2}) == (403, "PolicyDenied")
        stage.ends(run.id)
        assert sdk.predictions.status(run.id).status == "completed"
        assert try_on(sdk, {"seed": 2}).id
        assert (stage.accepted, len(stage.wire.posts)) == (3, 3)


def test_a_person_lets_it_go_once(stage: Stage) -> None:
    """It waits under its key; the approval is for these bytes and this hold, and is used up."""
    with stage.sdk() as sdk:
        assert refused(try_on, sdk, key="a", label_team="lead") == (403, "NeedsApproval")
        (waiting,) = stage.guard.store.waiting()
        until = stage.guard.store.now() + timedelta(hours=1)
        stage.guard.store.answer(waiting.entry, approved=True, who="Ada", because="a fitting", until=until)
        another = {**INPUTS, "seed": 1}
        assert refused(try_on, sdk, another, key="a", label_team="lead") == (403, "NeedsApproval")
        assert try_on(sdk, key="a", label_team="lead").id
    assert (stage.accepted, stage.states()[-1]) == (1, State.ACCEPTED)


def test_it_takes_a_slot_like_any_other(stage: Stage) -> None:
    """Six are in flight, whatever they are; the seventh is told so and nothing is sent."""
    stage.strike(stuck=1.0)
    with stage.sdk(wait_seconds=0) as sdk:
        for number in range(3):
            try_on(sdk, {**INPUTS, "seed": number})
            sdk.predictions.run(**{**PICTURE, "inputs": {"prompt": f"{number}"}})
        assert refused(try_on, sdk) == (429, "ConcurrencyLimitExceeded")
    assert (len(stage.wire.posts), stage.accepted) == (6, 6)


# -- keys and outcomes ---------------------------------------------------------------------------


def test_law_18_a_key_is_bound_to_what_was_asked(stage: Stage) -> None:
    """The same JSON in another order is the same job; other inputs, or a picture, are a conflict."""
    body = {"model_name": TRYON, "inputs": {"a": 1, "b": [2, 3]}}
    turned = {"inputs": {"b": [2, 3], "a": 1}, "model_name": TRYON}
    key = {"x-planner-key": "sku-1"}
    first = post(stage, body, **key)
    assert post(stage, json.dumps(turned, indent=2).encode(), **key).json() == first.json()
    others = [{**body, "inputs": {"a": 1, "b": [3, 2]}}, {**body, "model_name": "edit"}, PICTURE]
    for different in others:
        answer = post(stage, different, **key)
        assert (answer.status_code, answer.json()["error"]) == (409, "KeyConflict")
    assert post(stage, body, **{**key, "x-planner-shoot": "winter"}).json()["id"] != first.json()["id"]
    assert (stage.accepted, len(stage.wire.posts)) == (2, 2)


@pytest.mark.parametrize("fault", ["lost_after", "proxy_after", "redirect_after", "no_id"])
def test_law_15_an_outcome_that_nobody_knows_is_one_post(stage: Stage, fault: str) -> None:
    """The hold stays counted, and its key sends nothing again."""
    stage.strike(**{fault: 1.0})
    with stage.sdk() as sdk:
        assert refused(try_on, sdk, key="a") == (409, "OutcomeUnknown")
        stage.strike()
        assert refused(try_on, sdk, key="a") == (409, "OutcomeUnknown")
    (entry,) = stage.guard.store.entries()
    assert (entry.state, entry.credits, len(stage.wire.posts)) == (State.UNKNOWN, 8, 1)


def test_what_may_be_sent_again_is_the_same_bytes(stage: Stage) -> None:
    """500 with the provider's body: four tries of the guard, then given back and free."""
    stage.strike(server_error=1.0)
    assert post(stage, BODIES[0]).json()["error"] == "InternalServerError"
    assert [sent.content for sent in stage.wire.posts] == [BODIES[0]] * 4
    (entry,) = stage.guard.store.entries()
    assert (entry.state, entry.credits, entry.sends) == (State.RELEASED, 0, 4)


def test_law_17_without_a_header_the_hold_stays_as_an_estimate(stage: Stage) -> None:
    """Settled at its hold and marked, and corrected by a later look."""
    stage.strike(missing_header=1.0)
    with stage.sdk() as sdk:
        result = sdk.predictions.subscribe(model_name=TRYON, inputs=INPUTS, poll_interval=20)
        assert (result.status, result.credits_used) == ("completed", None)
        (entry,) = stage.guard.store.entries()
        assert (entry.state, entry.credits, entry.estimated) == (State.SETTLED, 8, True)
        stage.strike()
        sdk.predictions.status(result.id)
    (entry,) = stage.guard.store.entries()
    assert (entry.credits, entry.estimated) == (4, False)


def test_a_failed_prediction_gives_its_hold_back(stage: Stage) -> None:
    """Free by the provider's rule, as any other."""
    stage.strike(failed=1.0)
    with stage.sdk() as sdk:
        result = sdk.predictions.subscribe(model_name=TRYON, inputs=INPUTS, poll_interval=20)
    assert (result.status, stage.states()) == ("failed", [State.RELEASED])


def test_a_webhook_and_a_client_bring_it_to_its_end(stage: Stage) -> None:
    """Whoever asks about its id, or waits for its key, gets what the provider says of it."""
    with stage.sdk() as sdk, GuardedClient(stage.guard, api_key="key", base_url=stage.sandbox.url) as client:
        run, second = try_on(sdk, key="a"), try_on(sdk, {"seed": 1}, key="b")
        stage.ends(run.id)
        heard = client.on_webhook({"id": run.id, "status": "failed"})
        assert (heard.changed, heard.entry.state, heard.entry.credits) == (True, State.SETTLED, 4)
        assert client.result("b").prediction_id == second.id
    assert stage.states() == [State.SETTLED] * 2


def test_law_11_in_shadow_it_goes_for_the_hold_that_the_policy_names(tmp_path: Path) -> None:
    """What would have been decided stands beside it; its bytes are its own."""
    with opened(tmp_path, HOLDS + "enforcement: shadow\n") as stage:
        assert post(stage, BODIES[0], **{"x-planner-label-team": "brand"}).status_code == 200
        (entry,) = stage.guard.store.entries()
        assert (entry.verdict, entry.shadow_verdict, entry.shadow_credits) == ("allow", "deny", 8)
        assert (entry.credits, stage.wire.posts[0].content) == (8, BODIES[0])


# -- the ledger ----------------------------------------------------------------------------------


@pytest.fixture
def world(tmp_path: Path):
    found = OtherWorld(tmp_path, policy_of(HOLDS))
    yield found
    found.close()


def test_no_price_is_held_against_what_it_cost(world: OtherWorld) -> None:
    """4 charged for a hold of 8, and 9 for one of 8, are no drift, and stop nothing."""
    book = shipped_prices()
    world.policy = policy_of(HOLDS + "on_drift: stop\n")
    world.store.bring_in_force(world.policy)
    worker = world.worker()
    for number in range(2):
        job = worker.submit(world.ask(f"{number}", other(number)))
        assert isinstance(job, Job)
        worker.finish(job)
        assert (job.entry.credits, drift_of(job.entry, book)) == (4, None)
    ledgers.tamper(world.folder / "ledger.db", "UPDATE entries SET credits = 9")
    assert [drift_of(entry, book) for entry in world.store.entries()] == [None, None]
    assert isinstance(worker.submit(world.ask("2", other(2))), Job)
    worker.owner.close()


def test_reports_and_sums_live_with_it(world: OtherWorld) -> None:
    """It is in every sum, has no setting of a picture, and differs from no price."""
    worker = world.worker()
    asks = [other(), other(1, ModelCreateRequest("x", resolution="2k")), request(resolution="2k")]
    for number, asked in enumerate(asks):
        job = worker.submit(world.ask(f"{number}", asked))
        assert isinstance(job, Job)
        if number:
            worker.finish(job)
    worker.owner.close()
    names = ["resolution", "generation_mode", "num_images", "face_reference", "output_format"]
    found = report(world.store, names, None, world.policy.zone)
    groups = {row.group: (row.figures.settled, row.figures.held, row.figures.jobs) for row in found.rows}
    assert groups == {(None,) * 5: (0, 8, 1), ("2k", "quality", 1, False, "png"): (8, 0, 2)}
    assert (found.total.quoted, found.total.price_difference) == (8, 0)
    sums = standing(world.store)
    assert (sums["settled"], sums["held"]) == (8, 8)
    assert verify(world.store) == []


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from("pof"), st.integers(0, 5), st.booleans()), max_size=14))
def test_law_13_no_admission_passes_the_limit(tmp_path_factory, asks) -> None:
    """Pictures, other models and unknown fields in any order, some of them brought to their end."""
    world = OtherWorld(tmp_path_factory.mktemp("law"), policy_of(HOLDS.replace("60 credits", "20 credits")))
    worker = world.worker()
    kinds = {
        "p": lambda n: request(resolution="2k", seed=n),
        "o": other,
        "f": lambda n: other(n, request(resolution="4k", generation_mode="quality", num_images=2)),
    }
    for kind, number, ends in asks:
        found = worker.submit(world.ask(f"{kind}{number}", kinds[kind](number)), wait_seconds=0)
        if isinstance(found, Job) and ends:
            worker.finish(found)
        for counter in world.store.counters():
            assert counter.settled + counter.held + counter.unknown <= 20
        assert world.counted() >= world.billed()
    bodies = world.accepted_bodies()
    assert len(bodies) == len(set(bodies))
    assert verify(world.store) == []
    worker.owner.close()
    world.close()


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("at", range(5))
def test_law_19_a_crash_anywhere_loses_no_credit_and_sends_nothing_twice(
    world: OtherWorld, at: int, how: str
) -> None:
    """Whatever instruction it dies at, its key is known to the next process, or free and never sent."""
    worker = world.worker()
    with suppress(Crashed):
        worker.submit(world.ask("a", other()), Plan(at, how))
    after = world.worker()
    world.store.take_over(after.owner)
    assert isinstance(after.submit(world.ask("a", other())), Job | Taken)
    assert len(world.sent) <= 1
    assert world.counted() >= max(world.billed(), 4)
    assert verify(world.store) == []
    worker.owner.close()
    after.owner.close()


def test_a_run_brings_to_its_end_what_a_dead_process_left(tmp_path: Path) -> None:
    """Nobody knows how long another model takes; it is asked about all the same."""
    with batch.stage(tmp_path, HOLDS) as place:
        with place.guard() as guard, Stage(guard, place.handle, Translator()).sdk() as sdk:
            assert try_on(sdk).id
        runner = place.run(batch.rows(1))
        assert runner.inherited == 1
        assert {(entry.model, entry.state) for entry in place.entries()} == {
            (TRYON, State.SETTLED),
            ("model-create", State.SETTLED),
        }


COMMANDS = [
    "ledger show", "ledger holds", "ledger verify", "approvals list", "budgets show", "report",
    "report --by resolution,generation_mode", "policy replay holds.yaml",
]  # fmt: skip


def test_every_command_that_looks_at_a_ledger_lives_with_it(stage: Stage, tmp_path: Path) -> None:
    """One waits, one runs, one is unconfirmed and one has ended: each is shown, and nothing is an error."""
    (tmp_path / "holds.yaml").write_text(HOLDS)
    with stage.sdk() as sdk:
        assert refused(try_on, sdk, label_team="lead") == (403, "NeedsApproval")
        stage.ends(ended := try_on(sdk, {"seed": 1}).id)
        assert sdk.predictions.status(ended).status == "completed"
        stage.strike(lost_after=1.0)
        assert refused(try_on, sdk, {"seed": 2}) == (409, "OutcomeUnknown")
        stage.strike()
        try_on(sdk, {"seed": 3})
        assert sdk.predictions.run(**PICTURE).id
    url = ledgers.url(tmp_path / "ledger.db")
    with chdir(tmp_path):
        shown = {
            command: CliRunner().invoke(main, [*command.split(), "--ledger", url, "--json"])
            for command in COMMANDS
        }
    assert {command: found.exit_code for command, found in shown.items()} == dict.fromkeys(COMMANDS, 0)
    sums = json.loads(shown["ledger show"].stdout)
    assert (sums["settled"], sums["held"], sums["unknown"], sums["counts"]["waiting"]) == (4, 12, 8, 1)
    (replayed,) = json.loads(shown["policy replay holds.yaml"].stdout)["policies"]
    assert replayed["totals"]["requests"] == 1


# -- what is kept --------------------------------------------------------------------------------


def test_law_21_nothing_of_its_inputs_stays_behind(stage: Stage, tmp_path: Path, caplog) -> None:
    """Neither pictures, prompts nor fields that nobody declared: not in the ledger, the log or a refusal."""
    caplog.set_level(0)
    secret = {
        "prompt": "canaryprompt",
        "model_image": "data:image/png;base64,canarypicture",
        "canaryfield": 1,
    }
    said = []
    for faults in ({}, {"lost_after": 1.0}, {"failed": 1.0}):
        stage.strike(**faults)
        for model in (TRYON, "model-create"):
            for team in ("social", "brand", "lead"):
                labels = {"x-planner-label-team": team, "x-planner-label-client": "canaryclient"}
                said.append(post(stage, {"model_name": model, "inputs": secret}, **labels).text)
    rows = [repr(entry) for entry in stage.guard.store.entries()]
    events = [repr(happened) for happened in stage.guard.store.events()]
    assert len(rows) == 18
    assert "canary" not in "".join([*said, *rows, *events, caplog.text])
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"canary" not in path.read_bytes()
