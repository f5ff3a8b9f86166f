"""Laws 15, 16, 18, 22 and 23, one situation at a time; law 19 in every history stands beside."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from planner.errors import ConfigError, InputError, OperatorError
from policies.guard.answers import Answer, Completed, Failed, Unclear, read_status
from policies.guard.machine import GetStatus, Job, NotStarted, Turned, Unknown
from policies.guard.outcomes import result_of
from policies.ledger.entries import Admitted, Conflict, Evidence, Stale, Stopped, Taken, TurnedDown, clean_key
from policies.ledger.states import TRANSITIONS, Happened, IllegalTransition, State, after
from policies.ledger.store import Store
from policies.ledger.verify import verify
from policies.server.sandbox.faults import Faults
from tests import ledgers
from tests.laws.world import OPEN_POLICY, World, budget_policy, policy_of, request

pytestmark = pytest.mark.usefixtures("each_engine")


def world(tmp_path: Path, limit: int = 100, **faults: float) -> World:
    return World(tmp_path, budget_policy(limit), faults=Faults(**faults))


def submit(place: World, key: str = "look-1", **fields):
    return place.worker().submit(place.ask(key, request(**fields)))


def test_law_15_an_out_of_credits_answer_is_never_sent_again(tmp_path: Path) -> None:
    """OutOfCredits stops the account; a balance that is enough, and nothing else, starts it again."""
    place = World(tmp_path, budget_policy(1000), balance_credits=5)
    assert isinstance(submit(place, "a", resolution="4k", num_images=1), Job)
    turned = submit(place, "b", resolution="4k", num_images=2)
    assert isinstance(turned, Turned)
    assert turned.stops_the_run
    posts = len(place.sent)
    place.advance(10 * 86400)
    assert isinstance(submit(place, "c"), Stopped)
    assert len(place.sent) == posts
    place.provider.top_up(500, place.seconds)
    assert isinstance(submit(place, "c"), Job)


@pytest.mark.parametrize("fault", ["lost_before", "lost_after", "proxy_before", "redirect_after", "no_id"])
def test_law_15_what_the_table_does_not_name_is_unknown(tmp_path: Path, fault: str) -> None:
    """A cut connection, a proxy's page, a redirect, an answer without id: sent once, and counted."""
    place = world(tmp_path, **{fault: 1.0})
    found = submit(place)
    assert isinstance(found, Unknown)
    assert len(place.sent) == 1
    assert place.counted() == 1
    assert isinstance(submit(place), Taken)
    assert len(place.sent) == 1


@pytest.mark.parametrize("fault", ["server_error", "rate_limited", "concurrency_limited"])
def test_law_15_repeats_are_bounded(tmp_path: Path, fault: str) -> None:
    """An error that may be sent again is sent again a few times, then refused and given back."""
    place = world(tmp_path, **{fault: 1.0})
    found = submit(place)
    assert isinstance(found, Turned)
    assert len(place.sent) == 4
    assert place.counted() == 0
    assert verify(place.store) == []


def test_law_15_no_connection_sends_nothing(tmp_path: Path) -> None:
    """Without a connection nothing was sent: the hold is given back and the key is free."""
    place = world(tmp_path)
    place.unreachable = True
    assert isinstance(submit(place), Turned)
    assert (place.sent, place.counted()) == ([], 0)
    place.unreachable = False
    assert isinstance(submit(place), Job)


def test_law_16_years_do_not_free_an_unknown(tmp_path: Path) -> None:
    """Ten years later it is still counted in the window that booked it, and still takes its key."""
    place = world(tmp_path, lost_after=1.0)
    found = submit(place)
    assert isinstance(found, Unknown)
    place.advance(10 * 365 * 86400)
    entry = place.store.entry(found.entry.id)
    assert (entry.state, entry.credits) == (State.UNKNOWN, 1)
    (counter,) = place.store.counters()
    assert counter.unknown == 1
    assert isinstance(submit(place), Taken)
    place.provider.faults = Faults()
    assert isinstance(submit(place, "another"), Job)


def test_law_16_an_unknown_keeps_its_slot_for_a_while_only(tmp_path: Path) -> None:
    """Six unknowns fill the six slots for 300 s; then there is room, and their credits stay counted."""
    place = world(tmp_path, lost_after=1.0)
    for number in range(6):
        submit(place, f"look-{number}")
    place.provider.faults = Faults()
    seventh = place.ask("look-7", request())
    assert isinstance(place.worker().submit(seventh, wait_seconds=10), NotStarted)
    place.advance(300)
    assert isinstance(place.worker().submit(seventh, wait_seconds=10), Job)
    assert place.counted() == 7


