"""The stand-in of the provider as a pure machine: no socket, no clock, no file.

Every call takes `now`, virtual seconds that never go back. The same calls with the same seed give the
same answers, so law tests and simulators drive it directly; `routes` puts it behind a socket. Here
belongs who is let in, in what order a call is checked, and what it changes.

Not known about the real provider and decided here: a prediction is debited when it is accepted and
given back what its end does not charge; a slot is taken per prediction, whatever its number of images;
refused calls do not fill the rate windows, and windows, slots and balance are one account's.
"""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from heapq import heappop, heappush
from typing import Any, Final

from policies.server.sandbox import answers, request
from policies.server.sandbox.answers import CREDITS_USED, Answer, Refused
from policies.server.sandbox.balance import Balance
from policies.server.sandbox.bill import Bill
from policies.server.sandbox.draws import hex_id, pick
from policies.server.sandbox.fates import decide
from policies.server.sandbox.faults import Faults
from policies.server.sandbox.limits import Limits, RateWindow
from policies.server.sandbox.prediction import OutputSpec, Prediction
from policies.server.sandbox.prices import Prices
from policies.server.sandbox.service import Service

Event = dict[str, Any]
"""Something that changed the provider, as a state file keeps it: `event`, `at` and what it is about."""

_BEFORE: Final[Mapping[str, Callable[[], Answer]]] = {
    "lost_before": answers.connection_cut,
    "proxy_before": answers.proxy_page,
    "redirect_before": answers.redirect,
}
_SPURIOUS: Final[Mapping[str, tuple[str, str]]] = {
    "server_error": ("InternalServerError", "something went wrong on the server"),
    "rate_limited": ("RateLimitExceeded", "too many requests"),
    "concurrency_limited": ("ConcurrencyLimitExceeded", "too many predictions at once"),
}
_AFTER: Final[Mapping[str, Callable[[str], Answer]]] = {
    "lost_after": answers.connection_cut,
    "proxy_after": answers.proxy_page,
    "redirect_after": answers.redirect,
    "silent_after": answers.silence,
    "no_id": lambda accepted: answers.document({"error": None}, accepted=accepted),
}
_MALFORMED: Final = ("n/a", "", "4.0", "-1", "1e3", "four")


def _draw(spec: OutputSpec) -> bytes:
    from policies.server.sandbox.pictures import draw

    return draw(spec)


