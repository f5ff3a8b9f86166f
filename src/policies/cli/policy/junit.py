"""A suite's result as JUnit XML, which continuous integration shows case by case.

Here belongs the document alone: one test case for each case of the suite, and one for its coverage.
Where it is written belongs to `suites`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree

from policies.cli.output import plain

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from policies.engine import Policy
    from policies.suite import SuiteResult

COVERAGE: Final = "coverage"
"""The name of the test case that fails where no case reaches a rule."""


def junit_xml(policy: Policy, name: str, found: SuiteResult) -> str:
    """The document; `name` is the suite's, and no time stands in it, so that equal results are equal."""
    cases = [(case.name, case.where, case.problems) for case in found.cases]
    unreached = [str(fault) for fault in found.unreached]
    if found.rules:
        cases.append((COVERAGE, f"{name}:1", tuple(unreached)))
    failed = sum(bool(problems) for _, _, problems in cases)
    counts = {"tests": str(len(cases)), "failures": str(failed), "errors": "0", "skipped": "0"}
    root = ElementTree.Element("testsuites", {"name": "planner policy test", **counts})
    suite = ElementTree.SubElement(root, "testsuite", {"name": plain(policy.name), **counts})
    for title, where, problems in cases:
        suite.append(_case(policy, title, where, problems))
    ElementTree.indent(root)
    written: bytes = ElementTree.tostring(root, "utf-8", xml_declaration=True)
    return written.decode() + "\n"


def _case(policy: Policy, title: str, where: str, problems: Sequence[str]) -> Element:
    file, _, line = where.rpartition(":")
    place = {"classname": plain(policy.name), "name": plain(title), "file": plain(file), "line": line}
    element = ElementTree.Element("testcase", place)
    if problems:
        said = [plain(problem) for problem in problems]
        failure = ElementTree.SubElement(element, "failure", {"message": said[0], "type": "expectation"})
        failure.text = "\n".join((*said, plain(where)))
    return element
