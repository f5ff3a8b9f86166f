"""The guard in real requests on loopback, beside plain httpx: `python benchmarks/calls.py [CALLS]`.

A server in a process of its own answers at once. In one run, turn by turn: a plain `httpx.Client.post` of
a body; the guard's decision about the same bytes, from reading them to the verdict with its budgets; the
whole of a job through `GuardTransport`, which is a paid POST and the look that settles it, beside the same
two calls without it; and what the ledger has to write for that by sqlite3 alone: a hold, an acceptance and
a settlement, each a durable commit of a row, an event and a counter.

Answers come first: the server has seen every body byte for byte, each job is settled at what the server
said, and the ledger verifies. The times depend on the machine; the ratios are what is aimed at.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import httpx

from policies.guard.guard import Guard
from policies.guard.submissions import Call, read_call
from policies.guard.transport import GuardTransport
from policies.ledger.states import State
from policies.ledger.verify import verify

POLICY = """
policy: 1
name: studio
otherwise: allow
labels: {team: [ecommerce, social]}
budgets:
  - {name: team-month, limit: 9000000 credits, per: month, for_each: [team]}
rules:
  - {name: no-large-posts, when: {team: social, credits: {above: 12}}, deny: social posts are small}
  - {name: large, when: {credits: {at_least: 24}}, needs_approval: finance}
"""
LABELS = {"team": "ecommerce"}
CREDITS = 4
FAST = 1e6  # the provider's rate window must not end the race
BYTES = {"300 B": 0, "8 kB": 8_000, "3 MB face": 3_000_000}
TARGETS = {"300 B": 0.12, "8 kB": 0.12, "3 MB face": 0.6}
COMMITS = 1.3


# -- the server ----------------------------------------------------------------------------------


def serve() -> None:
    """The provider's two calls, answered at once; `/seen` tells the digest of every body."""
    import uvicorn

    bodies: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        parts, more = [], True
        while more:
            message = await receive()
            parts.append(message.get("body", b""))
            more = message.get("more_body", False)
        headers = [(b"content-type", b"application/json")]
        answer: Any
        if scope["method"] == "POST":
            bodies.append(b"".join(parts))
            answer = {"id": f"{len(bodies)}-u1", "error": None}
        elif scope["path"] == "/seen":
            answer = [hashlib.sha256(body).hexdigest() for body in bodies]
        else:
            headers.append((b"x-fashn-credits-used", b"%d" % CREDITS))
            answer = {
                "id": scope["path"].rpartition("/")[2],
                "status": "completed",
                "output": [],
                "error": None,
            }
        body = json.dumps(answer).encode()
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            print(self.servers[0].sockets[0].getsockname()[1], flush=True)

    asyncio.run(Server(uvicorn.Config(app, port=0, lifespan="off", log_level="critical")).serve())


@contextmanager
def server() -> Iterator[str]:
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


# -- what is timed -------------------------------------------------------------------------------


