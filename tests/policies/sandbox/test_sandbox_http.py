"""The stand-in over real HTTP: every endpoint, and connections that really drop."""

import json
import socket
import statistics
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import httpx
import pytest
from PIL import Image

from planner.errors import InputError, OperatorError
from policies.server.sandbox import app, routes, server, webhooks
from policies.server.sandbox.app import running
from policies.server.sandbox.faults import Faults
from policies.server.sandbox.limits import Limits

SPEED = 1000.0


@pytest.fixture(scope="module")
def shared():
    """One sandbox for the tests that only look: its windows are wide."""
    wide = Limits(concurrency=1000, run=(10_000, 60.0), status=(10_000, 10.0), credits=(10_000, 10.0))
    with running(speed=SPEED, seed=5, limits=wide) as handle:
        yield handle


@pytest.fixture
def client(shared):
    """A client with a key; every test starts without faults."""
    shared.provider.faults = Faults()
    with httpx.Client(base_url=shared.url, headers={"authorization": "Bearer k"}, trust_env=False) as client:
        yield client


def done(client, id):
    """Polls until the prediction has ended."""
    for _ in range(200):
        answer = client.get(f"/v1/status/{id}")
        if answer.json()["status"] not in ("starting", "in_queue", "processing"):
            return answer
        time.sleep(0.01)
    raise AssertionError("the prediction did not end")


def test_a_prediction_from_submission_to_picture(client, body):
    """Run, poll, header, picture: the whole way over the wire."""
    answer = client.post("/v1/run", content=body(resolution="2k", num_images=2, output_format="jpeg"))
    assert answer.status_code == 200
    assert set(answer.json()) == {"id", "error"}
    finished = done(client, answer.json()["id"])
    assert finished.headers["x-fashn-credits-used"] == "8"
    outputs = finished.json()["output"]
    assert [url.rsplit("/", 1)[1] for url in outputs] == ["output_0.jpeg", "output_1.jpeg"]
    for url in outputs:
        picture = httpx.get(url, trust_env=False)  # the CDN asks for no key
        assert picture.headers["content-type"] == "image/jpeg"
        assert Image.open(BytesIO(picture.content)).format == "JPEG"


def test_credits(client, body):
    """The balance has the documented shape, its parts add up, and a submission lowers it."""
    before = client.get("/v1/credits").json()["credits"]
    assert before["total"] == before["subscription"] + before["on_demand"]
    client.post("/v1/run", content=body())
    assert client.get("/v1/credits").json()["credits"]["total"] == before["total"] - 1


def test_no_key_is_401(client, body):
    """The key travels in the header; without it nothing is accepted."""
    for answer in (
        client.post("/v1/run", content=body(), headers={"authorization": ""}),
        client.get("/v1/status/x", headers={"authorization": ""}),
        client.get("/v1/credits", headers={"authorization": ""}),
    ):
        assert (answer.status_code, answer.json()["error"]) == (401, "UnauthorizedAccess")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/v1/run"),
        ("POST", "/v1/credits"),
        ("POST", "/v2/run"),
        ("GET", "/v1/status/"),
        ("GET", "/v1/status/nobody-u1"),
        ("GET", "/outputs/nobody-u1/output_0.png"),
        ("GET", "/outputs/nobody-u1/output_x.png"),
    ],
)
def test_what_is_not_there_is_404_in_the_providers_shape(method, path, client):
    """Wrong paths, wrong methods and unknown ids are all NotFound."""
    answer = client.request(method, path)
    assert answer.status_code == 404
    assert answer.json()["error"] == "NotFound"
    assert set(answer.json()) == {"error", "message"}


def test_an_output_of_another_format_is_not_there(client, body):
    """A png has no jpeg beside it."""
    url = done(client, client.post("/v1/run", content=body()).json()["id"]).json()["output"][0]
    assert client.get(url).status_code == 200
    assert client.get(url.replace(".png", ".jpeg")).status_code == 404


@pytest.mark.parametrize(("fault", "accepted"), [("lost_before", 0), ("lost_after", 1)])
def test_a_lost_call_drops_the_connection(fault, accepted, shared, client, body):
    """No byte of an answer arrives, and only the bill knows whether it was accepted."""
    before = shared.bill().accepted
    shared.provider.faults = Faults(**{fault: 1.0})
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        client.post("/v1/run", content=body())
    assert shared.bill().accepted - before == accepted
    shared.provider.faults = Faults()
    assert client.get("/v1/credits").status_code == 200


def test_a_dropped_connection_sends_nothing_at_all(shared, body):
    """On the bare socket: the peer closes, and not one byte came before that."""
    shared.provider.faults = Faults(lost_after=1.0)
    host, port = shared.url.removeprefix("http://").split(":")
    content = body()
    head = "POST /v1/run HTTP/1.1\r\nhost: x\r\nauthorization: Bearer k\r\n"
    head += f"content-length: {len(content)}\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=5) as line:
        line.sendall(head.encode() + content)
        with suppress(ConnectionResetError):
            assert line.recv(1000) == b""
    shared.provider.faults = Faults()


