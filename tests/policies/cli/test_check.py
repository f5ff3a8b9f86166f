"""`planner check`: what a policy says to a file, in file order and over what a ledger counts."""

from __future__ import annotations

import json

import pytest

from tests.policies.ledger.books import STUDIO, studio

from .conftest import DATA

POLICY = """
policy: 1
name: small
timezone: UTC
otherwise: allow
labels: {team: [social, brand], stage: any}
budgets:
  - {name: month, limit: 8 credits, per: month, for_each: [team], when_exhausted: deny}
rules:
  - name: face-is-capped-at-2k
    when: {face_reference: present, resolution: 4k}
    rewrite: {resolution: 2k}
    because: the output is capped at 2K
  - name: large
    when: {credits: {at_least: 6}}
    needs_approval: finance
"""
HEADER = "key,prompt,resolution,num_images,team\n"
AT = "2026-11-20T12:00:00+00:00"


@pytest.fixture
def check(planner, folder):
    """Checks rows of a file against a policy; returns what the command left behind."""

    def run(rows, *words, policy=POLICY, header=HEADER):
        (folder / "rows.csv").write_text(header + rows, "utf-8")
        (folder / "small.yaml").write_text(policy, "utf-8")
        return planner("check", "rows.csv", "--policy", "small.yaml", "--at", AT, *words)

    return run


def verdicts(found):
    return [decision["verdict"] for decision in found.document["decisions"]]


def test_the_messy_file_has_exactly_its_faults(planner):
    """Lines 3 to 14 and 16 are wrong, all are told at once, and the code is 2."""
    found = planner("check", DATA / "messy.csv", "--policy", "starter", "--json")
    assert found.code == 2
    lines = [int(error["where"].rpartition(":")[2]) for error in found.document["errors"]]
    assert lines == [*range(3, 15), 16]


def test_the_document_has_the_shape_others_rely_on(check):
    """Totals and, for each row, verdict, credits, closed fields, changes, findings and alternatives."""
    found = check("a,secret coat,2k,1,social\n", "--json")
    assert found.code == 0
    document = found.document
    assert document["schema"] == "planner.check/1"
    assert document["totals"] == {
        "allowed": 1,
        "rewritten": 0,
        "needs_approval": 0,
        "denied": 0,
        "reused": 0,
        "credits": 4,
        "usd": "0.30",
    }
    (decision,) = document["decisions"]
    assert set(decision) >= {"key", "verdict", "credits", "fields", "changes", "findings", "alternatives"}
    assert (decision["key"], decision["where"], decision["credits"]) == ("a", "rows.csv:2", 4)
    assert decision["fields"]["resolution"] == "2k"
    assert decision["fields"]["face_reference"] is False
    assert "secret" not in found.out + found.err
    assert document["at"] == AT


def test_rows_are_decided_after_the_holds_of_the_rows_before(check):
    """A budget of 8 lets two jobs of 4 through and denies the third; another team has its own."""
    rows = "a,x,2k,1,social\nb,y,2k,1,social\nc,z,2k,1,social\nd,z,2k,1,brand\n"
    found = check(rows, "--json")
    assert found.code == 1
    assert verdicts(found) == ["allow", "allow", "deny", "allow"]
    assert found.document["totals"]["credits"] == 12
    (reason,) = found.document["decisions"][2]["findings"]
    assert (reason["rule"], reason["outcome"], reason["where"]) == ("month", "budget_full", "small.yaml:8")


def test_a_denial_says_what_would_pass(check):
    """Each alternative names its changes and its price, and passes when it is checked as it stands."""
    found = check("a,x,2k,1,social\nb,x,2k,2,brand\n", "--json")
    (first, *_) = found.document["decisions"][1]["alternatives"]
    assert first["credits"] < 8
    values = {"resolution": "2k", "num_images": 2, "generation_mode": "", **first["changes"]}
    row = f"b,x,{values['resolution']},{values['num_images']},brand,{values['generation_mode']}\n"
    header = HEADER.replace("\n", ",generation_mode\n")
    again = check(row, "--json", header=header)
    assert (again.code, again.document["totals"]["credits"]) == (0, first["credits"])


