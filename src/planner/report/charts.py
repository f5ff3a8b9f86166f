"""Credits against finish time as a picture: SVG or PNG (the extra `charts`).

Here belongs how the curve looks. The points are `frontier`'s, and reach this module as plain rows; the way
to the disk is `files`'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from planner.errors import InputError

if TYPE_CHECKING:
    from types import ModuleType

SUFFIXES: Final = (".svg", ".png")
_INK: Final = "#1f2937"
_MUTED: Final = "#6b7280"
_LINE: Final = "#2563eb"
_CHOSEN: Final = "#b45309"
_UNITS: Final = ((7200.0, 3600.0, "hours"), (180.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))
_WIDTH: Final = 440
_HEIGHT: Final = 340
_LABELS: Final = 5
"""As many points are labelled as can be read beside each other."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One point of the curve."""

    credits: int
    seconds: float
    label: str
    """What is given up there."""
    is_chosen: bool = False


def draw_frontier(marks: Sequence[Mark], suffix: str, *, title: str, subtitle: str) -> bytes:
    """The curve as the bytes of an image file; raises `InputError` for another format or a missing extra."""
    if suffix.lower() not in SUFFIXES:
        hint = f"name a file that ends in {' or '.join(SUFFIXES)}"
        raise InputError(f"`{suffix}` is not a picture that can be drawn", code="bad_chart", hint=hint)
    altair, convert = _drawing()
    spec = _chart(altair, marks, title, subtitle).to_dict()
    if suffix.lower() == ".svg":
        drawn: str = convert.vegalite_to_svg(spec)
        return drawn.encode()
    pixels: bytes = convert.vegalite_to_png(spec, scale=2)
    return pixels


def _drawing() -> tuple[ModuleType, ModuleType]:
    try:
        import altair
        import vl_convert
    except ImportError:
        message = "drawing a chart needs the extra `charts`"
        hint = "pip install 'fashn-planner[charts]'"
        raise InputError(message, code="missing_extra", hint=hint) from None
    return altair, vl_convert


def _chart(altair: ModuleType, marks: Sequence[Mark], title: str, subtitle: str) -> Any:
    longest = max((mark.seconds for mark in marks), default=0.0)
    size, unit = next((size, unit) for least, size, unit in _UNITS if longest >= least)
    x = altair.X("time:Q", title=f"nine of ten runs done within ({unit})", scale=_scale(altair))
    y = altair.Y("credits:Q", title="credits", scale=_scale(altair), axis=altair.Axis(format=",d"))
    base = altair.Chart(altair.InlineData(values=_rows(marks, size))).encode(x=x, y=y)
    colour = altair.condition("datum.chosen", altair.value(_CHOSEN), altair.value(_LINE))
    names = base.encode(text="label:N", color=altair.condition("datum.chosen", *_text_colours(altair)))
    layers = altair.layer(
        base.mark_line(color=_LINE, strokeWidth=2, opacity=0.6).encode(order="credits:Q"),
        base.mark_point(filled=True, size=70, opacity=1).encode(color=colour),
        names.transform_filter("datum.is_left").mark_text(align="right", dx=-10, dy=-3, fontSize=13),
        names.transform_filter("!datum.is_left").mark_text(align="left", dx=10, dy=3, fontSize=13),
    )
    return _framed(layers, title, subtitle)


def _framed(layers: Any, title: str, subtitle: str) -> Any:
    heading = {"text": title, "subtitle": subtitle, "anchor": "start", "color": _INK, "subtitleColor": _MUTED}
    frame = layers.properties(width=_WIDTH, height=_HEIGHT, title=heading, background="white", padding=12)
    axes = {"labelFontSize": 13, "titleFontSize": 13, "gridColor": "#e5e7eb", "domainColor": _MUTED}
    coloured = frame.configure_axis(labelColor=_INK, titleColor=_INK, titlePadding=10, **axes)
    return coloured.configure_title(fontSize=16, subtitleFontSize=13, offset=12).configure_view(stroke=None)


def _scale(altair: ModuleType) -> Any:
    return altair.Scale(zero=False, nice=True, padding=16)


def _text_colours(altair: ModuleType) -> tuple[Any, Any]:
    return altair.value(_CHOSEN), altair.value(_INK)


def _rows(marks: Sequence[Mark], size: float) -> list[dict[str, Any]]:
    """The points as rows; a rising curve leaves room right of its lower half and left of its upper half."""
    times = [mark.seconds for mark in marks]
    middle = (min(times, default=0.0) + max(times, default=0.0)) / 2
    return [
        {
            "time": mark.seconds / size,
            "credits": mark.credits,
            "label": label,
            "chosen": mark.is_chosen,
            "is_left": mark.seconds > middle,
        }
        for mark, label in zip(marks, _labels(marks), strict=True)
    ]


def _labels(marks: Sequence[Mark]) -> list[str]:
    """A label for the chosen point, the ends, and others so far apart that none covers the next."""
    if not marks:
        return []
    apart = (marks[-1].credits - marks[0].credits) / (2 * _LABELS)
    shown = [place for place, mark in enumerate(marks) if mark.is_chosen]
    spread = range(0, len(marks), max(1, len(marks) // _LABELS))
    for place in (len(marks) - 1, *spread):
        if all(abs(marks[place].credits - marks[other].credits) >= apart for other in shown):
            shown.append(place)
    return [mark.label if place in shown else "" for place, mark in enumerate(marks)]
