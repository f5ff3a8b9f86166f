"""Lengths of time as people type them: `6h`, `90m`, `1d`, `1h30m`.

Here belongs the way from such a text to seconds; the way back is `output.span_text`.
"""

from __future__ import annotations

import re
from typing import Final

from planner.errors import InputError

_SECONDS: Final = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_PARTS: Final = re.compile(r"(\d{1,9})\s*(d|h|min|m|s)\s*", re.IGNORECASE)


def seconds_of(text: str, flag: str) -> int:
    """The seconds that a text names; raises `InputError`, placed at the flag, where it names none.

    >>> seconds_of("6h", "--deadline"), seconds_of("1h 30min", "--deadline")
    (21600, 5400)
    """
    parts = _PARTS.findall(text)
    if not parts or _PARTS.sub("", text).strip():
        hint = "write 6h, 90m, 1d or 1h30m"
        raise InputError(f"`{text}` is not a length of time", code="bad_duration", where=flag, hint=hint)
    return sum(int(number) * _SECONDS[unit[0].lower()] for number, unit in parts)
