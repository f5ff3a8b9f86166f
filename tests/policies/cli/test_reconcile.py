"""`planner reconcile`: two readings, and what the exit code says of them."""

import pytest

from policies.server.sandbox.app import running


@pytest.fixture
def provider(folder, monkeypatch):
    with running(speed=500, seed=3) as found:
        monkeypatch.setenv("FASHN_API_KEY", "key")
        monkeypatch.setenv("FASHN_BASE_URL", found.url)
        (folder / "looks.csv").write_text("prompt,resolution\nlinen dress,2k\n")
        yield found


def test_what_a_run_has_booked_is_what_the_balance_went_down_by(planner, provider):
    """The first reading is kept, the second compared; without a ledger nothing is made."""
    assert planner("reconcile", "--json").codes == ["no_ledger"]
    run = ("run", "looks.csv", "--policy", "starter", "--speed", "500", "--no-pictures", "--yes")
    assert planner(*run).code == 0
    words = ("reconcile", "--exclusive", "--speed", "500")
    first = planner(*words, "--json").document
    assert (first["schema"], first["bracket"], first["difference"]) == ("planner.reconcile/1", None, 0)
    assert planner(*run, "--shoot", "two").code == 0
    second = planner(*words, "--json").document
    assert (second["bracket"]["charged"], second["bracket"]["booked"], second["difference"]) == (4, 4, 0)
    assert second["bracket"]["doubts"] == []
    found = planner(*words)
    assert found.code == 0
    assert "nothing is left to explain" in found.out


def test_a_difference_is_exit_1(planner, provider):
    """Credits that were spent past the ledger are told in words."""
    run = ("run", "looks.csv", "--policy", "starter", "--speed", "500", "--no-pictures", "--yes")
    assert planner(*run).code == 0
    assert planner("reconcile", "--speed", "500").code == 0
    assert planner(*run, "--ledger", "other.db").code == 0
    found = planner("reconcile", "--speed", "500")
    assert found.code == 1
    assert "4 credits were spent past this ledger" in found.out