def test_a_full_budget_says_until_when_to_wait_and_how_much_more_would_do(check):
    """Beside other fields: the end of the window in the policy's zone, and the credits that are missing."""
    policy = POLICY.replace("timezone: UTC", "timezone: Europe/Berlin")
    found = check("a,x,2k,1,social\nb,x,2k,1,social\nc,x,1k,1,social\n", "--json", policy=policy)
    assert found.document["decisions"][2]["alternatives"] == [
        {
            "changes": {},
            "credits": 1,
            "wait_until": "2026-12-01T00:00:00+01:00",
            "assuming": "nothing else is spent",
        },
        {
            "changes": {},
            "credits": 1,
            "more": [{"budget": "month", "scope": {"team": "social"}, "credits": 1}],
        },
    ]
    assert "no_alternative" not in found.document["decisions"][2]
    shown = check("a,x,2k,1,social\nb,x,2k,1,social\nc,x,1k,1,social\n", policy=policy).out
    assert "wait until Tue 1 Dec 00:00 Europe/Berlin if nothing else is spent\n" in shown
    assert "or 1 more credit in month/social" in shown


@pytest.mark.parametrize("layout", ["table", "markdown", "github", "json"])
def test_where_nothing_would_pass_it_says_why(check, layout):
    """Instead of an empty list the rule that denies every form is named, and the label that would help."""
    said = (
        "`label team` denies it at any number, mode and resolution; with `team` social or brand it would pass"
    )
    found = check("a,x,1k,1,socail\n", "--format", layout)
    assert found.code == 1
    if layout == "json":
        (decision,) = found.document["decisions"]
        assert (decision["alternatives"], decision["no_alternative"]) == ([], said)
    else:
        assert said in " ".join(found.out.split())


def test_what_is_spent_can_be_supposed(check, folder):
    """`--spent` counts in place of what the ledger says, for one scope or for a whole budget."""
    rows = "a,y,2k,1,social\nb,y,2k,1,brand\n"
    assert verdicts(check(rows, "--json")) == ["allow", "allow"]
    assert verdicts(check(rows, "--json", "--spent", "month/social=5")) == ["deny", "allow"]
    assert verdicts(check(rows, "--json", "--spent", "month=5")) == ["deny", "deny"]
    assert verdicts(check(rows, "--json", "--spent", "month=5", "--spent", "month/brand=4")) == [
        "deny",
        "allow",
    ]
    with studio(folder) as books:
        books.job("k1", {"team": "social"}, resolution="2k")
        books.job("k2", {"team": "social"}, resolution="2k", num_images=2)
        words = ("--json", "--ledger", f"sqlite:///{books.path}")
    assert verdicts(check(rows, *words)) == ["deny", "allow"]
    found = check(rows, *words, "--spent", "month/social=0")
    assert verdicts(found) == ["allow", "allow"]
    assert ", but with month/social at 0" in found.err


def test_dollars_can_be_supposed_too(check):
    """A budget in USD is supposed to be used in USD."""
    policy = POLICY.replace("limit: 8 credits", "limit: 1.50 USD").replace(
        "labels:", "credit_price: on-demand\nlabels:"
    )
    rows = "a,y,2k,1,social\n"
    assert verdicts(check(rows, "--json", "--spent", "month/social=1.20 USD", policy=policy)) == ["allow"]
    found = check(rows, "--json", "--spent", "month/social=1.21 USD", policy=policy)
    (*_, more) = found.document["decisions"][0]["alternatives"]
    assert more["more"] == [{"budget": "month", "scope": {"team": "social"}, "usd": "0.01"}]
    assert "$0.01 more in month/social" in check(rows, "--spent", "month/social=1.21 USD", policy=policy).out