@pytest.mark.parametrize(
    ("fault", "status"),
    [("proxy_before", 502), ("proxy_after", 502), ("redirect_after", 307), ("no_id", 200)],
)
def test_answers_that_say_nothing_about_the_call(fault, status, shared, client, body):
    """A proxy's page, a redirect and a 200 without an id come over the wire as they are."""
    shared.provider.faults = Faults(**{fault: 1.0})
    answer = client.post("/v1/run", content=body())
    assert answer.status_code == status
    assert "u1" not in answer.text
    assert answer.headers.get("location") == ("/v1/run" if status == 307 else None)
    assert answer.headers.get("content-type", "").startswith("text/html") == (status == 502)


def test_out_of_credits_over_the_wire_until_a_top_up(body):
    """429 OutOfCredits, a top-up at the sandbox's own door, and the same request goes."""
    with (
        running(speed=SPEED, balance=3) as handle,
        httpx.Client(base_url=handle.url, trust_env=False) as client,
    ):
        client.headers["authorization"] = "Bearer k"
        for wrong in ("", "0", "-1", "1.5", "²"):
            assert client.post("/sandbox/top-up", params={"credits": wrong}).status_code == 400
        refused = client.post("/v1/run", content=body(resolution="2k"))
        assert (refused.status_code, refused.json()["error"]) == (429, "OutOfCredits")
        assert client.post("/sandbox/top-up", params={"credits": 1}).json() == {"credits_added": 1}
        assert client.post("/v1/run", content=body(resolution="2k")).status_code == 200
        handle.top_up(5)
        assert client.get("/v1/credits").json()["credits"]["total"] == 5


def test_the_bill_over_the_wire_is_the_bill(client, shared, body):
    """`GET /sandbox/bill` shows what the handle shows."""
    done(client, client.post("/v1/run", content=body()).json()["id"])
    shown, own = client.get("/sandbox/bill").json(), shared.bill().as_json()
    assert shown["accepted"] == own["accepted"] > 0
    assert shown["predictions"][0] == own["predictions"][0]


def test_the_limits_run_in_virtual_time():
    """At 100 times the speed a full window of 60 s has room again after 0.6 s, and not before."""
    with (
        running(speed=100.0, limits=Limits(credits=(2, 60.0))) as handle,
        httpx.Client(base_url=handle.url, headers={"authorization": "Bearer k"}, trust_env=False) as client,
    ):
        start = time.monotonic()
        assert [client.get("/v1/credits").status_code for _ in range(3)] == [200, 200, 429]
        while client.get("/v1/credits").status_code == 429:
            time.sleep(0.02)
        assert 0.6 <= time.monotonic() - start < 3.0


def test_answers_are_not_held_back(client):
    """With Nagle's algorithm on, each small answer would take 40 ms: the median of thirty is far below."""
    taken = []
    for _ in range(30):
        start = time.perf_counter()
        client.get("/v1/credits")
        taken.append(time.perf_counter() - start)
    assert statistics.median(taken) < 0.030


