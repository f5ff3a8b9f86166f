"""The one error family of both packages: what was wrong, where, and what would help.

Here belong the shapes of failure and who must act on them. How they are printed belongs to the
command line; which code a check uses belongs to the check.

    PlannerError
    ├── InputError         the caller: a request, a workload file, a flag                  exit 2
    │   └── InvalidRequest
    ├── ConfigError        whoever wrote a policy, a price book or a setting               exit 2
    │   └── NoPrice
    ├── ProviderError      the provider or the way to it                                  exit 3
    └── OperatorError      whoever runs the ledger: disk, lock, version                   exit 3
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong. `where` is `file:line` or another place a person can find.

    Whatever somebody wrote and a fault quotes, message and hint are one line that no terminal acts on.
    """

    code: str
    message: str
    where: str = ""
    field: str | None = None
    hint: str = ""

    def __post_init__(self) -> None:
        for name in ("message", "hint"):
            text = getattr(self, name)
            if not text.isprintable() or len(text) > _MOST_LETTERS:
                object.__setattr__(self, name, _line(text))

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{place}{self.message}{hint}"

    def as_json(self) -> dict[str, Any]:
        """The fault as it stands in the `errors` document of every command."""
        return {
            "code": self.code,
            "where": self.where,
            "field": self.field,
            "message": self.message,
            "hint": self.hint,
        }


_MOST_LETTERS: Final = 2_000


def _line(text: str) -> str:
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return shown if len(shown) <= _MOST_LETTERS else f"{shown[: _MOST_LETTERS - 1]}…"


class PlannerError(Exception):
    """One or more faults that stop what was asked.

    >>> error = InputError("`8k` is not a resolution", code="invalid_value", hint="use 1k, 2k or 4k")
    >>> str(error)
    '`8k` is not a resolution (use 1k, 2k or 4k)'
    >>> error.faults[0].code
    'invalid_value'
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 2

    def __init__(
        self,
        message: str = "",
        *,
        code: str | None = None,
        where: str = "",
        field: str | None = None,
        hint: str = "",
        faults: Iterable[Fault] = (),
    ) -> None:
        own = Fault(code or type(self).code, message, where, field, hint)
        self.faults: tuple[Fault, ...] = tuple(faults) or (own,)
        super().__init__("\n".join(map(str, self.faults)))


class InputError(PlannerError):
    """What the caller gave cannot be used."""

    code = "bad_input"


class InvalidRequest(InputError):
    """A request that the provider would refuse; every fault of it at once."""

    code = "invalid_request"


class ConfigError(PlannerError):
    """A policy, a price book or a setting cannot be used."""

    code = "bad_config"


class NoPrice(ConfigError):
    """The price book has no entry for that instant, and a guess is not a price."""

    code = "no_price"


class ProviderError(PlannerError):
    """The provider, or the way to it, does not work."""

    code = "provider_unreachable"
    exit_code = 3


class OperatorError(PlannerError):
    """The ledger or the machine it stands on does not work."""

    code = "ledger_unavailable"
    exit_code = 3


def nearest(word: str, known: Sequence[str], cutoff: float = 0.75) -> str | None:
    """The known word that was probably meant, for hints.

    >>> nearest("resolutoin", ["resolution", "seed"])
    'resolution'
    >>> nearest("sku", ["resolution", "seed"]) is None
    True
    """
    from difflib import get_close_matches

    found = get_close_matches(word.lower(), known, n=1, cutoff=cutoff)
    return found[0] if found else None
