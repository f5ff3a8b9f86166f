"""Outputs that somebody else wrote: addresses of this host, bodies without end, and things that are none.

Whatever an output says, the paid job stays settled, nothing outside the folder is touched, no other host
gets the key, and no body is read past its limit.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import struct
import zlib
from base64 import b64encode
from io import BytesIO

import pytest
from PIL import Image

from policies.guard import bodies
from policies.guard.addresses import NOT_HTTP, NOT_PUBLIC, hindrance
from policies.guard.answers import Answer
from policies.guard.batch import Ending
from policies.guard.pictures import TOO_LARGE, PictureFolder
from policies.guard.wire import AsyncWire
from tests.policies.guard.peers import endless, http, peer
from tests.policies.guard.stage import rows, stage

LIVE = "https://api.fashn.ai"
MOST_SENT = 16 << 20


def png(width: int = 8) -> bytes:
    found = BytesIO()
    Image.new("RGB", (width, 8), "teal").save(found, "PNG")
    return found.getvalue()


PNG = png()


def bring(folder, *outputs: str, beside: str = "http://127.0.0.1"):
    """Bring these outputs home as `one-1`, `one-2`, …"""

    async def run():
        pictures = PictureFolder(folder, speed=200.0)
        try:
            names = [f"one-{n}" for n in range(1, len(outputs) + 1)]
            return await pictures.bring(outputs, names, beside=beside)
        finally:
            await pictures.close()

    return asyncio.run(run())


# -- where from ----------------------------------------------------------------------------------

OF_THIS_HOST = [
    "http://127.0.0.1/x", "http://127.1/x", "http://127.0.1/x", "http://2130706433/x", "http://0x7f000001/x",
    "http://0x7f.1/x", "http://0/x", "http://0.0.0.0/x", "http://localhost/x",
    "http://LOCALHOST./x", "http://a.localhost/x", "http://127.0.0.1./x", "http://[::1]/x", "http://[::]/x",
    "http://[::ffff:127.0.0.1]/x", "http://[0:0:0:0:0:ffff:7f00:1]/x", "http://[64:ff9b::7f00:1]/x",
    "http://[2002:7f00:1::]/x", "https://user:word@127.0.0.1:8443/x", "HTTP://127.0.0.1",
]  # fmt: skip

OF_THIS_NETWORK = [
    "http://10.0.0.1/x", "http://172.16.3.4/x", "http://192.168.1.1/x", "http://169.254.169.254/latest",
    "http://169.254.43518/x", "http://100.64.0.1/x", "http://[fe80::1]/x", "http://[fe80::1%25eth0]/x",
    "http://[fc00::1]/x", "http://[fd12::1]/x", "http://224.0.0.1/x", "http://255.255.255.255/x",
    "http://[ff02::1]/x", "http://printer/x", "http://nas.local/x", "http://metadata.google.internal/x",
    "http://router.lan/x", "http://wiki.intranet/x", "http://box.home.arpa/x",
]  # fmt: skip

OF_NO_WEB = [
    "file:///etc/passwd", "file://localhost/etc/passwd", "ftp://example.com/x", "gopher://example.com/x",
    "javascript:alert(1)", "/etc/passwd", "../../x", "//127.0.0.1/x", "", " ", "http://", "http:///x",
    "https://[::1", "http://exa mple.com/x", "http://example.com:99999999/x", "http://0177.0.0.1/x",
    "http://127%2e0.0.1/x", "http://a%00b.com/x", "http://\x00/x", "x" * 10_000, "blob:https://x/y",
]  # fmt: skip


@pytest.mark.parametrize("address", [*OF_THIS_HOST, *OF_THIS_NETWORK])
def test_an_address_of_this_network_is_not_asked_for_the_provider(address) -> None:
    """However it is spelt; for a stand-in on this network it is an address like any other."""
    assert hindrance(address, LIVE) == NOT_PUBLIC
    assert hindrance(address, "http://stand-in.example.com") == NOT_PUBLIC
    assert hindrance(address, "http://127.0.0.1:8000") is None


@pytest.mark.parametrize("address", OF_NO_WEB)
@pytest.mark.parametrize("beside", [LIVE, "http://127.0.0.1:8000"])
def test_what_is_no_address_of_the_web_is_never_opened(address, beside) -> None:
    """Files, other schemes and texts that are no address at all."""
    assert hindrance(address, beside) == NOT_HTTP


@pytest.mark.parametrize(
    "address",
    [
        "https://cdn.fashn.ai/a/output_0.png",
        "https://cdn.example.com:8443/x?token=y",
        "http://8.8.8.8/x",
        "https://[2606:4700::1111]/x",
        "https://localhost.example.com/x",
        "https://größe.example/x",
        "https://10.example.com/x",
    ],
)
def test_the_open_network_is_asked(address) -> None:
    """A guard that refuses what was paid for would be no guard."""
    assert hindrance(address, LIVE) is None


def test_a_refused_address_is_not_connected_to(tmp_path) -> None:
    """A server on this host, named by the provider's answer, hears nothing at all."""
    with peer(lambda _: [http(200, PNG)]) as found:
        port = found.url.rpartition(":")[2]
        outputs = [f"http://127.0.0.1:{port}/1", f"http://localhost:{port}/2", "file:///etc/passwd"]
        brought = bring(tmp_path, *outputs, beside=LIVE)
    assert found.requests == []
    assert (brought.files, brought.gone, brought.missing, brought.refused) == ([], 0, 3, NOT_HTTP)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("location", "reason"),
    [("http://127.0.0.1:1/x", NOT_PUBLIC), ("file:///etc/passwd", ""), ("http://[::1]:1/x", NOT_PUBLIC)],
)
def test_a_redirect_leads_only_where_a_picture_may_lie(tmp_path, monkeypatch, location, reason) -> None:
    """The second address is judged like the first one."""
    asked = []

    def judge(address: str, beside: str) -> str | None:
        asked.append(address)
        return None if len(asked) == 1 else hindrance(address, LIVE)

    # The first host stands for a public one, which no test can have.
    monkeypatch.setattr("policies.guard.pictures.hindrance", judge)
    with peer(lambda _: [http(302, "", f"location: {location}")]) as found:
        brought = bring(tmp_path, f"{found.url}/x")
    assert (brought.files, brought.missing) == ([], 1)
    assert brought.refused.startswith(reason)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_a_redirect_to_a_good_place_is_followed_and_a_ring_is_left(tmp_path) -> None:
    """A store of files may send us on; one that sends us in circles is asked a bounded number of times."""
    with peer(lambda _: [http(200, PNG)]) as store:

        def say(request: bytes) -> list[bytes]:
            goal = "/ring" if b" /ring " in request else f"{store.url}/x"
            return [http(307, "", f"location: {goal}")]

        with peer(say) as found:
            brought = bring(tmp_path, f"{found.url}/x", f"{found.url}/ring")
            assert len(found.paths("GET")) < 40
    assert (brought.files, brought.missing, brought.refused) == (["one-1.png"], 1, "")


