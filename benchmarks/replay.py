"""12,000 past requests under two policies: `python benchmarks/replay.py [HISTORY]`.

Answers come first: a policy that changes nothing costs every recorded quote, the figures of each policy
add up to what was asked, and no window of a budget takes more than its limit. Then medians of a few
rounds in one run. The absolute figures depend on the machine and gate nothing; the ratio says how much
a decision in virtual time adds to pricing the same rows. The whole command is timed from the start of
its process to its end, against the three seconds that it may take.
"""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

from planner.history import read_history
from planner.loading import shipped_prices
from planner.past import PastRequest
from planner.quoting import quote
from policies.analysis.replay import answers, replay
from policies.loading import load_policy, parse_policy

HISTORY = Path(__file__).parents[1] / "tests" / "data" / "history.csv"
POLICIES = ("starter", "strict-finance")
MOST_SECONDS = 3.0
ROUNDS = 3
BOOK = shipped_prices()


def check(past: Sequence[PastRequest]) -> None:
    """Stop unless the replay says what a plain reading of the rows says."""
    nothing = parse_policy("policy: 1\nname: nothing\notherwise: allow\n", "nothing.yaml")
    recorded = [one.credits_quoted for one in past]
    assert [answer.decision.quote.credits for answer in answers(past, nothing, BOOK)] == recorded
    charged = sum(one.credits_quoted or 0 for one in past if one.status == "completed")
    assert replay(past, nothing, BOOK).total.credits == charged
    for name in POLICIES:
        total = replay(past, load_policy(name), BOOK).total
        stopped = total.waiting_credits + total.denied_credits
        assert total.credits + total.saved_credits + stopped == total.asked_credits == charged
        check_limits(past, name)


def check_limits(past: Sequence[PastRequest], name: str) -> None:
    """Add up every allowance anew, leaving out what failed and was given back."""
    policy = load_policy(name)
    used: dict[object, int] = defaultdict(int)
    for answer in answers(past, policy, BOOK):
        if answer.goes and not answer.past.free:
            for allowance in answer.decision.allowances:
                used[allowance] += allowance.amount(answer.decision.quote.credits, policy.rate_microusd)
                assert used[allowance] <= allowance.limit, allowance


def seconds(work: Callable[[], object]) -> float:
    """The median of a few rounds."""
    found = []
    for _ in range(ROUNDS):
        start = perf_counter()
        work()
        found.append(perf_counter() - start)
    return median(found)


def command(history: Path) -> None:
    first, second = POLICIES
    words = ["policy", "replay", first, "--against", second, "--history", str(history), "--json"]
    subprocess.run([sys.executable, "-m", "policies.cli", *words], check=True, capture_output=True)


def main() -> None:
    history = Path(sys.argv[1]) if len(sys.argv) > 1 else HISTORY
    past = read_history(history).past
    check(past)
    print(f"{len(past):,} past requests; answers agree")
    pricing = seconds(lambda: [quote(one.request, BOOK, one.submitted_at) for one in past])
    print(f"{'read the file':38} {seconds(lambda: read_history(history)):7.3f} s")
    print(f"{'price every row':38} {pricing:7.3f} s")
    for name in POLICIES:
        policy = load_policy(name)
        took = seconds(lambda policy=policy: replay(past, policy, BOOK))
        print(f"{'replay under ' + name:38} {took:7.3f} s   {took / pricing:5.1f} x pricing")
    whole = seconds(lambda: command(history))
    verdict = "within" if whole <= MOST_SECONDS else "OVER"
    print(f"{'the command under both, process and all':38} {whole:6.3f} s   {verdict} {MOST_SECONDS:.0f} s")


if __name__ == "__main__":
    main()