def test_every_wrong_amount_is_told_at_once(check):
    """A budget, scope, unit or amount that is none is a fault; nothing is supposed by accident."""
    wrong = [
        "month/brand=5",
        "month/brand=6",
        "mnth=5",
        "month/socail=5",
        "month=5 USD",
        "month=lots",
        "month",
        "=5",
    ]
    words = [word for text in wrong for word in ("--spent", text)]
    found = check("a,x,1k,1,social\n", "--json", *words)
    assert (found.code, set(found.codes)) == (2, {"bad_spent"})
    assert [error["message"] for error in found.document["errors"]] == [
        "`month/brand` stands twice",
        "`month` stands twice",
        "`month` names no amount",
        "`mnth` is not a budget of the policy",
        "`socail` is not a scope of `month`",
        "`month` counts credits",
        "`` is not a budget of the policy",
    ]
    assert {error["where"] for error in found.document["errors"]} == {"--spent"}


def test_a_row_comes_from_standard_input(planner, folder):
    """One JSON object with labels beside the inputs is a whole file, named `stdin` in every place."""
    (folder / "small.yaml").write_text(POLICY, "utf-8")
    row = '{"prompt": "x", "resolution": "2k", "team": "social"}\n'
    words = ("check", "-", "--policy", "small.yaml", "--at", AT, "--spent", "month/social=7", "--json")
    (decision,) = planner(*words, stdin=row).document["decisions"]
    assert (decision["where"], decision["verdict"], decision["credits"]) == ("stdin:1", "deny", 4)


def test_a_rewrite_is_allowed_with_its_receipt(check):
    """A rewritten row counts as allowed too, and the receipt says what was changed and saved."""
    header = HEADER.replace("\n", ",face_reference\n")
    row = "a,x,4k,1,social,https://example.com/f.png\n"
    policy = POLICY.replace("at_least: 6", "at_least: 8")
    found = check(row, "--json", header=header, policy=policy)
    assert found.code == 0
    assert found.document["totals"]["rewritten"] == found.document["totals"]["allowed"] == 1
    (change,) = found.document["decisions"][0]["changes"]
    assert (change["field"], change["before"], change["after"]) == ("resolution", "4k", "2k")
    refused = check(row, "--json", "--no-rewrite", header=header, policy=policy)
    assert (refused.code, verdicts(refused)) == (1, ["deny"])


def test_what_needs_approval_exits_1(check):
    """A row that somebody has to approve is not allowed: the code says so."""
    found = check("a,x,2k,2,social\n")
    assert found.code == 1
    assert "needs approval" in found.out
    assert "finance has to approve" in found.out


def test_no_ledger_is_made_and_the_first_line_says_so(check, folder):
    """Without a ledger budgets start empty, in every format, and none is created."""
    before = {"rows.csv", "small.yaml"}
    for words in ([], ["--format", "markdown"], ["--format", "github"], ["--json"]):
        found = check("a,x,1k,1,social\n", *words)
        shown = found.err if words == ["--json"] else found.out
        assert "no ledger at spend.db: budgets start empty" in shown
        assert {path.name for path in folder.iterdir()} == before


def test_a_row_without_a_key_has_none_until_a_ledger_derives_it(check, folder):
    """Without a ledger the key is null beside its place; with one it is the ledger's own."""
    row = ",x,1k,1,social\n"
    assert check(row, "--json").document["decisions"][0]["key"] is None
    with studio(folder) as books:
        ledger = books.path
    found = check(row, "--json", "--ledger", f"sqlite:///{ledger}")
    assert found.document["decisions"][0]["key"].startswith("auto-")


