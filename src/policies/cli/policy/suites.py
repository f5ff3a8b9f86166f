"""`planner policy test`: whether a policy answers every case of its suite as it should.

Here belong finding the suite and showing its result. What a suite is and how it is run belongs to
`policies.suite`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.errors import ConfigError
from policies.cli.output import (
    DOT,
    counted,
    dim,
    emit_json,
    example,
    json_option,
    plain,
    say,
    strong,
    styled,
)
from policies.cli.settings import price_book, resolve, setting

if TYPE_CHECKING:
    from planner.loading import Document
    from policies.engine import Policy
    from policies.suite import CaseResult, SuiteResult


@click.command(
    epilog=example(
        "planner policy test studio.yaml --suite studio.suite.yaml",
        "planner policy test starter",
    ),
)
@click.argument("file", metavar="FILE|NAME")
@click.option("--suite", metavar="FILE", help="The suite; suite.yaml beside the policy by default.")
@setting("prices")
@json_option
def command(file: str, suite: str | None, prices: str | None, as_json: bool) -> int:
    """Run the suite of a policy file, or of the shipped policy of that name."""
    from policies.loading import load_policy
    from policies.suite import run_suite

    policy = load_policy(file)
    document = _suite(file, suite)
    found = run_suite(policy, document, price_book(resolve(prices=prices)))
    if as_json:
        emit_json("policy-test", _document(policy, document, found))
    else:
        _say_result(policy, document, found)
    return 0 if found.passed else 1


def _suite(file: str, suite: str | None) -> Document:
    """The suite that is named, else `suite.yaml` or `NAME.suite.yaml` beside the policy."""
    from planner.loading import read_yaml_file
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
        "unreached": [fault.as_json() for fault in found.unreached],
    }


def _say_result(policy: Policy, document: Document, found: SuiteResult) -> None:
    """Every failed case in full; the ones that passed only as a number."""
    say(dim(f"policy {policy.name} ({policy.digest[:8]}){DOT}suite {document.name}"))
    failed = [case for case in found.cases if not case.passed]
    for case in failed:
        say(_case_text(case))
    for fault in found.unreached:
        say(f"{styled('unreached', fg='yellow')} {plain(str(fault))}")
    passed = f"{len(found.cases) - len(failed):,} of {counted(len(found.cases), 'case')} passed"
    say(strong(passed) + (f"{DOT}{counted(len(found.unreached), 'rule')} unreached" * bool(found.unreached)))


def _case_text(case: CaseResult) -> str:
    label = styled("failed", fg="red", bold=True)
    return "\n".join(
        [f"{label} {plain(case.name)} {dim(case.where)}", *(f"  {why}" for why in case.problems)]
    )
