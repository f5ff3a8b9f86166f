"""Keys, labels, names and files that somebody else chose: refused or made safe, and never acted on.

Each hostile text stands in each place in turn, in real commands against a real sandbox. No file lands
outside the pictures' folder, no terminal is told what to do, no page runs anything, and nothing ends in a
traceback.
"""

from __future__ import annotations

import csv
import json
import re
from contextlib import chdir
from html.parser import HTMLParser
from pathlib import Path
from unicodedata import category

import pytest
from click.testing import CliRunner

from policies.cli.main import main
from policies.server.sandbox.app import running

SPEED = 200.0

TEXTS = {
    "title": "\x1b]0;owned\x07",
    "clear": "\x1b[2J\x1b[1;1H",
    "c1": "a\x9b2Jb\x85",
    "lines": "a\r\nb\x0bc",
    "bidi": "look\u202egnp.exe\u2066",
    "invisible": "a\u200bb\u2060\ufeff",
    "nul": "a\x00b",
    "up": "../../../evil",
    "root": "/evil",
    "drive": "C:\\evil",
    "backslash": "..\\..\\evil",
    "device": "CON",
    "device-ending": "nul.png",
    "dots": "evil...",
    "dot": "..",
    "long": "e" * 10_000,
    "markup": "</p><script>alert(1)</script><img src=x onerror=alert(1)>",
    "quote": "\" onmouseover='alert(1)",
    "formula": "=HYPERLINK(\"http://evil.example\",\"x\")",
    "at": "@SUM(1+1)*cmd|' /C calc'!A0",
    "shell": "$(touch evil)`touch evil`;touch evil|touch evil",
    "option": "--yes",
    "percent": "%2e%2e%2fevil",
    "surrogate": "a\udcff",
}  # fmt: skip

NOT_IN_A_FILE = ("nul", "surrogate")
"""What makes a whole file unreadable; each has a file of its own below."""

POLICY = """\
policy: 1
name: studio
timezone: UTC
otherwise: allow
labels: {team: any}
budgets:
  - {name: month, limit: 90 credits, per: month, for_each: [team], when_exhausted: {needs_approval: finance}}
"""

_STYLE = re.compile("\x1b\\[[0-9;]*m")
"""What our own colours look like; texts with colours of their own would be cut before they come here."""


@pytest.fixture(scope="module")
def provider():
    with running(speed=SPEED, seed=3, api_key="test-key", balance=1_000_000) as found:
        yield found


@pytest.fixture
def studio(tmp_path, provider, monkeypatch):
    """Runs commands in a folder inside a folder, so that a way out is seen."""
    monkeypatch.setenv("FASHN_API_KEY", "test-key")
    folder = tmp_path / "a" / "b" / "work"
    folder.mkdir(parents=True)
    (folder / "studio.yaml").write_text(POLICY)
    return Studio(tmp_path, folder, provider.url)


class Studio:
    def __init__(self, outside: Path, folder: Path, url: str) -> None:
        self.outside, self.folder = outside, folder
        self.provider = ["--base-url", url, "--speed", f"{SPEED:g}"]

    def command(self, *words: object, codes=(0, 1, 2)):
        """Run a command as on a terminal with colours; its code and all it shows, which is harmless."""
        with chdir(self.folder):
            found = CliRunner().invoke(main, [str(word) for word in words], color=True)
        assert found.exit_code in codes, (words, found.output, found.exc_info)
        assert "internal" not in found.output, found.output
        harmless(_STYLE.sub("", found.output), words)
        return found.exit_code, found.stdout

    def run(self, file="looks.csv", *words: object, codes=(0, 1, 2)):
        spend = ["--policy", "studio.yaml", *self.provider, "--yes"]
        return self.command("run", file, *spend, *words, codes=codes)

    def table(self, rows, name="looks.csv"):
        with (self.folder / name).open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            csv.writer(file).writerows(rows)

    def written(self):
        """Every file there is; none of them outside, each with a name that any system takes."""
        found = [path for path in self.outside.rglob("*") if path.is_file()]
        for path in found:
            assert path.is_relative_to(self.folder), path
            inside = path.relative_to(self.folder)
            if inside.parts[0] == "pictures":
                assert all(len(part.encode()) <= 255 for part in inside.parts)
                assert not re.search(r"[\x00-\x1f\x7f-\x9f<>:\"|?*\\]", str(inside)), inside
        return found


