"""The same request once more, where its pictures are home: they are copied, and nothing is sent or paid.

Here belongs finding such twins, for a policy that says `reuse: true`, and taking over their pictures. It
stands before admission: a reused row asks for nothing, so it holds nothing, books nothing and leaves its
key free, as everything does that cost nothing (law 18). A crash can therefore lose no more than a copy.

A twin is a settled job of the same account and shoot, so of the same ledger and never across sandbox and
live (law 23), whose request was this one to the last field *after* rewriting, with every picture it was
asked for at home and still in the folder. What was private (`return_base64`) is never one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from policies.decision import Verdict
from policies.guard.batch import Line, names_of
from policies.guard.guard import Guard
from policies.guard.pictures import PictureFolder, existing, write_whole
from policies.guard.results import read_records
from policies.ledger.entries import Entry
from policies.ledger.states import State

if TYPE_CHECKING:
    from policies.engine import Policy


class Reuse:
    """Completes rows whose pictures are home already under another key of the shoot."""

    def __init__(self, guard: Guard, pictures: PictureFolder | None, lines: Iterable[Line]) -> None:
        self._guard = guard
        self._pictures = pictures
        self._names: Mapping[str, Sequence[str]] = {line.key: line.names for line in lines}

    def sort(self, lines: Sequence[Line]) -> tuple[list[Line], list[Line]]:
        """Of rows to be sent those that still are, and those to look at again once these have ended.

        The others are completed now. Rows that ask for the same are not sent side by side: the first one
        goes, and the rest wait for its pictures. Another take is wished for on purpose and always goes.
        """
        store = self._guard.store
        policy = store.policy_in_force(self._guard.policy.name)
        if self._pictures is None or not (policy.reuse and policy.enforced):
            return [*lines], []
        folder, twins = self._pictures, self._twins()
        records = read_records(folder.folder)
        names = {**{key: record.names for key, record in records.items()}, **self._names}
        told = {key: record.reused_from for key, record in records.items()}
        to_send, waiting, going = list[Line](), list[Line](), set[str]()
        for line, mac in zip(lines, self._macs(policy, lines), strict=True):
            if mac is None:
                to_send.append(line)
            elif mac in going:
                waiting.append(line)
            elif not _is_reused(line, twins.get(mac, ()), names, told.get(line.key, ""), folder):
                going.add(mac)
                to_send.append(line)
        return to_send, waiting

    def _twins(self) -> dict[str, list[Entry]]:
        """By the fingerprint of what was sent, the jobs of this shoot whose pictures all came home."""
        found: dict[str, list[Entry]] = {}
        for entry in self._guard.store.entries(states=[State.SETTLED], account=self._guard.account):
            whole = entry.outputs_home >= entry.outputs == (entry.num_images or 1)
            if entry.shoot == self._guard.shoot and whole and not entry.outputs_lost:
                found.setdefault(entry.final_mac, []).append(entry)
        return found

    def _macs(self, policy: Policy, lines: Iterable[Line]) -> Iterator[str | None]:
        """The fingerprint of what would be sent for each row; None where it is no twin of anything."""
        store, usage = self._guard.store, cache(self._guard.store.usage(policy))
        now = store.now()
        for line in lines:
            assert line.request is not None
            decision = policy.decide(line.request, line.labels, book=self._guard.book, at=now, usage=usage)
            goes = decision.verdict is Verdict.ALLOW and line.take == 1
            yield store.mac(decision.request) if goes and not decision.request.return_base64 else None


def _is_reused(
    line: Line,
    twins: Sequence[Entry],
    names: Mapping[str, Sequence[str]],
    told: str,
    pictures: PictureFolder,
) -> bool:
    """Complete a row by the pictures of a twin; false where no twin's pictures are in the folder."""
    for twin in twins:
        own = names_of(line, twin.outputs)
        files = pictures.home(own) if told == _name(twin) else []
        if len(files) < twin.outputs:
            theirs = Line(twin.key, names=tuple(names.get(twin.key, ())), take=twin.take)
            files = _copied(theirs, own, pictures)
        if len(files) == twin.outputs:
            line.reuse(_name(twin), files)
            return True
    return False


def _name(twin: Entry) -> str:
    return twin.key if twin.take == 1 else f"{twin.key} (take {twin.take})"


def _copied(twin: Line, own: Sequence[str], pictures: PictureFolder) -> list[str]:
    """The twin's pictures under a row's own names; none of them where one is missing.

    Copies rather than links: whoever retouches one picture does not mean the other.
    """
    if not twin.names:
        return []
    theirs = [existing(pictures.folder, name) for name in names_of(twin, len(own))]
    files = []
    for file, name in zip(theirs, own, strict=True):
        try:
            data = (pictures.folder / file).read_bytes() if file is not None else None
        except OSError:
            data = None
        if file is None or data is None:
            return []
        files.append(f"{name}.{file.rpartition('.')[2]}")
        write_whole(pictures.folder / files[-1], data)
    return files
