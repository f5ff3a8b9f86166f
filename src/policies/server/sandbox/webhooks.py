"""Telling a webhook that a prediction has ended: up to five retries over about five minutes.

There is no signature and no credits field, as at the provider, and nothing is sent to another machine.
Webhooks still to be sent are forgotten when the sandbox stops: they are only a reason to ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import httpx

from policies.server.sandbox.request import is_loopback

RETRY_SECONDS: Final = (10.0, 20.0, 40.0, 80.0, 150.0)
"""Virtual seconds before each retry, five minutes together."""

_TIMEOUT_SECONDS: Final = 5.0

# A timer may fire a little early, and then the prediction would not have ended yet.
_MOMENT_SECONDS: Final = 0.01


async def deliver(url: str, body: Callable[[], bytes | None], wait_seconds: float, speed: float) -> bool:
    """Posts what `body` returns after a wait in virtual seconds; True once a 2xx came back.

    A prediction that is in no terminal state by then has nothing to tell.
    """
    if not is_loopback(url):
        raise ValueError("a webhook of the sandbox must be on a loopback address")
    await asyncio.sleep(wait_seconds / speed + _MOMENT_SECONDS)
    content = body()
    if content is None:
        return False
    async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=False) as client:
        for pause_seconds in (0.0, *RETRY_SECONDS):
            await asyncio.sleep(pause_seconds / speed)
            if await _posted(client, url, content):
                return True
    return False


async def _posted(client: httpx.AsyncClient, url: str, content: bytes) -> bool:
    try:
        answer = await client.post(url, content=content, headers={"content-type": "application/json"})
    except httpx.HTTPError:
        return False
    return answer.is_success
