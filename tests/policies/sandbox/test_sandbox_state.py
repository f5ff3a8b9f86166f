"""The state file: a restarted sandbox goes on where it was, even after SIGKILL."""

import json
import signal
import subprocess
import sys
from contextlib import contextmanager

import httpx
import pytest

from planner.errors import ConfigError, OperatorError
from policies.server.sandbox.app import running
from policies.server.sandbox.faults import Faults
from policies.server.sandbox.loading import shipped_provider

HEADERS = {"authorization": "Bearer a-secret-key"}

SERVE = """
import sys
from pathlib import Path
from policies.server.sandbox.app import serve
serve(speed=float(sys.argv[2]), balance=100, state=Path(sys.argv[1]) if sys.argv[1] else None,
      ready=lambda url: print(url, flush=True))
print("stopped", flush=True)
"""


@contextmanager
def served(state, speed=1.0):
    """A sandbox in a process of its own; killed on the way out if it still runs."""
    command = [sys.executable, "-c", SERVE, str(state), str(speed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().strip()
            with httpx.Client(base_url=url, headers=HEADERS, trust_env=False) as client:
                yield process, client
        finally:
            process.kill()


def test_after_sigkill_it_still_knows_everything(tmp_path, body):
    """Predictions, balance and time survive the death of a real process; ids go on without a repeat."""
    state = tmp_path / "sandbox.jsonl"
    with served(state, speed=1000) as (process, client):
        ids = [client.post("/v1/run", content=body(resolution="2k")).json()["id"] for _ in range(3)]
        client.post("/sandbox/top-up", params={"credits": 7})
        while client.get(f"/v1/status/{ids[0]}").json()["status"] != "completed":
            pass
        before = client.get("/sandbox/bill").json()
        process.send_signal(signal.SIGKILL)
        process.wait()
    with served(state) as (process, client):
        after = client.get("/sandbox/bill").json()
        assert [line["id"] for line in after["predictions"]] == ids
        assert after["credits"] == before["credits"] == 12
        assert client.get("/v1/credits").json()["credits"]["total"] == 95
        done = client.get(f"/v1/status/{ids[0]}")
        assert done.json()["status"] == "completed"
        assert done.headers["x-fashn-credits-used"] == "4"
        assert client.get(done.json()["output"][0]).status_code == 200
        assert client.post("/v1/run", content=body()).json()["id"] not in ids


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(number):
    """`serve` returns: exit code 0, what stands after it runs, and nothing is printed to stderr."""
    with served("") as (process, client):
        assert client.get("/v1/credits").status_code == 200
        process.send_signal(number)
        out, errors = process.communicate(timeout=10)
        assert (process.returncode, out, errors) == (0, "stopped\n", "")


def submit(handle, body, **inputs):
    """A submission over HTTP."""
    return httpx.post(f"{handle.url}/v1/run", content=body(**inputs), headers=HEADERS, trust_env=False)


def test_a_clean_stop_keeps_the_clock(tmp_path, body):
    """The next start goes on at the instant of the stop, and time stands still in between."""
    state = tmp_path / "sandbox.jsonl"
    with running(state=state, speed=100) as handle:
        submit(handle, body)
        stopped = handle.bill().at_seconds
    with running(state=state) as handle:
        assert stopped <= handle.bill().at_seconds < stopped + 60


def test_seed_and_balance_are_those_of_the_file(tmp_path, body):
    """Other figures on the second start change nothing; faults and speed are the new ones."""
    state = tmp_path / "sandbox.jsonl"
    with running(state=state, seed=1, balance=50) as handle:
        first = submit(handle, body).json()["id"]
    with running(state=state, seed=2, balance=9, faults=Faults(server_error=1.0)) as handle:
        assert submit(handle, body).status_code == 500
        handle.provider.faults = Faults()
        second = submit(handle, body).json()["id"]
        assert handle.bill().credits == 2
    provider = shipped_provider(seed=1)
    assert [provider.run(body(), "Bearer k", 0.0).accepted for _ in range(2)] == [first, second]


def test_a_torn_last_line_is_as_if_never_written(tmp_path, body):
    """What was not written to its end was never answered for: the file goes on before it."""
    state = tmp_path / "sandbox.jsonl"
    with running(state=state, balance=50) as handle:
        submit(handle, body)
    whole = state.read_bytes()
    state.write_bytes(whole + b'{"event":"accepted","at":9e9,"pred')
    with running(state=state) as handle:
        assert handle.bill().accepted == 1
        submit(handle, body)
    lines = state.read_bytes().splitlines()
    assert state.read_bytes().startswith(whole)
    assert sum(json.loads(line)["event"] == "accepted" for line in lines) == 2


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("hello\n", 1),
        ('{"event":"born","at":0,"format":99}\n', 1),
        ('{"event":"born","at":0,"format":1,"seed":1,"subscription":0,"on_demand":5}\n[]\n', 2),
    ],
)
def test_another_kind_of_file_is_left_alone(text, line, tmp_path):
    """The error names file and line, and the file is not touched."""
    state = tmp_path / "notes.txt"
    state.write_text(text)
    with (
        pytest.raises(ConfigError, match=rf"notes\.txt:{line}: this is not a state file"),
        running(state=state),
    ):
        pass
    assert state.read_text() == text


def test_two_sandboxes_cannot_share_a_file(tmp_path):
    """The second one is refused while the first runs, and welcome afterwards."""
    state = tmp_path / "sandbox.jsonl"
    with running(state=state), pytest.raises(OperatorError, match="another sandbox"), running(state=state):
        pass
    with running(state=state):
        pass


def test_a_file_that_cannot_be_made_is_one_clear_error(tmp_path):
    """A missing directory is said in one line."""
    with pytest.raises(OperatorError, match="cannot be used"), running(state=tmp_path / "no" / "such.jsonl"):
        pass


def test_no_secret_reaches_the_file(tmp_path, body):
    """Neither key nor prompt nor reference stands in it."""
    state = tmp_path / "sandbox.jsonl"
    with running(state=state) as handle:
        submit(handle, body, prompt="the unreleased coat", face_reference="https://example.com/face.png")
    text = state.read_text()
    assert '"accepted"' in text
    assert not any(secret in text for secret in ("a-secret-key", "unreleased", "example.com"))


def test_replay_is_exact(body):
    """A provider restored from its events has the bill of the one that wrote them, failures included."""
    faults = Faults(failed=0.3, partial=0.3, drift=0.3, canceled=0.1)
    events = []
    first = shipped_provider(seed=9, balance_credits=200, faults=faults)
    first.record = events.append
    for number in range(60):
        first.run(body(num_images=number % 4 + 1), "Bearer k", number * 7.0)
        if number == 30:
            first.top_up(50, number * 7.0)
    second = shipped_provider(seed=9, balance_credits=200)
    reached = second.restore(json.loads(json.dumps(events)))
    at = max(reached, 60 * 7.0)
    assert second.bill(at).predictions == first.bill(at).predictions
    assert second.credits("Bearer k", at).body == first.credits("Bearer k", at).body
