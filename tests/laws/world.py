"""A world in virtual time: the real ledger, the real machine, and the pure provider of the sandbox.

Nothing here is faked but time and the wire. A `Worker` is a process: it has an owner of its own, drives
machines, and can crash before or after any step, or be cancelled at any step.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from planner.loading import shipped_prices
from planner.request import ModelCreateRequest
from policies.engine import Policy
from policies.guard.answers import Answer, NoAnswer, NotSent, Reply
from policies.guard.machine import (
    CANCELLED,
    Effect,
    GetBalance,
    GetStatus,
    Job,
    Machine,
    Pause,
    Post,
    Submission,
    Transact,
)
from policies.ledger.entries import Ask
from policies.ledger.store import Store
from policies.loading import parse_policy
from policies.server.sandbox.faults import Faults
from policies.server.sandbox.loading import shipped_provider
from tests import ledgers

START = datetime(2026, 11, 20, 9, tzinfo=UTC)
KEY = "Bearer test-key"


class Crashed(Exception):
    """The process is gone: nothing after this line ran."""


@dataclass
class Plan:
    """Where a worker's steps are disturbed: at the n-th effect, before or after it, or cancelled."""

    at: int = -1
    how: str = "never"


@dataclass
class Sent:
    """One paid POST as the provider saw it."""

    body: bytes
    at: datetime
    prediction_id: str | None


ALL: list[World] = []
"""Every world that was made; the laws' fixture closes them after each test."""


@dataclass
class World:
    """One ledger, one provider, one clock."""

    folder: Path
    policy: Policy
    faults: Faults = field(default_factory=Faults)
    balance_credits: int = 100_000
    seed: int = 0

    def __post_init__(self) -> None:
        self.now = START
        self.provider = shipped_provider(
            seed=self.seed, balance_credits=self.balance_credits, faults=self.faults
        )
        self.store = Store.open(ledgers.url(self.folder / "ledger.db"), clock=lambda: self.now)
        self.store.bind("main", "http://stand-in", live=False)
        self.store.bring_in_force(self.policy)
        self.sent: list[Sent] = []
        self.unreachable = False

        ALL.append(self)

    def close(self) -> None:
        self.store.close()

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @property
    def seconds(self) -> float:
        return (self.now - START).total_seconds()

    def worker(self) -> Worker:
        return Worker(self)

    def ask(self, key: str, request: ModelCreateRequest, **labels: str) -> Ask:
        return Ask("main", "main", key, request, labels)

    # -- the wire --------------------------------------------------------------------------------

    def post(self, body: bytes) -> Reply:
        if self.unreachable:
            return NotSent("ConnectError")
        self.advance(0.05)
        answer = self.provider.run(body, KEY, self.seconds)
        self.sent.append(Sent(body, self.now, answer.accepted))
        if answer.cut:
            return NoAnswer("ReadError")
        return Answer(answer.status, dict(answer.headers), answer.body)

    def get(self, effect: GetStatus | GetBalance) -> Reply:
        self.advance(0.02)
        if isinstance(effect, GetStatus):
            answer = self.provider.status(effect.prediction_id, KEY, self.seconds)
        else:
            answer = self.provider.credits(KEY, self.seconds)
        return Answer(answer.status, dict(answer.headers), answer.body)

    # -- what both sides say ---------------------------------------------------------------------

    def counted(self) -> int:
        """All credits that the ledger has in sight."""
        return sum(entry.credits for entry in self.store.entries() if entry.bucket is not None)

    def billed(self) -> int:
        """All credits that the provider has charged or will charge for what is running."""
        return self.provider.bill(self.seconds).credits

    def accepted_bodies(self) -> list[bytes]:
        return [sent.body for sent in self.sent if sent.prediction_id]


class Worker:
    """One process at work in a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.owner = world.store.register()
        self.machine = Machine(world.store, world.policy, shipped_prices(), self.owner, rate_microusd=75_000)
        self.steps = 0

    def crash(self) -> None:
        """Die as a process dies: the kernel takes the lock back and nothing else happens."""
        self.owner.abandon()

    def submit(self, ask: Ask, plan: Plan | None = None, wait_seconds: float | None = 600) -> Submission:
        return self.run(self.machine.submitting(ask, wait_seconds=wait_seconds), plan)

    def finish(self, job: Job, plan: Plan | None = None) -> None:
        self.run(self.machine.waiting(job, lambda entry, now: 10.0), plan)

    def run(self, steps: Generator[Effect, Any, Any], plan: Plan | None = None) -> Any:
        """Drive a machine; what `plan` says happens at its n-th effect."""
        plan = plan or Plan()
        result: Any = None
        error: Exception | None = None
        count, cancelled = 0, False
        while True:
            try:
                effect = steps.send(result) if error is None else steps.throw(error)
            except StopIteration as finished:
                return finished.value
            result, error = None, None
            here = count == plan.at
            count += 1
            self.steps = count
            if here and plan.how == "crash before":
                self.crash()
                raise Crashed
            cut_here = here and plan.how == "cancel during"
            cancelled = cancelled or (here and plan.how == "cancel")
            if cancelled and not isinstance(effect, Transact):
                result = CANCELLED
            else:
                try:
                    result = self._carry_out(effect)
                except Exception as failure:
                    error = failure
            if here and plan.how == "crash after":
                self.crash()
                raise Crashed
            if cut_here:
                cancelled = True
                if isinstance(effect, Post):
                    result = NoAnswer("cancelled")

    def _carry_out(self, effect: Effect) -> Any:
        match effect:
            case Transact(call):
                return call()
            case Post(body):
                return self.world.post(body)
            case GetStatus() | GetBalance():
                return self.world.get(effect)
            case Pause(seconds):
                return self.world.advance(seconds)


HOW = ("crash before", "crash after", "cancel", "cancel during")


def policy_of(text: str) -> Policy:
    return parse_policy(text, "test.yaml")


OPEN_POLICY = """
policy: 1
name: test
timezone: UTC
otherwise: allow
enforcement: on
labels:
  team: any
"""


def budget_policy(limit: int, per: str = "day", when_exhausted: str = "deny", more: str = "") -> Policy:
    """A policy with one budget for everybody."""
    return policy_of(
        OPEN_POLICY
        + f"budgets:\n  - name: all\n    limit: {limit} credits\n    per: {per}\n"
        + f"    when_exhausted: {when_exhausted}\n"
        + more
    )


def request(**fields: Any) -> ModelCreateRequest:
    return ModelCreateRequest(**{"prompt": "linen dress", **fields})
