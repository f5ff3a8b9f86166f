"""The guarded clients against the real sandbox over HTTP, from threads, an event loop and a fork."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from planner.errors import ConfigError, InvalidRequest
from policies import (
    AsyncGuardedClient,
    Denied,
    Guard,
    GuardedClient,
    GuardError,
    KeyConflict,
    NeedsApproval,
    NotInTime,
    OutcomeUnknown,
    OutOfCredits,
    PredictionFailed,
)
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
  - {name: large, when: {credits: {above: 20}}, needs_approval: finance}
"""


@pytest.fixture
def sandbox():
    with running(speed=SPEED, seed=3, balance=200) as handle:
        yield handle


@pytest.fixture
def guard(tmp_path: Path):
    with open_guard(tmp_path) as opened:
        yield opened
        assert verify(opened.store) == []


@pytest.fixture
def client(guard: Guard, sandbox: Handle):
    with GuardedClient(guard, api_key="key", base_url=sandbox.url) as opened:
        yield opened


def open_guard(folder: Path) -> Guard:
    return Guard.open(policy_of(OPEN_POLICY + RULES), f"sqlite:///{folder / 'ledger.db'}", speed=SPEED)


def test_create_is_submit_and_wait(client: GuardedClient, sandbox: Handle) -> None:
    """A picture costs what was quoted, by the provider's own bill, and the key is never paid twice."""
    result = client.create({"prompt": "x", "resolution": "2k", "num_images": 2}, key="a")
    assert (result.credits, result.estimated, len(result.outputs)) == (8, False, 2)
    again = client.submit({"prompt": "x", "resolution": "2k", "num_images": 2}, key="a").wait()
    assert (again.prediction_id, again.outputs) == (result.prediction_id, result.outputs)
    assert client.result("a").outputs == result.outputs
    assert sandbox.bill().credits == 8


def test_without_a_key_every_call_is_a_key_of_its_own(client: GuardedClient, sandbox: Handle) -> None:
    """Calling twice pays twice, because nothing says that it is the same job."""
    assert client.create({"prompt": "x"}).key != client.create({"prompt": "x"}).key
    assert sandbox.bill().credits == 2


def test_a_refusal_of_the_policy_sends_nothing(client: GuardedClient, sandbox: Handle) -> None:
    """Denied and needing approval are errors with the policy's own words; nothing is held or sent."""
    with pytest.raises(Denied, match="brand has its own studio"):
        client.create({"prompt": "x"}, labels={"team": "brand"}, key="a")
    with pytest.raises(NeedsApproval, match="finance"):
        client.create({"prompt": "x", "resolution": "4k", "generation_mode": "quality", "num_images": 4,
                       "face_reference": "https://example.com/f.png"}, key="b")  # fmt: skip
    with pytest.raises(Denied):
        client.result("a")
    with pytest.raises(NeedsApproval):
        client.result("b")
    with pytest.raises(InvalidRequest):
        client.create({"prompt": "x", "resolution": "8k"})
    assert sandbox.bill().accepted == 0


def test_a_full_budget_denies(client: GuardedClient, sandbox: Handle) -> None:
    """The sixty-first credit is not spent."""
    for number in range(3):
        client.create({"prompt": "x", "resolution": "4k", "num_images": 4}, key=f"{number}")
    with pytest.raises(Denied, match="all"):
        client.create({"prompt": "x"})
    assert sandbox.bill().credits == 60


def test_a_key_of_another_request_is_a_conflict(client: GuardedClient) -> None:
    """And a key that nobody used is an error, too."""
    client.create({"prompt": "x"}, key="a")
    with pytest.raises(KeyConflict):
        client.create({"prompt": "y"}, key="a")
    with pytest.raises(GuardError, match="no entry"):
        client.result("b")


def test_what_fails_and_what_nobody_knows(client: GuardedClient, sandbox: Handle) -> None:
    """A failure is free and its key too; a lost answer is counted, named, and never sent again."""
    sandbox.provider.faults = Faults(failed=1.0)
    with pytest.raises(PredictionFailed):
        client.create({"prompt": "x"}, key="a")
    with pytest.raises(PredictionFailed):
        client.result("a")
    sandbox.provider.faults = Faults(lost_after=1.0)
    with pytest.raises(OutcomeUnknown, match="ledger settle"):
        client.create({"prompt": "x"}, key="b")
    sandbox.provider.faults = Faults()
    with pytest.raises(OutcomeUnknown):
        client.create({"prompt": "x"}, key="b")
    assert sandbox.bill().accepted == 2


def test_a_cost_that_is_missing_is_estimated_until_it_comes(client: GuardedClient, sandbox: Handle) -> None:
    """The quote stands, marked; the next look at the key finds the header and says so."""
    sandbox.provider.faults = Faults(missing_header=1.0)
    assert client.create({"prompt": "x", "resolution": "2k"}, key="a").estimated
    sandbox.provider.faults = Faults()
    result = client.result("a")
    assert (result.estimated, result.credits) == (False, 4)


