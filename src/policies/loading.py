"""The edge that reads policies: from a text, a file, or the library that comes with the package.

Here belongs finding and reading a policy and all that it extends. How they are laid together belongs to
`extending`, what may stand in the result to `document`, and what becomes of it to `building`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from planner.documents import Document, read_text, read_yaml, read_yaml_file, scan_yaml
from planner.errors import ConfigError, Fault, InputError, nearest
from planner.latency import LatencyProfile
from planner.loading import shipped_credit_plans, shipped_latency, shipped_prices
from planner.money import CreditPrice, credit_price
from planner.profiles import load_profile, read_profile
from policies import building
from policies.document import read_policy
from policies.engine import Policy
from policies.extending import Merged, Source, merged
from policies.parsing import plain
from policies.stability import examine
from policies.writing import merged_text

_PROFILE: Final = "latency_profile"


def load_policy(path: str | Path) -> Policy:
    """The policy in a file, or the shipped one of that name, with all that it extends.

    Raises `ConfigError` with every fault of the files and `InputError` when the first cannot be read.

    >>> load_policy("starter").name
    'starter'
    """
    return _policy(_layers(_source(path)))


def parse_policy(text: str, name: str) -> Policy:
    """The policy in a text; raises `ConfigError` with every fault, each with file, line and hint.

    A text may extend a shipped policy but no file, because it does not lie anywhere.
    """
    shown = name.replace("\\", "/").rpartition("/")[2]
    return _policy(_layers(Source(scan_yaml(text, name), text, shown, None)))


def extended(path: str | Path) -> tuple[str, ...]:
    """What the policy extends, the nearest first: names of files and of shipped policies."""
    return tuple(source.shown for source in _layers(_source(path))[1:])


def base_of(path: str | Path) -> Policy | None:
    """The policy that this one extends, with all that it extends itself; None where it stands alone."""
    _, *base = _layers(_source(path))
    return _policy(base) if base else None


@lru_cache(maxsize=1)
def shipped_policies() -> tuple[str, ...]:
    """The names of the policies that come with the package."""
    library = files("policies") / "library"
    return tuple(sorted(item.name for item in library.iterdir() if (item / "policy.yaml").is_file()))


def shipped_suite(name: str) -> Document:
    """The suite beside a shipped policy."""
    return read_yaml(_shipped(name, "suite.yaml"), f"{name}/suite.yaml")


def _shipped(name: str, file: str) -> str:
    return (files("policies") / "library" / name / file).read_text("utf-8")


# -- the texts of a policy ------------------------------------------------------------------------


def _source(path: str | Path) -> Source:
    """The policy file, or the shipped policy of that name."""
    if isinstance(path, str) and path in shipped_policies() and not Path(path).is_file():
        return _shipped_source(path)
    if not Path(path).exists():
        guess = nearest(str(path), shipped_policies())
        shipped = f"`{guess}`" if guess else ", ".join(shipped_policies())
        raise InputError(
            f"there is no policy `{path}`", code="no_policy", hint=f"name a file or a shipped one: {shipped}"
        )
    return _file_source(Path(path))


def _file_source(path: Path) -> Source:
    text = read_text(path)
    source = Source(scan_yaml(text, str(path)), text, path.name, path)
    said = source.data.get(_PROFILE)
    if isinstance(said, str) and (Path(said).suffix in (".yaml", ".yml") or "/" in said):
        return _with_profile(source, path.parent / said)
    return source


def _with_profile(source: Source, path: Path) -> Source:
    """The profile itself in place of the name of its file, so that what is decided by is in the policy."""
    try:
        load_profile(path)
        found = read_yaml_file(path)
    except (InputError, ConfigError) as error:
        hint = "the path starts from the file that says it"
        raise ConfigError(faults=[source.fault((_PROFILE,), error.faults[0].message, hint)]) from None
    document = replace(source.document, data={**source.data, _PROFILE: found.data})
    return replace(source, document=document, profile=path)


def _shipped_source(name: str) -> Source:
    text, shown = _shipped(name, "policy.yaml"), f"{name}/policy.yaml"
    return Source(read_yaml(text, shown), text, shown, None)


def _layers(own: Source) -> tuple[Source, ...]:
    """The policy's own text, and what it extends, the nearest first."""
    sources = [own]
    while "extends" in sources[-1].data:
        sources.append(_base(sources))
    return tuple(sources)