def test_law_16_a_clock_that_is_set_back_keeps_no_slot_for_a_day(tmp_path: Path) -> None:
    """What was sent later than now says nothing about slots; its credits stay counted all the same."""
    place = world(tmp_path, lost_after=1.0)
    for number in range(6):
        submit(place, f"look-{number}")
    place.now -= timedelta(days=1)
    machine, seventh = place.worker().machine, place.ask("look-7", request())
    found = place.store.admit(seventh, place.policy, machine.book, machine.owner, rate_microusd=75_000)
    assert isinstance(found, Admitted)
    assert place.counted() == 7


def test_law_16_a_named_person_ends_an_unknown(tmp_path: Path) -> None:
    """With an amount it settles, without one it is released, and the event keeps who and why."""
    place = world(tmp_path, lost_after=1.0)
    first, second = submit(place, "a"), submit(place, "b")
    detail = {"by": "finance", "because": "seen on the invoice"}
    place.store.record(first.entry, (Happened.SETTLED_BY, Evidence(credits=4, detail=detail)))
    place.store.record(second.entry, (Happened.RELEASED_BY, Evidence(detail=detail)))
    (counter,) = place.store.counters()
    assert (counter.settled, counter.unknown) == (4, 0)
    assert verify(place.store) == []


FATES = [
    ({}, State.SETTLED, Happened.CHARGED, 4),
    ({"missing_header": 1.0}, State.SETTLED, Happened.ESTIMATED, 4),
    ({"malformed_header": 1.0}, State.SETTLED, Happened.ESTIMATED, 4),
    ({"failed": 1.0}, State.RELEASED, Happened.FAILED, 0),
    ({"failed": 1.0, "charged_failure": 1.0}, State.SETTLED, Happened.CHARGED, 4),
    ({"canceled": 1.0}, State.UNKNOWN, Happened.VANISHED, 4),
    ({"time_out": 1.0}, State.UNKNOWN, Happened.VANISHED, 4),
    ({"time_out": 1.0, "charged_failure": 1.0}, State.SETTLED, Happened.CHARGED, 4),
    ({"unknown_status": 1.0}, State.UNKNOWN, Happened.VANISHED, 4),
    ({"vanished": 1.0}, State.UNKNOWN, Happened.VANISHED, 4),
    ({"stuck": 1.0}, State.UNKNOWN, Happened.VANISHED, 4),
]


@pytest.mark.parametrize(("faults", "state", "happened", "credits"), FATES, ids=lambda value: str(value))
def test_the_transition_table_from_accepted_on(tmp_path: Path, faults, state, happened, credits) -> None:
    """Whatever becomes of a prediction, the entry ends where the table says, with what it cost."""
    place = world(tmp_path, **faults)
    worker = place.worker()
    job = worker.submit(place.ask("look-1", request(resolution="2k")))
    worker.run(worker.machine.waiting(job, lambda entry, now: 600.0))
    assert (job.entry.state, job.ended, job.entry.credits) == (state, happened, credits)
    assert place.store.entry(job.entry.id) == job.entry
    assert place.counted() == credits
    assert verify(place.store) == []


def test_the_transition_table_refuses_everything_else() -> None:
    """What the table does not name cannot happen: no released entry comes back, no time frees anything."""
    for state in (None, *State):
        for happened in Happened:
            if (state, happened) in TRANSITIONS:
                assert after(state, happened) in State
            else:
                with pytest.raises(IllegalTransition):
                    after(state, happened)


def test_law_18_a_key_is_bound_to_the_request_as_asked(tmp_path: Path) -> None:
    """Another request under a paid key is a conflict; the same one is the same job, even after a rewrite."""
    rewriting = policy_of(
        OPEN_POLICY + "rules:\n  - name: cap\n    when: {resolution: 4k}\n    rewrite: {resolution: 2k}\n"
        "    because: drafts are small\n"
    )
    place = World(tmp_path, rewriting)
    worker = place.worker()
    job = worker.submit(place.ask("look-1", request(resolution="4k")))
    assert (job.entry.resolution, job.entry.quoted_credits, job.entry.asked_credits) == ("2k", 4, 5)
    worker.finish(job)
    assert isinstance(worker.submit(place.ask("look-1", request(resolution="4k"))), Taken)
    assert isinstance(worker.submit(place.ask("look-1", request(resolution="2k"))), Conflict)
    assert len(place.sent) == 1


