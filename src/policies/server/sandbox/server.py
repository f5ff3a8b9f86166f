"""uvicorn as the sandbox needs it: silent, on a socket of our own, able to cut a connection, stopped cleanly.

Here belongs what is peculiar to uvicorn. What it serves belongs to `routes`, when to `app`.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from planner.errors import OperatorError
from policies.server.sandbox.routes import TRANSPORT

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_CLOSING_SECONDS: Final = 1


class _Protocol(H11Protocol):
    """Hands its transport to the application, which may drop the connection without an answer."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # asyncio does this only for sockets made with an explicit protocol number, and ours are not.
        # With Nagle's algorithm on, an answer in two writes waits 40 ms for an acknowledgement.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.app_state = {**self.app_state, TRANSPORT: transport}


class Server(uvicorn.Server):
    """Serves one application; calls `started_call` once it listens, and returns on SIGINT or SIGTERM."""

    def __init__(self, app: Starlette, started_call: Callable[[], object]) -> None:
        config = uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_CLOSING_SECONDS,
        )
        super().__init__(config)
        self._started_call = started_call

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._started_call()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own raises the signal once more afterwards: the process would not exit cleanly.
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def listening(host: str, port: int) -> socket.socket:
    """A listening socket, any free port for 0; raises `OperatorError` when the address cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise OperatorError(
            f"`{host}:{port}` cannot be listened on: {error}",
            code="address_unavailable",
            hint="name another port, or 0 for any free one",
        ) from error


def url_of(listener: socket.socket) -> str:
    """The address of a listening socket, as a base URL."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
