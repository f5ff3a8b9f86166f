"""A peer on a real socket that answers whatever it likes, for as long as anybody listens."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

Answer = Callable[[bytes], Iterable[bytes]]
"""From the bytes of a request to those of an answer, piece by piece."""


class Peer:
    """What came in, and how much went out."""

    def __init__(self, address: str) -> None:
        self.url = f"http://{address}"
        self.requests: list[bytes] = []
        self.sent_bytes = 0

    def paths(self, method: str) -> list[str]:
        """The paths that were asked for by that method."""
        lines = [request.split(b"\r\n", 1)[0].decode().split() for request in self.requests]
        return [line[1] for line in lines if line[0] == method]


@contextmanager
def peer(answer: Answer) -> Iterator[Peer]:
    """A server of one thread for each connection; one request a connection."""
    listening = socket.create_server(("127.0.0.1", 0))
    found = Peer(f"127.0.0.1:{listening.getsockname()[1]}")

    def serve(connection: socket.socket) -> None:
        connection.settimeout(5)
        try:
            with connection:
                request = read_request(connection)
                found.requests.append(request)
                for part in answer(request):
                    connection.sendall(part)
                    found.sent_bytes += len(part)
        except OSError:
            return  # whoever asked has heard enough

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(5)


def read_request(connection: socket.socket) -> bytes:
    """A whole request with its body; empty where nobody asks."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            return data
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def http(status: int, body: bytes | str | dict, *headers: str) -> bytes:
    """An answer of one piece."""
    if isinstance(body, dict):
        body = json.dumps(body)
    data = body if isinstance(body, bytes) else body.encode()
    lines = [f"HTTP/1.1 {status} X", *headers, f"content-length: {len(data)}", "connection: close", "", ""]
    return "\r\n".join(lines).encode() + data


def endless(status: int = 200, start: bytes = b"", piece: bytes = b" " * 65536) -> Iterator[bytes]:
    """An answer that never ends; who reads it to its end runs out of memory."""
    yield f"HTTP/1.1 {status} X\r\ncontent-type: image/png\r\n\r\n".encode() + start
    while True:
        yield piece