def _base(sources: Sequence[Source]) -> Source:
    """What the last of the texts extends; raises `ConfigError` at the place that says so."""
    last = sources[-1]
    said = last.data["extends"]

    def refused(message: str, hint: str) -> ConfigError:
        return ConfigError(faults=[last.fault(("extends",), message, hint)])

    shipped = ", ".join(shipped_policies())
    if not isinstance(said, str) or not said.strip() or not said.isprintable():
        hint = f"name a file such as ./base.yaml, or a shipped policy: {shipped}"
        raise refused(f"`{plain(said)}` is not a policy to extend", hint)
    if said in shipped_policies():
        return _shipped_source(said)
    if not (Path(said).suffix in (".yaml", ".yml") or "/" in said or "\\" in said):
        guess = nearest(said, shipped_policies())
        known = f"shipped are {shipped}; a file is named like ./base.yaml"
        hint = f"did you mean `{guess}`?" if guess else known
        raise refused(f"there is no shipped policy `{said}`", hint)
    if last.path is None:
        hint = f"read it from its file, or extend a shipped policy: {shipped}"
        raise refused(f"a text without a file cannot extend `{said}`", hint)
    path = last.path.parent / said
    read = [source.path.resolve() for source in sources if source.path]
    if path.resolve() in read:
        names = [source.shown for source in sources[read.index(path.resolve()) :]]
        circle = " → ".join([*names, names[0]])
        raise refused(f"`{names[0]}` extends itself: {circle}", "let one of them do without the next")
    try:
        return _file_source(path)
    except InputError as error:
        raise refused(error.faults[0].message, "the path starts from the file that says it") from None


# -- from texts to a policy -----------------------------------------------------------------------


def _policy(sources: Sequence[Source]) -> Policy:
    document, faults = merged(sources)
    shape, more = read_policy(document)
    faults = [*(fault for source in sources for fault in source.document.faults), *faults, *more]
    raw = document.data if isinstance(document.data, dict) else {}
    price = _priced(document, raw.get("credit_price"), faults)
    latency = _timed(document, raw.get(_PROFILE), faults)
    if shape is None or faults:
        raise ConfigError(faults=sorted(faults, key=document.order))
    policy = Policy(
        name=shape.name,
        digest=_digest(document.data),
        text=_text(document),
        zone=shape.timezone,
        labels=building.labels(document, shape),
        budgets=building.budgets(document, shape),
        rules=building.rules(document, shape),
        otherwise=building.otherwise(document, shape),
        enforced=shape.enforcement == "on",
        credit_price=price,
        latency=latency,
        guarantees=building.guarantees(document, shape),
        reuse=shape.reuse,
        other_models_hold=shape.other_models,
        on_drift=shape.on_drift,
        sources=[path for source in sources for path in (source.path, source.profile) if path is not None],
    )
    stability = examine(policy.compiled, shipped_prices().entries)
    if stability.faults:
        raise ConfigError(faults=stability.faults)
    policy.compiled.settled = frozenset(stability.settled)
    return policy


def _text(document: Merged) -> str:
    """The policy as a text that stands by itself, which is what a ledger keeps of it."""
    own = document.sources[0]
    if len(document.sources) == 1 and own.profile is None:
        return own.text
    text = merged_text(document)
    # A ledger reads it again, so it has to keep within the same bounds as any other text.
    read_yaml(text, f"{own.document.name} with all it extends")
    return text


def _digest(data: Any) -> str:
    """SHA-256 of the values alone: comments, order of keys and formatting do not change it."""
    canonical = json.dumps(data, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def _priced(document: Merged, given: Any, faults: list[Fault]) -> CreditPrice | None:
    if given is None:
        return None
    try:
        return credit_price(str(given), shipped_credit_plans())
    except InputError as error:
        fault = error.faults[0]
        faults.append(Fault("policy", fault.message, document.where(("credit_price",)), hint=fault.hint))
        return None


def _timed(document: Merged, given: Any, faults: list[Fault]) -> LatencyProfile | None:
    if given is None:
        return None
    if isinstance(given, Mapping):
        try:
            return read_profile(given, lambda place: document.where((_PROFILE, *place)))
        except ConfigError as error:
            faults += error.faults
            return None
    profile = shipped_latency()
    if given != profile.name:
        message = f"`{plain(given)}` is not a latency profile"
        hint = f"use {profile.name}, or a file of `planner latency fit` such as ./latency.yaml"
        faults.append(Fault("policy", message, document.where((_PROFILE,)), hint=hint))
        return None
    return profile
