"""The body of a `POST /v1/run`, checked as strictly as the provider's documents allow.

Here belongs what may be asked. Of an accepted request only the closed settings and a digest are kept:
the prompt and the references are gone when `read` returns. What it costs belongs to `prices`.

Not known, so decided here on the strict side: a `null` is not an omitted input, `1.0` is not an
integer, and a top-level name other than `model_name` and `inputs` is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import urlsplit

from policies.server.sandbox.answers import Refused
from policies.server.sandbox.draws import pick

MODEL: Final = "model-create"
MODES: Final = ("fast", "balanced", "quality")
RESOLUTIONS: Final = ("1k", "2k", "4k")
RATIOS: Final = ("21:9", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3", "4:5", "5:4", "1:1")
FACE_MODES: Final = ("match_base", "match_reference")
FORMATS: Final = ("png", "jpeg")
MOST_IMAGES: Final = 4
LARGEST_SEED: Final = 2**32 - 1
DEFAULT_SEED: Final = 42

_DATA_URI: Final = re.compile(r"data:image/[A-Za-z0-9.+-]+;base64,")


@dataclass(frozen=True, slots=True)
class Settings:
    """The closed part of a request, with defaults filled in. `mode` is None where it was omitted."""

    mode: str | None
    resolution: str
    ratio: str
    seed: int
    images: int
    output_format: str
    private: bool
    face: bool
    reference: bool

    @property
    def delivered(self) -> str:
        """The tier of the outputs: a face reference caps them at 2K."""
        return "2k" if self.face and self.resolution == "4k" else self.resolution


@dataclass(frozen=True, slots=True)
class Asked:
    """A valid request as it is kept: settings, and a digest by which equal inputs are recognised."""

    settings: Settings
    digest: str


def read(body: bytes) -> Asked:
    """The request in a body; raises `Refused` (BadRequest) with all that is wrong with it."""
    inputs = _inputs(_object(body))
    wrong = [f"{name} is not an input of {MODEL}" for name in inputs if name not in _CHECKS]
    wrong += [
        f"{name} {why}" for name, check in _CHECKS.items() if name in inputs and (why := check(inputs[name]))
    ]
    if "prompt" not in inputs:
        wrong.append("prompt is required")
    if wrong:
        raise Refused("BadRequest", "; ".join(wrong))
    canonical = json.dumps(inputs, sort_keys=True, separators=(",", ":")).encode("utf-8", "surrogatepass")
    digest = blake2b(canonical, digest_size=16).hexdigest()
    return Asked(_settings(inputs, digest), digest)


def check_webhook(url: str) -> None:
    """Refuses a webhook that is not on this machine: a stand-in calls nobody else."""
    if not is_loopback(url):
        raise Refused("BadRequest", "webhook_url must be an http(s) URL on a loopback address in the sandbox")


def is_loopback(url: str) -> bool:
    """Is this an http(s) URL on this machine?

    >>> is_loopback("http://127.0.0.1:9000/hook"), is_loopback("https://example.com/hook")
    (True, False)
    """
    from ipaddress import ip_address

    host = _host(url)
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused("BadRequest", "the body is not JSON") from None
    if not isinstance(value, dict):
        raise Refused("BadRequest", "the body must be an object with model_name and inputs")
    return value


def _inputs(value: Mapping[str, Any]) -> Mapping[str, Any]:
    if value.get("model_name") != MODEL:
        raise Refused("BadRequest", f"model_name must be {MODEL}: the sandbox stands in for no other model")
    inputs = value.get("inputs")
    if not isinstance(inputs, dict):
        raise Refused("BadRequest", "inputs must be an object")
    if unknown := sorted(set(value) - {"model_name", "inputs"}):
        raise Refused("BadRequest", f"unknown in the body: {', '.join(unknown)}")
    return inputs


def _settings(inputs: Mapping[str, Any], digest: str) -> Settings:
    reference = "image_reference" in inputs
    # The output inherits the ratio of a reference. The sandbox never loads one, so a stand-in is drawn.
    inherited = pick(RATIOS, digest, "ratio") if reference else "1:1"
    return Settings(
        mode=inputs.get("generation_mode"),
        resolution=inputs.get("resolution", "1k"),
        ratio=inputs.get("aspect_ratio", inherited),
        seed=inputs.get("seed", DEFAULT_SEED),
        images=inputs.get("num_images", 1),
        output_format=inputs.get("output_format", "png"),
        private=inputs.get("return_base64", False),
        face="face_reference" in inputs,
        reference=reference,
    )


Check = Callable[[Any], str | None]
"""What is wrong with a value, as the end of a sentence that begins with the name of the input."""


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) and value.strip() else "must be a text that is not blank"


def _one_of(choices: tuple[str, ...]) -> Check:
    why = f"must be one of {', '.join(choices)}"
    return lambda value: None if isinstance(value, str) and value in choices else why


def _integer(least: int, most: int) -> Check:
    why = f"must be an integer from {least} to {most}"
    # `type is int`, because a boolean is an instance of int and is no integer of the API.
    return lambda value: None if type(value) is int and least <= value <= most else why


def _boolean(value: Any) -> str | None:
    return None if isinstance(value, bool) else "must be true or false"


def _image(value: Any) -> str | None:
    if isinstance(value, str) and (_DATA_URI.match(value) or _host(value)):
        return None
    return "must be an http(s) URL or base64 with its data:image/...;base64, prefix"


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        return parts.hostname or "" if parts.scheme in ("http", "https") else ""
    except ValueError:
        return ""


_CHECKS: Final[Mapping[str, Check]] = {
    "prompt": _text,
    "image_reference": _image,
    "aspect_ratio": _one_of(RATIOS),
    "face_reference": _image,
    "face_reference_mode": _one_of(FACE_MODES),
    "resolution": _one_of(RESOLUTIONS),
    "generation_mode": _one_of(MODES),
    "seed": _integer(0, LARGEST_SEED),
    "num_images": _integer(1, MOST_IMAGES),
    "output_format": _one_of(FORMATS),
    "return_base64": _boolean,
}
