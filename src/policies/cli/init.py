"""`planner init`: a folder to begin in: settings, a policy to edit with its suite, a file of looks.

Here belongs what is written. Nothing that is there already is ever written over.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Final

import click

from planner.errors import Fault, InputError, OperatorError
from policies.cli.output import dim, emit_json, example, json_option, plain, say, strong

DEFAULT_POLICY: Final = "starter"

_SETTINGS: Final = """\
# Settings of every `planner` command in this folder and below; a flag or a variable goes before them.
# The API key is not one of them: it is read from FASHN_API_KEY alone.
policy = "{policy}.yaml"
ledger = "spend.db"
account = "main"
shoot = "main"             # the space in which keys are unique: one paid job for each key
credit_price = "on-demand" # or tier-1 to tier-3, or a figure of your own such as "0.041"
timezone = "{timezone}"
"""

_LOOKS: Final = """\
key,prompt,resolution,generation_mode,num_images,aspect_ratio,team,stage,campaign
look-1,"linen dress in soft morning light",1k,fast,1,3:4,social,draft,spring
look-2,"wool coat on a city street at dusk",2k,balanced,2,4:5,ecommerce,production,autumn
"""


@click.command(epilog=example("planner init", "planner init studio --policy strict-finance"))
@click.argument("folder", default=".", metavar="[FOLDER]")
@click.option("--policy", default=DEFAULT_POLICY, metavar="NAME", help="The shipped policy to begin with.")
@json_option
def command(folder: str, policy: str, as_json: bool) -> None:
    """Write planner.toml, a policy with its suite, and a template of a workload.

    What is there already stays: then nothing at all is written.
    """
    home = Path(folder)
    wanted = _files(policy)
    _refuse_what_is_there(home, wanted)
    _write(home, wanted)
    if as_json:
        emit_json("init", {"folder": str(home), "files": [*wanted], "policy": policy})
        return
    for name, what in _TOLD.items():
        file = name.format(policy=policy)
        say(f"{plain(str(home / file)):<28} {dim(what)}")
    say()
    inside = "" if home == Path() else f"cd {plain(str(home))} && "
    say(strong("next: ") + f"`{inside}planner plan looks.csv`, then `planner check looks.csv`")
    say(dim("`planner doctor` looks whether a run could begin; `planner demo` shows one, in the sandbox"))


_TOLD: Final[Mapping[str, str]] = {
    "planner.toml": "the settings of this folder",
    "{policy}.yaml": "budgets and rules: edit it, then `planner policy test|prove|lint`",
    "{policy}.suite.yaml": "what the policy has to say to some requests",
    "looks.csv": "a workload: columns named like inputs are the request, the rest are labels",
}


def _files(policy: str) -> dict[str, str]:
    """The text of every file by its name; raises `InputError` for a policy that is not shipped."""
    from policies.loading import load_policy, shipped_policies

    known = shipped_policies()
    if policy not in known:
        hint = f"use {', '.join(known)}"
        raise InputError(f"`{policy}` is not a shipped policy", code="no_policy", where="--policy", hint=hint)
    source = files("policies.library").joinpath(policy)
    zone = load_policy(policy).zone.key
    return {
        "planner.toml": _SETTINGS.format(policy=policy, timezone=zone),
        f"{policy}.yaml": source.joinpath("policy.yaml").read_text("utf-8"),
        f"{policy}.suite.yaml": source.joinpath("suite.yaml").read_text("utf-8"),
        "looks.csv": _LOOKS,
    }


def _refuse_what_is_there(home: Path, wanted: Mapping[str, str]) -> None:
    hint = "name another folder, or move it away"
    there = [home / name for name in wanted if (home / name).exists()]
    faults = [Fault("file_exists", f"`{path}` is there already", str(path), hint=hint) for path in there]
    if faults:
        raise InputError(faults=faults)


def _write(home: Path, wanted: Mapping[str, str]) -> None:
    """Write all files, or none where one cannot be written."""
    written: list[Path] = []
    try:
        home.mkdir(parents=True, exist_ok=True)
        for name, text in wanted.items():
            path = home / name
            with path.open("x", encoding="utf-8") as file:
                written.append(path)
                file.write(text)
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        message = f"`{home}` cannot be written: {error.strerror or type(error).__name__}"
        raise OperatorError(message, hint="check its permissions and the space left") from None
