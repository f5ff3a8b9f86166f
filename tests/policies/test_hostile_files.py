"""Policy files that nobody writes by mistake, and some that everybody does: all are refused, and said why.

How long that takes is bounded by what is read at all: `documents` stops at the first byte, level or value
too many.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.documents import MOST_BYTES, MOST_DEPTH, read_yaml, scan_yaml
from planner.errors import Fault, PlannerError
from policies.loading import load_policy

HEAD = "policy: 1\nname: small\notherwise: allow\nlabels: {team: [social]}\n"
RULE = "  - {name: r%d, when: {team: social}, deny: no}\n"


def refused(folder: Path, text: str | bytes) -> list[Fault]:
    """Every fault of a policy file, with the folder left out of its place."""
    path = folder / "p.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(PlannerError) as raised:
        load_policy(path)
    return [
        Fault(fault.code, fault.message, fault.where.replace(f"{folder}/", ""), hint=fault.hint)
        for fault in raised.value.faults
    ]


def said(folder: Path, text: str | bytes) -> list[str]:
    return [str(fault) for fault in refused(folder, text)]


def laughs(levels: int) -> str:
    """The billion laughs: each level says nine times what the one before it says."""
    lines = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, levels)]
    return "".join(["a0: &a0 [ha, ha, ha]\n", *lines])


def nested(levels: int) -> str:
    """Aliases, each of which goes one level deeper than the one before it."""
    return "".join(["a0: &a0 [x]\n", *(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, levels))])


@pytest.mark.parametrize("line", [RULE % 1, "# nothing but a comment\n"], ids=["rules", "comments"])
def test_a_file_of_five_megabytes_is_refused_where_it_becomes_too_large(tmp_path: Path, line: str) -> None:
    """No more of it is read than is allowed; the line is the one on which it passes the limit."""
    head = HEAD + "rules:\n"
    text = head + line * (5_000_000 // len(line))
    too_far = 6 + (MOST_BYTES - len(head)) // len(line)
    message = f"p.yaml:{too_far}: here the file becomes larger than 1,000,000 bytes (make it smaller)"
    assert said(tmp_path, text) == [message]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (HEAD + laughs(100), 10),
        (laughs(100), 6),
        (HEAD + nested(100), 4 + MOST_DEPTH),
        (HEAD + "rules: " + "[" * 1000 + "]" * 1000, 5),
        ("{a: " * 1000, 1),
    ],
    ids=["laughs", "laughs alone", "nested aliases", "brackets", "unclosed braces"],
)
def test_what_unfolds_without_end_is_refused_before_it_does(tmp_path: Path, text: str, line: int) -> None:
    """Aliases count as if they were written out, in number and in depth."""
    message = "here the file becomes too deep or holds too many values (make it smaller)"
    assert said(tmp_path, text) == [f"p.yaml:{line}: {message}"]


def test_a_few_nested_aliases_are_what_they_stand_for() -> None:
    """Up to the depth that may be written out, aliases may be used."""
    found = read_yaml(nested(MOST_DEPTH - 1)).data
    deepest = found[f"a{MOST_DEPTH - 2}"]
    for _ in range(MOST_DEPTH - 1):
        (deepest,) = deepest
    assert deepest == "x"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("rules: !!python/object/apply:os.system [x]\n",
         "p.yaml:5: the tag `!!python/object/apply:os.system` is not allowed (write the value without it)"),
        ("timezone: !env ZONE\n", "p.yaml:5: the tag `!env` is not allowed (write the value without it)"),
        ("name: other\n",
         "p.yaml:5: `name` stands twice (keep one of the two; the first stands in line 2)"),
        ("rules: *common\n", "p.yaml:5: `*common` names no anchor (define it with & first)"),
        ("? [a, b]\n: c\n",
         "p.yaml:5: a key must be plain text (write it without a tag, an alias or brackets)"),
        ("rules:\n\t- {name: r, deny: no}\n", "p.yaml:6: a tab in the indentation (use spaces)"),
        ("rules:\n  - name: r\n \tdeny: no\n", "p.yaml:7: a tab in the indentation (use spaces)"),
        ("rules:\n  - name: r\n   deny: no\n",
         "p.yaml:7: did not find expected '-' indicator (check the indentation)"),
        ("timezone: 'UTC\n",
         "p.yaml:6: found unexpected end of stream (close the quote that opens in line 5)"),
        ("rules: [\n\n", "p.yaml:7: did not find expected node content (check the indentation)"),
        ("rules: [a\n",
         "p.yaml:6: did not find expected ',' or ']' (close the bracket that opens in line 5)"),
        ("timezone: @home\n", "p.yaml:5: a value cannot begin with `@` (put it in quotes)"),
        ("timezone: a: b\n",
         "p.yaml:5: mapping values are not allowed in this context"
         " (put a value that holds `: ` in quotes, or check the indentation)"),
        ("timezone: a\x07b\n", "p.yaml:5: the character U+0007 is not allowed (remove it)"),
        ("---\npolicy: 1\n", "p.yaml:5: more than one document in the file (remove the line `---`)"),
        ("resolutoin: 2k\n", "p.yaml:5: `resolutoin` is not known here (known: "),
        ("timezoen: UTC\n", "p.yaml:5: `timezoen` is not known here (did you mean `timezone`?)"),
    ],
)  # fmt: skip
def test_each_fault_has_its_line_and_a_hint(tmp_path: Path, more: str, message: str) -> None:
    """What is wrong, the text as it was typed, and what would be right."""
    first, *_ = said(tmp_path, HEAD + more)
    assert first.startswith(message)


@pytest.mark.parametrize("text", [HEAD.encode() + b"# caf\xe9\n", HEAD.encode("utf-16")])
def test_a_file_in_another_encoding_is_told_apart_from_one_that_is_wrong(tmp_path: Path, text: bytes) -> None:
    """The line is that of the first byte that is no UTF-8."""
    line = 5 if text.startswith(b"policy") else 1
    assert said(tmp_path, text) == [f"p.yaml:{line}: the file is not UTF-8 text (save it as UTF-8)"]


def test_faults_that_leave_the_rest_readable_come_all_at_once(tmp_path: Path) -> None:
    """Tags, doubles, unknown anchors and keys that are no text, wherever they stand."""
    text = HEAD + "name: other\nrules:\n  - {name: !x a, deny: *why, deny: no}\n  - {[a]: b}\n"
    places = [fault.where for fault in refused(tmp_path, text) if fault.code == "yaml"]
    assert places == ["p.yaml:5", "p.yaml:7", "p.yaml:7", "p.yaml:7", "p.yaml:8"]


def test_faults_of_the_text_come_with_those_of_the_policy(tmp_path: Path) -> None:
    """A tag, a double, a tab and a misspelt field in one file are four faults at once, in their order."""
    text = HEAD + "name: other\ntimezone: !env ZONE\nrules:\n\t- {name: r, dney: no}\n"
    said_at = {fault.where: fault.message for fault in refused(tmp_path, text)}
    assert list(said_at) == [f"p.yaml:{line}" for line in (5, 6, 8)]
    assert "stands twice" in said_at["p.yaml:5"]
    messages = [fault.message for fault in refused(tmp_path, text)]
    assert "the tag `!env` is not allowed" in messages
    assert "a tab in the indentation" in messages
    assert "`dney` is not known here" in messages


def test_every_tab_is_named_with_what_else_is_wrong(tmp_path: Path) -> None:
    """One tab is rarely alone; behind them the file is read as it is meant."""
    text = HEAD + "rules:\n\t- name: a\n\t  deny: no\n\t- name: !x b\n\t  deny: no\n"
    found = refused(tmp_path, text)
    tabs = [fault.where for fault in found if "tab" in fault.message]
    assert tabs == [f"p.yaml:{line}" for line in (6, 7, 8, 9)]
    assert "p.yaml:8: the tag `!x` is not allowed (write the value without it)" in map(str, found)


def test_tabs_that_separate_or_stand_in_a_text_are_fine() -> None:
    """Only an indentation must be of spaces."""
    assert read_yaml("a:\t1\t# one\nb: |\n  x\n  \ty\n").data == {"a": 1, "b": "x\n\ty\n"}


def test_faults_can_be_kept_instead_of_raised() -> None:
    """Whoever checks the document tells its faults together with those of the text."""
    document = scan_yaml("a: !x 1\nb: 2\nb: 3\n", "p.yaml")
    assert document.data == {"a": 1, "b": 2}
    assert [fault.where for fault in document.faults] == ["p.yaml:1", "p.yaml:3"]


@pytest.mark.parametrize("zone", ["localtime", "posixrules", "Factory"])
def test_a_zone_that_every_host_takes_for_another_is_refused(tmp_path: Path, zone: str) -> None:
    """Two hosts would spend the same day's budget in two windows."""
    (fault,) = refused(tmp_path, f"{HEAD}timezone: {zone}\n")
    assert fault.message == f"`{zone}` is another zone on every host"


def test_no_text_of_a_policy_reaches_a_terminal_as_it_stands(tmp_path: Path) -> None:
    """What cannot be shown is refused, and no fault quotes an escape."""
    rule = '  - {name: r, when: {team: social}, deny: "a\\e]0;title\\a"}\n'
    (fault,) = refused(tmp_path, f"{HEAD}rules:\n{rule}")
    assert "cannot be shown" in fault.message
    for text in ('name: "s\\e[31m\\n"', 'timezone: "\\e[2J"', 'otherwise: {needs_approval: "x\\e[31m"}'):
        key = text.partition(":")[0]
        lines = [line for line in HEAD.splitlines() if not line.startswith(key)]
        for fault in refused(tmp_path, "\n".join([*lines, text, ""])):
            assert fault.message.isprintable()
            assert fault.hint.isprintable()
