"""Law 21: API keys, prompts, references and pictures never reach ledger, log, report, plan or traceback.

Real jobs with canaries in every private place run against the sandbox, through every end there is; then
every byte of every file, every line of output and every text an error has is searched for them.
"""

import asyncio
import base64
import json
import logging
import traceback
from urllib.parse import quote as percent

import pytest
from click.testing import CliRunner

from planner.errors import PlannerError
from planner.request import fingerprint, parse_request
from policies.cli.main import main
from policies.guard.client import AsyncGuardedClient, GuardedClient
from policies.guard.guard import Guard
from policies.guard.machine import Job, Post
from policies.loading import parse_policy
from policies.server.sandbox.app import running
from policies.server.sandbox.faults import Faults
from tests.laws.world import World, budget_policy, request

SPEED = 2000.0
KEY = "fa-canarykey-51c7"
PROMPT = 'a canaryprompt dress, "größe 38"'
PICTURE = b"\x89PNG canarypicture bytes"
FACE = "data:image/png;base64," + base64.b64encode(PICTURE).decode()
POSE = "https://example.com/canarypose.png?token=canarytoken"
ASKED = {"prompt": PROMPT, "face_reference": FACE, "image_reference": POSE}
LABELS = {"team": "social", "client": "canaryclient"}
"""`client` is not declared, so it does not reach the ledger either."""

WORDS = ("canary", base64.b64encode(PICTURE).decode(), "größe")

POLICY = parse_policy(
    """
policy: 1
name: test
timezone: UTC
otherwise: allow
labels: {team: [social, denied, asking]}
rules:
  - {name: no, when: {team: denied}, deny: not for this team}
  - {name: ask, when: {team: asking}, needs_approval: finance}
  - {name: cap, when: {face_reference: present, resolution: 4k}, rewrite: {resolution: 2k}}
""",
    "test.yaml",
)


def spellings():
    """Every way in which a private text may be written: plain, escaped, percent-encoded, as a digest."""
    found = {*WORDS, PROMPT, KEY, FACE, POSE}
    found |= {json.dumps(text)[1:-1] for text in found} | {percent(text) for text in found}
    found |= {base64.b64encode(text.encode()).decode() for text in (KEY, PROMPT)}
    return found | {fingerprint(parse_request(ASKED)).removeprefix("f1:")}


NEEDLES = sorted(text.encode() for text in spellings())


def assert_clean(data, where):
    """Nothing private stands in these bytes."""
    found = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
    for needle in NEEDLES:
        assert needle not in found, f"{needle!r} in {where}"


def texts_of(error):
    """All that an error shows of itself: to a log, to a screen, to a debugger."""
    held = dict(vars(error))
    return "\n".join(["".join(traceback.format_exception(error)), repr(error), str(error), repr(held)])


def attempts(url):
    """Calls that end in every way a guarded call can, each with the misfortune it needs."""
    lost = Faults(lost_after=1.0)
    yield "completed", Faults(), {}, {"key": "completed"}
    yield "rewritten", Faults(), {"resolution": "4k"}, {"key": "rewritten"}
    yield "conflict", Faults(), {"seed": 1}, {"key": "completed"}
    yield "estimated", Faults(missing_header=1.0), {}, {"key": "estimated"}
    yield "failed", Faults(failed=1.0), {}, {"key": "failed"}
    yield "vanished", Faults(vanished=1.0), {}, {"key": "vanished"}
    yield "lost", lost, {}, {"key": "lost"}
    yield "proxy", Faults(proxy_after=1.0), {}, {"key": "proxy"}
    yield "server error", Faults(server_error=1.0), {}, {"key": "error"}
    yield "denied", Faults(), {}, {"labels": {**LABELS, "team": "denied"}}
    yield "asking", Faults(), {}, {"labels": {**LABELS, "team": "asking"}}
    yield "unknown label", Faults(), {}, {"labels": {"team": "other"}}
    yield "rewriting refused", Faults(), {"resolution": "4k"}, {"allow_rewrite": False}
    yield "bad choice", Faults(), {"resolution": "8k"}, {}
    yield "bad face", Faults(), {"face_reference": "canaryface without a scheme"}, {}
    yield "bad prompt", Faults(), {"prompt": ["canaryprompt"]}, {}
    yield "no such input", Faults(), {"promt": "canaryprompt"}, {}


@pytest.fixture
def log(caplog):
    """Everything that any library logs, from the most talkative level on."""
    caplog.set_level(logging.DEBUG)
    return caplog


def test_law_21_nothing_private_reaches_ledger_log_report_or_traceback(tmp_path, log, capfd):
    """Seventeen jobs with canaries, in every end there is, and then every byte is searched."""
    ledger = tmp_path / "spend.db"
    shown, ends = [], set()
    with (
        running(speed=SPEED, seed=3, api_key=KEY, balance=10_000) as sandbox,
        Guard.open(POLICY, f"sqlite:///{ledger}", speed=SPEED) as guard,
        GuardedClient(guard, api_key=KEY, base_url=sandbox.url) as client,
    ):
        for what, faults, fields, options in attempts(sandbox.url):
            sandbox.provider.faults = faults
            arguments = {"labels": LABELS, **options}
            try:
                result = client.create({**ASKED, **fields}, **arguments)
                shown.append(repr(result))
                ends.add("result")
            except PlannerError as error:
                shown.append(texts_of(error))
                ends.add(error.faults[0].code if error.faults[0].code == "invalid_value" else error.code)
            assert_clean(shown[-1], what)
        sandbox.provider.faults = Faults()
        shown += [repr(value) for value in (guard, client, client._desk.guard.machine, client._wire)]
        shown.append(
            texts_of(_failure(lambda: GuardedClient(guard, api_key=KEY + "ö", base_url=sandbox.url)))
        )
        with GuardedClient(guard, api_key="wrong-" + KEY, base_url=sandbox.url) as stranger:
            shown.append(texts_of(_failure(lambda: stranger.create(ASKED, key="stranger"))))
        shown.append(repr(asyncio.run(_async_create(guard, sandbox.url))))
        _search_files(tmp_path)
    assert ends == {
        "result", "key_conflict", "prediction_failed", "outcome_unknown", "not_accepted", "denied",
        "needs_approval", "invalid_value", "invalid_request",
    }  # fmt: skip
    assert_clean("\n".join(shown), "what results and errors show")
    assert log.records
    assert_clean(log.text, "the log")
    captured = capfd.readouterr()
    assert_clean(captured.out + captured.err, "the screen")
    _search_files(tmp_path)
    _search_commands(ledger, tmp_path)