def harmless(text: str, where) -> None:
    """No letter in it moves a cursor, turns a line round or hides."""
    found = {
        letter for letter in text if letter != "\n" and category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    }
    assert not found, (found, where)


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, set[str]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, {name for name, _ in attrs}))


def assert_page_runs_nothing(text: str) -> None:
    """No element and no attribute that a text of the user's could have made."""
    for tag, names in Tags(text).found:
        assert tag not in ("script", "iframe", "object", "base", "form"), tag
        assert not any(name.startswith("on") for name in names), (tag, names)


def test_hostile_rows_are_refused_or_run_under_safe_names(studio) -> None:
    """Each as key, as label, as column and as prompt: a run in order, and tame files."""
    rows = [["key", "prompt", "team", "sku", "note"]]
    for number, text in enumerate(TEXTS[name] for name in TEXTS if name not in NOT_IN_A_FILE):
        rows += [
            [f"team-{number}", f"dress {number}", text, "a", text],
            [f"sku-{number}", f"coat {number}", "social", text, text],
            [text, f"scarf {number}", "social", "b", "x"],
            [f"prompt-{number}", text, "social", "c", "x"],
        ]
    studio.table(rows)
    _, out = studio.run("looks.csv", "--name", "{team}/{sku}/{key}-{n}", "--skip-bad", "--json")
    told = json.loads(out)
    assert told["completed"] > 60
    assert told["left_out"] >= 5
    pictures = [path for path in studio.written() if path.suffix == ".png"]
    assert len(pictures) == told["completed"]
    folder = studio.folder / "pictures" / "main"
    page = (folder / "contact.html").read_text()
    assert_page_runs_nothing(page)
    harmless(page, "contact.html")
    with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    for words in SHOWING:
        studio.command(*words, codes=(0, 1, 2))
    # A CSV holds what the labels are, byte for byte, and is for programs.
    for form in ("table", "markdown", "json"):
        studio.command("report", "--by", "team", "--format", form, codes=(0,))
    studio.written()


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_hostile_column_is_refused_or_tame(studio, text) -> None:
    """The name of a column reaches faults, results and the page."""
    studio.table([["key", "prompt", "team", text], ["look-1", "dress", "social", text]])
    for command in ("plan", "check"):
        studio.command(command, "looks.csv", "--policy", "studio.yaml")
        studio.command(command, "looks.csv", "--policy", "studio.yaml", "--json")


SHOWING = [
    ("ledger", "show"), ("ledger", "holds"), ("ledger", "verify"), ("approvals", "list"),
    ("budgets", "show"), ("ledger", "show", "--json"), ("approvals", "list", "--json"),
    ("budgets", "show", "--json"), ("plan", "looks.csv", "--json"),
    ("check", "looks.csv", "--policy", "studio.yaml", "--format", "markdown"),
    ("check", "looks.csv", "--policy", "studio.yaml"),
]  # fmt: skip


def can_be_a_word(text: str) -> bool:
    """Whether a command line can hold it: no program can be started with a NUL in a word."""
    return "\x00" not in text


WORDS = {name: text for name, text in TEXTS.items() if can_be_a_word(text)}


