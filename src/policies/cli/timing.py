"""What `planner plan` says about time beyond the finish: the deadline, polls, expiry, pictures per request.

Here belong those lines and their JSON. The figures are the planner's: `deadlines`, `watching` and
`portions`; this module is imported only where one of them is asked for or matters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from planner.capacity import Capacity, Draws
from planner.deadlines import Outlook, outlook
from planner.latency import Seconds
from planner.pacing import Limits, Rate
from planner.portions import Portion, portions
from planner.watching import Expiry, Polls, expiry, polls
from policies.cli.output import DOT, counted, span_text, table


@dataclass(frozen=True, slots=True)
class Timing:
    """The time of a batch, as far as it was asked about."""

    finish: Capacity
    expiry: Expiry
    outlook: Outlook | None
    """Where a deadline was named."""
    polls: Polls | None
    """These two where all was asked about."""
    portions: tuple[Portion, ...]

    def as_json(self) -> dict[str, Any]:
        """The `timing` of the `plan` document."""
        return {
            "deadline": self.outlook.as_json() if self.outlook else None,
            "outputs_expire": self.expiry.as_json(),
            "polls": self.polls.as_json() if self.polls else None,
            "images_per_request": [portion.as_json() for portion in self.portions],
        }


def timed(
    draws: Draws,
    cells: Sequence[int],
    by_cell: Sequence[Seconds],
    deadline_seconds: float | None,
    *,
    in_full: bool,
) -> Timing:
    """The time of jobs that were drawn for already, under the limits that the provider documents."""
    if deadline_seconds is not None:
        draws = draws.tabled()
    finish = draws.under(Limits())
    return Timing(
        finish=finish,
        expiry=expiry(draws, finish.p90_seconds),
        outlook=None if deadline_seconds is None else outlook(draws, deadline_seconds),
        polls=polls(draws, by_cell) if in_full else None,
        portions=portions(cells, by_cell) if in_full else (),
    )


# -- telling -------------------------------------------------------------------------------------


def facts(found: Timing) -> Iterator[tuple[str, str]]:
    """The lines that matter to everybody: whether the deadline is kept, and pictures that would be lost."""
    if found.outlook:
        yield f"by {span_text(found.outlook.deadline_seconds)}", deadline_text(found.outlook)
    if found.expiry.outlasts_cdn:
        gone = span_text(found.expiry.cdn_seconds)
        yield "fetch", f"the first pictures are gone after {gone}: `run` and `collect` bring them home before"


def deadline_text(found: Outlook) -> str:
    """`not kept: 6 at once are done in 9 h 10 min; ask the provider for 9`."""
    took = span_text(found.finish.p90_seconds)
    if found.is_kept:
        return f"kept: nine of ten runs are done within {took}"
    return f"not kept: {found.limits.concurrency} at once are done in {took}; {_way_out(found)}"


def _way_out(found: Outlook) -> str:
    ways = []
    if (slots := found.concurrency.figure) is not None:
        ways.append(f"{slots}")
    if (starts := found.rate.figure) is not None:
        ways.append(_rate_text(starts, found.limits.run))
    if ways:
        return f"ask the provider for {' or '.join(ways)}"
    if found.both is not None:
        slots, starts = found.both[0].figure, found.both[1].figure
        return f"ask the provider for {slots} and {_rate_text(starts or 0, found.limits.run)}"
    if found.hindrance == "longest_job":
        return f"no limit helps: the longest job alone takes {span_text(found.longest_seconds)}"
    return f"no limit helps: at best {span_text(found.concurrency.p90_seconds)}"


def _rate_text(starts: int, run: Rate) -> str:
    return f"{counted(starts, 'start')} a minute" if run.seconds == 60.0 else f"{starts} in {run.seconds:g} s"


def in_full(found: Timing) -> str:
    """All that `--timing` adds, below the plan."""
    lines = [*_lines(found)]
    text = table(lines, style="plain")
    if len(found.portions) < 2:
        return text
    headers = ("pictures a request", "requests", "done in", "slots taken for")
    rows = [
        (each.images_per_request, each.requests, _pair(each.finish_seconds), _pair(each.slot_seconds))
        for each in found.portions
    ]
    note = "from: a request takes one slot, to: one for each picture; which of them is not documented"
    return f"{text}\n\n{table(rows, headers, right=(0, 1))}\n{note}"


def _lines(found: Timing) -> Iterator[tuple[str, str]]:
    finish, expires = found.finish, found.expiry
    seconds = {
        "p1": finish.p1_seconds,
        "p10": finish.p10_seconds,
        "p50": finish.p50_seconds,
        "p90": finish.p90_seconds,
        "p99": finish.p99_seconds,
    }
    yield "done in", DOT.join(f"{name} {span_text(figure)}" for name, figure in seconds.items())
    if found.polls:
        share = f"{found.polls.status_share:.0%} of the status limit"
        yield "asking", f"{found.polls.per_job:.1f} times a job{DOT}{found.polls.total:,} in all{DOT}{share}"
    gone = f"after {span_text(expires.cdn_seconds)}"
    private = f"asked for with return_base64 after {span_text(expires.private_seconds)}"
    yield "gone unless fetched", f"the first pictures {gone}{DOT}{private}"


def _pair(pair: tuple[float, float]) -> str:
    least, most = map(span_text, pair)
    return least if least == most else f"{least} to {most}"