# -- what comes ----------------------------------------------------------------------------------


def test_a_picture_without_end_is_read_up_to_its_limit_and_once(tmp_path, monkeypatch) -> None:
    """Even one that begins like a picture; nothing is left behind, and no second try is made."""
    monkeypatch.setattr(bodies, "PICTURE", bodies.Limit(1 << 20, 60.0))
    with peer(lambda _: endless(start=PNG)) as found:
        brought = bring(tmp_path, f"{found.url}/x")
    assert (brought.files, brought.missing, brought.refused) == ([], 1, TOO_LARGE)
    assert len(found.requests) == 1
    assert found.sent_bytes < MOST_SENT
    assert not list(tmp_path.iterdir())


def test_a_data_text_of_any_size_is_not_unpacked(tmp_path, monkeypatch) -> None:
    """A hundred megabytes of base64 are refused by their length."""
    text = "data:image/png;base64," + "A" * (100 << 20)
    monkeypatch.setattr("policies.guard.pictures._BASE64_MOST", 64 << 20)
    brought = bring(tmp_path, text)
    assert (brought.missing, brought.refused) == (1, TOO_LARGE)
    assert not list(tmp_path.iterdir())


def test_a_picture_that_unpacks_to_a_huge_one_is_refused(tmp_path, monkeypatch) -> None:
    """Compressed on the way, though nobody asked for that: the limit is one of what comes out."""
    monkeypatch.setattr(bodies, "PICTURE", bodies.Limit(1 << 20, 60.0))
    bomb = gzip.compress(PNG + b"\0" * (8 << 20))
    with peer(lambda _: [http(200, bomb, "content-encoding: gzip")]) as found:
        brought = bring(tmp_path, f"{found.url}/x")
    assert (brought.files, brought.refused) == ([], TOO_LARGE)
    assert b"accept-encoding: identity" in found.requests[0].lower()