@pytest.mark.parametrize("text", WORDS.values(), ids=WORDS)
def test_a_hostile_word_of_the_command_line_is_refused_or_tame(studio, text) -> None:
    """As shoot, account, template, file, person and reason: one line that says so, or a safe name."""
    studio.table([["key", "prompt", "team"], ["look-1", "dress", "social"]])
    studio.run("looks.csv", f"--shoot={text}", "--first", "1")
    studio.run("looks.csv", f"--account={text}", "--shoot=second", f"--name={text}")
    studio.run(f"./{text}.csv", codes=(2, 3))
    person = (f"--by={text}", f"--because={text}")
    studio.command("ledger", "settle", "--not-charged", *person, "--", text, codes=(1, 2, 3))
    studio.command("budgets", "raise", "month", "--for=team=social", "--by=1", f"--because={text}",
                   f"--by-name={text}")  # fmt: skip
    studio.command("budgets", "show")
    studio.command(
        "budgets", "raise", f"--for=team={text}", "--by=1", "--because=x", "--by-name=Ana", "--", text
    )
    studio.command("ledger", "show", f"--ledger=sqlite:///{text}", codes=(2, 3))
    studio.command("report", f"--by={text}", f"--period={text}", codes=(2,))
    studio.command("policy", "test", "--", text, codes=(2, 3))
    for path in studio.written():
        assert "evil" not in path.name or "pictures" in path.parts


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_hostile_policy_is_refused_or_tame(studio, text) -> None:
    """Names of policies, budgets, rules and approvers, and their reasons, as JSON text in a YAML file."""
    word = json.dumps(text)
    document = f"""\
policy: 1
name: {word}
timezone: UTC
otherwise: allow
labels: {{team: any}}
budgets:
  - {{name: {word}, limit: 1 credits, per: month, when_exhausted: {{needs_approval: {word}}}}}
rules:
  - {{name: {word}, when: {{team: social}}, deny: {word}}}
"""
    (studio.folder / "hostile.yaml").write_text(document, encoding="utf-8", errors="surrogateescape")
    studio.table([["key", "prompt", "team"], ["a", "x", "social"], ["b", "x", "brand"], ["c", "y", "brand"]])
    for form in ("table", "markdown", "github", "json"):
        studio.command("check", "looks.csv", "--policy", "hostile.yaml", "--format", form)
    studio.command("run", "looks.csv", "--policy", "hostile.yaml", *studio.provider, "--yes")
    for words in (("lint", "hostile.yaml"), ("show", "hostile.yaml"), ("prove", "hostile.yaml")):
        studio.command("policy", *words)
    if (studio.folder / "spend.db").exists():
        for words in (("approvals", "list"), ("budgets", "show"), ("ledger", "show")):
            studio.command(*words)
    studio.written()


# -- the memory of a folder ----------------------------------------------------------------------


def test_results_that_somebody_changed_name_no_file_outside(studio) -> None:
    """`results.jsonl` remembers what pictures are called: a name that leads elsewhere is forgotten."""
    studio.table([["key", "prompt", "team"], ["look-1", "dress", "social"]])
    studio.run("looks.csv", codes=(0,))
    memory = studio.folder / "pictures" / "main" / "results.jsonl"
    record = json.loads(memory.read_text())
    outside = studio.outside / "evil"
    for names in ([f"{outside}"], ["../../../evil"], ["../evil-1"], ["a/../../evil"], ["C:\\evil"], [".."]):
        memory.write_text(json.dumps({**record, "names": names, "files": [f"{names[0]}.png"]}) + "\n")
        (studio.folder / "pictures" / "main" / "look-1-1.png").unlink(missing_ok=True)
        studio.run("looks.csv", codes=(0,))
        assert (studio.folder / "pictures" / "main" / "look-1-1.png").is_file()
        assert not [path for path in studio.written() if "evil" in str(path.relative_to(studio.outside))]
        assert "evil" not in (memory.parent / "contact.html").read_text()


@pytest.mark.parametrize(
    "change",
    [
        {"names": 7}, {"names": [7]}, {"names": None}, {"columns": []}, {"columns": {"a": 7}},
        {"credits": "many"}, {"credits": None}, {"credits": 10**400}, {"state": 7}, {"state": "\x1b[2J"},
        {"files": "x"}, {"files": [None]}, {"fields": 3}, {"reason": ["x"]}, {"estimated": "no"},
    ],
    ids=str,
)  # fmt: skip
def test_results_that_somebody_damaged_end_no_run(studio, change) -> None:
    """A record that is none is passed over: the ledger, not this file, knows what was paid."""
    studio.table([["key", "prompt", "team"], ["look-1", "dress", "social"]])
    studio.run("looks.csv", codes=(0,))
    memory = studio.folder / "pictures" / "main" / "results.jsonl"
    record = json.loads(memory.read_text())
    others = [{**record, **change}, {**record, "key": "other", **change}]
    memory.write_text("".join(json.dumps(one) + "\n" for one in others))
    studio.run("looks.csv", codes=(0,))
    assert next(json.loads(line)["key"] for line in memory.read_text().splitlines()) == "look-1"
