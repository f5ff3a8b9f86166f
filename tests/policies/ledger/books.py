"""A small studio whose ledger is kept by the real machine, in virtual time, for tests that read it."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

from planner.money import usd_from_micro
from policies.guard.machine import Job
from policies.server.sandbox.faults import Faults
from tests.laws.world import World, policy_of, request
from tests.ledgers import tamper

STUDIO = """
policy: 1
name: studio
timezone: UTC
otherwise: allow
credit_price: on-demand
labels: {team: any, campaign: any}
budgets:
  - {name: team-month, limit: 100 credits, per: month, for_each: [team], when_exhausted: deny}
  - {name: everything, limit: 50 USD, per: total, when_exhausted: deny}
rules:
  - name: no-4k-drafts
    when: {campaign: draft, resolution: 4k}
    rewrite: {resolution: 2k}
  - name: ask-finance
    when: {campaign: ask}
    needs_approval: finance
"""


class Studio:
    """One ledger with one worker; `job` brings a job to its end, whatever that is."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder, policy_of(STUDIO))
        self.store = self.world.store
        self.worker = self.world.worker()
        self.path = folder / "ledger.db"
        self.prices = [75_000]

    def job(self, key, labels=None, *, faults=None, rate_microusd=75_000, **fields):
        """Submit and wait under those faults; returns what the submission was."""
        self.world.provider.faults = faults or Faults()
        if rate_microusd != self.prices[-1]:
            self.price(rate_microusd)
        found = self.worker.submit(self.world.ask(key, request(**fields), **(labels or {})))
        if isinstance(found, Job):
            self.worker.finish(found)
        return found

    def price(self, rate_microusd):
        """From now on a credit costs that much: a new policy, for a replaced one does not return."""
        self.prices.append(rate_microusd)
        usd = usd_from_micro(rate_microusd)
        text = STUDIO.replace("on-demand", f"{usd}") + f"    because: price {len(self.prices)}\n"
        self.store.bring_in_force(policy_of(text))

    def lost(self, key, labels=None, **fields):
        """A job whose answer was lost: unconfirmed."""
        return self.job(key, labels, faults=Faults(lost_after=1.0), **fields)

    def running(self, key, labels=None, **fields):
        """A job that is accepted and not waited for: reserved."""
        self.world.provider.faults = Faults()
        return self.worker.submit(self.world.ask(key, request(**fields), **(labels or {})))

    def sql(self, statements):
        tamper(self.path, statements)

    def close(self):
        self.worker.owner.close()
        self.world.close()


@contextmanager
def studio(folder):
    found = Studio(folder)
    try:
        yield found
    finally:
        found.close()