def test_law_18_a_label_changed_later_is_not_a_new_job(tmp_path: Path) -> None:
    """The key is bound to the request alone."""
    place = world(tmp_path)
    worker = place.worker()
    worker.finish(worker.submit(place.ask("look-1", request(), team="social")))
    assert isinstance(worker.submit(place.ask("look-1", request(), team="brand")), Taken)


@pytest.mark.parametrize("ending", ["denied", "failed", "refused", "released"])
def test_law_18_what_cost_nothing_leaves_its_key_free(tmp_path: Path, ending: str) -> None:
    """After a denial, a failure, a refusal or a release the key may be bound to another request."""
    place = world(tmp_path, limit=3 if ending == "denied" else 100)
    worker = place.worker()
    if ending == "denied":
        assert isinstance(worker.submit(place.ask("look-1", request(resolution="4k"))), TurnedDown)
    elif ending == "failed":
        place.provider.faults = Faults(failed=1.0)
        worker.finish(worker.submit(place.ask("look-1", request(resolution="4k"))))
    elif ending == "refused":
        place.provider.faults = Faults(server_error=1.0)
        worker.submit(place.ask("look-1", request(resolution="4k")))
    else:
        place.provider.faults = Faults(lost_before=1.0)
        lost = worker.submit(place.ask("look-1", request(resolution="2k", num_images=1)))
        place.store.record(lost.entry, (Happened.RELEASED_BY, Evidence(detail={"by": "lead"})))
    place.provider.faults = Faults()
    assert isinstance(worker.submit(place.ask("look-1", request())), Job)
    assert verify(place.store) == []


def test_law_18_a_free_key_is_decided_again_under_the_policy_in_force(tmp_path: Path) -> None:
    """What was denied yesterday may pass under today's policy, and the replaced one does not return."""
    place = world(tmp_path, limit=3)
    assert isinstance(submit(place, resolution="4k"), TurnedDown)
    wider = place.store.bring_in_force(budget_policy(50))
    assert isinstance(submit(place, resolution="4k"), Job)
    assert place.store.bring_in_force(budget_policy(3)).digest == wider.digest


def test_law_13_a_new_policy_counts_what_was_spent_before_it(tmp_path: Path) -> None:
    """A budget that did not exist is full at once when its window already holds what it allows."""
    place = World(tmp_path, policy_of(OPEN_POLICY))
    worker = place.worker()
    for number in range(5):
        worker.finish(worker.submit(place.ask(f"look-{number}", request(resolution="2k"))))
    place.store.bring_in_force(budget_policy(20, "month"))
    assert isinstance(worker.submit(place.ask("look-9", request())), TurnedDown)
    assert verify(place.store) == []


def cannot_write(store: Store) -> None:
    """From now on every write is refused, as on a disk that was mounted read-only, or by a standby."""
    store._engine.dispose()
    event.listen(store._engine, "connect", _read_only)


def _read_only(raw: Any, _: object) -> None:
    if ledgers.is_postgres():
        raw.execute("SET default_transaction_read_only = on")
        raw.commit()
    else:
        raw.execute("PRAGMA query_only = 1")


def test_law_22_a_ledger_that_cannot_be_written_never_throws_away_a_paid_result(tmp_path: Path) -> None:
    """The id and the charge cannot be booked: the result comes back all the same, and nothing is freed."""
    place = world(tmp_path)
    worker = place.worker()
    steps = worker.machine.submitting(place.ask("look-1", request(resolution="2k")))
    admit = next(steps)
    post = steps.send(admit.call())
    reply = place.post(post.body)
    cannot_write(place.store)
    job = worker.run(continuing(steps, reply))
    assert isinstance(job, Job)
    assert job.ledger_error is not None
    worker.finish(job)
    result = result_of(job)
    assert (result.credits, len(result.outputs)) == (4, 1)
    assert place.counted() == 4


def continuing(steps, reply):
    """The rest of a machine's steps, from the reply to its POST on."""
    effect = steps.send(reply)
    while True:
        try:
            answer = yield effect
        except Exception as error:
            sending = lambda error=error: steps.throw(error)  # noqa: E731 - one of two ways on
        else:
            sending = lambda answer=answer: steps.send(answer)  # noqa: E731
        try:
            effect = sending()
        except StopIteration as finished:
            return finished.value


