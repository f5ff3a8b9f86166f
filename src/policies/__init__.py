"""What may be spent, in what form, and what it did cost: policies, the ledger and the guard.

Names are loaded when they are first used: deciding needs no database, and asking for a price neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from policies.decision import Decision as Decision
    from policies.guard.client import AsyncGuardedClient as AsyncGuardedClient
    from policies.guard.client import GuardedClient as GuardedClient
    from policies.guard.guard import Guard as Guard
    from policies.guard.outcomes import Denied as Denied
    from policies.guard.outcomes import GuardError as GuardError
    from policies.guard.outcomes import KeyConflict as KeyConflict
    from policies.guard.outcomes import NeedsApproval as NeedsApproval
    from policies.guard.outcomes import NotAccepted as NotAccepted
    from policies.guard.outcomes import NotInTime as NotInTime
    from policies.guard.outcomes import OutcomeUnknown as OutcomeUnknown
    from policies.guard.outcomes import OutOfCredits as OutOfCredits
    from policies.guard.outcomes import PredictionFailed as PredictionFailed
    from policies.guard.outcomes import Result as Result
    from policies.guard.outcomes import Unauthorized as Unauthorized
    from policies.guard.transport import AsyncGuardTransport as AsyncGuardTransport
    from policies.guard.transport import GuardTransport as GuardTransport
    from policies.loading import load_policy as load_policy

_HOMES = {
    "AsyncGuardTransport": "policies.guard.transport",
    "AsyncGuardedClient": "policies.guard.client",
    "Decision": "policies.decision",
    "Denied": "policies.guard.outcomes",
    "Guard": "policies.guard.guard",
    "GuardTransport": "policies.guard.transport",
    "GuardError": "policies.guard.outcomes",
    "GuardedClient": "policies.guard.client",
    "KeyConflict": "policies.guard.outcomes",
    "NeedsApproval": "policies.guard.outcomes",
    "NotAccepted": "policies.guard.outcomes",
    "NotInTime": "policies.guard.outcomes",
    "OutOfCredits": "policies.guard.outcomes",
    "OutcomeUnknown": "policies.guard.outcomes",
    "PredictionFailed": "policies.guard.outcomes",
    "Result": "policies.guard.outcomes",
    "Unauthorized": "policies.guard.outcomes",
    "load_policy": "policies.loading",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'policies' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
