"""`planner latency show|fit`: how long requests take, as documented or as learned from past ones.

Here belong flags, words and the file that a fit is written to. The fit itself is `planner.learning`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from policies.cli.output import counted, dim, emit_json, example, json_option, plain, say, strong, table
from policies.cli.policy.past import past_options
from policies.cli.settings import price_book, resolve, setting

if TYPE_CHECKING:
    from planner.latency import LatencyProfile
    from planner.learning import Coverage, Observation
    from policies.cli.settings import Settings
    from policies.ledger.entries import Entry


_HEADERS: Final = ("mode", "resolution", "face", "half within", "nine of ten", "basis")


@click.group()
def command() -> None:
    """How long requests take: what is documented, and what yours have taken."""


@command.command(epilog=example("planner latency show", "planner latency show latency.yaml --json"))
@click.argument("file", required=False, type=click.Path(path_type=Path))
@json_option
def show(file: Path | None, as_json: bool) -> None:
    """The service times of a profile: seconds for one picture, and where each figure comes from."""
    from planner.loading import shipped_latency
    from planner.profiles import load_profile

    profile = shipped_latency() if file is None else load_profile(file)
    if as_json:
        emit_json("latency", _document(profile))
        return
    say(strong(plain(profile.name)))
    say()
    say(table(_rows(profile), _HEADERS, right=(3, 4)))
    if profile.load:
        say()
        say(dim(_load_text(profile.load)))


@command.command(
    epilog=example(
        "planner latency fit --history history.csv -o latency.yaml",
        "planner latency fit --ledger sqlite:///spend.db --name main@2026-11-23 -o latency.yaml",
    )
)
@past_options
@setting("prices")
@click.option("--name", metavar="NAME", help="What the profile is called; NAME@DAY of the last request.")
@click.option("--until", metavar="INSTANT", help="Learn from what is before it, and try it on the rest.")
@click.option("--speed", metavar="N", type=click.FloatRange(min=0, min_open=True), help="Of a stand-in.")
@click.option("-o", "--output", metavar="FILE", type=click.Path(path_type=Path), help="Where it is written.")
@json_option
def fit(
    history: str | None,
    ledger: str | None,
    name: str | None,
    until: str | None,
    speed: float | None,
    output: Path | None,
    as_json: bool,
    **flags: Any,
) -> None:
    """Learn service times from past requests, on top of what is documented.

    Kinds of job with few observations are believed less than the wider groups they belong to. Nothing is
    decided by a fitted profile until a policy or a command names it. With --until the profile is held
    against what it has not seen: about half should be within the first figure, nine of ten in the second.
    """
    from planner.learning import cover
    from planner.learning import fit as fitted
    from planner.loading import shipped_latency
    from planner.profiles import profile_text
    from planner.report.files import write_atomically
    from policies.cli.settings import instant_of

    settings = resolve(ledger=ledger, **flags)
    source, seen = _observed(history, ledger, settings, speed or 1.0)
    edge = instant_of(until, "--until")
    learned = [one for at, one in seen if edge is None or at < edge]
    rest = [one for at, one in seen if edge is not None and at >= edge]
    days = sorted(at.date().isoformat() for at, _ in seen if edge is None or at < edge)
    prior = shipped_latency()
    profile = fitted(learned, prior, name or f"{settings.account}@{days[-1] if days else 'never'}")
    span = f" from {days[0]} to {days[-1]}" if days else ""
    whence = f"{counted(len(learned), 'request')} of {source}{span}, on top of {prior.name}"
    text = profile_text(profile, whence)
    if output is not None:
        write_atomically(output, text)
    tried = cover(profile, rest) if rest else None
    if as_json:
        emit_json("latency", {**_document(profile), "source": whence, "tried": tried and _tried_json(tried)})
    elif output is None:
        say(text.rstrip())
    else:
        say(f"{strong(plain(profile.name))} in {plain(str(output))}: learned from {plain(whence)}")
    if tried is not None and not as_json:
        say(_tried_text(tried), aside=output is None)


def _observed(
    history: str | None, ledger: str | None, settings: Settings, speed: float
) -> tuple[str, list[tuple[Any, Observation]]]:
    """Where observations come from, and each with its instant."""
    from planner.learning import observed

    book = price_book(settings)
    if history is not None:
        from policies.cli.policy.past import read_past

        past = read_past(history, ledger, settings, ())
        return past.name, [
            (one.submitted_at, seen) for one in past.requests for seen in observed([one], book)
        ]
    from policies.cli.ledgers import opened
    from policies.ledger.states import State

    with opened(settings.ledger) as store:
        return settings.ledger_name, [*_of_entries(store.entries(states=[State.SETTLED]), speed)]


def _of_entries(entries: Sequence[Entry], speed: float) -> Iterator[tuple[Any, Observation]]:
    """What the ledger has seen: of each job with pictures the time from its id to its end.

    An end that a run has seen lies before the look that saw it, on average by half a round of looks.
    """
    from planner.capacity import look_delay_seconds
    from planner.learning import Observation
    from planner.pacing import Limits
    from policies.ledger.entries import from_us

    late_seconds = look_delay_seconds(Limits())
    for entry in entries:
        if entry.accepted_us is None or entry.ended_us is None or not entry.outputs or not entry.billed_mode:
            continue
        at = from_us(entry.accepted_us)
        row = (entry.billed_mode, entry.resolution or "1k", entry.face_reference, entry.num_images or 1)
        seconds = (entry.ended_us - entry.accepted_us) * speed / 1e6
        if entry.sends:
            seconds = max(seconds - late_seconds, seconds / 2)
        yield at, Observation(row, at.hour, seconds)


# -- telling -------------------------------------------------------------------------------------


def _rows(profile: LatencyProfile) -> Iterator[list[str]]:
    for (mode, resolution, face, images), found in profile.rows.items():
        if images == 1:
            basis = found.basis + (f", {found.observations:,} seen" if found.observations else "")
            figures = [f"{found.p50_seconds:.1f} s", f"{found.p90_seconds:.1f} s"]
            yield [mode, resolution, "yes" if face else "", *figures, basis]


def _load_text(load: Sequence[float]) -> str:
    busy = [hour for hour, figure in enumerate(load) if figure > 1.05]
    hours = ", ".join(f"{hour:02}" for hour in busy) or "none"
    return f"busy hours (UTC): {hours} · up to {max(load):.2f} times as long as usual"


def _tried_text(tried: Coverage) -> str:
    return (
        f"tried on {counted(tried.observations, 'later request')}: "
        f"{tried.p50_share:.1%} within the first figure, {tried.p90_share:.1%} within the second"
    )


def _tried_json(tried: Coverage) -> dict[str, Any]:
    return {
        "observations": tried.observations,
        "within_p50": tried.within_p50,
        "within_p90": tried.within_p90,
    }


def _document(profile: LatencyProfile) -> dict[str, Any]:
    """The `latency` document."""
    kinds = [
        {
            "generation_mode": mode,
            "resolution": resolution,
            "face_reference": face,
            "num_images": images,
            **found.as_json(),
            "observations": found.observations,
        }
        for (mode, resolution, face, images), found in profile.rows.items()
    ]
    return {"profile": profile.name, "load": [*profile.load], "seconds": kinds}