def test_what_was_paid_before_costs_nothing_again(check, folder):
    """A key with the same request is free; with another request it is a conflict that denies."""
    with studio(folder) as books:
        books.job("a", {"team": "social"}, resolution="2k", prompt="x")
        ledger = f"sqlite:///{books.path}"
    found = check("a,x,2k,1,social\nb,y,2k,1,social\n", "--json", "--ledger", ledger)
    first, second = found.document["decisions"]
    assert (first["verdict"], first["credits"], first["reused"]) == ("allow", 0, True)
    assert (second["verdict"], second["credits"], second["reused"]) == ("allow", 4, False)
    assert found.document["totals"]["reused"] == 1
    assert "paid before" in check("a,x,2k,1,social\n", "--ledger", ledger).out
    other = check("a,y,2k,1,social\n", "--json", "--ledger", ledger)
    assert (other.code, verdicts(other)) == (1, ["deny"])
    (conflict,) = other.document["decisions"]
    assert conflict["findings"][0]["outcome"] == "key_conflict"
    assert (conflict["alternatives"], "another key" in conflict["no_alternative"]) == ([], True)


def test_a_policy_in_force_starts_from_the_ledgers_counters(check, folder):
    """What was spent this month counts before the first row."""
    with studio(folder) as books:
        for number in range(24):
            books.job(f"k{number}", {"team": "social"}, resolution="2k")
        ledger = f"sqlite:///{books.path}"
    rows = "a,y,2k,1,social\nb,y,2k,1,social\n"
    found = check(rows, "--json", "--ledger", ledger, policy=STUDIO)
    assert verdicts(found) == ["allow", "deny"]
    assert "budgets as in" in found.err


def test_a_changed_policy_is_counted_from_the_entries(check, folder):
    """A policy that the ledger has never seen starts from what its budgets would have counted."""
    with studio(folder) as books:
        books.job("k", {"team": "social"}, resolution="2k")
        ledger = f"sqlite:///{books.path}"
    found = check("a,x,2k,1,social\nb,y,2k,1,social\n", "--json", "--ledger", ledger)
    assert verdicts(found) == ["allow", "deny"]
    assert "counted from its entries" in found.err


def test_a_check_changes_nothing_in_the_ledger(check, folder):
    """Deciding holds nothing: the same check twice says the same, and entries stay as they were."""
    with studio(folder) as books:
        books.job("k", {"team": "social"}, resolution="2k")
        before = books.store.entries(), books.store.counters()
        words = ("--json", "--ledger", f"sqlite:///{books.path}")
        first, second = (check("a,x,2k,1,social\n", *words) for _ in range(2))
        assert first.out == second.out
        assert (books.store.entries(), books.store.counters()) == before


def test_markdown_is_one_table_for_a_pull_request(check):
    """A heading with the sums, then the rows that are stopped and why."""
    found = check("a,x,2k,2,social\nb,y,1k,1,brand\n", "--format", "markdown")
    assert found.code == 1
    assert found.out.startswith("### 1 allowed · 1 needs approval · 1 credit · $0.075\n")
    assert "| large" in found.out


def test_github_annotates_the_lines(check):
    """Denied rows are errors and waiting ones warnings, at their line, with what would pass."""
    found = check("a,x,2k,2,social\nb,y,2k,1,nobody\n", "--format", "github")
    lines = found.out.splitlines()
    assert lines[0].startswith("::warning file=rows.csv,line=2::needs approval: finance has to approve")
    assert lines[1].startswith("::error file=rows.csv,line=3::denied: ")
    assert "would pass" in lines[0]


def test_github_annotates_faults_too(check):
    """Faults of the file are annotations at their lines as well, and the code is 2."""
    found = check("a,x,8k,1,social\n", "--format", "github")
    assert found.code == 2
    assert found.out == "::error file=rows.csv,line=2::`8k` is not a resolution (use 1k, 2k or 4k)\n"


def test_github_annotates_the_faults_of_a_policy(check):
    """Every fault of the policy file stands at its own line, and the code is 2."""
    policy = POLICY.replace("otherwise: allow", "otherwize: allow").replace("8 credits", "8 EUR")
    found = check("a,x,1k,1,social\n", "--format", "github", policy=policy)
    assert found.code == 2
    assert [line.split("::")[1] for line in found.out.splitlines()] == [
        "error file=small.yaml,line=2",
        "error file=small.yaml,line=5",
        "error file=small.yaml,line=8",
    ]
    assert "`8 EUR` is not a limit" in found.out


