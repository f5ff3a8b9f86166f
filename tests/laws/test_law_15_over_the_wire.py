"""Law 15 over real sockets: what the wire calls *not sent* was not sent, and nothing is ever followed."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from policies.guard import wire as wires
from policies.guard.answers import Again, Lost, NoAnswer, NotSent, Reply, read_run
from policies.guard.wire import AsyncWire, Wire

REDIRECT = b"HTTP/1.1 307 Temporary Redirect\r\nlocation: /v1/run\r\ncontent-length: 0\r\n\r\n"
HALF = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"


@contextmanager
def server(answer: bytes | None) -> Iterator[tuple[str, list[bytes]]]:
    """A socket that notes each request and answers so, or closes (empty), or stays silent (None)."""
    listening = socket.create_server(("127.0.0.1", 0))
    requests: list[bytes] = []
    silent: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            requests.append(connection.recv(65536))
            if answer is None:
                silent.append(connection)
                continue
            connection.sendall(answer)
            connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", requests
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(5)
        for connection in silent:
            connection.close()


def post(url: str) -> Reply:
    wire = Wire(url, "key")
    try:
        return wire.run(b"{}")
    finally:
        wire.close()


def apost(url: str) -> Reply:
    async def call() -> Reply:
        wire = AsyncWire(url, "key")
        try:
            return await wire.run(b"{}")
        finally:
            await wire.close()

    return asyncio.run(call())


@pytest.mark.parametrize("send", [post, apost])
@pytest.mark.parametrize("answer", [b"", HALF, REDIRECT, None], ids=["closed", "half", "redirect", "silent"])
def test_law_15_once_a_byte_was_sent_only_an_answer_counts(answer, send, monkeypatch) -> None:
    """A closed connection, half an answer, a redirect and silence are lost, and are sent exactly once."""
    monkeypatch.setattr(wires, "RUN_TIMEOUT", httpx.Timeout(0.3))
    with server(answer) as (url, requests):
        reply = send(url)
    assert not isinstance(reply, NotSent)
    assert isinstance(read_run(reply), Lost)
    assert len(requests) == 1


@pytest.mark.parametrize("send", [post, apost])
def test_law_15_without_a_connection_nothing_was_sent(send) -> None:
    """A refused connection is the one failure after which the same request may be sent again."""
    with server(b"") as (url, _):
        pass
    reply = send(url)
    assert isinstance(reply, NotSent)
    assert isinstance(read_run(reply), Again)
    assert not isinstance(reply, NoAnswer)
