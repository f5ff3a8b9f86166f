"""`planner doctor`: whether a run could begin here, looked at one thing after the other.

Here belong the questions and their words. Nothing is made, sent or paid for: the provider is asked for
its balance and nothing else.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import click

from planner.errors import PlannerError
from policies.cli.output import credits_text, dim, emit_json, example, json_option, plain, say, styled, table
from policies.cli.settings import Settings, price_book, resolve, setting

if TYPE_CHECKING:
    from policies.guard.answers import Reply

BAD_SETTING: Final = 2
OUT_OF_REACH: Final = 3
MOST_BOOK_AGE: Final = timedelta(days=90)
"""How long ago a price book may have been checked before it is worth a look."""
MOST_CLOCK_SECONDS: Final = 30
"""How far the clocks of this machine and of the provider may be apart."""
_DISTRIBUTION: Final = "fashn-planner"
_NETWORK: Final = (
    "nfs",
    "cifs",
    "smb",
    "9p",
    "afs",
    "ceph",
    "gluster",
    "lustre",
    "fuse.sshfs",
    "fuse.rclone",
)
_SYNCED: Final = (
    "dropbox",
    "onedrive",
    "google drive",
    "googledrive",
    "icloud",
    "mobile documents",
    "nextcloud",
)


@dataclass(frozen=True, slots=True)
class Look:
    """One thing that was looked at."""

    what: str
    words: str
    code: int = 0
    """The exit code where it is wrong; 0 where it is right."""
    warning: bool = False
    hint: str = ""

    @property
    def verdict(self) -> str:
        return "wrong" if self.code else "warning" if self.warning else "right"

    def as_json(self) -> dict[str, str]:
        return {"what": self.what, "verdict": self.verdict, "words": self.words, "hint": self.hint}


@click.command(epilog=example("planner doctor", "planner doctor --json"))
@setting("ledger", "policy", "account", "prices", "base_url")
@json_option
def command(as_json: bool, **flags: Any) -> int:
    """Look at key, balance, clock, ledger, policy and prices; exit 2 or 3 where a run could not begin."""
    settings = resolve(**flags)
    now = datetime.now(UTC)
    looks = [look for question in _QUESTIONS for look in _asked(question, settings, now)]
    code = max(look.code for look in looks)
    if as_json:
        emit_json("doctor", {"ready": code == 0, "looks": [look.as_json() for look in looks]})
        return code
    colours = {"right": "green", "warning": "yellow", "wrong": "red"}
    rows = [(styled(look.verdict, fg=colours[look.verdict]), look.what, plain(look.words)) for look in looks]
    say(table(rows, style="plain"))
    for look in looks:
        if look.hint:
            say(dim(f"{look.what}: {look.hint}"))
    say()
    say("a run could begin" if code == 0 else styled("a run could not begin", fg="red", bold=True))
    return code


Question = Callable[[Settings, datetime], Iterator[Look]]


def _asked(question: Question, settings: Settings, now: datetime) -> Iterator[Look]:
    """What was found; an error of ours is a find too."""
    try:
        yield from question(settings, now)
    except PlannerError as error:
        code = OUT_OF_REACH if error.exit_code == OUT_OF_REACH else BAD_SETTING
        for fault in error.faults:
            words = f"{fault.where}: {fault.message}" if fault.where else fault.message
            yield Look(question.__name__.removeprefix("_"), words, code, hint=fault.hint)


# -- here ----------------------------------------------------------------------------------------


def _package(_settings: Settings, _now: datetime) -> Iterator[Look]:
    """Whether `planner` and `policies` are ours."""
    known = packages_distributions()
    foreign = {
        name
        for package in ("planner", "policies")
        for name in known.get(package, [])
        if name != _DISTRIBUTION
    }
    words = f"{_DISTRIBUTION} {version(_DISTRIBUTION)}"
    if foreign:
        hint = f"`pip uninstall {' '.join(sorted(foreign))}`, or use an environment of its own"
        message = f"{words}; {', '.join(sorted(foreign))} brings a package of the same name"
        yield Look("package", message, BAD_SETTING, hint=hint)
    else:
        yield Look("package", words)


def _zones(_settings: Settings, now: datetime) -> Iterator[Look]:
    """Whether time-zone data is there: without it no window is right."""
    try:
        offset = now.astimezone(ZoneInfo("Europe/Berlin")).utcoffset()
    except Exception:
        yield Look("zones", "there is no time-zone data", BAD_SETTING, hint="`pip install tzdata`")
    else:
        hours = (offset or timedelta()).total_seconds() / 3600
        yield Look("zones", f"time-zone data is there (Berlin is at {hours:+g} h)")


def _prices(settings: Settings, now: datetime) -> Iterator[Look]:
    """Whether there is a price for today, and how old the book is."""
    book = price_book(settings)
    entry, age = book.entry_at(max(now, book.checked_at)), now - book.checked_at
    words = f"{entry.id}, checked on {book.checked_at.date().isoformat()}"
    old = age > MOST_BOOK_AGE
    hint = (
        "compare it with the provider's page; add a dated entry with --prices where it differs" if old else ""
    )
    yield Look("prices", words, warning=old, hint=hint)


def _policy(settings: Settings, _now: datetime) -> Iterator[Look]:
    """Whether the policy can be read, and what is odd about it."""
    if settings.policy is None:
        hint = "`planner init` writes one, `planner run --policy starter` uses a shipped one"
        yield Look("policy", "none is named", warning=True, hint=hint)
        return
    from policies.loading import load_policy

    policy = load_policy(settings.policy)
    mode = "enforced" if policy.enforced else "in shadow: everything goes as asked"
    yield Look("policy", f"{policy.name} ({policy.digest[:8]}), {mode}", warning=not policy.enforced)


# -- the ledger ----------------------------------------------------------------------------------


def _ledger(settings: Settings, _now: datetime) -> Iterator[Look]:
    """Whether the ledger is there and of ours, or could be made, and where it lies."""
    from policies.ledger.store import Store

    file = settings.ledger_file
    if file is not None and not file.exists():
        yield from _place_for(file)
        return
    store = Store.open(settings.ledger, create=False)
    try:
        kind, jobs = store.kind() or "not used yet", sum(number for number, _ in store.totals().values())
        lost = store.missing_events()
    finally:
        store.close()
    words = f"{settings.ledger_name}, {kind}, {jobs:,} {'entry' if jobs == 1 else 'entries'}"
    if file is None:
        yield Look("ledger", words)
        return
    if lost:
        hint = "put the newest file back: it knows what was paid since"
        told = f"it is an older copy: the last {lost:,} events are not in it"
        yield Look("ledger", told, BAD_SETTING, hint=hint)
    mode = _journal_mode(file)
    if mode != "wal":
        hint = "copy it to a local disk; a ledger that is not in WAL mode can lose a commit"
        yield Look("ledger", f"{words}, journal mode {mode}", OUT_OF_REACH, hint=hint)
    else:
        yield Look("ledger", f"{words}, WAL")
    yield from _where_it_lies(file)


def _place_for(file: Path) -> Iterator[Look]:
    """Whether a ledger could be made at its place."""
    folder = file.resolve().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        yield Look("ledger", f"`{folder}` cannot be written", OUT_OF_REACH, hint="name another with --ledger")
    else:
        yield Look("ledger", f"{file} is not there yet: the first run makes it")
        yield from _where_it_lies(file)


def _journal_mode(file: Path) -> str:
    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        found: str = connection.execute("PRAGMA journal_mode").fetchone()[0]
    return found


def _where_it_lies(file: Path) -> Iterator[Look]:
    """A warning for a disk on which files of SQLite are not safe."""
    folder = file.resolve().parent
    kind = _file_system(folder)
    if kind.startswith(_NETWORK):
        hint = "put it on a local disk, or use a PostgreSQL ledger"
        yield Look("ledger", f"it lies on a network disk ({kind})", warning=True, hint=hint)
    elif any(name in str(folder).lower() for name in _SYNCED):
        hint = "put it outside: a synced copy can undo what was booked"
        yield Look("ledger", "it lies in a folder that is synced", warning=True, hint=hint)


def _file_system(folder: Path) -> str:
    """The kind of file system a folder is on; empty where the system does not say."""
    try:
        lines = Path("/proc/mounts").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    mounts = [line.split(" ")[1:3] for line in lines if line.count(" ") > 2]
    inside = [(place, kind) for place, kind in mounts if folder.is_relative_to(place.replace("\\040", " "))]
    return max(inside, key=lambda found: len(found[0]), default=("", ""))[1]


# -- the provider --------------------------------------------------------------------------------


def _provider(settings: Settings, now: datetime) -> Iterator[Look]:
    """Whether the key is known, what the balance is, and whether the clocks agree."""
    from policies.guard.answers import Answer, read_credits
    from policies.guard.wire import Wire, is_live, provider_address, provider_key

    address = provider_address(settings.base_url)
    where = "the provider" if is_live(address) else f"a stand-in at {address}"
    wire = Wire(address, provider_key(None))
    try:
        reply = wire.get(wire.credits_url)
    finally:
        wire.close()
    if not isinstance(reply, Answer):
        yield Look("provider", f"{where} cannot be reached", OUT_OF_REACH, hint="check address and network")
        return
    if reply.status == 401:
        yield Look("key", f"{where} does not know the API key", BAD_SETTING, hint="check FASHN_API_KEY")
        return
    balance = read_credits(reply).get("total")
    if balance is None:
        hint = "check the address: it is given without /v1"
        yield Look("provider", f"{where} answered {reply.status} without a balance", OUT_OF_REACH, hint=hint)
        return
    yield Look("key", f"{where} knows it; the balance is {credits_text(balance)}", warning=balance == 0)
    yield from _clock(reply, datetime.now(UTC), now)


def _clock(reply: Reply, now: datetime, since: datetime) -> Iterator[Look]:
    """How far the clocks are apart, by the time that the answer was written."""
    written = str(getattr(reply, "headers", {}).get("date", ""))
    try:
        theirs = parsedate_to_datetime(written).astimezone(UTC)
    except (TypeError, ValueError):
        return
    early, late = theirs - now, since - theirs  # It was written between our question and its answer.
    seconds = max(early, late, timedelta()).total_seconds() - 1
    if seconds > MOST_CLOCK_SECONDS:
        hint = "set the clock by the network: budgets are counted by it"
        yield Look("clock", f"{seconds:,.0f} s apart from the provider's", warning=True, hint=hint)
    else:
        yield Look("clock", "agrees with the provider's")


_QUESTIONS: Final[tuple[Question, ...]] = (_package, _zones, _prices, _policy, _ledger, _provider)