def test_a_shadow_policy_lets_everything_go_and_says_what_it_found(check):
    """In shadow every row goes as asked, the code is 0, and the real verdict stands beside it."""
    policy = POLICY.replace("otherwise: allow", "otherwise: allow\nenforcement: shadow")
    found = check("a,x,2k,2,social\n", "--json", policy=policy)
    assert (found.code, verdicts(found)) == (0, ["allow"])
    assert found.document["decisions"][0]["shadowed"]["verdict"] == "needs_approval"
    assert "shadow" in check("a,x,2k,2,social\n", policy=policy).out


SHADOW = """
policy: 1
name: small
timezone: UTC
otherwise: allow
enforcement: shadow
labels: {team: [social, brand]}
rules:
  - name: at-most-2k
    when: {resolution: 4k}
    rewrite: {resolution: 2k}
  - {name: no-brand, when: {team: brand}, deny: they have their own account}
  - {name: large, when: {credits: {at_least: 8}}, needs_approval: finance}
"""
BECAUSE = "they have their own account"
ROWS = "a,x,4k,1,social\nb,x,1k,1,brand\nc,x,2k,2,social\nd,x,1k,1,social\n"


@pytest.mark.parametrize(("layout", "mark"), [("table", ""), ("markdown", "#### ")])
def test_in_shadow_a_table_shows_what_would_be_denied_wait_or_be_rewritten(check, layout, mark):
    """Under headings of their own, with the rules, while the sums stay those of what goes."""
    found = check(ROWS, "--format", layout, policy=SHADOW)
    assert found.code == 0
    lines = [line.strip("| ").replace("|", " ").split() for line in found.out.splitlines()]
    stopped, rewritten = (
        lines.index(f"{mark}in shadow: these would be {text}".split())
        for text in ("denied or wait", "rewritten")
    )
    shown = lines[stopped:rewritten]
    assert ["3", "b", "be", "denied", "1", "no-brand"] in shown
    assert ["4", "c", "wait", "8", "large"] in shown
    assert ["no-brand", "1", *BECAUSE.split(), "small.yaml:12"] in shown
    assert ["at-most-2k", "1", "1", "this"] in [line[:4] for line in lines[rewritten:]]
    assert "4 allowed · 15 credits · $1.13 (shadow: this is what goes, not what was found)" in found.out


def test_in_shadow_github_warns_of_what_would_be_stopped(check):
    """Nothing is an error, because everything goes; a rewrite is a notice with its fields."""
    lines = check(ROWS, "--format", "github", policy=SHADOW).out.splitlines()
    assert lines[:3] == [
        "::notice file=rows.csv,line=2::in shadow: it would be rewritten: resolution 4k → 2k by `at-most-2k`",
        "::warning file=rows.csv,line=3::in shadow: it would be denied: they have their own account "
        "(small.yaml:12)",
        "::warning file=rows.csv,line=4::in shadow: it would wait for approval: finance has to approve "
        "such requests (small.yaml:13)",
    ]


def test_the_document_counts_what_is_in_shadow_beside_the_totals(check):
    """`totals` are what goes; `shadowed` is what would have been, and null where the policy is enforced."""
    document = check(ROWS, "--json", policy=SHADOW).document
    assert (document["enforcement"], document["totals"]["allowed"]) == ("shadow", 4)
    assert document["shadowed"] == {"rewritten": 1, "needs_approval": 1, "denied": 1}
    document = check("a,x,1k,1,social\n", "--json").document
    assert (document["enforcement"], document["shadowed"]) == ("on", None)


