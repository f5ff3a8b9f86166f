"""Settings: the flag, else the environment, else the nearest `planner.toml` upwards, else the default.

Here belong the names that several commands share and where each value comes from. `planner.toml` is a
flat file without tables, and its paths start at the file itself:

    ledger = "spend.db"
    policy = "policies/studio.yaml"
    account = "main"

API keys are read from `FASHN_API_KEY` alone: never from a file that is shared, never from a command
line that others can see.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from planner.errors import ConfigError, Fault, InputError, nearest
from policies.cli.output import Command, Decorator

if TYPE_CHECKING:
    from datetime import datetime

    from planner.latency import LatencyProfile
    from planner.money import CreditPrice
    from planner.prices import PriceBook

FILE_NAME: Final = "planner.toml"
DEFAULT_LEDGER: Final = "sqlite:///spend.db"
_SQLITE: Final = "sqlite:///"
_NAME_MOST: Final = 200
_SECRETS: Final = ("api_key", "fashn_api_key", "key", "token", "secret")


@dataclass(frozen=True, slots=True)
class Setting:
    """One name that can be set in four places."""

    flag: str
    variable: str
    metavar: str
    help: str
    is_path: bool = False


SETTINGS: Final[Mapping[str, Setting]] = {
    "ledger": Setting("--ledger", "PLANNER_LEDGER", "URL", "The ledger: sqlite:///FILE, or FILE.db.", True),
    "policy": Setting("--policy", "PLANNER_POLICY", "FILE", "The policy: a file or a shipped name.", True),
    "account": Setting("--account", "PLANNER_ACCOUNT", "NAME", "Whose credits are spent."),
    "shoot": Setting("--shoot", "PLANNER_SHOOT", "NAME", "The space in which keys are unique."),
    "prices": Setting("--prices", "PLANNER_PRICES", "FILE", "Dated entries for the price book.", True),
    "credit_price": Setting(
        "--credit-price", "PLANNER_CREDIT_PRICE", "PLAN|USD", "on-demand, tier-1 to tier-3, or such as 0.041."
    ),
    "latency": Setting("--latency", "PLANNER_LATENCY", "FILE", "Service times, by `latency fit`.", True),
    "timezone": Setting("--timezone", "PLANNER_TIMEZONE", "ZONE", "A zone such as Europe/Berlin."),
    "key_column": Setting("--key-column", "PLANNER_KEY_COLUMN", "NAME", "The column that holds the keys."),
    "pictures": Setting("--pictures", "PLANNER_PICTURES", "DIR", "Where pictures are kept.", True),
    "base_url": Setting("--base-url", "FASHN_BASE_URL", "URL", "The provider's address, without /v1."),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """The values in force; None where nobody said anything and there is no default."""

    ledger: str = DEFAULT_LEDGER
    """An address such as `sqlite:///spend.db`."""
    policy: str | None = None
    account: str = "main"
    shoot: str = "main"
    prices: str | None = None
    credit_price: str | None = None
    latency: str | None = None
    timezone: str | None = None
    key_column: str | None = None
    pictures: str | None = None
    base_url: str | None = None
    origins: Mapping[str, str] = field(default_factory=dict)
    """Where each value that is no default comes from."""

    def origin(self, name: str) -> str:
        """Where a value comes from, for messages: `--ledger`, `PLANNER_LEDGER`, `planner.toml:2`."""
        return self.origins.get(name, "the default")

    @property
    def ledger_file(self) -> Path | None:
        """The file of an SQLite ledger; None for any other address."""
        return Path(self.ledger.removeprefix(_SQLITE)) if self.ledger.startswith(_SQLITE) else None

    @property
    def ledger_name(self) -> str:
        """The ledger as a person would name it, without a password."""
        if self.ledger_file:
            return str(self.ledger_file)
        return self.ledger.rsplit("@", 1)[-1].partition("?")[0]

    def required_policy(self) -> str:
        """The policy; raises `ConfigError` where none is named."""
        if self.policy is None:
            raise ConfigError("no policy is named", code="no_policy", hint="name one with --policy FILE")
        return self.policy


def setting(*names: str) -> Decorator:
    """The options of those settings on a click command, in that order; absent ones arrive as None."""

    def decorate(command: Command) -> Command:
        for name in reversed(names):
            found = SETTINGS[name]
            text = f"{found.help} [{found.variable}]"
            option: Decorator = click.option(found.flag, name, metavar=found.metavar, help=text)
            command = option(command)
        return command

    return decorate


def resolve(
    *,
    environment: Mapping[str, str] = os.environ,
    folder: Path | None = None,
    **flags: str | None,
) -> Settings:
    """The settings in force, given the flags of a command.

    Raises `ConfigError` with every fault of the nearest `planner.toml`.

    >>> found = resolve(environment={"PLANNER_LEDGER": "march.db"}, folder=Path("/"), account="studio")
    >>> found.ledger, found.origin("ledger"), found.account, found.origin("shoot")
    ('sqlite:///march.db', 'PLANNER_LEDGER', 'studio', 'the default')
    """
    values, origins = _from_file(folder or Path.cwd())
    for name, known in SETTINGS.items():
        if text := environment.get(known.variable, "").strip():
            values[name], origins[name] = text, known.variable
        if (flag := flags.get(name)) is not None:
            values[name], origins[name] = flag, known.flag
    if faults := [*_bad_names(values, origins)]:
        raise ConfigError(faults=faults)
    if "ledger" in values:
        values["ledger"] = _address(values["ledger"])
    return Settings(**values, origins=origins)


def _bad_names(values: Mapping[str, str], origins: Mapping[str, str]) -> Iterator[Fault]:
    """A fault for an account or a shoot that the ledger would not take for a name."""
    for name in ("account", "shoot"):
        text = values.get(name, "main")
        if not text.strip() or len(text) > _NAME_MOST or not text.isprintable():
            message = f"the name of the {name} is 1 to {_NAME_MOST} characters that can be printed"
            yield Fault("bad_name", message, origins[name], name)


def _address(text: str) -> str:
    """A ledger's address; a plain path that ends in `.db` is one of an SQLite file."""
    return _SQLITE + text if text.endswith(".db") and ":" not in text else text