def test_law_22_a_full_disk_is_one_line_and_nothing_is_half_done(tmp_path: Path) -> None:
    """SQLite's own answer to a full disk becomes an error with a hint, and no transaction is torn."""
    with ledgers.using("sqlite"):
        place = world(tmp_path, limit=100_000)
    store, worker = place.store, place.worker()
    store._engine.dispose()
    event.listen(store._engine, "connect", lambda raw, _: raw.execute("PRAGMA max_page_count = 1"))

    def spend_until_full() -> None:
        for number in range(1000):
            worker.finish(worker.submit(place.ask(f"look-{number}", request(), team=f"{number}" * 100)))

    with pytest.raises(OperatorError, match="the disk is full"):
        spend_until_full()
    assert place.billed() <= place.counted()
    assert verify(store) == []


@pytest.mark.parametrize("live", [True, False])
def test_law_23_sandbox_and_live_never_mix(tmp_path: Path, live: bool) -> None:
    """A ledger that was used with a stand-in refuses the provider, and the other way round."""
    place = world(tmp_path)
    place.store.bind("main", "x", live=live)
    assert isinstance(submit(place), Job)
    place.store.bind("other", "y", live=live)
    with pytest.raises(ConfigError) as caught:
        place.store.bind("third", "z", live=not live)
    assert caught.value.faults[0].code == "mixed_ledger"


def test_law_23_a_ledger_without_entries_belongs_to_nobody_yet(tmp_path: Path) -> None:
    """A mistyped address at the first try does not make a live ledger a sandbox's."""
    place = world(tmp_path)
    assert place.store.kind() == "sandbox"
    place.store.bind("main", "https://api.fashn.ai", live=True)
    assert place.store.kind() == "live"


def test_law_14_nothing_is_sent_by_an_owner_that_was_replaced(tmp_path: Path) -> None:
    """An owner whose work was taken over finds its entry moved and writes nothing more."""
    place = world(tmp_path, server_error=1.0)
    first = place.worker()
    steps = first.machine.submitting(place.ask("look-1", request()))
    admit = next(steps)
    post = steps.send(admit.call())
    returned = steps.send(place.post(post.body))
    pause = steps.send(returned.call())
    first.crash()
    place.store.take_over(place.worker().owner)
    resend = steps.send(place.advance(pause.seconds))
    with pytest.raises(Stale):
        resend.call()
    assert len(place.sent) == 1


def test_law_14_the_window_of_a_hold_may_not_pass_before_it_is_sent(tmp_path: Path) -> None:
    """A hold that waited into the next day is given back and decided again in the new window."""
    place = World(tmp_path, budget_policy(100, "day"))
    worker = place.worker()
    place.provider.faults = Faults(server_error=1.0)
    steps = worker.machine.submitting(place.ask("look-1", request()))
    admit = next(steps)
    post = steps.send(admit.call())
    returned = steps.send(place.post(post.body))
    steps.send(returned.call())
    place.advance(86400)
    place.provider.faults = Faults()
    resend = steps.send(None)
    job = worker.run(continuing(steps, resend.call()))
    assert isinstance(job, Job)
    states = [entry.state for entry in place.store.entries()]
    assert states == [State.RELEASED, State.ACCEPTED]
    assert [c.held for c in place.store.counters()] == [0, 1]
    assert verify(place.store) == []


def test_the_rate_window_is_shared_by_all_processes(tmp_path: Path) -> None:
    """Two workers together begin at most 50 paid POSTs in any 60 s, and wait for the window instead."""
    place = world(tmp_path, limit=1000, failed=1.0)
    workers = [place.worker(), place.worker()]
    for number in range(120):
        worker = workers[number % 2]
        job = worker.submit(place.ask(f"look-{number}", request()))
        worker.run(worker.machine.waiting(job, lambda entry, now: 4.0))
    starts = [sent.at for sent in place.sent]
    assert len(starts) == 120
    assert all((late - early).total_seconds() > 60 for early, late in zip(starts, starts[50:], strict=False))
    assert place.provider.bill(place.seconds).refused == {}


