"""A durable hold and its settlement, beside raw drivers: `python benchmarks/ledger.py [JOBS]`.

The raw drivers do the same statements. They are written down while the store books jobs on one copy of a
ledger; then the store books the same jobs on a second copy and the driver repeats the statements on a
third, turn by turn in one run, and the three must end with the same rows. Then writers: several processes
on one SQLite file, and on one PostgreSQL server with an account and a budget each. The absolute figures
depend on the machine; the ratios are what is aimed at.
"""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import make_url

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests import ledgers, postgres

from planner.loading import shipped_prices
from planner.request import ModelCreateRequest
from policies.engine import Policy
from policies.ledger import postgres as server
from policies.ledger import sqlite as file
from policies.ledger import statements
from policies.ledger.entries import Admitted, Ask, Evidence
from policies.ledger.owners import Owner
from policies.ledger.states import Happened
from policies.ledger.store import Store
from policies.loading import parse_policy

POLICY = parse_policy(
    """
policy: 1
name: bench
timezone: UTC
otherwise: allow
labels: {team: any}
budgets:
  - {name: month, limit: 90000000 credits, per: month, for_each: [team], when_exhausted: deny}
""",
    "bench.yaml",
)
REQUEST = ModelCreateRequest(prompt="linen dress", resolution="2k")
BOOK = shipped_prices()
FAST = 1e6  # the provider's rate window must not end the race
ROUNDS, WRITING_SECONDS = 5, 4.0


def job(store: Store, policy: Policy, owner: Owner, name: str, number: int) -> None:
    """One hold and one settlement: two durable commits."""
    ask = Ask(name, "main", f"k{number}", REQUEST, {"team": name})
    found = store.admit(ask, policy, BOOK, owner, rate_microusd=75_000)
    assert isinstance(found, Admitted), found
    accepted = (Happened.ACCEPTED, Evidence(prediction_id=f"{name}-{number}"))
    store.record(found.entry, accepted, (Happened.CHARGED, Evidence(credits=4, outputs=1)))


def founded(url: str, names: str = "a") -> None:
    """A ledger with its accounts and the policy in force."""
    store = Store.open(url)
    for name in names:
        store.bind(name, "http://stand-in", live=False)
    store.bring_in_force(POLICY)
    store.close()


class Clock:
    """A clock that every copy sees alike, so that the same rows are written."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 20, 9, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now


# -- the store and the raw driver ----------------------------------------------------------------

Written = list[tuple[str, Any]]


@contextmanager
def written_down(store: Store) -> Iterator[Written]:
    """What is sent to the database meanwhile, with its values."""
    found: Written = []
    compiled = statements._Compiled
    values = compiled.values

    def noted(self: Any, given: Any) -> Any:
        found.append((self.sql, values(self, given)))
        return found[-1][1]

    def note(_c: Any, _u: Any, sql: str, given: Any, _x: Any, _m: Any) -> None:
        found.append((sql, given))

    event.listen(store._engine, "before_cursor_execute", note)
    compiled.values = noted  # type: ignore[assignment,method-assign]
    yield found
    compiled.values = values  # type: ignore[method-assign]


class Sqlite:
    """Copies of one ledger in files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.urls = [f"sqlite:///{folder}/{name}.db" for name in "abc"]

    def copy(self) -> None:
        for name in "bc":
            ledgers.copy(self.folder / "a.db", self.folder / f"{name}.db")

    @contextmanager
    def writing_down(self, store: Store) -> Iterator[Written]:
        writing = file.writing
        with written_down(store) as found:

            @contextmanager
            def noted(engine: Engine) -> Iterator[Connection]:
                found.append(("BEGIN IMMEDIATE", ()))
                with writing(engine) as connection:
                    yield connection
                found.append(("COMMIT", ()))

            file.writing = noted  # type: ignore[assignment]
            yield found
            file.writing = writing

    def raw(self, written: Written) -> Callable[[Written], None]:
        connection = sqlite3.connect(self.folder / "c.db", isolation_level=None)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

        def repeat(statements: Written) -> None:
            for sql, values in statements:
                connection.execute(sql, values).fetchall()

        return repeat

    def rows(self, which: int) -> list[Any]:
        with sqlite3.connect(self.folder / f"{'abc'[which]}.db") as connection:
            return connection.execute(_ROWS).fetchall()


class Postgres:
    """Copies of one ledger in schemas of a server that flushes every commit."""

    def __init__(self, url: str) -> None:
        self.urls = [f"{url}&schema=bench_{name}" for name in "abc"]

    def copy(self) -> None:
        for target in self.urls[1:]:
            founded(target)
            one, other = (make_url(url).query["schema"] for url in (self.urls[0], target))
            tables = ("facts", "owners")
            words = [
                f"DELETE FROM {other}.{name}; INSERT INTO {other}.{name} SELECT * FROM {one}.{name}"
                for name in tables
            ]
            postgres.execute(target, "; ".join(words))

    @contextmanager
    def writing_down(self, store: Store) -> Iterator[Written]:
        begin = server._last_value
        with written_down(store) as found:

            def noted(connection: Any, sql: str) -> int:
                found.append((sql, None))
                return begin(connection, sql)

            server._last_value = noted
            yield found
            server._last_value = begin

    def raw(self, written: Written) -> Callable[[Written], None]:
        plain = make_url(self.urls[2]).difference_update_query(["schema"]).set(drivername="postgresql")
        connection = psycopg.connect(
            plain.render_as_string(hide_password=False), autocommit=True, prepare_threshold=None
        )
        schemas = [make_url(url).query["schema"] for url in self.urls]

        def repeat(statements: Written) -> None:
            with connection.cursor() as cursor:
                for sql, values in statements:
                    cursor.execute(sql, values or None)
                    if cursor.description:
                        cursor.fetchall()

        here = [(sql.replace(str(schemas[0]), str(schemas[2])), values) for sql, values in written]
        written[:] = here
        return repeat

    def rows(self, which: int) -> list[Any]:
        return postgres.execute(self.urls[which], _ROWS)


