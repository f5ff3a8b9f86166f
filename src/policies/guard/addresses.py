"""Where a picture may be fetched from: the open network, and never a place that only this machine reaches.

Here belongs reading an address, and nothing that connects. An output is a text that somebody else wrote:
one that names this host, its network or a cloud's metadata would make us ask there in the writer's stead.
A stand-in on this very network is another matter, so addresses are judged beside the provider's own.
What a public name resolves to is not looked up: some networks give every name an address of their own.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Final
from unicodedata import normalize

import httpx

NOT_HTTP: Final = "an output has no address of the web"
NOT_PUBLIC: Final = "an output lies at an address that is not public"

_LOCAL_NAMES: Final = ("localhost", "local", "internal", "intranet", "lan", "home.arpa", "localdomain")
_HOST: Final = re.compile(r"[\w.-]{1,255}|[0-9a-f:.]{2,45}(%\w+)?", re.IGNORECASE)
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def hindrance(address: str, beside: str) -> str | None:
    """Why a picture is not fetched from that address; None where it may be. `beside` is the provider's.

    >>> hindrance("https://cdn.example.com/1.png", "https://api.fashn.ai")
    >>> hindrance("http://169.254.169.254/latest", "https://api.fashn.ai")
    'an output lies at an address that is not public'
    >>> hindrance("file:///etc/passwd", "https://api.fashn.ai")
    'an output has no address of the web'
    """
    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, ValueError):
        return NOT_HTTP
    if url.scheme not in ("http", "https") or not _HOST.fullmatch(url.host) or (url.port or 0) > 65_535:
        return NOT_HTTP
    return NOT_PUBLIC if is_local(url.host) and not is_local(httpx.URL(beside).host) else None


def is_local(host: str) -> bool:
    """Whether that is a name or a number of this host or of a network that is not the open one.

    >>> [is_local(host) for host in ("127.1", "0x7f000001", "::ffff:10.0.0.1", "printer", "8.8.8.8")]
    [True, True, True, True, False]
    """
    name = normalize("NFKC", host).rstrip(".").lower()
    number = _number(name)
    if number is not None:
        return not number.is_global or number.is_multicast
    return "." not in name or name.endswith(tuple(f".{local}" for local in _LOCAL_NAMES))


def _number(name: str) -> _Address | None:
    """The address that a host's name writes out, in any spelling a resolver takes; None for a real name."""
    try:
        return _inner(ipaddress.ip_address(name.strip("[]").partition("%")[0]))
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(name))  # 127.1, 0177.0.0.1, 0x7f.1, 2130706433
    except (OSError, ValueError):
        return None


def _inner(number: _Address) -> _Address:
    """The address of version 4 that one of version 6 leads to, if it does."""
    if not isinstance(number, ipaddress.IPv6Address):
        return number
    if number in _NAT64:
        return ipaddress.IPv4Address(int(number) & 0xFFFFFFFF)
    teredo = number.teredo[1] if number.teredo else None
    return number.ipv4_mapped or number.sixtofour or teredo or number
