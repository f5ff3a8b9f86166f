"""A guard: one policy, one ledger, one account and the prices they are judged by.

Here belongs putting these together and asking without spending. Spending is the clients' and the
runner's work, which drive the machine that a guard hands out. When a changed policy file takes effect
is `reloading`'s to know.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from planner.errors import ConfigError, PlannerError
from planner.latency import Seconds
from planner.loading import load_prices, shipped_credit_plans, shipped_latency, shipped_prices
from planner.pacing import FIRST_LOOK
from planner.prices import PriceBook
from planner.request import ModelCreateRequest, parse_request
from policies.budgets import AskUsage
from policies.decision import Decision
from policies.downgrading import NO_FLOOR, Floor
from policies.engine import Policy
from policies.guard.machine import Machine
from policies.guard.reloading import PolicyFile, PolicyInUse
from policies.guard.wire import is_live
from policies.ledger.entries import Entry
from policies.ledger.owners import Owner
from policies.ledger.store import Store
from policies.loading import load_policy

if TYPE_CHECKING:
    import httpx
    from sqlalchemy import Engine

    HttpClient = TypeVar("HttpClient", httpx.Client, httpx.AsyncClient)

DEFAULT_LEDGER: Final = "sqlite:///spend.db"
WAIT_SECONDS: Final = 60.0
"""How long a call through a transport waits for a slot: as long as the official SDK waits for an answer."""


class Guard:
    """Decides with the ledger's counters and hands out the machine that spends.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> guard = Guard.open(policy="starter", ledger=f"sqlite:///{folder.name}/spend.db")
    >>> guard.check({"prompt": "linen dress"}, labels={"team": "social", "stage": "draft"}).credits
    1
    >>> guard.close(); folder.cleanup()
    """

    def __init__(
        self,
        policy: Policy,
        store: Store,
        book: PriceBook,
        *,
        account: str = "main",
        shoot: str = "main",
        file: PolicyFile | None = None,
    ) -> None:
        self.store = store
        self.book = book
        self.account = account
        self.shoot = shoot
        self._in_use = PolicyInUse(store, policy, file)
        self._making = threading.Lock()
        self._owner: Owner | None = None
        self._machine: Machine | None = None

    @classmethod
    def open(
        cls,
        policy: str | Path | Policy,
        ledger: str | Engine = DEFAULT_LEDGER,
        *,
        account: str = "main",
        shoot: str = "main",
        prices: str | Path | PriceBook | None = None,
        speed: float = 1.0,
        clock: Callable[[], datetime] | None = None,
        reload: bool = True,
    ) -> Guard:
        """A guard over a policy file (or the name of a shipped one) and a ledger, made if need be.

        The ledger is an address, such as `sqlite:///spend.db` or `postgresql+psycopg://…`, or the
        SQLAlchemy engine of a host that has PostgreSQL already.

        A file that changes takes effect between two decisions, unless `reload` is false; what is wrong
        with it then stands in `policy_error`, and the policy before it stays. `prices` is a file of
        dated entries that extend the shipped book. `speed` is for stand-ins that run faster than the
        provider. Raises `ConfigError` for what cannot be read and `OperatorError` for a ledger that
        cannot be used.
        """
        file = None
        if isinstance(policy, Policy):
            wanted = policy
        elif Path(policy).is_file():
            opened = PolicyFile(Path(policy))
            wanted, file = opened.read(), opened if reload else None
        else:
            wanted = load_policy(policy)
        found = _book(prices)
        store = Store.open(ledger, clock=clock, speed=speed)
        try:
            return cls(wanted, store, found, account=account, shoot=shoot, file=file)
        except PlannerError:
            store.close()
            raise

    @property
    def policy(self) -> Policy:
        """The policy as this guard last knew it; what decides is always the text in force."""
        return self._in_use.policy

    @property
    def policy_error(self) -> PlannerError | None:
        """Why the policy that was asked for is not the one that decides; None where it is.

        Its file is broken, or the ledger knows the text and has replaced it since.
        """
        return self._in_use.error

    def check(
        self,
        request: ModelCreateRequest | Mapping[str, Any],
        labels: Mapping[str, str] | None = None,
        *,
        allow_rewrite: bool = True,
        floor: Floor = NO_FLOOR,
    ) -> Decision:
        """What would be decided now; nothing is held, and the next request may change it.

        `floor` is what a downgrade does not go below, such as `{"resolution": "2k"}`.
        """
        asked, given = parse_request(request), dict(labels or {})

        def decide(policy: Policy, now: datetime, usage: AskUsage) -> Decision:
            return policy.decide(
                asked,
                given,
                book=self.book,
                at=now,
                usage=usage,
                allow_rewrite=allow_rewrite,
                floor=floor,
            )

        return self.store.judged(self._in_use.now().name, decide)

    def bind(self, base_url: str) -> None:
        """Bind the account to that provider; live and stand-in never mix in a ledger (law 23)."""
        live = is_live(base_url)
        if live and self.store.speed != 1.0:
            raise ConfigError("the provider itself has no `--speed`", code="live_speed", hint="leave it out")
        self.store.bind(self.account, base_url, live=live)

    def wrap(
        self,
        client: HttpClient,
        *,
        labels: Mapping[str, str] | None = None,
        shoot: str | None = None,
        wait_seconds: float | None = WAIT_SECONDS,
    ) -> HttpClient:
        """The same httpx client, from now on under this guard; its own transport and mounts stay beneath.

        What `transport.GuardTransport` says of labels, shoot and waiting holds here.
        """
        from policies.guard.transport import wrapped

        return wrapped(client, self, labels=labels, shoot=shoot, wait_seconds=wait_seconds)

    @property
    def machine(self) -> Machine:
        """The machine that spends, with an owner of its own; made when first needed, and after a fork."""
        with self._making:
            if self._machine is None or not self._machine.owner.alive:
                self._owner = self.store.register()
                self._machine = Machine(
                    self.store,
                    self._in_use.now,
                    self.book,
                    self._owner,
                    rate_microusd=shipped_credit_plans()["on-demand"].price.rate_microusd,
                )
            return self._machine

    def pause_seconds(self, entry: Entry, now: datetime) -> float:
        """How long to wait before the next look at a single prediction.

        Not before most of the time it usually takes is over; then every second at first, and more
        rarely the longer it is overdue.
        """
        elapsed = (now - entry.booked_at).total_seconds()
        soon = max(1.0 / self.store.speed, 0.05 * elapsed)
        return max(FIRST_LOOK * self.expected(entry).p50_seconds - elapsed, soon)

    def expected(self, entry: Entry) -> Seconds:
        """How long the provider usually takes for it, at the ledger's speed.

        Nobody knows that of another model: it is asked about as soon as the quickest picture.
        """
        mode, resolution = entry.billed_mode or "fast", entry.resolution or "1k"
        row = mode, resolution, entry.face_reference, entry.num_images or 1
        return shipped_latency().rows[row].scaled(1 / self.store.speed)

    def close(self) -> None:
        """End this guard's owner and its connections; what it left open may be taken over."""
        if self._owner is not None:
            self._owner.close()
        self.store.close()

    def __enter__(self) -> Guard:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _book(prices: str | Path | PriceBook | None) -> PriceBook:
    if isinstance(prices, PriceBook):
        return prices
    return shipped_prices() if prices is None else load_prices(Path(prices))
