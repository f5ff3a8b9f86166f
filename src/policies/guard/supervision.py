"""A machine's steps under supervision: somebody sees each effect and may refuse it.

Here belongs the one generator between a machine and its shell, and nothing that knows a run.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

from policies.guard.machine import CANCELLED, Effect, Pause

T = TypeVar("T")


def supervised(
    steps: Generator[Effect, Any, T], refuses: Callable[[Effect], bool]
) -> Generator[Effect, Any, T]:
    """Pass the effects on that are not refused; a refused one is answered `CANCELLED`.

    A pause is asked about again when it is over, because somebody may have wanted to stop meanwhile.
    What a POST or a transaction brought is always handed over.
    """
    result: Any = None
    error: Exception | None = None
    while True:
        try:
            effect = steps.send(result) if error is None else steps.throw(error)
        except StopIteration as finished:
            returned: T = finished.value
            return returned
        result, error = CANCELLED, None
        if refuses(effect):
            continue
        try:
            result = yield effect
        except Exception as failure:
            error = failure
        if isinstance(effect, Pause) and refuses(effect):
            result = CANCELLED
