"""`planner policy test`: whether a policy answers every case of its suite as it should.

Here belong finding the suite and showing its result. What a suite is and how it is run belongs to
`policies.suite`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.errors import ConfigError, InputError
from policies.cli.enforcement import AS_IF_ENFORCED, enforcement
from policies.cli.output import (
    DOT,
    counted,
    dim,
    emit_json,
    example,
    json_option,
    plain,
    say,
    styled,
    table,
)
from policies.cli.settings import price_book, resolve, setting

if TYPE_CHECKING:
    from planner.documents import Document
    from policies.engine import Policy
    from policies.suite import CaseResult, SuiteResult


@click.command(
    epilog=example(
        "planner policy test studio.yaml",
        "planner policy test starter --junit policy-tests.xml",
    ),
)
@click.argument("file", metavar="FILE|NAME")
@click.option("--suite", metavar="FILE", help="The suite; suite.yaml beside the policy by default.")
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Also write JUnit XML there.")
@setting("prices")
@json_option
def command(file: str, suite: str | None, junit: Path | None, prices: str | None, as_json: bool) -> int:
    """Run the suite of a policy file, or of the shipped policy of that name.

    It passes when every case does and some case reaches every rule.
    """
    from policies.loading import load_policy
    from policies.suite import run_suite

    if junit is not None:
        _check_writable(junit)
    policy = load_policy(file)
    document = _suite(file, suite)
    found = run_suite(policy, document, price_book(resolve(prices=prices)))
    if junit is not None:
        _write_junit(junit, policy, document, found)
    if as_json:
        emit_json("policy-test", _document(policy, document, found))
    else:
        _say_result(policy, document, found)
    return 0 if found.passed else 1


def _check_writable(path: Path) -> None:
    """Refuse a place that cannot be written before any case is run, so that no result is lost."""
    hint = ""
    if str(path) == "-":
        hint = "name a file such as tests.xml"
    elif path.is_dir():
        hint = f"it is a folder: name a file in it, such as {path / 'tests.xml'}"
    elif not path.parent.is_dir():
        hint = f"there is no folder `{path.parent}`: make it first"
    elif path.exists() and not path.resolve().exists():
        hint = "it is a pipe: name a file such as tests.xml"
    elif not os.access(path.parent if path.is_file() or not path.exists() else path, os.W_OK):
        hint = "you may not write there: name another file"
    if hint:
        raise InputError(f"cannot write `{path}`", code="usage", where="--junit", hint=hint)


def _write_junit(path: Path, policy: Policy, document: Document, found: SuiteResult) -> None:
    from planner.report.files import write_atomically
    from policies.cli.policy.junit import junit_xml

    write_atomically(path, junit_xml(policy, document.name, found))


def _suite(file: str, suite: str | None) -> Document:
    """The suite that is named, else `suite.yaml` or `NAME.suite.yaml` beside the policy."""
    from planner.documents import read_yaml_file
    from policies.loading import shipped_policies, shipped_suite

    if suite is not None:
        return read_yaml_file(Path(suite))
    path = Path(file)
    if not path.exists() and file in shipped_policies():
        return shipped_suite(file)
    beside = (path.with_suffix(".suite.yaml"), path.with_name("suite.yaml"))
    for candidate in beside:
        if candidate.is_file():
            return read_yaml_file(candidate)
    raise ConfigError(
        f"there is no suite beside `{file}`",
        code="no_suite",
        hint=f"write `{beside[0].name}` or `suite.yaml` there, or name one with --suite FILE",
    )


def _document(policy: Policy, document: Document, found: SuiteResult) -> dict[str, Any]:
    return {
        "policy": {"name": policy.name, "digest": policy.digest},
        "enforcement": enforcement(policy),
        "suite": document.name,
        "passed": found.passed,
        "cases": [
            {
                "name": case.name,
                "where": case.where,
                "passed": case.passed,
                "problems": list(case.problems),
                "verdict": case.decision.verdict.value,
                "credits": case.decision.credits,
            }
            for case in found.cases
        ],
        "coverage": {"rules": found.rules, "reached": found.reached},
        "unreached": [fault.as_json() for fault in found.unreached],
        "unfilled": list(found.unfilled),
    }


def _say_result(policy: Policy, document: Document, found: SuiteResult) -> None:
    """Every case in a line, then what was different and what is left out, then the sums."""
    known = f"policy {plain(policy.name)} ({policy.digest[:8]})"
    known += "" if policy.enforced else f" {AS_IF_ENFORCED}"
    say(dim(f"{known}{DOT}suite {plain(document.name)}"))
    say("\n" + table(map(_row, found.cases), ("case", "verdict", "credits", "result"), right=(2,)))
    said = [*(_failure_text(case) for case in found.cases if not case.passed)]
    said += [f"{styled('unreached', fg='yellow')} {plain(str(fault))}" for fault in found.unreached]
    said += [dim(f"note: `{name}` is full in no case") for name in found.unfilled]
    say("\n" + "\n".join((*said, _summary(found))))


def _row(case: CaseResult) -> tuple[str, str, int, str]:
    result = styled("passed", fg="green") if case.passed else styled("failed", fg="red", bold=True)
    return plain(case.name), case.decision.verdict.value, case.decision.credits, result


def _failure_text(case: CaseResult) -> str:
    label = styled("failed", fg="red", bold=True)
    reasons = (f"  {plain(why)}" for why in case.problems)
    return "\n".join([f"{label} {plain(case.name)} {dim(plain(case.where))}", *reasons])


def _summary(found: SuiteResult) -> str:
    passed = sum(case.passed for case in found.cases)
    cases = f"{passed:,} of {counted(len(found.cases), 'case')} passed"
    rules = f"{found.reached:,} of {counted(found.rules, 'rule')} reached"
    colour = "green" if found.passed else "red"
    return styled(DOT.join([cases, rules]) if found.rules else cases, fg=colour, bold=True)