def test_out_of_credits_is_told_and_ends_with_a_top_up(guard: Guard, sandbox: Handle) -> None:
    """The account stops at the provider's word and starts again when the balance suffices."""
    sandbox.provider._balance.subscription = sandbox.provider._balance.on_demand = 0
    with GuardedClient(guard, api_key="key", base_url=sandbox.url) as client:
        for _ in range(2):
            with pytest.raises(OutOfCredits, match="top up"):
                client.create({"prompt": "x"}, key="a")
        sandbox.top_up(100)
        assert client.create({"prompt": "x"}, key="a").credits == 1
    assert sandbox.bill().refused == {"OutOfCredits": 1}


def test_no_slot_in_time_sends_nothing(client: GuardedClient, guard: Guard, sandbox: Handle) -> None:
    """With six in flight the seventh waits as long as it is told to, and no longer."""
    sandbox.provider.faults = Faults(slow=1.0)
    jobs = [client.submit({"prompt": "x", "resolution": "4k"}, key=f"{n}") for n in range(6)]
    with pytest.raises(NotInTime, match="no slot"):
        client.submit({"prompt": "x"}, key="7", wait_seconds=0)
    for job in jobs:
        job.wait()
    assert guard.store.entries(states=OPEN) == []
    assert sandbox.bill().most_in_flight == 6


def test_threads_share_one_client(client: GuardedClient, guard: Guard, sandbox: Handle) -> None:
    """Twelve calls from twelve threads: at most six at once, each paid once, and no 429."""
    with ThreadPoolExecutor(12) as pool:
        results = list(pool.map(lambda n: client.create({"prompt": f"{n}"}, key=f"{n}"), range(12)))
    bill = sandbox.bill()
    assert (sum(result.credits for result in results), bill.credits) == (12, 12)
    assert bill.most_in_flight <= 6
    assert bill.refused == {}


def test_the_async_client_does_the_same(tmp_path: Path, sandbox: Handle) -> None:
    """Eight calls in one event loop, one of them twice under the same key."""

    async def studio() -> list[int]:
        with open_guard(tmp_path) as guard:
            async with AsyncGuardedClient(guard, api_key="key", base_url=sandbox.url) as client:
                calls = (client.create({"prompt": f"{n % 7}"}, key=f"{n % 7}") for n in range(8))
                return [result.credits for result in await asyncio.gather(*calls)]

    assert asyncio.run(studio()) == [1] * 8
    assert sandbox.bill().credits == 7


def test_a_cancelled_call_books_what_may_have_been_sent(tmp_path: Path, sandbox: Handle) -> None:
    """Cancelled while the POST is on its way: the entry is unknown before the cancellation is raised."""
    accepted = threading.Event()
    sandbox.provider.record = lambda event: accepted.set()

    async def studio() -> None:
        with open_guard(tmp_path) as guard:
            async with AsyncGuardedClient(guard, api_key="key", base_url=sandbox.url) as client:
                call = asyncio.ensure_future(client.submit({"prompt": "x"}, key="a"))
                while not accepted.is_set():
                    await asyncio.sleep(0)
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
                (entry,) = guard.store.entries()
                assert entry.state in (State.UNKNOWN, State.ACCEPTED)
                assert entry.credits == 1

    asyncio.run(studio())


def test_a_wrong_address_and_a_missing_key_are_told_before_anything_is_booked(
    guard: Guard, monkeypatch
) -> None:
    """Configuration is checked when the client is made."""
    monkeypatch.delenv("FASHN_API_KEY", raising=False)
    for arguments in ({"base_url": "ftp://x"}, {"base_url": "http://127.0.0.1:9"}):
        with pytest.raises(ConfigError):
            GuardedClient(guard, **arguments)
    assert guard.store.entries() == []


def test_speed_is_refused_with_the_provider_itself(guard: Guard) -> None:
    """A live account has the provider's own windows."""
    with pytest.raises(ConfigError, match="speed"):
        GuardedClient(guard, api_key="key", base_url="https://api.fashn.ai")


FORK = textwrap.dedent(
    """
    import os, sys
    from policies import Guard, GuardedClient
    from policies.ledger.states import OPEN
    from policies.ledger.verify import verify

    url, base_url = sys.argv[1:]
    guard = Guard.open("starter", url, speed=300)
    client = GuardedClient(guard, api_key="key", base_url=base_url)
    client.create({"prompt": "parent"}, key="parent")
    first = guard.machine.owner
    child = os.fork()
    if child == 0:
        assert guard.machine.owner.id != first.id
        client.create({"prompt": "child"}, key="child")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert guard.machine.owner is first and first.alive
    client.create({"prompt": "after"}, key="after")
    assert guard.store.entries(states=OPEN) == [] and verify(guard.store) == []
    """
)


def test_after_a_fork_the_child_is_an_owner_of_its_own(tmp_path: Path, sandbox: Handle) -> None:
    """Parent and child go on side by side with one ledger, each with its own lock and connections."""
    command = [sys.executable, "-c", FORK, f"sqlite:///{tmp_path / 'ledger.db'}", sandbox.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert sandbox.bill().credits == 3