def giant() -> bytes:
    """A PNG of a few bytes that says it is 60,000 pixels wide and high: eleven gigabytes once opened."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_a_picture_is_kept_as_it_came_and_never_opened(tmp_path) -> None:
    """One that would fill the memory of whoever opens it is so many bytes to us."""
    with peer(lambda _: [http(200, giant(), "content-type: image/png")]) as found:
        brought = bring(tmp_path, f"{found.url}/x")
    assert brought.files == ["one-1.png"]
    assert (tmp_path / "one-1.png").read_bytes() == giant()


@pytest.mark.parametrize("body", [b"<html><script>", b"MZ\x90\0", b"<svg onload=alert(1)>", b"%PDF-1.7", b""])
def test_what_calls_itself_a_picture_and_is_none_is_not_written(tmp_path, body) -> None:
    """The bytes decide, whatever the header says."""
    with peer(lambda _: [http(200, body, "content-type: image/png")]) as found:
        brought = bring(tmp_path, f"{found.url}/x.png")
    assert (brought.files, brought.missing) == ([], 1)
    assert not list(tmp_path.iterdir())


def test_a_picture_under_a_wrong_header_and_name_is_what_its_bytes_are(tmp_path) -> None:
    """`text/html` and `x.exe` change nothing of a PNG."""
    with peer(lambda _: [http(200, PNG, "content-type: text/html")]) as found:
        assert bring(tmp_path, f"{found.url}/../../x.exe").files == ["one-1.png"]


# -- a whole run ---------------------------------------------------------------------------------


def test_a_job_whose_pictures_are_refused_stays_settled_and_says_why(tmp_path, monkeypatch) -> None:
    """A run whose provider names a place of this host: paid, not fetched, told, and not sent again."""
    output = "data:image/png;base64," + b64encode(PNG).decode()
    outputs = ["file:///etc/passwd", "ftp://example.com/x.png", output]
    with stage(tmp_path) as run:
        by_id: dict[str, str] = {}
        real = AsyncWire.get

        async def get(wire: AsyncWire, url: str):
            """The sandbox's own answer, with other outputs in it."""
            reply = await real(wire, url)
            document = json.loads(reply.body)
            if document.get("status") == "completed":
                document["output"] = [by_id.setdefault(document["id"], outputs[len(by_id) % 3])]
            return Answer(reply.status, reply.headers, json.dumps(document).encode())

        monkeypatch.setattr(AsyncWire, "get", get)
        lines = rows(3)
        runner = run.run(lines)
        assert runner.exit_code == 0
        assert [line.ending for line in lines] == [Ending.COMPLETED] * 3
        assert run.settled_credits() == 3
        refused = [line for line in lines if line.pictures_missing]
        assert [(line.reason, len(line.files)) for line in refused] == [(NOT_HTTP, 0)] * 2
        assert len(run.names_home()) == 1
        again = rows(3)
        run.run(again)
        assert [line.reused for line in again] == [True] * 3
        assert run.handle.bill().accepted == 3