def _from_file(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The values of the nearest `planner.toml`, and the line of each."""
    path = next((at / FILE_NAME for at in (folder, *folder.parents) if (at / FILE_NAME).is_file()), None)
    if path is None:
        return {}, {}
    text = _read(path)
    found, shown = _parsed(text, path), os.path.relpath(path)
    lines = {name: f"{shown}:{_line(text, name)}" for name in found}
    faults = [fault for name, value in found.items() if (fault := _fault(name, value, lines[name]))]
    if faults:
        raise ConfigError(faults=faults)
    return {name: _placed(name, value, path.parent) for name, value in found.items()}, lines


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or "").lower() if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"cannot read `{path}`: {reason}", code="bad_settings") from None


def _parsed(text: str, path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        problem, _, place = str(error).partition(" (at ")
        line = re.search(r"line (\d+)", place)
        where = f"{os.path.relpath(path)}:{line[1] if line else 1}"
        message, hint = f"not TOML: {problem.lower()}", 'write it as `ledger = "spend.db"`'
        raise ConfigError(message, code="bad_settings", where=where, hint=hint) from None


def _line(text: str, name: str) -> int:
    """The line on which a key stands; 1 where it is written in an unusual way."""
    found = re.search(rf"^[ \t]*\[?[\"']?{re.escape(name)}\b", text, re.MULTILINE)
    return text.count("\n", 0, found.start()) + 1 if found else 1


def _fault(name: str, value: Any, where: str) -> Fault | None:
    if name.lower() in _SECRETS:
        hint = "remove it, make a new key, and set FASHN_API_KEY in the environment"
        return Fault("secret_in_file", f"`{name}` does not belong in a file", where, name, hint)
    if name not in SETTINGS:
        guess = nearest(name, tuple(SETTINGS))
        hint = f"did you mean `{guess}`?" if guess else "known: " + ", ".join(SETTINGS)
        if isinstance(value, dict):
            hint = "write the settings without a table"
        return Fault("unknown_setting", f"`{name}` is not a setting", where, name, hint)
    if not isinstance(value, str) or not value.strip():
        hint = f'write it as `{name} = "…"`'
        return Fault("bad_setting", f"`{name}` is not a text", where, name, hint)
    return None


def _placed(name: str, value: str, folder: Path) -> str:
    """A value of the file, with its path made to start where the file stands."""
    if not SETTINGS[name].is_path:
        return value
    text = _address(value) if name == "ledger" else value
    prefix = _SQLITE if text.startswith(_SQLITE) else ""
    if name == "ledger" and not prefix:
        return text
    bare = text.removeprefix(prefix)
    if name == "policy" and Path(bare).suffix not in (".yaml", ".yml") and not (folder / bare).exists():
        return bare  # the name of a shipped policy
    return prefix + os.path.relpath(folder / Path(bare).expanduser())


# -- what settings stand for ---------------------------------------------------------------------


def price_book(settings: Settings) -> PriceBook:
    """The shipped price book, extended by the user's own entries where there are some."""
    from planner.loading import load_prices, shipped_prices

    return shipped_prices() if settings.prices is None else load_prices(Path(settings.prices))


def latency_profile(settings: Settings) -> LatencyProfile:
    """The documented service times, or those of the file that the settings name."""
    from planner.loading import shipped_latency
    from planner.profiles import load_profile

    return shipped_latency() if settings.latency is None else load_profile(Path(settings.latency))


def chosen_credit_price(settings: Settings, otherwise: CreditPrice | None = None) -> CreditPrice:
    """What a credit costs: as set, else by the policy where it says so, else on demand."""
    from planner.loading import shipped_credit_plans
    from planner.money import credit_price

    if settings.credit_price is None and otherwise is not None:
        return otherwise
    try:
        return credit_price(settings.credit_price or "on-demand", shipped_credit_plans())
    except InputError as error:
        raise InputError(
            faults=[blamed(fault, settings.origin("credit_price")) for fault in error.faults]
        ) from None


def pricing_instant(book: PriceBook) -> datetime:
    """Now, but not before the book was last checked: what was checked ahead of a day holds on it."""
    from datetime import UTC, datetime

    return max(datetime.now(UTC), book.checked_at)


def at_option(command: Command) -> Command:
    """The option `--at`, which arrives as text."""
    decorate: Decorator = click.option("--at", metavar="INSTANT", help="As if it were then; default: now.")
    return decorate(command)


def instant_of(text: str | None, flag: str = "--at") -> datetime | None:
    """The instant that a flag names; None where it was not given."""
    from planner.loading import instant

    if text is None:
        return None
    if (found := instant(text)) is None:
        hint = "write 2026-11-22 or 2026-11-22T14:00:00+01:00"
        raise InputError(f"`{text}` is not an instant", code="bad_instant", where=flag, hint=hint)
    return found


def blamed(fault: Fault, where: str) -> Fault:
    """A fault, placed at the flag or file that it came from."""
    return Fault(fault.code, fault.message, where, fault.field, fault.hint)
