"""Plan files: written, shown, compared, approved, run once, and refused where anything has moved."""

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from policies.ledger.store import Store
from policies.plan_files import _digest
from tests.policies.cli import processes
from tests.policies.cli.processes import HEADER, environment, planner, sandbox, workload

REWRITE = "  - {name: small-social, when: {team: social, resolution: 2k}, rewrite: {resolution: 1k}}\n"
POLICY = processes.POLICY.replace("rules:\n", "rules:\n" + REWRITE)
PRICES = """\
price_book: fashn
checked: 2026-11-22
unit: credits
entries:
  - from: 2026-05-01
    source: a test
    credits:
      fast: {1k: 1, 2k: 2, 4k: 3}
      balanced: {1k: 2, 2k: 3, 4k: 4}
      quality: {1k: 3, 2k: 4, 4k: 5}
    face_reference: 3
    omitted_mode: {1k: fast, 2k: quality, 4k: quality}
"""


@pytest.fixture(scope="module")
def shared():
    with sandbox(200.0) as found:
        yield found


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "studio.yaml").write_text(POLICY)
    workload(tmp_path / "looks.csv", 6)
    return tmp_path


def plan(folder, *more, out="shoot.plan.json", file="looks.csv"):
    code, shown, err = planner(folder, "plan", file, "--policy", "studio.yaml", "-o", out, *more)
    assert code == 0, err
    return shown


def run(folder, found, *more, file="shoot.plan.json"):
    words = ["run", file, "--policy", "studio.yaml", "--base-url", found.url, "--speed", found.speed]
    code, out, _ = planner(folder, *words, "--json", "--no-pictures", *more)
    return code, json.loads(out)


def refusals(found):
    code, document = found
    assert code == 2
    return [(error["code"], error["where"], error["message"]) for error in document["errors"]]


def entries(folder):
    store = Store.open(f"sqlite:///{folder}/spend.db", create=False)
    try:
        return store.entries()
    finally:
        store.close()


def test_a_plan_is_written_shown_and_run(folder, shared):
    """What it says beforehand is what is charged, its digests and settings are pinned, nothing else goes."""
    plan(folder)
    document = json.loads((folder / "shoot.plan.json").read_text())
    assert document["schema"] == "planner.plan-file/1"
    assert document["expected"]["credits"] == 3 * 1 + 3 * 2
    assert [job["fields"]["resolution"] for job in document["jobs"]] == ["1k", "2k"] * 3
    before = shared.bill()["credits"]
    code, found = run(folder, shared)
    assert (code, found["completed"], found["credits"]["this_run"]) == (0, 6, 9)
    assert shared.bill()["credits"] - before == document["expected"]["credits"]
    finals = {entry.key: entry.final_mac for entry in entries(folder)}
    assert finals == {job["key"]: job["final"] for job in document["jobs"]}


def test_it_holds_no_prompt_and_no_reference(folder):
    """Closed fields, fingerprints and declared labels only."""
    face = "data:image/png;base64," + "QUJD" * 20
    (folder / "looks.csv").write_text(f'prompt,face_reference,note\nsecretdress,"{face}",secretnote\n')
    plan(folder)
    text = (folder / "shoot.plan.json").read_text()
    assert "secretdress" not in text
    assert "QUJD" not in text
    assert "secretnote" not in text
    assert '"face_reference": true' in text


def test_the_same_inputs_and_ledger_give_the_same_bytes(folder):
    """Twice, and under another name in another place of the same depth."""
    plan(folder)
    plan(folder, out="again.plan.json")
    assert (folder / "shoot.plan.json").read_bytes() == (folder / "again.plan.json").read_bytes()


def test_a_plan_is_spent_once(folder, shared):
    """After all its jobs have ended it is refused, and nothing is charged again."""
    plan(folder)
    assert run(folder, shared)[0] == 0
    before = shared.bill()["accepted"]
    assert [code for code, _, _ in refusals(run(folder, shared))] == ["plan_spent"]
    assert shared.bill()["accepted"] == before