async def _async_create(guard, url):
    async with AsyncGuardedClient(guard, api_key=KEY, base_url=url) as client:
        return await client.create(ASKED, labels=LABELS, key="async")


def _failure(call):
    with pytest.raises(PlannerError) as error:
        call()
    return error.value


def _search_files(folder):
    """Every byte of every file, and every name."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.name == "spend.db" for path in files)
    for path in files:
        assert_clean(str(path.relative_to(folder)), "the name of a file")
        assert_clean(path.read_bytes(), path)


def _search_commands(ledger, folder):
    """Everything that the commands say about such a ledger, on both streams."""
    because = ("--because", "the balance says so", "--by", "Finance")
    commands = [
        *(("report", "--by", "team,day", "--format", form) for form in ("table", "markdown", "csv", "json")),
        ("report", "-o", str(folder / "report.csv"), "--format", "csv"),
        *(("ledger", name, *more) for name in ("show", "holds", "verify") for more in ((), ("--json",))),
        ("ledger", "settle", "lost", "--charged", "4", *because),
    ]
    for command in commands:
        result = CliRunner().invoke(main, [*command, "--ledger", str(ledger)])
        assert result.exit_code == 0, (command, result.output)
        assert_clean(result.output, command)
    _search_files(folder)


def test_law_21_what_is_asked_about_a_file_repeats_nothing_of_it(tmp_path, monkeypatch):
    """`check` and `plan` speak of closed fields and labels, in a document and on the screen."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test.yaml").write_text(POLICY.text)
    rows = [
        f'look-1,"{PROMPT.replace(chr(34), chr(39))}",{POSE},4k,social',
        f"look-2,canaryprompt,{FACE},1k,denied",
    ]
    (tmp_path / "good.csv").write_text("\n".join(["key,prompt,face_reference,resolution,team", *rows]))
    (tmp_path / "bad.csv").write_text(
        "key,prompt,face_reference,resolution\nlook-1,canaryprompt,canaryface,9k\nlook-2,,canaryface,1k\n"
    )
    for file, words in (("good.csv", ()), ("bad.csv", ())):
        for command in ("check", "plan"):
            for form in ((), ("--json",)):
                result = CliRunner().invoke(main, [command, file, "--policy", "test.yaml", *words, *form])
                assert result.exit_code in (0, 1, 2), result.output
                assert result.output
                assert_clean(result.output, (command, file, form))


class Parrot:
    """A provider whose every answer repeats what it was told."""

    def __init__(self, status, document):
        self.status, self.document = status, document

    def answer(self, extra=None):
        from policies.guard.answers import Answer

        document = {**self.document, **(extra or {})}
        return Answer(self.status, {"x-fashn-credits-used": PROMPT}, json.dumps(document).encode())


@pytest.mark.parametrize(
    ("status", "document"),
    [
        (400, {"error": "BadRequest", "message": PROMPT}),
        (400, {"error": PROMPT, "message": PROMPT}),
        (500, {"error": "InternalServerError", "message": f"{PROMPT} {KEY}"}),
        (502, {"error": KEY}),
        (200, {"id": None, "error": PROMPT}),
        (200, {"id": "p-1", "status": "failed", "error": {"name": PROMPT, "message": FACE}}),
        (200, {"id": "p-1", "status": "failed", "error": {"name": "PoseError", "message": PROMPT}}),
        (200, {"id": "p-1", "status": PROMPT, "message": PROMPT}),
    ],
)
def test_law_21_a_provider_that_repeats_what_it_was_told_is_not_quoted(tmp_path, status, document):
    """Names that look like names are kept; messages, and names that are sentences, are not."""
    world = World(tmp_path, budget_policy(100))
    parrot = Parrot(status, document)
    world.post = lambda body: parrot.answer()
    world.get = lambda effect: parrot.answer()
    worker = world.worker()
    found = worker.submit(world.ask("look-1", request(prompt=PROMPT, face_reference=FACE)))
    if isinstance(found, Job):
        worker.finish(found)
    assert_clean(repr(found) + repr(world.store.entries()) + repr(world.store.events()), "the ledger")
    world.close()
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert_clean(path.read_bytes(), path)


def test_law_21_values_that_carry_private_things_do_not_show_them():
    """Requests, effects and decisions are safe to log as they are."""
    asked = parse_request(ASKED)
    assert_clean(f"{asked!r} {asked}", "a request")
    assert_clean(repr(Post(asked.body())), "an effect")


def test_law_21_the_search_would_find_what_it_looks_for():
    """A test that cannot fail shows nothing: each private thing is found where it is put."""
    for secret in (KEY, PROMPT, FACE, POSE, LABELS["client"], json.dumps(ASKED), percent(PROMPT)):
        with pytest.raises(AssertionError):
            assert_clean(f"… {secret} …", "here")