class Provider:
    """One account at the provider. Any key is right unless `api_key` names one.

    `faults` and `origin` (where output URLs point) may be changed at any time. `record` is called with
    every event before its answer exists; `restore` takes those events back. `starts` numbers the runs
    of a restarted sandbox, so that its calls meet new luck. Calls must not overlap: it has no lock.
    """

    def __init__(
        self,
        *,
        prices: Prices,
        service: Service,
        subscription_credits: int,
        on_demand_credits: int,
        limits: Limits = Limits(),  # noqa: B008 - a frozen value
        faults: Faults = Faults(),  # noqa: B008 - a frozen value
        seed: int = 0,
        starts: int = 0,
        api_key: str | None = None,
        origin: str = "http://sandbox.invalid",
        record: Callable[[Event], None] | None = None,
        draw: Callable[[OutputSpec], bytes] = _draw,
    ) -> None:
        self.faults = faults
        self.origin = origin
        self.record = record
        self.starts = starts
        self.limits = limits
        self._prices = prices
        self._service = service
        self._seed = seed
        self._api_key = api_key
        self._draw = draw
        self._balance = Balance(subscription_credits, on_demand_credits)
        self._predictions: dict[str, Prediction] = {}
        self._in_flight: list[tuple[float, str]] = []
        self._digests: set[str] = set()
        self._refused: Counter[str] = Counter()
        self._runs = RateWindow(*limits.run)
        self._polls = RateWindow(*limits.status)
        self._balance_calls = RateWindow(*limits.credits)
        self._now = 0.0
        self._run_calls = self._status_calls = 0
        self._duplicates = self._most_in_flight = 0

    # The three endpoints.

    def run(
        self, body: bytes, authorization: str | None, now: float, webhook_url: str | None = None
    ) -> Answer:
        """`POST /v1/run`."""
        now = self._advance(now)
        self._run_calls += 1
        call = (self._seed, self.starts, "run", self._run_calls)
        for name, before in _BEFORE.items():
            if self.faults.strikes(name, *call):
                return before()
        try:
            self._let_in(authorization, self._runs, now)
            self._spurious(call)
            prediction = self._accept(self._read(body, webhook_url), now)
        except Refused as refused:
            return self._refusal(refused)
        for name, after in _AFTER.items():
            if self.faults.strikes(name, *call):
                return after(prediction.id)
        return answers.document({"id": prediction.id, "error": None}, accepted=prediction.id)

    def status(self, id: str, authorization: str | None, now: float) -> Answer:
        """`GET /v1/status/{id}`."""
        now = self._advance(now)
        self._status_calls += 1
        try:
            self._let_in(authorization, self._polls, now)
            if self.faults.strikes("status_error", self._seed, self.starts, "status", self._status_calls):
                raise Refused("InternalServerError", "something went wrong on the server")
            prediction = self._predictions.get(id)
            payload = self._payload(prediction, now) if prediction else None
            if prediction is None or payload is None:
                raise Refused("NotFound", "there is no prediction with this id")
        except Refused as refused:
            return self._refusal(refused)
        return answers.document(payload, self._credits_used(prediction, now))

    def credits(self, authorization: str | None, now: float) -> Answer:
        """`GET /v1/credits`."""
        now = self._advance(now)
        try:
            self._let_in(authorization, self._balance_calls, now)
        except Refused as refused:
            return self._refusal(refused)
        left = self._balance
        total = {"total": left.total, "subscription": left.subscription, "on_demand": left.on_demand}
        return answers.document({"credits": total})

    # What stands beside the API.

    def output(self, id: str, index: int, now: float) -> OutputSpec | None:
        """What the output file shows; None when it is private, expired, or was never there."""
        now = self._advance(now)
        prediction = self._predictions.get(id)
        if prediction is None or prediction.settings.private or not prediction.kept(self._service, now):
            return None
        return prediction.spec(index) if 0 <= index < prediction.fate.outputs else None

    def ends_seconds(self, id: str) -> float:
        """The virtual instant at which a prediction will end."""
        return self._predictions[id].ends_seconds

    def webhook_body(self, id: str, now: float) -> bytes | None:
        """What a webhook is told: the status document in a terminal state, else nothing. No credits."""
        now = self._advance(now)
        prediction = self._predictions[id]
        if not prediction.terminal(now):
            return None
        return answers.document(self._payload(prediction, now)).body

    def top_up(self, credits: int, now: float) -> None:
        """Adds on-demand credits to the account."""
        now = self._advance(now)
        if self.record is not None:
            self.record({"event": "top_up", "at": now, "credits": credits})
        self._balance.on_demand += credits

    def bill(self, now: float) -> Bill:
        """What was charged and how hard the provider was used, at `now`."""
        now = self._advance(now)
        return Bill.of(
            self._predictions.values(),
            self._service,
            now,
            refused=dict(self._refused),
            duplicates=self._duplicates,
            most_in_flight=self._most_in_flight,
            most_status_polls=self._polls.most_attempts,
            slots=self.limits.concurrency,
        )

    def restore(self, events: Iterable[Event]) -> float:
        """Takes back what `record` was given and returns the instant it had reached."""
        record, self.record = self.record, None
        for event in events:
            now = self._advance(event["at"])
            if event["event"] == "accepted":
                self._restore_accepted(Prediction.from_json(event["prediction"]), now)
            elif event["event"] == "top_up":
                self._balance.on_demand += event["credits"]
        self.record = record
        return self._now

    # Who is let in.

    def _let_in(self, authorization: str | None, window: RateWindow, now: float) -> None:
        scheme, _, key = (authorization or "").partition(" ")
        known = key.strip() and (self._api_key is None or key.strip() == self._api_key)
        if scheme.lower() != "bearer" or not known:
            raise Refused("UnauthorizedAccess", "the API key is missing or not valid")
        if not window.take(now):
            raise Refused("RateLimitExceeded", "too many requests")

    def _spurious(self, call: tuple[object, ...]) -> None:
        for name, refusal in _SPURIOUS.items():
            if self.faults.strikes(name, *call):
                raise Refused(*refusal)

    def _read(self, body: bytes, webhook_url: str | None) -> request.Asked:
        if len(body) > self._service.largest_body_bytes:
            raise Refused("InternalServerError", "the payload is too large")
        if webhook_url is not None:
            request.check_webhook(webhook_url)
        return request.read(body)

    def _refusal(self, refused: Refused) -> Answer:
        self._refused[refused.name] += 1
        return answers.refusal(refused.name, refused.message)

    # What a call changes.

    def _accept(self, asked: request.Asked, now: float) -> Prediction:
        if len(self._in_flight) >= self.limits.concurrency:
            raise Refused("ConcurrencyLimitExceeded", "too many predictions at once")
        number = len(self._predictions)
        settings = asked.settings
        fate = decide(settings, self._prices, self._service, self.faults, self._seed, number)
        prediction = Prediction(
            number=number,
            id=f"{hex_id(self._seed, 'id', number)}-u1",
            digest=asked.digest,
            mode=self._prices.billed_mode(settings),
            settings=settings,
            fate=fate,
            submitted_seconds=now,
            from_subscription_credits=self._balance.take(fate.debit_credits),
        )
        if self.record is not None:
            self.record({"event": "accepted", "at": now, "prediction": prediction.as_json()})
        self._install(prediction)
        return prediction

    def _install(self, prediction: Prediction) -> None:
        self._predictions[prediction.id] = prediction
        self._duplicates += prediction.digest in self._digests
        self._digests.add(prediction.digest)
        heappush(self._in_flight, (prediction.ends_seconds, prediction.id))
        self._most_in_flight = max(self._most_in_flight, len(self._in_flight))

    def _restore_accepted(self, prediction: Prediction, now: float) -> None:
        self._runs.take(now)
        self._balance.take(prediction.fate.debit_credits)
        self._install(prediction)

    def _advance(self, now: float) -> float:
        """Lets time pass: ends what is due, and gives back what it does not charge."""
        now = self._now = max(self._now, now)
        while self._in_flight and self._in_flight[0][0] <= now:
            _, id = heappop(self._in_flight)
            if self.record is not None:
                self.record({"event": "ended", "at": now, "id": id})
            self._settle(self._predictions[id])
        return now

    def _settle(self, prediction: Prediction) -> None:
        fate = prediction.fate
        taken_on_demand = fate.debit_credits - prediction.from_subscription_credits
        self._balance.give_back(fate.debit_credits - fate.charge_credits, taken_on_demand)

    # What is told of a prediction.

    def _payload(self, prediction: Prediction, now: float) -> dict[str, Any] | None:
        status = prediction.status(self._service, now)
        if status is None:
            return None
        output = self._outputs(prediction, now) if status == "completed" else None
        return {"id": prediction.id, "status": status, "output": output, "error": prediction.error(now)}

    def _outputs(self, prediction: Prediction, now: float) -> list[str] | None:
        kind = prediction.settings.output_format
        specs = [prediction.spec(index) for index in range(prediction.fate.outputs)]
        if not prediction.settings.private:
            return [f"{self.origin}/outputs/{spec.id}/output_{spec.index}.{kind}" for spec in specs]
        if not prediction.kept(self._service, now):
            return None
        return [f"data:image/{kind};base64,{b64encode(self._draw(spec)).decode()}" for spec in specs]

    def _credits_used(self, prediction: Prediction, now: float) -> dict[str, str]:
        what = (self._seed, prediction.number)
        if not prediction.terminal(now) or self.faults.strikes("missing_header", *what):
            return {}
        if self.faults.strikes("malformed_header", *what):
            return {CREDITS_USED: pick(_MALFORMED, *what, "malformed")}
        return {CREDITS_USED: str(prediction.charged_credits(now))}
