"""`planner approvals`: what waits, and what a person's answer does to the next attempt."""

import pytest

from policies.guard.machine import Job
from policies.ledger.entries import TurnedDown
from tests.policies.ledger.books import STUDIO, studio

WHO = ("--by", "Ana", "--because", "the client asked for it")


@pytest.fixture
def books(tmp_path, folder, monkeypatch):
    (tmp_path / "books").mkdir()
    monkeypatch.setenv("PLANNER_LEDGER", str(tmp_path / "books" / "ledger.db"))
    with studio(tmp_path / "books") as found:
        found.job("a", {"team": "social", "campaign": "ask"}, resolution="2k")
        found.job("b", {"team": "brand", "campaign": "ask"})
        found.job("c", {"team": "brand"})
        yield found


def ask_again(books, key, **fields):
    return books.job(key, {"team": {"a": "social"}.get(key, "brand"), "campaign": "ask"}, **fields)


def test_list_says_what_waits_and_who_may_answer(books, planner):
    """Each waiting job with its price, labels and rule; what went is not there, and nothing is held."""
    found = planner("approvals", "list", "--json").document
    assert found["schema"] == "planner.approvals-list/1"
    assert [(job["key"], job["credits"], job["labels"]["team"]) for job in found["waiting"]] == [
        ("a", 4, "social"), ("b", 1, "brand"),
    ]  # fmt: skip
    [asked] = found["waiting"][0]["asked_by"]
    assert asked == {"rule": "ask-finance", "outcome": "needs_approval", "approver": "finance"}
    assert found["waiting"][0]["answer"] is None
    shown = planner("approvals", "list")
    assert shown.code == 0
    assert "2 jobs, 5 credits; nothing is held" in shown.out
    assert "ask-finance" in shown.out


def test_an_approved_job_goes_at_the_next_attempt_and_only_as_it_was_approved(books, planner):
    """Another request under the key waits again; the approved one goes once, and is gone from the list."""
    assert planner("approvals", "approve", "a", *WHO, "--until", "2999-01-01").code == 0
    [job, _] = planner("approvals", "list", "--json").document["waiting"]
    assert (job["answer"]["by"], job["answer"]["standing"], job["answer"]["most_credits"]) == ("Ana", True, 4)
    assert isinstance(ask_again(books, "a", resolution="4k"), TurnedDown)
    assert isinstance(ask_again(books, "b"), TurnedDown)
    assert isinstance(ask_again(books, "a", resolution="2k"), Job)
    assert [job["key"] for job in planner("approvals", "list", "--json").document["waiting"]] == ["b"]


def test_a_denied_job_is_denied_until_somebody_approves(books, planner):
    """The reason names who said so; a later approval ends it."""
    found = planner("approvals", "deny", "b", "--by", "Ana", "--because", "too late", "--json")
    assert (found.code, found.document["schema"]) == (0, "planner.approvals-deny/1")
    turned = ask_again(books, "b")
    assert turned.decision.verdict == "deny"
    assert turned.decision.findings[-1].because == "denied by Ana: too late"
    [_, job] = planner("approvals", "list", "--json").document["waiting"]
    assert (job["key"], job["answer"]["approved"], job["answer"]["standing"]) == ("b", False, True)
    assert planner("approvals", "approve", "b", *WHO, "--until", "2999-01-01").code == 0
    assert isinstance(ask_again(books, "b"), Job)


def test_check_knows_what_a_person_has_said(books, planner, folder):
    """A row is denied, allowed or waits as the next run would find it, by its own key alone."""
    (folder / "studio.yaml").write_text(STUDIO)
    rows = "".join(f"{key},linen dress,2k,{team},ask\n" for key, team in (("a", "social"), ("z", "social")))
    (folder / "looks.csv").write_text("key,prompt,resolution,team,campaign\n" + rows)

    def verdicts():
        found = planner("check", "looks.csv", "--policy", "studio.yaml", "--json").document
        return [row["verdict"] for row in found["decisions"]], found["decisions"][0]

    assert verdicts()[0] == ["needs_approval", "needs_approval"]
    assert planner("approvals", "approve", "a", *WHO, "--until", "2999-01-01").code == 0
    said, first = verdicts()
    assert said == ["allow", "needs_approval"]
    assert first["findings"][-1]["because"] == "approved by Ana: the client asked for it"
    assert planner("approvals", "deny", "a", *WHO).code == 0
    said, first = verdicts()
    assert said == ["deny", "needs_approval"]
    assert first["alternatives"] == []


def test_all_that_is_wrong_is_said_at_once_and_nothing_is_kept(books, planner):
    """Unknown keys are named together; no key at all and an instant that is over are refused."""
    found = planner("approvals", "approve", "x", "a", "y", *WHO, "--json")
    assert (found.code, found.codes) == (2, ["no_such_key", "no_such_key"])
    assert planner("approvals", "approve", *WHO, "--json").code == 2
    assert planner("approvals", "approve", "a", *WHO, "--until", "2001-01-01", "--json").codes == [
        "bad_instant"
    ]
    assert planner("approvals", "approve", "a", *WHO, "--most", "3", "--json").codes == ["too_few"]
    assert planner("approvals", "approve", "a", "--by", " ", "--because", "x", "--json").code == 2
    assert not any(job.answers for job in books.store.waiting())
