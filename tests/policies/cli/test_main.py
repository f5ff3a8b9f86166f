"""The frame: which commands there are, how failures are told, and what stays out of the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import click
import pytest

from planner import __version__
from planner.errors import InputError, OperatorError
from policies.cli.main import NAMES, exit_code_and_faults, main, told

HEAVY = {"httpx", "sqlalchemy", "yaml", "pydantic", "rich", "tabulate", "openpyxl", "uvicorn"}


def modules_after(*words):
    """The modules that the interpreter holds after the command line ran with those words."""
    script = (
        "import sys\n"
        "from policies.cli.main import main\n"
        "try:\n"
        f"    main({list(words)!r})\n"
        "finally:\n"
        "    print('\\n' + ' '.join(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("words", [["--help"], ["--version"], [], ["quoet"]])
def test_the_overview_imports_nothing_heavy(words):
    """Help, version and a wrong name are answered without any library but click."""
    assert not HEAVY & modules_after(*words)


def test_the_overview_names_every_command(planner):
    """`planner` alone shows every command with its purpose, an example, and exits 0."""
    found = planner()
    assert found.code == 0
    assert all(f"\n  {name} " in found.out for name in NAMES)
    assert "Example:\n    planner quote" in found.out


@pytest.mark.parametrize("name", ["quote", "plan", "check", "policy", "sandbox"])
def test_every_help_ends_with_an_example(planner, name):
    """What to type stands at the end of each command's help."""
    found = planner(name, "--help")
    assert found.code == 0
    assert f"Example:\n    planner {name}" in found.out


def test_the_version_is_the_packages(planner):
    """`--version` prints the name and the version of the distribution."""
    assert planner("--version").out == f"planner {__version__}\n"


def test_a_wrong_command_is_one_line_with_a_guess(planner):
    """A slip in a command's name is told on stderr with the name that was probably meant."""
    found = planner("quoet")
    assert (found.code, found.out) == (2, "")
    assert found.err == "error: there is no command `quoet` (did you mean `quote`?)\n"


def test_a_wrong_option_is_one_line_with_a_guess(planner):
    """Click's own complaints are told in the same form as ours."""
    found = planner("quote", "--resolutoin", "2k")
    assert (found.code, found.out) == (2, "")
    assert found.err == "error: no such option `--resolutoin` (did you mean `--resolution`?)\n"


@pytest.mark.parametrize(
    "words",
    [
        ["quoet", "--json"],
        ["quote", "--nope", "--json"],
        ["quote", "--resolution", "8k", "--json"],
        ["plan", "missing.csv", "--json"],
        ["check", "missing.csv", "--policy", "starter", "--format", "json"],
        ["check", "missing.csv", "--format=json"],
        ["check", "--format", "json"],
    ],
)
def test_with_json_every_failure_is_one_document(planner, words):
    """Whatever fails, and however early, stdout is exactly one `errors` document and the code is 2."""
    found = planner(*words)
    assert found.code == 2
    assert found.document["schema"] == "planner.errors/1"
    assert all(
        set(error) == {"code", "where", "field", "message", "hint"} for error in found.document["errors"]
    )
    assert found.err == ""


@pytest.mark.parametrize(
    ("error", "code", "fault"),
    [
        (InputError("wrong", code="bad"), 2, "bad"),
        (OperatorError("the disk is full"), 3, "ledger_unavailable"),
        (click.UsageError("Missing argument 'FILE'."), 2, "usage"),
        (PermissionError(13, "Permission denied", "/x/out.json"), 3, "file"),
        (KeyError("a prompt"), 3, "internal"),
    ],
)
def test_each_kind_of_failure_has_its_exit_code(error, code, fault):
    """Input and configuration are 2; files, ledgers, providers and defects are 3."""
    found, (first, *_) = exit_code_and_faults(error)
    assert (found, first.code) == (code, fault)


def test_a_defect_is_one_line_that_quotes_nothing(capsys, monkeypatch):
    """An unexpected exception is told by its kind and place; its text, which may be a prompt, is not."""
    monkeypatch.delenv("PLANNER_DEBUG", raising=False)
    assert told(KeyError("a secret prompt"), as_json=False) == 3
    assert capsys.readouterr().err == (
        "error: internal error: `KeyError` (run it with PLANNER_DEBUG=1 and report what it prints)\n"
    )


def test_a_traceback_is_shown_only_on_request_and_without_texts(capsys, monkeypatch):
    """With PLANNER_DEBUG the frames are shown, and still no text of any exception."""
    monkeypatch.setenv("PLANNER_DEBUG", "1")
    try:
        try:
            raise ValueError("a secret prompt")
        except ValueError as cause:
            raise KeyError("another secret") from cause
    except KeyError as error:
        told(error, as_json=False)
    shown = capsys.readouterr().err
    assert "test_main.py" in shown
    assert "ValueError" in shown
    assert not any(line.strip().startswith(("ValueError:", "KeyError:")) for line in shown.splitlines())


def test_an_interruption_is_130(monkeypatch, planner):
    """Ctrl-C ends a command with 130, as the shell expects."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("policies.cli.settings.resolve", interrupted)
    monkeypatch.setattr("policies.cli.quote.resolve", interrupted, raising=False)
    found = planner("quote")
    assert (found.code, found.out) == (130, "")


def test_a_reader_that_leaves_is_no_error(folder):
    """`planner … | head` ends quietly: no traceback, nothing on stderr, the code of a broken pipe."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", "from policies.cli.main import main; main(['policy', 'schema'])"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def with_full_stdout(*words, stderr=subprocess.PIPE):
    """The command line in a process of its own whose stdout takes nothing."""
    script = f"from policies.cli.main import main; main({list(words)!r})"
    with open("/dev/full", "w") as full:
        return subprocess.run(
            [sys.executable, "-c", script], stdout=full, stderr=stderr or full, text=True, check=False
        )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no full device")
@pytest.mark.parametrize(
    "words", [["quote", "--json"], ["quoet", "--json"], ["policy", "schema"], ["--help"], ["--version"]]
)
def test_output_that_cannot_be_written_is_one_line(folder, words):
    """A document, an `errors` document or a text on a full disk: exit 3, one line, no traceback."""
    done = with_full_stdout(*words)
    said = "error: the output cannot be written: no space left on device (make room for it)\n"
    assert (done.returncode, done.stderr) == (3, said)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no full device")
def test_where_nothing_can_be_written_the_code_still_tells(folder):
    """With stderr full as well nothing can be said, and the code is 3 all the same."""
    assert with_full_stdout("quote", "--json", stderr=None).returncode == 3


def test_a_reader_that_leaves_before_the_errors_document_is_no_error(folder):
    """A closed pipe is told from a full disk, for the document of errors too."""
    reading, writing = os.pipe()
    os.close(reading)
    script = "from policies.cli.main import main; main(['quoet', '--json'])"
    done = subprocess.run(
        [sys.executable, "-c", script], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_defect_has_a_code_of_its_own_with_json(capsys):
    """`internal`, with the hint how to find out more, and still nothing of the exception's text."""
    assert told(KeyError("a secret prompt"), as_json=True) == 3
    [error] = json.loads(capsys.readouterr().out)["errors"]
    assert (error["code"], error["message"]) == ("internal", "internal error: `KeyError`")
    assert "PLANNER_DEBUG=1" in error["hint"]


def test_commands_are_looked_up_by_name_only():
    """A name outside the table is no module: nothing else in the package can be run."""
    context = click.Context(main)
    assert main.get_command(context, "settings") is None
    assert main.list_commands(context) == list(NAMES)