def test_law_11_in_shadow_the_ledger_holds_what_was_asked(tmp_path: Path) -> None:
    """A policy that would deny or rewrite lets the request go as asked, and its verdict stands beside it."""
    shadow = OPEN_POLICY.replace("enforcement: on", "enforcement: shadow")
    rules = (
        "rules:\n  - name: cap\n    when: {resolution: 4k}\n    rewrite: {resolution: 2k}\n    because: s\n"
        "  - name: no-faces\n    when: {face_reference: present}\n    deny: faces are not allowed\n"
    )
    place = World(tmp_path, policy_of(shadow + rules))
    worker = place.worker()
    capped = worker.submit(place.ask("a", request(resolution="4k")))
    denied = worker.submit(place.ask("b", request(face_reference="https://example.com/face.png")))
    assert [
        (job.entry.credits, job.entry.shadow_verdict, job.entry.shadow_credits) for job in (capped, denied)
    ] == [
        (5, "allow", 4),
        (4, "deny", 4),
    ]
    assert [b'"4k"' in sent.body for sent in place.sent] == [True, False]
    assert isinstance(worker.submit(place.ask("a", request())), Conflict)


def test_law_13_a_job_counts_in_every_policy_in_force(tmp_path: Path) -> None:
    """The asking policy decides; the budgets of the others count the job all the same."""
    other = policy_of(
        OPEN_POLICY.replace("name: test", "name: finance")
        + "budgets:\n  - {name: dollars, limit: 100 USD, per: total}\ncredit_price: on-demand\n"
    )
    place = world(tmp_path)
    place.store.bring_in_force(other)
    worker = place.worker()
    worker.finish(worker.submit(place.ask("a", request(resolution="2k"))))
    counted = {counter.policy: counter.settled for counter in place.store.counters()}
    assert counted == {"test": 4, "finance": 4 * 75_000}
    assert verify(place.store) == []


def test_law_13_a_total_survives_a_change_of_policy(tmp_path: Path) -> None:
    """A budget without end counts what was spent years before the policy that brings it."""
    place = World(tmp_path, budget_policy(10, "total"))
    worker = place.worker()
    for key in ("a", "b"):
        worker.finish(worker.submit(place.ask(key, request(resolution="2k"))))
    place.advance(3 * 365 * 86400)
    place.store.bring_in_force(budget_policy(9, "total"))
    assert isinstance(worker.submit(place.ask("c", request(resolution="2k"))), TurnedDown)
    assert verify(place.store) == []


def test_law_13_money_is_counted_at_the_rate_of_the_policy_in_force(tmp_path: Path) -> None:
    """A worker that opened under an old credit price books at the new one, as it decides."""
    dollars = "budgets:\n  - {name: all, limit: 1 USD, per: total}\ncredit_price: %s\n"
    place = World(tmp_path, policy_of(OPEN_POLICY + dollars % "0.5"))
    worker = place.worker()
    place.store.bring_in_force(policy_of(OPEN_POLICY + dollars % "0.01"))
    job = worker.submit(place.ask("a", request(resolution="4k", num_images=4)))
    assert job.entry.rate_microusd == 10_000
    (counter,) = place.store.counters()
    assert counter.held == 200_000


def test_law_16_the_provider_outranks_a_person(tmp_path: Path) -> None:
    """What a person ended is adjusted by what the provider says later, even where the key is in use again."""
    place = world(tmp_path)
    worker = place.worker()
    first = worker.submit(place.ask("a", request(resolution="2k")))
    unknown = place.store.record(first.entry, (Happened.VANISHED, Evidence(reason="NotFound")))
    place.store.record(unknown, (Happened.RELEASED_BY, Evidence(detail={"by": "lead"})))
    second = worker.submit(place.ask("a", request(resolution="2k")))
    worker.finish(first)
    assert (first.entry.state, first.entry.credits) == (State.SETTLED, 4)
    worker.finish(second)
    assert place.counted() == place.billed() == 8
    assert verify(place.store) == []


def test_law_19_an_id_that_comes_late_is_kept(tmp_path: Path) -> None:
    """A worker that was taken for dead while its POST was out: the id reaches the entry all the same."""
    place = world(tmp_path)
    first, second = place.worker(), place.worker()
    steps = first.machine.submitting(place.ask("a", request(resolution="2k")))
    admit = next(steps)
    post = steps.send(admit.call())
    reply = place.post(post.body)
    first.crash()
    place.store.take_over(second.owner)
    job = first.run(continuing(steps, reply))
    assert job.entry.state is State.ACCEPTED
    assert place.store.by_prediction(job.prediction_id) == job.entry
    with pytest.raises(Stale):
        first.submit(place.ask("b", request()))
    second.finish(second.machine.adopted(job.entry))
    assert place.counted() == place.billed() == 4
    assert verify(place.store) == []


