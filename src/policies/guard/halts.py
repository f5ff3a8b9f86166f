"""Why a run sends nothing more, and what that means for its exit code.

Pure: here belongs the closed list. What a run still does after a halt belongs to `runner`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Halt(IntEnum):
    """A reason to send nothing more; of several the greatest decides about the exit code."""

    LIMIT = 1
    """The next row would pass `--max-credits`: it and those after it are not started."""
    OUT_OF_CREDITS = 2
    UNAUTHORIZED = 3
    PROVIDER = 4
    """The provider cannot be reached."""
    PICTURES = 5
    """Pictures cannot be written."""
    LEDGER = 6
    """The ledger cannot be written."""
    INTERRUPTED = 7

    @property
    def exit_code(self) -> int:
        """
        >>> Halt.OUT_OF_CREDITS.exit_code, Halt.INTERRUPTED.exit_code
        (4, 130)
        """
        return _EXIT_CODES[self]

    @property
    def ends_at_once(self) -> bool:
        """Whether only what is in flight is still brought home."""
        return self >= Halt.PROVIDER


_EXIT_CODES: Final = {
    Halt.LIMIT: 1,
    Halt.OUT_OF_CREDITS: 4,
    Halt.UNAUTHORIZED: 2,
    Halt.PROVIDER: 3,
    Halt.PICTURES: 3,
    Halt.LEDGER: 3,
    Halt.INTERRUPTED: 130,
}

TURNED_AWAY: Final = {
    "OutOfCredits": Halt.OUT_OF_CREDITS,
    "UnauthorizedAccess": Halt.UNAUTHORIZED,
    "NotFound": Halt.PROVIDER,
    "ConnectError": Halt.PROVIDER,
    "ConnectTimeout": Halt.PROVIDER,
    "PoolTimeout": Halt.PROVIDER,
    "ProxyError": Halt.PROVIDER,
}
"""Names under which one request is turned away as every other one would be."""