def test_only_what_asks_for_the_verdict_stops_a_row(check):
    """Rules that rewrote, that are in shadow or that ask for less are not said to have denied a row."""
    rules = """
  - {name: at-most-2k, when: {resolution: 4k}, rewrite: {resolution: 2k}}
  - name: cheaper
    when: {resolution: 2k}
    downgrade: {at_most: 3 credits, give_up_in_order: [generation_mode]}
  - {name: tried-out, when: {team: brand}, deny: not yet, shadow: true}
  - {name: ask, when: {team: brand}, needs_approval: finance}
  - {name: no-brand, when: {team: brand}, deny: they have their own account}
"""
    policy = POLICY.partition("rules:")[0] + "rules:" + rules
    found = check("a,x,4k,1,brand\n", policy=policy)
    assert found.code == 1
    stopped = [line.split() for line in found.out.splitlines()]
    assert ["no-brand", "1", *BECAUSE.split(), "small.yaml:16"] in stopped
    for name in ("at-most-2k", "cheaper", "tried-out", "ask"):
        assert name not in found.out
    outcomes = {
        reason["rule"]: reason["outcome"]
        for reason in check("a,x,4k,1,brand\n", "--json", policy=policy).document["decisions"][0]["findings"]
    }
    assert outcomes.keys() == {"at-most-2k", "cheaper", "tried-out", "ask", "no-brand"}


def test_one_reason_for_many_rows_is_true_of_all_of_them(check):
    """Of a budget its limit is told instead of the first row's amounts; each row keeps its own in JSON."""
    rows = "a,x,2k,1,social\nb,x,2k,2,brand\nc,x,2k,1,social\nd,x,4k,1,social\ne,x,1k,1,brand\n"
    policy = POLICY.partition("rules:")[0]
    found = check(rows + "f,x,1k,1,x\ng,x,1k,1,y\n", policy=policy)
    assert "the budget is full (8 credits per month for each team)  small.yaml:8\n" in found.out
    assert "its value is not one of social, brand " in found.out
    decisions = check(rows, "--json", policy=policy).document["decisions"]
    told = [one["because"] for decision in decisions[3:] for one in decision["findings"]]
    assert told == [
        "8 of 8 credits are used, this needs 5",
        "8 of 8 credits are used, this needs 1",
    ]
    assert told[0] in check("a,x,2k,2,social\nd,x,4k,1,social\n", policy=policy).out


def test_repairs_are_counted_on_stderr_with_json(planner):
    """With JSON the repairs stand in the document and, for people, on stderr."""
    found = planner("check", DATA / "lookbook-excel.csv", "--policy", "cheap-drafts", "--json")
    assert found.code == 0
    assert sum(repair["count"] for repair in found.document["repairs"]) > 0
    assert found.err.count("repaired: ") == len(found.document["repairs"])


def test_many_stopped_rows_are_summed_up(check):
    """A long list ends with how many more there are; the document has them all."""
    rows = "".join(f"k{number},x{number},4k,4,social\n" for number in range(80))
    found = check(rows)
    assert "30 more" in found.out
    assert len(check(rows, "--json").document["decisions"]) == 80


@pytest.mark.parametrize("words", [["--at", "noon"], ["--ledger", "spend.txt"], ["--key-column", "sku"]])
def test_wrong_flags_are_faults(check, words):
    """An instant, a ledger or a key column that is none is told in one document, with code 2."""
    found = check("a,x,1k,1,social\n", "--json", *words)
    assert found.code == 2
    assert len(json.loads(found.out)["errors"]) == 1


def test_a_file_that_is_no_ledger_is_told(check, folder):
    """A file that is not a database is an error of the ledger, not a traceback."""
    (folder / "notes.db").write_text("these are notes, not a ledger; " * 100)
    found = check("a,x,1k,1,social\n", "--json", "--ledger", "notes.db")
    assert found.code == 3
    assert found.codes == ["ledger_unavailable"]


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00"])
def test_an_instant_at_the_end_of_time_is_bad_input(planner, folder, at):
    """Exit 2 and not an error of ours, so that nobody tries it again."""
    (folder / "looks.csv").write_text("prompt\nlinen dress\n")
    found = planner("check", "looks.csv", "--policy", "starter", "--at", at, "--json")
    assert (found.code, found.codes) == (2, ["bad_instant"])
