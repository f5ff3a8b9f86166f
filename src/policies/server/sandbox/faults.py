"""Which misfortunes the sandbox injects, and how often: one probability for each.

Here belong the names and their odds. What a misfortune does stands in `fates` (to a prediction) and in
`provider` (to a call). Every fault is drawn by itself, from the seed and the number of the call or of
the prediction; where several strike at once, the one listed first below wins.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from planner.errors import Fault, InputError, nearest
from policies.server.sandbox.draws import unit


@dataclass(frozen=True, slots=True)
class Faults:
    """Probabilities between 0 and 1. Nothing goes wrong by default.

    >>> Faults.parse("lost_after=0.02,failed=0.03").failed
    0.03
    """

    # To a call that submits, drawn by call.
    lost_before: float = 0.0
    """the connection is cut and nothing was accepted"""
    proxy_before: float = 0.0
    """a proxy's 502 page; nothing was accepted"""
    redirect_before: float = 0.0
    """a 307; nothing was accepted"""
    server_error: float = 0.0
    """500 with the provider's JSON body; nothing was accepted"""
    rate_limited: float = 0.0
    """429 RateLimitExceeded although the window has room"""
    concurrency_limited: float = 0.0
    """429 ConcurrencyLimitExceeded although a slot is free"""
    lost_after: float = 0.0
    """accepted, then the connection is cut"""
    proxy_after: float = 0.0
    """accepted, then a proxy's 502 page"""
    redirect_after: float = 0.0
    """accepted, then a 307"""
    silent_after: float = 0.0
    """accepted, and no answer comes until the caller hangs up"""
    no_id: float = 0.0
    """accepted, and a 200 that names no id"""

    # To a prediction, drawn by prediction.
    stuck: float = 0.0
    """never ends; the credits stay charged"""
    vanished: float = 0.0
    """404 once it should be done; the credits stay charged"""
    unknown_status: float = 0.0
    """ends in a word nobody has documented; the credits stay charged"""
    failed: float = 0.0
    """fails with one of the run-time errors"""
    canceled: float = 0.0
    """ends as canceled"""
    time_out: float = 0.0
    """ends as time_out"""
    partial: float = 0.0
    """fewer outputs than asked for; only those that came are charged"""
    charged_failure: float = 0.0
    """a failed, canceled or timed out prediction is charged all the same, and its header says so"""
    slow: float = 0.0
    """takes several times as long"""
    drift: float = 0.0
    """charged one credit more or less than the table says"""
    missing_header: float = 0.0
    """the status answer does not say what was charged"""
    malformed_header: float = 0.0
    """the status answer says it in a way that is no whole number"""

    # To a call that asks for a status, drawn by call.
    status_error: float = 0.0
    """500 on a status call"""

    def __post_init__(self) -> None:
        wrong = [
            Fault(
                "invalid_value", f"the probability of `{name}` must be from 0 to 1, not `{odds}`", field=name
            )
            for name, odds in ((name, getattr(self, name)) for name in self.names())
            if not 0.0 <= odds <= 1.0
        ]
        if wrong:
            raise InputError(faults=wrong)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The faults there are, in the order in which they win."""
        return tuple(field.name for field in fields(cls))

    @classmethod
    def parse(cls, text: str) -> Faults:
        """Faults from a compact text; raises `InputError` with every part that cannot be used.

        >>> Faults.parse("lost_afer=1")
        Traceback (most recent call last):
        planner.errors.InputError: `lost_afer` is not a fault the sandbox knows (did you mean `lost_after`?)
        """
        odds: dict[str, float] = {}
        wrong: list[Fault] = []
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, _, number = (piece.strip() for piece in part.partition("="))
            if name not in cls.names():
                wrong.append(_not_a_fault(name))
            elif name in odds:
                wrong.append(Fault("invalid_value", f"`{name}` is given twice", field=name))
            elif (probability := _number(number)) is None:
                message = f"`{part}` has no probability"
                wrong.append(Fault("invalid_value", message, field=name, hint=f"write {name}=0.05"))
            else:
                odds[name] = probability
        if wrong:
            raise InputError(faults=wrong)
        return cls(**odds)

    def strikes(self, name: str, *what: object) -> bool:
        """Does this fault strike the thing named by `what`? Costs nothing for faults that are off."""
        odds: float = getattr(self, name)
        return odds > 0.0 and unit(*what, name) < odds


def _not_a_fault(name: str) -> Fault:
    meant = nearest(name, Faults.names(), cutoff=0.6)
    hint = f"did you mean `{meant}`?" if meant else f"known: {', '.join(Faults.names())}"
    return Fault("unknown_fault", f"`{name}` is not a fault the sandbox knows", hint=hint)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
