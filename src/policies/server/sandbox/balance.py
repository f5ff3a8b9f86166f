"""The credits of one account. Subscription credits are used before on-demand ones."""

from __future__ import annotations

from dataclasses import dataclass

from policies.server.sandbox.answers import Refused


@dataclass(slots=True)
class Balance:
    """What is left, in credits.

    >>> balance = Balance(subscription=2, on_demand=10)
    >>> balance.take(5), balance.total
    (2, 7)
    """

    subscription: int
    on_demand: int

    @property
    def total(self) -> int:
        return self.subscription + self.on_demand

    def take(self, credits: int) -> int:
        """Takes credits away and says how many of them were subscription credits; raises OutOfCredits."""
        if credits > self.total:
            raise Refused("OutOfCredits", "the account does not have enough credits for this request")
        from_subscription = min(credits, self.subscription)
        self.subscription -= from_subscription
        self.on_demand -= credits - from_subscription
        return from_subscription

    def give_back(self, credits: int, to_on_demand_at_most: int) -> None:
        """Returns credits to where they came from, the last taken first."""
        to_on_demand = min(credits, to_on_demand_at_most)
        self.on_demand += to_on_demand
        self.subscription += credits - to_on_demand
