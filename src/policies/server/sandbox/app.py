"""The sandbox as a server: `serve` for the command line, `running` for everything that wants one beside it.

Here belongs the wiring of provider, state file and server, and the thread. Starlette and uvicorn are
imported when a server starts, so that this module can be named without them.
"""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack

from planner.errors import ConfigError, InputError, OperatorError
from policies.server.sandbox.bill import Bill
from policies.server.sandbox.clock import Clock
from policies.server.sandbox.faults import Faults
from policies.server.sandbox.journal import FORMAT, Journal
from policies.server.sandbox.limits import Limits
from policies.server.sandbox.loading import shipped
from policies.server.sandbox.provider import Provider

if TYPE_CHECKING:
    from policies.server.sandbox.routes import Sandbox
    from policies.server.sandbox.server import Server

_START_SECONDS: Final = 10.0


class Options(TypedDict, total=False):
    """How a sandbox behaves. Everything may be left out."""

    speed: float
    """virtual seconds for each real one; 1 by default"""
    seed: int | None
    """without one, every new sandbox is another provider with ids of its own"""
    faults: Faults
    limits: Limits
    balance: int | None
    """credits of a new account, all on-demand; without it what the data file says"""
    state: Path | None
    """a file by which a restarted sandbox goes on where it was; seed and balance are then the file's"""
    api_key: str | None
    """the one right key; without it any key is right"""


@dataclass(frozen=True, slots=True)
class Handle:
    """A sandbox that runs in this process: its address, and its side of the story."""

    url: str
    sandbox: Sandbox

    @property
    def provider(self) -> Provider:
        """The machine behind it, to look at and to change the faults of."""
        return self.sandbox.provider

    def bill(self) -> Bill:
        """What was charged until now."""
        return self.sandbox.bill()

    def top_up(self, credits: int) -> None:
        """Adds on-demand credits to the account."""
        self.sandbox.top_up(credits)


def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    ready: Callable[[str], object] = lambda url: None,
    **options: Unpack[Options],
) -> None:
    """Serves a sandbox until SIGINT or SIGTERM, then returns. `ready` is called once, with its address.

    Raises `OperatorError` for an address or a state file that cannot be had, `InputError` for figures
    that make no sense, and `ConfigError` without the extra `sandbox` or for a file that is no state file.
    """
    with _assembled(host, port, options) as (handle, listener):
        _server(handle, lambda: ready(handle.url)).run(sockets=[listener])


@contextmanager
def running(host: str = "127.0.0.1", port: int = 0, **options: Unpack[Options]) -> Iterator[Handle]:
    """A sandbox in a background thread, on a free port unless one is named; stopped on the way out.

    Takes the options of `serve` and raises what it raises.
    """
    with _assembled(host, port, options) as (handle, listener):
        started = threading.Event()
        server = _server(handle, started.set)
        thread = threading.Thread(target=server.run, args=([listener],), name="sandbox", daemon=True)
        thread.start()
        try:
            if not started.wait(_START_SECONDS):
                raise OperatorError("the sandbox did not start", code="sandbox_unavailable")
            yield handle
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def _assembled(host: str, port: int, options: Options) -> Iterator[tuple[Handle, socket.socket]]:
    """Provider, state file and socket put together, and taken apart again."""
    _check(options)
    try:
        from policies.server.sandbox.routes import Sandbox
        from policies.server.sandbox.server import listening, url_of
    except ModuleNotFoundError as error:
        raise _without_extra(error) from error
    state = options.get("state")
    with listening(host, port) as listener, _journal(state) as journal:
        provider, now = _provider(options, journal)
        provider.origin = url_of(listener)
        clock = Clock(options.get("speed", 1.0), now)
        yield Handle(provider.origin, Sandbox(provider, clock)), listener
        if journal:
            journal.append({"event": "stopped", "at": clock.now()})


def _server(handle: Handle, started_call: Callable[[], object]) -> Server:
    from policies.server.sandbox.server import Server

    return Server(handle.sandbox.app(), started_call)


def _check(options: Options) -> None:
    if not 0.0 < options.get("speed", 1.0) < float("inf"):
        raise InputError("the speed must be above 0", field="speed")
    if (options.get("balance") or 0) < 0:
        raise InputError("the balance must not be below 0", field="balance")


def _without_extra(error: ModuleNotFoundError) -> ConfigError:
    return ConfigError(
        f"the sandbox needs `{error.name}`",
        code="missing_extra",
        hint="install it with: pip install 'fashn-planner[sandbox]'",
    )


@contextmanager
def _journal(state: Path | None) -> Iterator[Journal | None]:
    journal = Journal(state) if state else None
    try:
        yield journal
    finally:
        if journal:
            journal.close()


def _provider(options: Options, journal: Journal | None) -> tuple[Provider, float]:
    """A new provider, or the one that the state file remembers, and the instant it has reached."""
    born = (journal.born if journal else None) or _born(options)
    provider = Provider(
        prices=shipped().prices,
        service=shipped().service,
        subscription_credits=born["subscription"],
        on_demand_credits=born["on_demand"],
        limits=options.get("limits", Limits()),
        faults=options.get("faults", Faults()),
        seed=born["seed"],
        api_key=options.get("api_key"),
    )
    if journal is None:
        return provider, 0.0
    now = provider.restore(journal.events)
    if not journal.events:
        journal.append(born)
    provider.starts = sum(event["event"] == "started" for event in journal.events)
    journal.append({"event": "started", "at": now})
    provider.record = journal.append
    return provider, now


def _born(options: Options) -> dict[str, Any]:
    """The first event of a new account."""
    seed, balance = options.get("seed"), options.get("balance")
    own = balance is None
    return {
        "event": "born",
        "at": 0.0,
        "format": FORMAT,
        "seed": secrets.randbits(32) if seed is None else seed,
        "subscription": shipped().subscription_credits if own else 0,
        "on_demand": shipped().on_demand_credits if own else balance,
    }
