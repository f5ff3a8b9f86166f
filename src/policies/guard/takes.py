"""Which take of its key a row stands for, and which one it makes where another is wished for.

Here belongs that choice, by what the ledger knows and before anything is sent. Carrying it out belongs to
`triage` and `runner`; that a wish outlives a crash to `ledger.retakes`.

A key is bound to (account, shoot, key, take). A row that is only run stands for the latest take that was
asked for by its very request, and another take is made on purpose only: of the keys that were named, or
of the rows whose request was changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from planner.request import ModelCreateRequest, retaken
from policies.ledger.entries import Entry
from policies.ledger.states import TAKEN, State
from policies.ledger.store import Store

Takes = Mapping[int, Entry]
"""The takes of one key by number, each as the entry that speaks for it."""


@dataclass(frozen=True, slots=True)
class Course:
    """What a row stands for, or what it would send."""

    take: int
    entry: Entry | None = None
    """What is known of that take."""
    request: ModelCreateRequest | None = None
    """What another take asks for: it is to be sent whatever is known of the others."""
    is_conflict: bool = False
    """The key belongs to another request."""


@dataclass(frozen=True, slots=True)
class Wish:
    """For which keys another take is wished."""

    takes: Mapping[str, int]
    """By key the number of the take."""
    changed: bool
    """Also of every row whose request is not the one that its key was used for."""

    def course(self, key: str, request: ModelCreateRequest, takes: Takes, store: Store) -> Course:
        """What is to be done with a row of that key and that request."""
        take = self.takes.get(key)
        if take is not None:
            return _wished(request, takes, take, store)
        taken = _taken(takes)
        if not taken:
            last = max(takes.values(), key=lambda entry: entry.id, default=None)
            return Course(1) if last is None else Course(last.take, last)
        for entry in taken:
            if store.stands_for(entry, request):
                return Course(entry.take, entry)
        if self.changed:
            return Course(taken[0].take + 1, request=request)
        return Course(taken[0].take, taken[0], is_conflict=True)


NO_WISH = Wish({}, changed=False)


def _wished(request: ModelCreateRequest, takes: Takes, take: int, store: Store) -> Course:
    """The take of that number: what was sent of it goes on, else it is sent."""
    entry = takes.get(take)
    if entry is not None and entry.state in TAKEN:
        return Course(take, entry, is_conflict=not store.stands_for(entry, request))
    mac = store.mac(request)
    was_asked = any(known.asked_mac == mac for known in _taken(takes))
    return Course(take, entry, retaken(request, take) if was_asked else request)


def _taken(takes: Takes) -> list[Entry]:
    """The takes that cost or may have cost something, the latest first."""
    taken = (entry for entry in takes.values() if entry.state in TAKEN)
    return sorted(taken, key=lambda entry: -entry.take)


def wished_takes(
    keys: Iterable[str],
    known: Mapping[str, Takes],
    wanted: Mapping[str, int],
    *,
    with_pictures: bool,
) -> dict[str, int]:
    """By key the number of the take that a wish for another one means.

    It is the next one, unless the latest is not at its end, or its pictures are still to be fetched: then
    it is that one. `wanted` are wishes that a command left behind which did not come to its end; they are
    the ones meant as long as no later take was made.
    """
    return {key: _meant(known.get(key, {}), wanted.get(key, 0), with_pictures) for key in keys}


def _meant(takes: Takes, wanted: int, with_pictures: bool) -> int:
    taken = _taken(takes)
    if not taken:
        return max(wanted, 1)
    latest = taken[0]
    if wanted >= latest.take:
        return wanted
    return latest.take + _is_over(latest, with_pictures)


def _is_over(entry: Entry, with_pictures: bool) -> bool:
    """Whether nothing is left to be done about a take."""
    lacks = with_pictures and entry.outputs_home < entry.outputs and not entry.outputs_lost
    return entry.state is State.SETTLED and not lacks