def test_a_part_of_a_plan_goes_on_later(folder, shared):
    """`--first` sends a part; the same plan then sends the rest, and only then it is spent."""
    plan(folder)
    code, found = run(folder, shared, "--first", "2")
    assert (code, found["jobs"], found["completed"]) == (0, 2, 2)
    code, found = run(folder, shared)
    assert (code, found["completed"], found["reused"]) == (0, 6, 2)
    assert [code for code, _, _ in refusals(run(folder, shared))] == ["plan_spent"]


@pytest.mark.parametrize(
    ("old", "new", "where", "said"),
    [
        ("look-2,dress 2,2k", "look-2,dress 2,4k", "looks.csv:4", "has resolution `4k`, it was `2k`"),
        ("dress 3", "dress three", "looks.csv:5", "another prompt or reference"),
        ("4,social", "4,brand", "looks.csv:6", "is labelled team `brand`, it was `social`"),
        ("look-5,", "look-9,", "looks.csv:7", "`look-9` is new"),
        ("look-5,", "look-9,", "looks.csv:7", "`look-5` is gone"),
    ],
)
def test_a_changed_row_is_refused_by_its_line(folder, shared, old, new, where, said):
    """The row is named, with what it was; nothing is sent."""
    plan(folder)
    text = (folder / "looks.csv").read_text()
    assert old in text
    (folder / "looks.csv").write_text(text.replace(old, new))
    before = shared.bill()["accepted"]
    found = refusals(run(folder, shared))
    assert any(place == where and said in message for _, place, message in found), found
    assert {code for code, _, _ in found} == {"plan_moved"}
    assert shared.bill()["accepted"] == before


def test_columns_and_order_that_nobody_pays_for_may_change(folder, shared):
    """Sorted the other way round and with another note the rows are the same ones."""
    plan(folder)
    head, *rows = (folder / "looks.csv").read_text().splitlines()
    rows = [re.sub(r"SW-", "ART-", row) for row in reversed(rows)]
    (folder / "looks.csv").write_text("\n".join([head, *rows]) + "\n")
    code, found = run(folder, shared)
    assert (code, found["completed"]) == (0, 6)


def test_a_changed_price_is_refused_by_its_cell(folder, shared):
    """A later entry with another figure: the cell is named, with what it was."""
    plan(folder)
    text = PRICES.replace("2026-05-01", "2026-11-23").replace("{1k: 1, 2k: 2", "{1k: 1, 2k: 3")
    (folder / "prices.yaml").write_text(text)
    ((code, where, message),) = refusals(run(folder, shared, "--prices", "prices.yaml"))
    assert code == "plan_moved"
    assert where.startswith("prices.yaml:")
    assert message.endswith("the plan was made by fashn@2026-05-01: fast at 2k costs 3, it was 2")


@pytest.mark.parametrize(
    ("old", "new", "where", "said"),
    [
        ("rewrite: {resolution: 1k}", "rewrite: {generation_mode: fast}", "studio.yaml:9",
         "rule `small-social` has changed"),
        ("limit: 500 credits", "limit: 400 credits", "studio.yaml:7", "budget `month` has changed"),
        ("for billboards}", "for billboards}\n  - {name: new, when: {seed: 1}, deny: no}", "studio.yaml:11",
         "rule `new` is new"),
    ],
)  # fmt: skip
def test_a_changed_policy_is_refused_by_its_rule(folder, shared, old, new, where, said):
    """The rule or budget is named with its line, and the changed text does not come in force."""
    plan(folder)
    (folder / "studio.yaml").write_text(POLICY.replace(old, new))
    found = refusals(run(folder, shared))
    assert any(place == where and message == said for _, place, message in found), found
    store = Store.open(f"sqlite:///{folder}/spend.db", create=False)
    assert store.policies_in_force() == {}
    store.close()