def test_the_transport_has_nagle_off(monkeypatch, shared, client):
    """The option itself, read from the socket of a connection."""
    seen = []
    plain = server._Protocol.connection_made

    def spied(self, transport):
        plain(self, transport)
        seen.append(transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    monkeypatch.setattr(server._Protocol, "connection_made", spied)
    client.get("/v1/credits", headers={"connection": "close"})
    client.get("/v1/credits")
    assert seen
    assert all(seen)


def test_many_threads_are_served_together(shared, body):
    """Forty submissions from eight threads are forty predictions with forty ids."""
    before, ids = shared.bill().accepted, []

    def submit():
        with httpx.Client(base_url=shared.url, headers={"authorization": "Bearer k"}, trust_env=False) as own:
            ids.extend(own.post("/v1/run", content=body()).json()["id"] for _ in range(5))

    threads = [threading.Thread(target=submit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 40
    assert shared.bill().accepted - before == 40


class Hook:
    """A webhook receiver that refuses the first few calls."""

    def __init__(self, refusals):
        self.bodies, self.headers = [], []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                hook.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                hook.headers.append(dict(self.headers))
                self.send_response(500 if len(hook.bodies) <= refusals else 204)
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def wait(self, count):
        for _ in range(400):
            if len(self.bodies) >= count:
                return
            time.sleep(0.01)


def submit_with_hook(handle, hook, body, **inputs):
    """A submission that asks for a webhook."""
    headers = {"authorization": "Bearer k"}
    url = f"{handle.url}/v1/run"
    return httpx.post(
        url, params={"webhook_url": hook.url}, content=body(**inputs), headers=headers, trust_env=False
    )


@pytest.mark.parametrize("fault", [None, "failed", "lost_after"])
def test_a_webhook_is_told_the_terminal_state(fault, body):
    """Once, with the status document; no signature and no credits. Even where the answer was lost."""
    faults = Faults(**{fault: 1.0} if fault else {})
    with Hook(0) as hook, running(speed=SPEED, seed=1, faults=faults) as handle:
        try:
            submit_with_hook(handle, hook, body)
        except httpx.TransportError:
            assert fault == "lost_after"
        hook.wait(1)
        (line,) = handle.bill().predictions
        (told,) = hook.bodies
        assert told["id"] == line.id
        assert told["status"] == ("failed" if fault == "failed" else "completed")
        assert set(told) == {"id", "status", "output", "error"}
        assert not any("credits" in name.lower() or "signature" in name.lower() for name in hook.headers[0])


def test_a_webhook_is_told_again_until_it_listens(body):
    """After two refusals the third call is the last."""
    with Hook(2) as hook, running(speed=SPEED, seed=1) as handle:
        submit_with_hook(handle, hook, body)
        hook.wait(3)
        time.sleep(0.1)
        assert len(hook.bodies) == 3
        assert hook.bodies[0] == hook.bodies[2]


def test_a_webhook_is_given_up_after_five_retries(body):
    """Six calls over about five minutes of virtual time, then silence."""
    assert len(webhooks.RETRY_SECONDS) == 5
    assert sum(webhooks.RETRY_SECONDS) == 300
    with Hook(100) as hook, running(speed=10 * SPEED, seed=1) as handle:
        submit_with_hook(handle, hook, body)
        hook.wait(6)
        time.sleep(0.1)
        assert len(hook.bodies) == 6


def test_a_webhook_on_another_machine_is_refused(client, shared, body):
    """BadRequest, and nothing is accepted."""
    before = shared.bill().accepted
    answer = client.post("/v1/run", params={"webhook_url": "http://192.0.2.1/hook"}, content=body())
    assert (answer.status_code, answer.json()["error"]) == (400, "BadRequest")
    assert shared.bill().accepted == before


def test_a_port_in_use_is_one_clear_error(shared):
    """The address is named, and how to get another."""
    port = int(shared.url.rsplit(":", 1)[1])
    with pytest.raises(OperatorError, match=rf"127\.0\.0\.1:{port}.*another port"), running(port=port):
        pass


@pytest.mark.parametrize(
    "options", [{"speed": 0.0}, {"speed": -1.0}, {"speed": float("inf")}, {"balance": -1}]
)
def test_figures_that_make_no_sense_are_refused(options):
    """Before any socket is opened."""
    with pytest.raises(InputError), running(**options):
        pass


def test_without_a_seed_two_sandboxes_are_two_providers(body):
    """Their ids differ; with one seed they are the same."""

    def first_id(**options):
        with running(**options) as handle:
            answer = httpx.post(
                f"{handle.url}/v1/run", content=body(), headers={"authorization": "Bearer k"}, trust_env=False
            )
            return answer.json()["id"]

    assert first_id() != first_id()
    assert first_id(seed=3) == first_id(seed=3)


def test_an_ipv6_address_is_a_url(body):
    """The host of the address stands in brackets."""
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        with running("::1") as handle:
            assert handle.url.startswith("http://[::1]:")
            assert httpx.get(f"{handle.url}/sandbox/bill", trust_env=False).status_code == 200
    except OperatorError:
        pytest.skip("this machine has no IPv6 loopback")


def threads():
    """How many sandboxes run in this process."""
    return sum(thread.name == "sandbox" for thread in threading.enumerate())


def test_it_starts_and_stops_quickly_and_leaves_nothing():
    """Warm, it listens within half a second; afterwards its thread and its port are gone."""
    before, start = threads(), time.perf_counter()
    with running() as handle:
        assert time.perf_counter() - start < 0.5
        assert threads() == before + 1
        port = int(handle.url.rsplit(":", 1)[1])
    assert threads() == before
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_an_error_inside_the_block_still_stops_it():
    """The caller's own exception comes out, and no thread stays behind."""
    before = threads()
    with pytest.raises(ZeroDivisionError), running():
        raise ZeroDivisionError
    assert threads() == before


def test_the_extra_is_named_when_it_is_missing(monkeypatch):
    """Without Starlette the error says what to install."""
    import builtins

    plain = builtins.__import__

    def without(name, *rest):
        if name == routes.__name__:
            raise ModuleNotFoundError("No module named 'starlette'", name="starlette")
        return plain(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(app.ConfigError, match=r"needs `starlette`.*fashn-planner\[sandbox\]"), running():
        pass
