"""How a fit is shown: what to give up and for which jobs, or by how much it does not fit and what would do.

Here belong its layout and its object in the `plan` document; the fit is made in `fitting`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, assert_never

from planner.fitting import Fit, Share
from planner.frontier import Point
from planner.ladders import difference
from planner.money import CreditPrice
from planner.quoting import CELLS
from planner.relaxing import Misfit, WayOut
from planner.report.charts import Mark, draw_frontier
from planner.report.files import write_atomically
from policies.cli.fitting import Fitted
from policies.cli.output import DOT, counted, credits_text, dim, plain, span_text, strong, table, usd_text

# -- for people -----------------------------------------------------------------------------------


def fit_text(fitted: Fitted, price: CreditPrice) -> str:
    """The fit as a few lines and a table, and the curve as another where it was asked for."""
    found = fitted.found
    text = _misfit_text(found, price) if isinstance(found, Misfit) else _found_text(fitted, found, price)
    return f"{text}\n\n{frontier_text(fitted.points, price)}" if fitted.points else text


def _found_text(fitted: Fitted, found: Fit, price: CreditPrice) -> str:
    head = strong(f"{'fits' if found.changes else 'fits as it is'}{_within(fitted)}")
    parts = [head, _summary(fitted, found, price)]
    if found.changes:
        parts.append(table(_rows(fitted, found), _HEADERS, right=(1, 4, 5)))
        parts.append(dim(_proof_text(fitted, found)))
    return "\n".join(parts)


MOST_ROWS: Final = 12
_HEADERS: Final = ("jobs of", "jobs", "asked as", "instead", "credits", "saved")


def _within(fitted: Fitted) -> str:
    """` into 800 credits and 6 h`, as far as either was asked for."""
    wish = fitted.wish
    asked = [credits_text(wish.at_most_credits)] if wish.at_most_credits is not None else []
    asked += [span_text(wish.deadline_ms / 1000)] if wish.deadline_ms is not None else []
    return f" into {' and '.join(asked)}" if asked else ""


def _summary(fitted: Fitted, found: Fit, price: CreditPrice) -> str:
    saved = fitted.asked.credits - found.credits
    money = f"{credits_text(found.credits)} ({usd_text(price.usd(found.credits))})"
    money += f", {saved:,} saved" if saved else ""
    changed = sum(share.jobs for share in found.changes)
    parts = [money, f"{counted(changed, 'job')} changed"] if changed else [money]
    return DOT.join(parts) + "\n" + _time_text(fitted, found)


def _time_text(fitted: Fitted, found: Fit) -> str:
    """When it is done by the bound, and what the bound gives away against the simulation."""
    assert fitted.finish is not None
    p90 = fitted.finish.p90_seconds
    spare = found.bound_ms / 1000 - p90
    text = f"done within {span_text(found.bound_ms / 1000)} by the bound"
    if fitted.wish.deadline_ms is not None and p90 * 1000 > fitted.wish.deadline_ms:
        return f"{text}, but nine of ten simulated runs take up to {span_text(p90)}: the deadline is not kept"
    return (
        f"{text}, nine of ten simulated runs within {span_text(p90)}: the bound gives away {span_text(spare)}"
    )


def _rows(fitted: Fitted, found: Fit) -> list[Sequence[str | int]]:
    """The changes, the most important jobs first, then those that save most; of many only the largest."""
    saved = {share: _saved(fitted, share) for share in found.changes}
    largest = sorted(saved, key=lambda share: -saved[share])
    shown, rest = largest[:MOST_ROWS], largest[MOST_ROWS:]
    rows = [_row(fitted, share) for share in sorted(shown, key=lambda share: share.group.rank)]
    if rest:
        credits = sum(share.option.credits * share.jobs for share in rest)
        jobs = sum(share.jobs for share in rest)
        rows.append(
            (
                "",
                jobs,
                f"{len(rest)} more kinds, see --json",
                "",
                credits,
                sum(saved[share] for share in rest),
            )
        )
    return rows


def _row(fitted: Fitted, share: Share) -> Sequence[str | int]:
    after = share.option.credits * share.jobs
    name, form = _class(fitted, share.group.rank), _form(share.group.cell)
    return name, share.jobs, form, _changed(share), after, _saved(fitted, share)


def _saved(fitted: Fitted, share: Share) -> int:
    return fitted.credits_asked(share) - share.option.credits * share.jobs


def _form(cell: int) -> str:
    resolution, mode, face, images = CELLS[cell]
    parts = [mode or "mode omitted", "at", resolution, "with a face" if face else "", f"x {images}"]
    return " ".join(filter(None, parts))


def _changed(share: Share) -> str:
    """The fields that change, with their new values."""
    found = difference(share.group.cell, share.option.cell)
    return ", ".join(f"{name} {value}" for name, value in found.items())


def _proof_text(fitted: Fitted, found: Fit) -> str:
    """What is lost, class by class, and that less is not possible."""
    figures = counted(len(found.losses), "figure")
    return "\n".join(
        [*_lost(fitted, found), f"proven: no settings lose less in that order ({figures}, gap 0)"]
    )


def _lost(fitted: Fitted, found: Fit) -> Iterator[str]:
    for rank in sorted({loss.rank for loss in found.losses}):
        steps = [(loss.field, loss.steps) for loss in found.losses if loss.rank == rank and loss.steps]
        lost = [f"{counted(number, 'step')} of {name}" for name, number in steps]
        yield f"{_class(fitted, rank)} gives up {', '.join(lost) or 'nothing that shows'}"


def _class(fitted: Fitted, rank: int) -> str:
    return plain(fitted.classes[rank]) if len(fitted.classes) > 1 else "the file"


def _misfit_text(found: Misfit, price: CreditPrice) -> str:
    short = [f"{credits_text(found.short_credits)}"] if found.short_credits else []
    short += [span_text(found.short_ms / 1000)] if found.short_ms else []
    by = f" by {' and '.join(short)}" if short else ": not both at once"
    needed = f"{credits_text(found.least_credits)}, {span_text(found.least_bound_ms / 1000)}"
    lines = [strong(f"does not fit{by}"), f"with all given up that may be it needs {needed}"]
    ways = [f"  {_way_text(way, price)}" for way in found.ways_out]
    return "\n".join([*lines, "any one of these would do:", *ways] if ways else lines)


def _way_text(way: WayOut, price: CreditPrice) -> str:
    match way.kind:
        case "credits":
            return f"--at-most '{credits_text(way.value)}' ({usd_text(price.usd(way.value))})"
        case "deadline":
            return f"a deadline in {_deadline(way.value)}"
        case "both":
            credits, milliseconds = way.value
            return f"{credits_text(credits)} and a deadline in {_deadline(milliseconds)}, together"
        case "floor":
            return f"--floor {way.name}={way.value}"
        case "field":
            return f"giving up {way.name}, too, down to {way.value}"
        case "keep":
            return f"no longer keeping {plain(way.name)}"
        case _:
            assert_never(way.kind)


def _deadline(milliseconds: int) -> str:
    """A deadline that is kept: in whole minutes, rounded up, where it is longer than one."""
    seconds = -(-milliseconds // 1000)
    return span_text(seconds if seconds < 60 else -(-seconds // 60) * 60)


def frontier_text(points: Sequence[Point], price: CreditPrice) -> str:
    """The curve as a table, the cheapest settings first."""
    rows = [
        (
            point.fit.credits,
            usd_text(price.usd(point.fit.credits)),
            span_text(point.finish.p90_seconds),
            given_up(point.fit),
        )
        for point in points
    ]
    return table(rows, ("credits", "money", "nine of ten done in", "given up"), right=(0, 1))


_SHORT: Final = {"num_images": "images", "generation_mode": "mode", "resolution": "resolution"}


def given_up(found: Fit) -> str:
    """What a fit loses, in steps over all jobs: `-40 images, -12 resolution`."""
    steps = Counter[str]()
    for loss in reversed(found.losses):
        steps[loss.field] += loss.steps
    return ", ".join(f"-{number:,} {_SHORT[name]}" for name, number in steps.items() if number) or "as asked"


def draw(fitted: Fitted, file: str) -> None:
    """Write the curve as a picture; the settings that fit are its point of another colour."""
    path = Path(file)
    marks = [
        Mark(point.fit.credits, point.finish.p90_seconds, given_up(point.fit)) for point in fitted.points
    ]
    if isinstance(fitted.found, Fit) and fitted.finish is not None:
        here = Mark(fitted.found.credits, fitted.finish.p90_seconds, given_up(fitted.found), is_chosen=True)
        marks = sorted(
            [*(mark for mark in marks if mark.credits != here.credits), here], key=attrgetter("credits")
        )
    subtitle = f"{counted(len(fitted.order), 'job')}; beside the points the steps given up"
    picture = draw_frontier(
        marks, path.suffix, title="What fewer credits do to the finish time", subtitle=subtitle
    )
    write_atomically(path, picture)


# -- the document ---------------------------------------------------------------------------------


def fit_json(fitted: Fitted, price: CreditPrice) -> dict[str, Any]:
    """The `fit` of the `plan` document."""
    wish, found = fitted.wish, fitted.found
    head = {
        "limit_credits": wish.at_most_credits,
        "deadline_seconds": _seconds(wish.deadline_ms),
        "give_up_in_order": list(wish.give_up.order),
        "floor": dict(wish.give_up.floor),
        "fits": isinstance(found, Fit),
    }
    tail = {"frontier": [_point_json(point, price) for point in fitted.points]}
    if isinstance(found, Misfit):
        return {**head, **_misfit_json(found), **tail}
    return {**head, **_found_json(fitted, found, price), **tail}


def _found_json(fitted: Fitted, found: Fit, price: CreditPrice) -> dict[str, Any]:
    assert fitted.finish is not None
    p90 = fitted.finish.p90_seconds
    return {
        "credits": found.credits,
        "credits_saved": fitted.asked.credits - found.credits,
        "usd": str(price.usd(found.credits)),
        "bound_seconds": found.bound_ms / 1000,
        "gives_away_seconds": round(found.bound_ms / 1000 - p90, 1),
        "keeps_deadline": wish_kept(fitted),
        **fitted.finish.as_json(),
        "groups": [_share_json(fitted, share) for share in found.shares],
        "losses": [
            {"priority": fitted.classes[loss.rank], "field": loss.field, "steps": loss.steps}
            for loss in found.losses
        ],
        "proof": [
            {"value": loss.proof.value, "bound": loss.proof.bound, "gap": loss.proof.gap}
            for loss in found.losses
        ],
    }


def wish_kept(fitted: Fitted) -> bool | None:
    """Whether nine of ten simulated runs keep the deadline; None without one, or where nothing fits."""
    if fitted.wish.deadline_ms is None or fitted.finish is None:
        return None
    return fitted.finish.p90_seconds * 1000 <= fitted.wish.deadline_ms


def _share_json(fitted: Fitted, share: Share) -> dict[str, Any]:
    return {
        "priority": fitted.classes[share.group.rank],
        "kept_by": list(share.group.kept_by),
        "jobs": share.jobs,
        "before": _form_json(share.group.cell),
        "after": _form_json(share.option.cell),
        "credits_before": fitted.credits_asked(share),
        "credits": share.option.credits * share.jobs,
    }


def _form_json(cell: int) -> dict[str, Any]:
    resolution, mode, face, images = CELLS[cell]
    return {
        "resolution": resolution,
        "generation_mode": mode,
        "face_reference": face,
        "num_images": images,
    }


def _misfit_json(found: Misfit) -> dict[str, Any]:
    return {
        "short_credits": found.short_credits,
        "short_seconds": found.short_ms / 1000,
        "least_credits": found.least_credits,
        "least_bound_seconds": found.least_bound_ms / 1000,
        "ways_out": [{"kind": way.kind, "name": way.name, "value": _value(way)} for way in found.ways_out],
    }


def _value(way: WayOut) -> Any:
    """Times in seconds, as everywhere in the document."""
    match way.kind:
        case "deadline":
            return way.value / 1000
        case "both":
            return {"credits": way.value[0], "seconds": way.value[1] / 1000}
        case _:
            return way.value


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _point_json(point: Point, price: CreditPrice) -> dict[str, Any]:
    return {
        "credits": point.fit.credits,
        "usd": str(price.usd(point.fit.credits)),
        **point.finish.as_json(),
        "losses": [
            {"field": loss.field, "rank": loss.rank, "steps": loss.steps} for loss in point.fit.losses
        ],
    }