_ROWS = "SELECT id, key, state, credits, booked_us, ended_us FROM entries ORDER BY id"


def beside_raw(engine: Sqlite | Postgres, jobs: int) -> tuple[float, float, float]:
    """Jobs a second of the store and of the raw driver, and the median of their ratios."""
    founded(engine.urls[0])
    clock, again = Clock(), Clock()
    first = Store.open(engine.urls[0], clock=clock, speed=FAST)
    owner = first.register()
    owner.end_lease()  # a renewal would be written down too, and move the clock
    again.now = clock.now
    engine.copy()
    with engine.writing_down(first) as written:
        places = [0]
        for number in range(ROUNDS * jobs):
            job(first, POLICY, owner, "a", number)
            places.append(len(written))
    second = Store.open(engine.urls[1], clock=again, speed=FAST)
    repeat = engine.raw(written)
    shares, by_store, by_raw = [], [], []
    for turn in range(ROUNDS):
        numbers = range(turn * jobs, (turn + 1) * jobs)
        began = perf_counter()
        for number in numbers:
            job(second, POLICY, owner, "a", number)
        middle = perf_counter()
        repeat(written[places[numbers[0]] : places[numbers[-1] + 1]])
        ended = perf_counter()
        by_store.append(jobs / (middle - began))
        by_raw.append(jobs / (ended - middle))
        shares.append((ended - middle) / (middle - began))
    assert engine.rows(0) == engine.rows(1) == engine.rows(2)
    owner.abandon()
    first.close()
    second.close()
    return median(by_store), median(by_raw), median(shares)


# -- writers -------------------------------------------------------------------------------------


def write(url: str, name: str, seconds: float) -> None:
    """What one process of a race does: as many jobs as it can; prints how many, and its worst hold."""
    store = Store.open(url, speed=FAST)
    policy, owner = store.bring_in_force(POLICY), store.register()
    job(store, policy, owner, name, random.getrandbits(60))
    print("ready", flush=True)
    sys.stdin.readline()
    done, worst, until = 0, 0.0, perf_counter() + seconds
    while (began := perf_counter()) < until:
        job(store, policy, owner, name, random.getrandbits(60))
        done, worst = done + 1, max(worst, perf_counter() - began)
    owner.close()
    print(done, worst)


def race(url: str, names: str) -> list[tuple[int, float]]:
    """Several processes at once; the jobs of each, and its slowest in seconds."""
    command = [sys.executable, __file__, "--write", url]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    racers = [subprocess.Popen([*command, name], **pipes) for name in names]
    for racer in racers:
        racer.stdout.readline()  # type: ignore[union-attr]
    for racer in racers:
        racer.stdin.write("\n")  # type: ignore[union-attr]
        racer.stdin.flush()  # type: ignore[union-attr]
    told = [racer.communicate()[0].split() for racer in racers]
    return [(int(done), float(worst)) for done, worst in told]


def writers(title: str, url: str, names: str) -> None:
    ((alone, _),) = race(url, names[0])
    together = race(url, names)
    total, worst = sum(done for done, _ in together), max(slow for _, slow in together)
    share = min(done for done, _ in together) / (total / len(names))
    print(
        f"{title:42} one {alone / WRITING_SECONDS:5.0f}/s   four {total / WRITING_SECONDS:5.0f}/s"
        f" ({total / alone:.2f}x)   slowest {share:.2f} of an equal share   worst job {worst * 1000:.0f} ms"
    )


def main() -> None:
    if sys.argv[1:2] == ["--write"]:
        write(sys.argv[2], sys.argv[3], WRITING_SECONDS)
        return
    jobs = int(sys.argv[1]) if sys.argv[1:] else 100
    url = postgres.started(fsync="on", full_page_writes="on", autovacuum="on")
    with tempfile.TemporaryDirectory() as name:
        for title, engine in (("SQLite", Sqlite(Path(name))), ("PostgreSQL", Postgres(url))):
            ours, raw, share = beside_raw(engine, jobs)
            print(f"{title:12} hold + settle {ours:6.0f}/s   raw driver {raw:6.0f}/s   ratio {share:.2f}")
        file = f"sqlite:///{name}/writers.db"
        founded(file, "abcd")
        writers("SQLite, four writers", file, "abcd")
        founded(f"{url}&schema=bench_many", "abcd")
        writers("PostgreSQL, four accounts and budgets", f"{url}&schema=bench_many", "abcd")
        founded(f"{url}&schema=bench_one", "a")
        writers("PostgreSQL, one account and budget", f"{url}&schema=bench_one", "aaaa")


if __name__ == "__main__":
    main()
