"""`reuse: true`: what is home is copied, not paid for again, and never taken where it must not be."""

import pytest

from planner.request import ModelCreateRequest
from policies.cli.batches import write_results
from policies.guard.batch import Line, tally
from policies.ledger.states import State
from policies.server.sandbox.faults import Faults
from tests.policies.guard.stage import OPEN_POLICY, rows, stage

POLICY = OPEN_POLICY + "reuse: true\n"
SMALLER = POLICY + "rules:\n  - {name: no-4k, when: {resolution: 4k}, rewrite: {resolution: 2k}}\n"


@pytest.fixture
def stand(tmp_path):
    with stage(tmp_path, POLICY) as found:
        yield found


def twin(key, **inputs):
    """A row that asks for what `rows` asks for first, under another key."""
    asked = {"prompt": "linen dress 0", "seed": 0, **inputs}
    return Line(
        key, ModelCreateRequest(**asked), labels={"team": "brand"}, images=inputs.get("num_images", 1)
    )


def run(found, lines, **options):
    """What a command does: run, and write the results."""
    runner = found.run(lines, **options)
    write_results(found.pictures, "main", lines)
    return runner


def test_an_identical_request_is_copied_and_costs_nothing(stand):
    """Its pictures stand under its own names, the results say whose they are, and no key is bound."""
    run(stand, rows(2, num_images=2))
    line = twin("again", num_images=2)
    runner = run(stand, [line])
    assert (runner.exit_code, line.ending.value, line.reused, line.credits) == (0, "completed", True, 0)
    assert line.files == ["again-1.png", "again-2.png"]
    home = stand.pictures
    assert (home / "again-2.png").read_bytes() == (home / "look-0-2.png").read_bytes()
    assert stand.handle.bill().accepted == 2
    assert {entry.key for entry in stand.entries()} == {"look-0", "look-1"}
    assert stand.records()["again"].reason == "reused: look-0 asked for the same"
    document = tally([line]).as_json()
    assert (document["reused"], document["credits"]) == (1, dict.fromkeys(document["credits"], 0))


def test_without_the_word_in_the_policy_everything_is_paid(tmp_path):
    """It is off unless the policy says so, also where it says `false`, and where the policy only watches."""
    for place, more in enumerate(("", "reuse: false\n", "reuse: true\nenforcement: shadow\n")):
        with stage(tmp_path / str(place), OPEN_POLICY + more) as found:
            run(found, rows(1))
            run(found, [twin("again")])
            assert found.handle.bill().accepted == 2


def test_rows_of_one_file_that_ask_for_the_same_are_paid_once(stand):
    """The first one goes and the others wait for its pictures, whatever their order in time."""
    lines = [*rows(3), twin("b"), twin("c"), twin("d", seed=9)]
    assert run(stand, lines).exit_code == 0
    assert [line.ending.value for line in lines] == ["completed"] * 6
    assert [line.key for line in lines if line.reused] == ["b", "c"]
    assert stand.handle.bill().accepted == 4
    assert stand.names_home() >= {"look-0-1.png", "b-1.png", "c-1.png", "d-1.png"}


def test_it_is_the_request_after_rewriting_that_counts(tmp_path):
    """What a rule makes the same is the same; before the rule both were different requests."""
    with stage(tmp_path, SMALLER) as found:
        run(found, rows(1, resolution="2k"))
        line = twin("big", resolution="4k")
        run(found, [line])
        assert line.reused
        assert found.handle.bill().accepted == 1


def test_where_the_first_one_failed_the_next_one_goes(tmp_path):
    """A failure makes no twin: each of the three is tried, one after the other, and costs nothing."""
    with stage(tmp_path, POLICY, speed=2000.0, faults=Faults(failed=1.0)) as found:
        lines = [twin("a"), twin("b"), twin("c")]
        assert run(found, lines).exit_code == 1
        assert {entry.key for entry in found.entries()} == {"a", "b", "c"}
        assert not any(line.reused for line in lines)


def test_pictures_that_are_not_in_the_folder_are_no_twin(stand):
    """Deleted, cut off or never fetched: the row is sent and paid as usual."""
    run(stand, rows(1))
    (stand.pictures / "look-0-1.png").unlink()
    run(stand, [twin("b")])
    assert stand.handle.bill().accepted == 2
    for name in ("b-1.png", "look-0-1.png"):
        (stand.pictures / name).write_bytes(b"\x89PNG\r\n\x1a\n cut off")
    run(stand, [twin("c")], pictures=stand.folder / "other")
    run(stand, [twin("d")])
    assert stand.handle.bill().accepted == 4


def test_private_pictures_are_never_reused(stand):
    """`return_base64` says that they are nobody else's."""
    run(stand, [twin("a", return_base64=True)])
    run(stand, [twin("b", return_base64=True)])
    assert stand.handle.bill().accepted == 2


def test_another_shoot_and_another_account_pay_for_themselves(stand):
    """What is home there is not looked at, even in the same folder of pictures."""
    run(stand, rows(1))
    with stand.guard() as guard:
        other = guard.store.entries()[0]
        assert (other.account, other.shoot) == ("test", "main")
    stand.shoot = "spring"
    run(stand, [twin("b")])
    assert stand.handle.bill().accepted == 2
    stand.shoot, stand.account = "main", "second"
    run(stand, [twin("c")])
    assert stand.handle.bill().accepted == 3


def test_a_row_that_was_reused_stays_home_when_the_first_picture_goes(stand):
    """Its own copy is its own: a later run finds it, copies nothing and pays nothing."""
    run(stand, rows(1))
    run(stand, [twin("again")])
    (stand.pictures / "look-0-1.png").unlink()
    kept = (stand.pictures / "again-1.png").stat().st_mtime_ns
    line = twin("again")
    run(stand, [line])
    assert (line.reused, stand.handle.bill().accepted) == (True, 1)
    assert (stand.pictures / "again-1.png").stat().st_mtime_ns == kept


def test_a_denied_row_stays_denied_whatever_is_home(tmp_path):
    """The policy decides first; a copy is no way around it."""
    policy = POLICY + "rules:\n  - {name: no-brand, when: {team: brand}, deny: not for brand}\n"
    with stage(tmp_path, policy) as found:
        run(found, rows(1))
        line = twin("again")
        assert run(found, [line]).exit_code == 1
        assert line.ending.value == "denied"
        assert len(found.entries(State.SETTLED)) == 1


def test_another_take_is_made_although_the_same_is_home(stand):
    """Who wishes for another take of a changed row gets one, and its key is bound to it."""
    run(stand, rows(2))
    line = twin("look-1")
    run(stand, [line], retake_changed=True)
    assert (line.reused, line.take, stand.handle.bill().accepted) == (False, 2, 3)


def test_a_copy_is_no_picture_of_what_was_paid_later(stand):
    """A row that had a copy is changed and paid for without pictures: the next run fetches its own."""
    run(stand, rows(1))
    run(stand, [twin("again")])
    copied = (stand.pictures / "again-1.png").read_bytes()
    changed = twin("again", prompt="green hat")
    stand.run([changed], pictures=None)
    assert stand.handle.bill().accepted == 2
    run(stand, [twin("again", prompt="green hat")])
    assert (stand.pictures / "again-1.png").read_bytes() != copied
    assert stand.handle.bill().accepted == 2
