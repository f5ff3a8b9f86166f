"""`planner policy replay`: a history or a ledger under one policy or two, as tables and as a document."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from planner.past import STAND_IN_PICTURE
from policies.cli.policy.past import past_of
from policies.ledger.states import TAKEN, State
from policies.loading import load_policy
from policies.server.sandbox.faults import Faults
from tests.policies.cli.conftest import DATA
from tests.policies.ledger.books import STUDIO, studio

HISTORY = DATA / "history.csv"
HEADER = "submitted_at,completed_at,status,resolution,num_images,credits_used,usd_per_credit,team,stage"

POLICY = """
policy: 1
name: small
otherwise: allow
timezone: UTC
labels: {team: any, stage: any}
budgets:
  - {name: day, limit: 8 credits, per: day, for_each: [team], when_exhausted: deny}
rules:
  - name: draft-1k
    when: {stage: draft, resolution: {above: 1k}}
    rewrite: {resolution: 1k}
"""


@pytest.fixture
def written(folder):
    """A policy, and four requests of 4 credits each: three of one team, a draft of another."""
    rows = [
        f"2026-10-01T10:0{n}:00Z,2026-10-01T10:0{n}:30Z,completed,2k,1,4,0.075,{team},{stage}"
        for n, (team, stage) in enumerate((("brand", ""), ("brand", ""), ("brand", ""), ("social", "draft")))
    ]
    (folder / "small.yaml").write_text(POLICY)
    (folder / "past.csv").write_text("\n".join([HEADER, *rows]))
    return folder


def test_the_sample_history_under_a_shipped_policy(planner):
    """Totals, groups by each label and day, rules and assumptions; the rows of every group add up."""
    found = planner("policy", "replay", "cheap-drafts", "--history", HISTORY, "--json")
    assert found.code == 0
    document = found.document
    assert document["schema"] == "planner.policy-replay/1"
    assert (document["past"], document["requests"]) == (str(HISTORY), 12_000)
    (one,) = document["policies"]
    assert one["policy"]["name"] == "cheap-drafts"
    totals = one["totals"]
    assert (totals["were_credits"], totals["fewer_credits"]) == (54_679, 12_484)
    assert (totals["were_usd"], totals["usd"]) == ("3740.70", "2886.30")
    assert [group["by"] for group in one["groups"]] == [["team"], ["stage"], ["campaign"], ["day"]]
    for group in one["groups"]:
        for name in ("requests", "credits", "saved_credits", "were_credits"):
            assert sum(row[name] for row in group["rows"]) == totals[name]
    assert len(one["assumptions"]) >= 3


def test_people_see_one_line_the_tables_and_what_is_assumed(planner, written):
    """Saved, denied and rewritten, by label and by day, and what all of it rests on."""
    found = planner("policy", "replay", "small.yaml", "--history", "past.csv")
    assert found.code == 0
    assert "past.csv · 4 requests · 2026-10-01 to 2026-10-01" in found.out
    line = "small: 9 credits ($0.675) instead of 16 credits ($1.20), 7 fewer (43.8%) · 1 denied"
    assert line in found.out
    rows = [line.split() for line in found.out.splitlines()]
    assert ["brand", "3", "12", "8", "4", "0", "1"] in rows
    assert ["social", "1", "4", "1", "3", "1", "0"] in rows
    assert ["2026-10-01", "4", "16", "9", "7", "1", "1"] in rows
    assert ["day", "full", "1", "4", "small.yaml:8"] in rows
    assert ["draft-1k", "rewrites", "1", "3", "small.yaml:10"] in rows
    assert "Everybody would have asked for the same" in found.out


def test_two_policies_stand_side_by_side(planner, written):
    """Another policy is replayed with budgets of its own; two of one name are told apart."""
    (written / "wide.yaml").write_text(POLICY.replace("8 credits", "100 credits"))
    words = ("policy", "replay", "small.yaml", "--against", "wide.yaml", "--history", "past.csv")
    small, wide = (one["totals"]["credits"] for one in planner(*words, "--json").document["policies"])
    assert (small, wide) == (9, 13)
    shown = planner(*words).out
    small, wide = (load_policy(f"{name}.yaml").digest[:8] for name in ("small", "wide"))
    rows = [line.split() for line in shown.splitlines()]
    assert ["credits", "16", "9", "13"] in rows
    assert f"small ({small})" in shown
    assert f"small ({wide})" in shown


def test_by_names_labels_and_spans_together(planner, written):
    """One grouping by all the names; a missing label is a row of its own."""
    words = ("policy", "replay", "small.yaml", "--history", "past.csv", "--by", "stage, month", "--json")
    (group,) = planner(*words).document["policies"][0]["groups"]
    assert group["by"] == ["stage", "month"]
    assert [row["labels"] for row in group["rows"]] == [
        {"stage": "draft", "month": "2026-10"}, {"stage": None, "month": "2026-10"}
    ]  # fmt: skip


def test_a_label_that_nobody_declares_is_refused_with_a_guess(planner, written):
    """A slip in `--by` is told before anything is read."""
    found = planner("policy", "replay", "small.yaml", "--history", "gone.csv", "--by", "taem", "--json")
    assert (found.code, found.codes) == (2, ["unknown_label"])
    assert found.document["errors"][0]["hint"] == "did you mean `team`?"


def test_given_approvals_are_an_option(planner, written):
    """With `--approve` nothing waits, and the assumption changes with it."""
    (written / "small.yaml").write_text(
        POLICY.replace("exhausted: deny", "exhausted: {needs_approval: lead}")
    )
    words = ("policy", "replay", "small.yaml", "--history", "past.csv", "--json")
    asked, given = (planner(*words, *more).document["policies"][0] for more in ([], ["--approve"]))
    assert (asked["totals"]["waiting_credits"], given["totals"]["waiting_credits"]) == (4, 0)
    assert (asked["totals"]["credits"], given["totals"]["credits"]) == (9, 13)
    assert "Every approval is given" in " ".join(given["assumptions"])


def test_long_pasts_are_shown_by_month_and_many_values_in_part(planner, written):
    """A terminal gets months and the dearest twenty; `--by day` and JSON have every one."""
    start = datetime(2026, 8, 1, tzinfo=UTC)
    rows = [
        f"{(start + timedelta(days=n)).isoformat()},,completed,2k,{1 + n % 4},,,team-{n:02},production"
        for n in range(40)
    ]
    (written / "past.csv").write_text("\n".join([HEADER, *rows]))
    words = ("policy", "replay", "small.yaml", "--history", "past.csv")
    shown = planner(*words).out
    assert "2026-09 " in shown
    assert "2026-08-02" not in shown
    assert "… 20 more" in shown
    assert "2026-08-02" in planner(*words, "--by", "day").out
    groups = {
        group["by"][0]: group["rows"] for group in planner(*words, "--json").document["policies"][0]["groups"]
    }
    assert (len(groups["team"]), len(groups["day"])) == (40, 40)


def test_a_policy_in_shadow_is_replayed_as_if_enforced_and_says_so(planner, written):
    """In the first line, among the assumptions and in the document."""
    words = ("policy", "replay", "small.yaml", "--history", "past.csv")
    assert planner(*words, "--json").document["policies"][0]["enforcement"] == "on"
    (written / "small.yaml").write_text(
        POLICY.replace("otherwise: allow", "otherwise: allow\nenforcement: shadow")
    )
    shown = planner(*words).out
    assert shown.splitlines()[0].endswith(" in shadow, decided as if enforced")
    assert "it is replayed as if it were enforced" in shown
    assert planner(*words, "--json").document["policies"][0]["enforcement"] == "shadow"


def test_labels_that_no_request_has_are_one_line(planner, written):
    """Instead of a table each that says `(none)`; by name it is shown all the same."""
    rows = ["submitted_at,status,resolution,num_images", "2026-10-01T10:00:00Z,completed,2k,1"]
    (written / "past.csv").write_text("\n".join(rows))
    words = ("policy", "replay", "small.yaml", "--history", "past.csv")
    shown = planner(*words).out
    assert "labels that no request has: team, stage\n" in shown
    assert "(none)" not in shown
    assert "(none)" in planner(*words, "--by", "team").out


def test_every_outcome_has_its_words(planner, written):
    """A downgrade for which nothing is small enough is told in words, one request in the singular."""
    (written / "small.yaml").write_text(
        POLICY.partition("budgets:")[0]
        + "rules:\n  - {name: tiny, when: {stage: draft}, downgrade: {at_most: 0 credits, "
        + "give_up_in_order: [num_images]}}\n  - {name: ask, when: {team: brand}, needs_approval: lead}\n"
    )
    shown = planner("policy", "replay", "small.yaml", "--history", "past.csv").out
    assert "nothing fits" in shown
    assert "3 need approval · 1 denied" in shown
    text = (written / "past.csv").read_text().splitlines()
    (written / "past.csv").write_text("\n".join([*text[:2], text[4]]))
    shown = planner("policy", "replay", "small.yaml", "--history", "past.csv").out
    assert "1 needs approval · 1 denied" in shown


def test_faults_of_a_history_come_all_at_once(planner, written):
    """With their lines, as an errors document, and nothing is replayed."""
    text = (written / "past.csv").read_text()
    (written / "past.csv").write_text(text.replace("2k,1,4", "8k,1,four", 1))
    found = planner("policy", "replay", "small.yaml", "--history", "past.csv", "--json")
    assert (found.code, found.codes) == (2, ["invalid_value", "invalid_value"])
    assert {error["where"] for error in found.document["errors"]} == {"past.csv:2"}


def test_one_source_at_a_time(planner, written):
    """A history and a ledger together are a contradiction; without either the ledger has to be there."""
    found = planner("policy", "replay", "small.yaml", "--history", "past.csv", "--ledger", "a.db", "--json")
    assert (found.code, found.codes) == (2, ["usage"])
    assert planner("policy", "replay", "small.yaml", "--json").codes == ["no_ledger"]
    assert not list(written.glob("*.db"))


def test_repairs_are_told_beside_the_document(planner, written):
    """They stand in the document and on stderr, never in between."""
    text = (written / "past.csv").read_text()
    (written / "past.csv").write_text(text.replace("2k", "2K"))
    found = planner("policy", "replay", "small.yaml", "--history", "past.csv", "--json")
    assert found.document["repairs"][0]["count"] == 4
    assert "repaired: " in found.err


# -- the ledger ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def books(tmp_path_factory):
    """A ledger with a rewrite, a missing charge, a failure, a lost answer, a question and a refusal."""
    with studio(tmp_path_factory.mktemp("books")) as found:
        found.job("a", {"team": "brand", "campaign": "draft"}, resolution="4k", num_images=2)
        found.job("b", {"team": "brand"}, faults=Faults(missing_header=1.0), resolution="2k")
        found.job("c", {"team": "social"}, faults=Faults(failed=1.0), resolution="2k")
        found.lost("d", {"team": "social"}, num_images=2)
        found.job("e", {"campaign": "ask"})
        found.job("f", {"team": "social"}, faults=Faults(server_error=1.0))
        yield found


def test_a_ledger_is_replayed_as_it_was_asked(planner, books, folder):
    """Its own policy gives its own credits again; without the rewrite it would have cost more."""
    (folder / "studio.yaml").write_text(STUDIO)
    (folder / "loose.yaml").write_text("policy: 1\nname: loose\notherwise: allow\nlabels: {team: any}\n")
    words = ("policy", "replay", "studio.yaml", "--against", "loose.yaml", "--ledger", books.path, "--json")
    document = planner(*words).document
    same, loose = (one["totals"] for one in document["policies"])
    entries = books.store.entries(states=TAKEN)
    assert document["requests"] == 4, "what only waited, or was never taken, is no past request"
    assert same["credits"] == same["were_credits"] == sum(entry.credits for entry in entries)
    assert (same["rewritten"], same["saved_credits"]) == (1, 2)
    assert loose["credits"] == same["credits"] + 2


def test_entries_keep_what_a_replay_needs(books):
    """The asked fields, the rate, the labels and the end of each entry, under its own key and prediction."""
    first, *_ = books.store.entries(states=TAKEN)
    one = past_of(first)
    assert (one.request.resolution, one.request.num_images) == ("4k", 2)
    assert (one.labels, one.rate_microusd) == ({"team": "brand", "campaign": "draft"}, 75_000)
    assert (one.status, one.credits_used, one.key) == ("completed", first.credits, "a")
    assert one.prediction_id == first.prediction_id
    assert [past_of(entry).credits_used for entry in books.store.entries(states={State.SETTLED})] == [8, None]


def test_receipts_are_undone_the_last_one_first(books):
    """A field that two rules changed one after the other is again what was asked for."""
    first, *_ = books.store.entries(states=TAKEN)
    receipts = [("num_images", 4, 3), ("face_reference", True, False), ("num_images", 3, 2)]
    changes = [{"field": name, "before": before, "after": after} for name, before, after in receipts]
    asked = past_of(first._replace(changes=json.dumps(changes))).request
    assert (asked.num_images, asked.face_reference) == (4, STAND_IN_PICTURE)


def test_help_has_an_example(planner):
    """The command is listed, and its help shows how it is used."""
    assert "replay" in planner("policy", "--help").out
    assert (
        "planner policy replay studio.yaml --history history.csv" in planner("policy", "replay", "--help").out
    )


def test_json_is_one_document(planner, written):
    """Nothing but the document on stdout."""
    out = planner("policy", "replay", "small.yaml", "--history", "past.csv", "--json").out
    assert json.loads(out)["requests"] == 4