def test_another_text_in_force_sends_nothing(folder, shared):
    """The policy is changed in the ledger after the plan was looked at: each job is kept to the plan."""
    plan(folder)
    assert run(folder, shared, "--first", "1")[0] == 0
    (folder / "new.yaml").write_text(POLICY.replace("500", "400"))
    assert planner(folder, "policy", "activate", "new.yaml")[0] == 0
    before = shared.bill()["accepted"]
    found = refusals(run(folder, shared))
    assert [code for code, _, _ in found] == ["plan_moved"]
    assert shared.bill()["accepted"] == before


def test_a_plan_changed_by_hand_is_refused(folder, shared):
    """One digit more in it, half of it, or one of a later form: exit 2 in one line."""
    plan(folder)
    path = folder / "shoot.plan.json"
    text = path.read_text()
    for changed, said in (
        (text.replace('"credits": 1,', '"credits": 2,', 1), "was changed after it was written"),
        (text[: len(text) // 2], "half of one"),
        (text.replace("planner.plan-file/1", "planner.plan-file/9"), "this version reads"),
    ):
        path.write_text(changed)
        ((code, _, message),) = refusals(run(folder, shared))
        assert code == "bad_plan"
        assert said in message


def test_another_ledger_is_refused(folder, shared):
    """A plan is pinned to the ledger whose budgets it was decided by."""
    plan(folder)
    (folder / "spend.db").unlink()
    (folder / "spend.db-latest").unlink()
    plan(folder, out="other.plan.json")
    assert refusals(run(folder, shared))[0][0] == "plan_elsewhere"


def test_a_plan_can_ask_for_an_approval_of_itself(folder, shared):
    """Nothing goes before a named person has approved that very digest, and nothing after a no."""
    plan(folder, "--needs-approval", "finance")
    ((code, _, message),) = refusals(run(folder, shared))
    assert (code, message) == ("plan_unapproved", "nobody has approved the plan; it needs finance")
    said = ["--plan", "shoot.plan.json", "--by", "Ana", "--because", "too dear"]
    assert planner(folder, "approvals", "deny", *said)[0] == 0
    assert refusals(run(folder, shared))[0][2] == "Ana denied the plan: too dear"
    assert planner(folder, "approvals", "approve", *said[:4], "--because", "agreed")[0] == 0
    code, found = run(folder, shared)
    assert (code, found["completed"]) == (0, 6)
    plan(folder, "--needs-approval", "brand", out="other.plan.json")
    assert refusals(run(folder, shared, file="other.plan.json"))[0][0] == "plan_unapproved"


def test_what_would_send_something_else_does_not_go_with_a_plan(folder, shared):
    """`--retake` and `--skip-bad` are refused, and so is another shoot than the plan's."""
    plan(folder)
    for words in (("--retake", "look-1"), ("--skip-bad",)):
        assert refusals(run(folder, shared, *words))[0][0] == "beside_plan"
    assert refusals(run(folder, shared, "--shoot", "other"))[0][0] == "plan_elsewhere"


def test_rows_that_the_policy_stops_are_left_out_and_told(folder, shared):
    """They stand in the plan with what stopped them, and a run does not count them."""
    workload(folder / "looks.csv", 2, resolution="4k")
    text = (folder / "looks.csv").read_text().replace("look-1,dress 1,4k", "look-1,dress 1,1k")
    (folder / "looks.csv").write_text(text)
    shown = plan(folder)
    assert re.search(r"1\s+denied\s+no-4k", shown)
    assert run(folder, shared)[1]["jobs"] == 1


def test_show_and_diff_speak_of_old_plans(folder):
    """A plan whose workload has moved is shown with a warning; differences are in jobs, credits and time."""
    plan(folder)
    workload(folder / "looks.csv", 8)
    plan(folder, out="new.plan.json")
    code, out, _ = planner(folder, "plan", "show", "shoot.plan.json", "--policy", "studio.yaml")
    assert code == 0
    assert "warning: looks.csv:8: the row of `look-6` is new" in out
    words = ["plan", "show", "new.plan.json", "--diff", "shoot.plan.json", "--policy", "studio.yaml"]
    code, out, _ = planner(folder, *words)
    assert re.search(r"credits\s+9\s+12\s+\+3", out)
    assert "2 added: look-6, look-7" in out
    code, out, _ = planner(folder, *words, "--json")
    found = json.loads(out)
    assert found["diff"]["added"] == ["look-6", "look-7"]
    assert found["diff"]["credits"] == [9, 12]
    code, out, _ = planner(folder, *words, "--format", "markdown")
    assert out.startswith("### 8 jobs")
    assert "| credits |" in out


def test_a_dry_run_of_a_plan_sends_nothing(folder, shared):
    """It says what would be sent, or what has moved."""
    plan(folder)
    code, found = run(folder, shared, "--dry-run")
    assert (code, found["not_started"], found["credits"]["quoted"]) == (0, 6, 9)
    assert entries(folder) == []
    workload(folder / "looks.csv", 7)
    assert refusals(run(folder, shared, "--dry-run"))[0][0] == "plan_moved"


def forged(folder, change, out="forged.plan.json"):
    """A plan that somebody has edited, with a digest that fits again."""
    document = json.loads((folder / "shoot.plan.json").read_text())
    schema = document.pop("schema")
    del document["digest"]
    change(document)
    whole = {"schema": schema, "digest": _digest(document), **document}
    (folder / out).write_text(json.dumps(whole))
    return out


@pytest.mark.parametrize(
    "change",
    [
        lambda plan: plan["expected"].update(credits=1),
        lambda plan: plan["expected"].update(jobs=1),
        lambda plan: plan["jobs"].append(plan["jobs"][0]),
        lambda plan: plan["expected"].update(usd="abc"),
        lambda plan: plan.update(expected={}),
        lambda plan: plan["workload"].update(path=5),
        lambda plan: plan["jobs"][0].update(fields={}),
        lambda plan: plan["jobs"][0].update(credits="x"),
        lambda plan: plan.update(policy={}),
        lambda plan: plan["ledger"].update(account=None),
        lambda plan: plan["prices"].update(credits=[]),
        lambda plan: plan.update(jobs=None),
        lambda plan: plan.update(more=1),
    ],
)
def test_a_plan_that_was_forged_is_no_plan(folder, change):
    """A sum that its jobs do not make, a key twice, other types or names: one line and exit 2, no defect."""
    plan(folder)
    code, out, _ = planner(folder, "plan", "show", forged(folder, change), "--json")
    assert (code, json.loads(out)["errors"][0]["code"]) == (2, "bad_plan")


def test_a_rehearsal_books_nothing_of_the_live_account(folder):
    """`--sandbox` with a plan of another account is refused, so nothing stands as paid that was not."""
    plan(folder)
    words = ["run", "shoot.plan.json", "--policy", "studio.yaml", "--sandbox", "--speed", "300", "--json"]
    code, out, _ = planner(folder, *words, "--no-pictures", "--ledger", "spend.db")
    assert (code, json.loads(out)["errors"][0]["code"]) == (2, "plan_elsewhere")
    assert entries(folder) == []


@pytest.mark.parametrize("name", ["looks.csv", "studio.yaml", "spend.db", "new.db"])
def test_nothing_but_a_plan_is_written_over(folder, name):
    """The workload, the policy and the ledger stay, also one that is about to be made; a plan is replaced."""
    plan(folder)
    before = (folder / name).read_bytes() if (folder / name).exists() else None
    words = ["plan", "looks.csv", "--policy", "studio.yaml", "-o", name, "--json"]
    code, out, _ = planner(folder, *words, *(["--ledger", name] if name == "new.db" else []))
    assert (code, json.loads(out)["errors"][0]["code"]) == (2, "would_overwrite")
    assert ((folder / name).read_bytes() if before is not None else None) == before
    plan(folder)


def test_what_would_do_nothing_is_refused(folder):
    """A limit beside `-o` would not be in the plan: nobody shall believe that it is."""
    words = ["plan", "looks.csv", "--policy", "studio.yaml", "-o", "shoot.plan.json", "--timing"]
    code, _, err = planner(folder, *words, "--at-most", "1 credits", "--give-up-in-order", "num_images")
    assert code == 2
    assert "--at-most, --give-up-in-order, --timing do not go with a plan file" in err
    assert not (folder / "shoot.plan.json").exists()


def test_names_do_nothing_in_a_pull_request_or_on_a_terminal(folder):
    """Keys and labels stay text: no fold is closed, nobody is called, no cell ends, no line is added."""
    keys = ["</details><!-- @octocat", "a\\|b`c`", "[x](http://example.com)"]
    rows = "".join(f'"{key}",dress,2k,fast,1,{place},brand,S\n' for place, key in enumerate(keys))
    (folder / "looks.csv").write_text(HEADER + rows)
    plan(folder)
    words = ["plan", "show", "shoot.plan.json", "--policy", "studio.yaml", "--format", "markdown"]
    code, out, _ = planner(folder, *words)
    assert code == 0
    assert out.count("</details>") == 1
    for text in ("@octocat", "<!--", "`c`", "[x]", "b|", "\\|b"):
        assert text not in out, text
    lines = [line for line in out.splitlines() if line.startswith("|")]
    marks = ("&#60;", "&#124;", "&#91;")
    assert [line.count("|") for line in lines if any(mark in line for mark in marks)] == [6] * 3
    forged(folder, lambda found: found["prices"].update(entry="x\nfake line"))
    _, out, _ = planner(folder, "plan", "show", "forged.plan.json", "--policy", "studio.yaml")
    assert "\nfake line" not in out


def test_a_plan_in_parts_is_spent_when_all_parts_are(folder, shared):
    """Two halves by label, neither of which is the whole: after both nothing is left to send."""
    plan(folder)
    for team in ("social", "brand"):
        assert run(folder, shared, "--where", f"team={team}")[0] == 0
    assert [code for code, _, _ in refusals(run(folder, shared))] == ["plan_spent"]


def test_a_plan_with_its_names_in_another_order_is_a_plan(folder, shared):
    """Whoever formats JSON files, with a byte order mark or without, has not changed the plan."""
    plan(folder)
    document = json.loads((folder / "shoot.plan.json").read_text())
    (folder / "shoot.plan.json").write_text("\ufeff" + json.dumps(document, sort_keys=True, indent=1))
    assert run(folder, shared)[0] == 0


def test_what_is_not_there_is_said(folder):
    """A plan file that does not exist is not one that is no plan."""
    code, out, _ = planner(folder, "plan", "show", "nope.plan.json", "--json")
    assert (code, json.loads(out)["errors"][0]["code"]) == (2, "unreadable_file")


def test_a_workload_from_a_named_pipe_is_whole(folder):
    """Telling a plan from a workload takes nothing away from what can be read only once."""
    path = folder / "pipe"
    os.mkfifo(path)
    text = (folder / "looks.csv").read_text()
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(path.write_text, text)
        code, out, _ = planner(folder, "plan", "pipe", "--json")
        writing.result(10)
    assert (code, json.loads(out)["jobs"]) == (0, 6)


def test_a_plan_without_a_policy_imports_no_engine(folder):
    """A spreadsheet is priced without what only plan files and policies need."""
    words = "import sys; from policies.cli.main import main\n"
    words += "try: main(['plan', 'looks.csv', '--json'])\nexcept SystemExit: pass\n"
    words += "sys.exit(str([name for name in ('policies.engine', 'sqlalchemy') if name in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", words],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.strip() == "[]"