class Raw:
    """What a ledger has to write for a job, by hand: three commits as durable as ours."""

    def __init__(self, file: Path) -> None:
        self._connection = sqlite3.connect(file, isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.executescript(
            "CREATE TABLE jobs (id INTEGER PRIMARY KEY, key TEXT UNIQUE, state TEXT, credits INT, what TEXT);"
            "CREATE TABLE events (seq INTEGER PRIMARY KEY, job INT, state TEXT, credits INT, what TEXT);"
            "CREATE TABLE counters (name TEXT PRIMARY KEY, held INT, settled INT);"
            "INSERT INTO counters VALUES ('month', 0, 0);"
        )

    def job(self, key: str) -> None:
        what = json.dumps({"labels": LABELS, "resolution": "2k", "policy": "0" * 64, "asked": "0" * 64})
        self._commit(
            (
                "INSERT INTO jobs (key, state, credits, what) VALUES (?, 'sending', ?, ?)",
                (key, CREDITS, what),
            ),
            ("UPDATE counters SET held = held + ? WHERE name = 'month'", (CREDITS,)),
            (_EVENT, ("sending", CREDITS, key)),
        )
        self._commit(
            ("UPDATE jobs SET state = 'accepted' WHERE key = ? AND state = 'sending'", (key,)),
            (_EVENT, ("accepted", CREDITS, key)),
        )
        self._commit(
            ("UPDATE jobs SET state = 'settled' WHERE key = ? AND state = 'accepted'", (key,)),
            ("UPDATE counters SET held = held - ?, settled = settled + ?", (CREDITS, CREDITS)),
            (_EVENT, ("settled", CREDITS, key)),
        )

    def _commit(self, *statements: tuple[str, tuple[Any, ...]]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        for sql, values in statements:
            self._connection.execute(sql, values)
        self._connection.execute("COMMIT")

    def close(self) -> None:
        self._connection.close()


_EVENT = "INSERT INTO events (job, state, credits, what) SELECT id, ?, ?, '{}' FROM jobs WHERE key = ?"


@dataclass
class Times:
    """Seconds of each call, by what was done."""

    by_name: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, work: Callable[[], object]) -> None:
        began = perf_counter()
        work()
        self.by_name.setdefault(name, []).append(perf_counter() - began)


class Bench:
    """The clients of one run, and what they have sent."""

    def __init__(self, folder: Path, url: str) -> None:
        (folder / "studio.yaml").write_text(POLICY)
        self.guard = Guard.open(folder / "studio.yaml", f"sqlite:///{folder}/spend.db", speed=FAST)
        self.plain = httpx.Client(base_url=url)
        # The guard opens a connection for each paid POST, and so does this one.
        self.fresh = httpx.Client(base_url=url, limits=httpx.Limits(max_keepalive_connections=0))
        self.guarded = httpx.Client(base_url=url, transport=GuardTransport(self.guard, labels=LABELS))
        self.raw = Raw(folder / "raw.db")
        self.sent: list[bytes] = []
        self._numbers = count()

    def body(self, size: int) -> bytes:
        """A request like no other; with a size, its face or its prompt is that long."""
        inputs: dict[str, Any] = {
            "prompt": f"linen dress {next(self._numbers)}",
            "resolution": "2k",
            "seed": 7,
        }
        if size > 10_000:
            inputs |= {
                "resolution": "1k",
                "face_reference": "data:image/png;base64," + "iVBORw0K" * (size // 8),
            }
        elif size:
            inputs["prompt"] += " with pleats" * (size // 12)
        return json.dumps({"model_name": "model-create", "inputs": inputs}, separators=(",", ":")).encode()

    def turn(self, size: int, times: Times) -> None:
        """Every kind of work once."""
        body = self.body(size)
        times.add("plain", lambda: self.post(self.plain, body))
        times.add("read", lambda: self.read(body))
        times.add("decide", lambda: self.decide(body))
        times.add("without", lambda: self.job(self.fresh, body))
        times.add("guarded", lambda: self.job(self.guarded, body))
        times.add("raw", lambda: self.raw.job(body[-200:].hex() + str(next(self._numbers))))

    def post(self, client: httpx.Client, body: bytes) -> str:
        self.sent.append(body)
        answer = client.post("/v1/run", content=body, headers={"authorization": "Bearer any"})
        assert answer.status_code == 200, answer.text
        prediction_id: str = answer.json()["id"]
        return prediction_id

    def job(self, client: httpx.Client, body: bytes) -> None:
        """A paid POST, and the look that says what it cost."""
        status = client.get(f"/v1/status/{self.post(client, body)}", headers={"authorization": "Bearer any"})
        assert status.json()["status"] == "completed"

    def read(self, body: bytes) -> Any:
        return read_call(Call(frozenset(), {"authorization": "Bearer any"}, body), ["team"]).request

    def decide(self, body: bytes) -> None:
        """From the bytes to the verdict."""
        assert self.guard.check(self.read(body), LABELS).credits == CREDITS

    def check(self, jobs: int) -> None:
        """The server has seen the bytes, and the ledger has the jobs."""
        seen = self.plain.get("/seen").json()
        assert seen == [hashlib.sha256(body).hexdigest() for body in self.sent], "other bytes were sent"
        entries = self.guard.store.entries()
        assert [entry.state for entry in entries] == [State.SETTLED] * jobs
        assert {(entry.credits, entry.estimated) for entry in entries} == {(CREDITS, False)}
        assert verify(self.guard.store) == []

    def close(self) -> None:
        for one in (self.plain, self.fresh, self.guarded, self.guard, self.raw):
            one.close()


# -- what is told --------------------------------------------------------------------------------


def ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


def lowest_tenth(seconds: list[float]) -> float:
    """What it takes where nobody else wants the machine."""
    return sorted(seconds)[len(seconds) // 10]


def show(name: str, times: Times) -> None:
    """Medians, then the lowest tenth beside them, which a busy machine does not change."""
    print(f"{name:32}{'median':>12}{'lowest tenth':>16}")
    typical: dict[str, tuple[float, ...]] = {
        what: (median(found), lowest_tenth(found)) for what, found in times.by_name.items()
    }
    typical["more"] = tuple(
        one - other for one, other in zip(typical["guarded"], typical["without"], strict=True)
    )
    for what, text in TEXTS.items():
        one, other = typical[what]
        print(f"  {text:30}{ms(one):>12}{ms(other):>16}")
    shares(f"deciding to a post, at most {TARGETS[name]}", typical["decide"], typical["plain"])
    shares(f"added to raw commits, at most {COMMITS}", typical["more"], typical["raw"])
    print()


def shares(text: str, ours: tuple[float, ...], theirs: tuple[float, ...]) -> None:
    one, other = (mine / its for mine, its in zip(ours, theirs, strict=True))
    print(f"  {text:36}{one:>6.2f}{other:>16.2f}")


TEXTS = {
    "plain": "a plain post",
    "read": "reading the call",
    "decide": "reading and deciding",
    "without": "a post and a look, plain",
    "guarded": "the same, guarded",
    "more": "what the guard adds",
    "raw": "three raw commits",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("calls", nargs="?", type=int, default=200)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        return serve()
    with tempfile.TemporaryDirectory() as name, server() as url, closing(Bench(Path(name), url)) as bench:
        found = {}
        for what, size in BYTES.items():
            bench.turn(size, Times())
            found[what] = times = Times()
            for _ in range(given.calls if size < 10_000 else given.calls // 4):
                bench.turn(size, times)
        bench.check(sum(len(times.by_name["guarded"]) + 1 for times in found.values()))
    print("the server saw every byte, every job is settled, the ledger verifies\n")
    for what, times in found.items():
        show(what, times)
    return None


if __name__ == "__main__":
    main()