def test_law_22_jobs_nobody_asks_about_do_not_block_the_account(tmp_path: Path) -> None:
    """Six jobs that their caller never waits for end all the same when a seventh needs a slot."""
    place = world(tmp_path)
    worker = place.worker()
    for number in range(6):
        worker.submit(place.ask(f"look-{number}", request()))
    place.advance(120)
    assert isinstance(worker.submit(place.ask("look-7", request()), wait_seconds=60), Job)
    assert isinstance(place.worker().submit(place.ask("look-8", request()), wait_seconds=60), Job)
    assert verify(place.store) == []


@pytest.mark.parametrize("header", ["4.0", "-1", "4 credits", "4, 4", "12345678", ""])
def test_law_17_a_failure_with_a_cost_nobody_can_read_is_unknown(header: str) -> None:
    """Only an absent header or a 0 makes a failure free."""
    answer = Answer(
        200, {"x-fashn-credits-used": header}, b'{"status": "failed", "error": {"name": "PoseError"}}'
    )
    assert read_status(answer, "p") == Failed("PoseError", None)


def test_law_17_an_answer_about_another_prediction_says_nothing() -> None:
    """Crossed connections must not cross bills."""
    answer = Answer(200, {"x-fashn-credits-used": "4"}, b'{"id": "q", "status": "completed", "output": []}')
    assert isinstance(read_status(answer, "p"), Unclear)
    assert isinstance(read_status(answer, "q"), Completed)


def test_law_18_one_key_has_one_spelling() -> None:
    """Spaces around a key and the two forms of an accent are the same key, as in a workload file."""
    assert {clean_key(text) for text in ("caf\u00e9", " caf\u00e9 ", "cafe\u0301")} == {"caf\u00e9"}
    for text in ("", "  ", "a\nb", "x" * 201, "\ud800"):
        with pytest.raises(InputError):
            clean_key(text)


def test_law_21_a_derived_key_means_nothing_outside_its_ledger(tmp_path: Path) -> None:
    """Two ledgers derive different keys and fingerprints from one request."""
    stores = [Store.open(ledgers.url(tmp_path / f"{name}.db")) for name in "ab"]
    keys = {store.derived_key(request(), 1) for store in stores} | {store.mac(request()) for store in stores}
    assert len(keys) == 4
    assert stores[0].derived_key(request(), 1) in keys
    for store in stores:
        store.close()


def test_one_ledger_has_one_place_whatever_it_is_called(tmp_path: Path, monkeypatch) -> None:
    """A link to a ledger, and a change of folder, find the locks of the owners that are at work."""
    (tmp_path / "link.db").symlink_to(tmp_path / "ledger.db")
    monkeypatch.chdir(tmp_path)
    first, second = Store.open("sqlite:///ledger.db"), Store.open("sqlite:///link.db")
    monkeypatch.chdir("/")
    owner = first.register()
    assert second.take_over(second.register()) == ()
    assert first.count_owners() == (2, 0)
    assert owner.alive
    first.close()
    second.close()


def test_a_single_odd_answer_ends_nothing(tmp_path: Path) -> None:
    """One 404 is not the end of a job, and a cost is looked for three times before it is estimated."""
    place = world(tmp_path, vanished=1.0)
    worker = place.worker()
    job = worker.submit(place.ask("look-1", request()))
    place.advance(600)
    worker.run(worker.machine.checking(job))
    assert (job.done, job.entry.state) == (False, State.ACCEPTED)
    worker.run(worker.machine.checking(job))
    assert job.entry.state is State.UNKNOWN

    place.provider.faults = Faults(missing_header=1.0)
    silent = worker.submit(place.ask("look-2", request()))
    place.advance(600)
    steps = worker.machine.checking(silent)
    asked = sum(isinstance(effect, GetStatus) for effect in effects(steps, place))
    assert (asked, silent.entry.estimated) == (3, True)


def effects(steps, place: World):
    """The effects of a machine's steps, each carried out."""
    worker, effect = place.worker(), next(steps)
    while True:
        yield effect
        try:
            effect = steps.send(worker._carry_out(effect))
        except StopIteration:
            return
