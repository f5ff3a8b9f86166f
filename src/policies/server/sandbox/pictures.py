"""The pictures of the stand-in: a mannequin on a coloured backdrop, and the settings it was made with.

Here belongs drawing, nothing else; Pillow is imported when this module is. The same output of the same
prediction is the same bytes, and equal inputs have the same colours and clothes.
"""

from __future__ import annotations

from colorsys import hls_to_rgb
from functools import lru_cache
from io import BytesIO
from itertools import pairwise
from math import cos, pi
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from policies.server.sandbox.draws import pick, unit
from policies.server.sandbox.prediction import OutputSpec

Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]

LONG_SIDE: Final = {"1k": 208, "2k": 232, "4k": 256}
"""Pixels of the longer side by tier: a higher tier is a little larger, never large."""

_MARGIN: Final = 8
_SMOOTH: Final = 2

# Half widths of a figure at heights from 0 (crown) to 1 (feet), as shares of its height.
_SHOULDERS: Final = ((0.155, 0.025), (0.185, 0.095), (0.24, 0.1), (0.38, 0.066))
_CLOTHES: Final = (
    (*_SHOULDERS, (0.5, 0.095), (0.76, 0.2)),  # a swinging dress
    (*_SHOULDERS, (0.48, 0.09), (0.7, 0.078)),  # a pencil dress
    (*_SHOULDERS, (0.5, 0.11), (0.86, 0.145)),  # a long gown
    ((0.155, 0.03), (0.185, 0.11), (0.3, 0.115), (0.52, 0.12), (0.66, 0.125)),  # a straight coat
)


def size_of(spec: OutputSpec) -> tuple[int, int]:
    """Width and height in pixels: the ratio of the request at the size of the delivered tier."""
    width, height = (int(part) for part in spec.settings.ratio.split(":"))
    scale = LONG_SIDE[spec.settings.delivered] / max(width, height)
    return round(width * scale), round(height * scale)


@lru_cache(maxsize=64)
def draw(spec: OutputSpec) -> bytes:
    """The picture of one output as the bytes of a PNG or JPEG file."""
    width, height = size_of(spec)
    hue = unit(spec.digest, "hue") + 0.06 * spec.index
    image = _backdrop(width, height, hue)
    card = _card_of(width, height)
    _figure(image, _free_of(width, height, card), hue, spec.digest)
    _card(image, card, _lines(spec), hue)
    return _encoded(image, spec.settings.output_format)


def _colour(hue: float, lightness: float, saturation: float) -> Colour:
    red, green, blue = hls_to_rgb(hue % 1.0, lightness, saturation)
    return round(red * 255), round(green * 255), round(blue * 255)


def _backdrop(width: int, height: int, hue: float) -> Image.Image:
    """A paper roll: one soft colour that grows deeper towards the floor."""
    strip = Image.new("RGB", (1, 2))
    strip.putpixel((0, 0), _colour(hue, 0.88, 0.5))
    strip.putpixel((0, 1), _colour(hue + 0.05, 0.7, 0.42))
    return strip.resize((width, height), Image.Resampling.BILINEAR, box=(0, 0.5, 1, 1.5))


def _card_of(width: int, height: int) -> Box:
    """Where the text goes: below on the left of wide pictures, across the foot of the others."""
    if width > height * 1.2:
        return _MARGIN, height - _MARGIN - 76, _MARGIN + max(100, round(width * 0.44)), height - _MARGIN
    return _MARGIN, height - _MARGIN - 76, width - _MARGIN, height - _MARGIN


def _free_of(width: int, height: int, card: Box) -> Box:
    """Where the figure goes: what the card leaves."""
    if width > height * 1.2:
        return card[2], 0, width, height
    return 0, 0, width, card[1]


def _figure(image: Image.Image, free: Box, hue: float, digest: str) -> None:
    """Draws the mannequin with smooth edges, through masks of twice the size."""
    width, height = free[2] - free[0], free[3] - free[1]
    shape = (width * _SMOOTH, height * _SMOOTH)
    tall = height * 0.88 * _SMOOTH
    middle, top = shape[0] / 2, height * 0.06 * _SMOOTH
    disc = _mask(shape)
    radius = min(shape) * 0.4
    ImageDraw.Draw(disc).ellipse(_round(middle, shape[1] * 0.5, radius), fill=130)
    body, clothes = _mask(shape), _mask(shape)
    _body(ImageDraw.Draw(body), middle, top, tall)
    profile = pick(_CLOTHES, digest, "clothes")
    ImageDraw.Draw(clothes).polygon(_outline(profile, middle, top, tall), fill=255)
    for mask, colour in (
        (disc, _colour(hue + 0.04, 0.95, 0.6)),
        (body, _colour(hue + 0.02, 0.36, 0.2)),
        (clothes, _colour(hue + pick((0.45, 0.55, 0.08), digest, "contrast"), 0.48, 0.45)),
    ):
        image.paste(colour, free, mask.resize((width, height), Image.Resampling.BOX))


def _mask(size: tuple[int, int]) -> Image.Image:
    return Image.new("L", size)


def _round(x: float, y: float, radius: float) -> tuple[float, float, float, float]:
    return x - radius, y - radius, x + radius, y + radius


def _body(pen: ImageDraw.ImageDraw, middle: float, top: float, tall: float) -> None:
    head, neck = 0.052 * tall, 0.022 * tall
    pen.ellipse((middle - head, top, middle + head, top + 0.135 * tall), fill=255)
    pen.rectangle((middle - neck, top + 0.1 * tall, middle + neck, top + 0.2 * tall), fill=255)
    for side in (-1, 1):
        arm = [
            (middle + side * 0.088 * tall, top + 0.205 * tall),
            (middle + side * 0.125 * tall, top + 0.38 * tall),
            (middle + side * 0.115 * tall, top + 0.53 * tall),
        ]
        pen.line(arm, fill=255, width=round(0.033 * tall), joint="curve")
        leg = middle + side * 0.042 * tall
        pen.rounded_rectangle(
            (leg - 0.021 * tall, top + 0.5 * tall, leg + 0.021 * tall, top + tall), 0.02 * tall, fill=255
        )


def _outline(
    profile: tuple[tuple[float, float], ...], middle: float, top: float, tall: float
) -> list[tuple[float, float]]:
    """A symmetric outline that goes smoothly through the half widths of a profile."""
    edge: list[tuple[float, float]] = []
    for (upper, wide), (lower, next_wide) in pairwise(profile):
        for step in range(9):
            share = step / 8
            ease = (1 - cos(pi * share)) / 2
            edge.append((upper + (lower - upper) * share, wide + (next_wide - wide) * ease))
    right = [(middle + half * tall, top + at * tall) for at, half in edge]
    left = [(middle - half * tall, top + at * tall) for at, half in reversed(edge)]
    return right + left


def _lines(spec: OutputSpec) -> tuple[str, ...]:
    settings = spec.settings
    mode = spec.mode if settings.mode else f"{spec.mode} (auto)"
    return (
        f"{mode} · {settings.delivered}",
        f"{settings.ratio} · {spec.index + 1} of {spec.outputs} · {'face' if settings.face else 'no face'}",
        f"seed {settings.seed}",
        f"…{spec.id[-11:]}",
        "SANDBOX",
    )


def _card(image: Image.Image, card: Box, lines: tuple[str, ...], hue: float) -> None:
    """The settings in dark text on a light card, each line as large as fits."""
    pen = ImageDraw.Draw(image)
    pen.rounded_rectangle(card, 7, fill=_colour(hue, 0.97, 0.5))
    ink, faint = _colour(hue, 0.16, 0.35), _colour(hue, 0.45, 0.25)
    room = card[2] - card[0] - 12
    y = card[1] + (card[3] - card[1] - 66) / 2
    for number, (text, size) in enumerate(zip(lines, (14, 12, 12, 12, 9), strict=True)):
        font = _fitting(text, size, room)
        pen.text((card[0] + 6, y), text, ink if number < 3 else faint, font=font)
        y += size + 2


def _fitting(text: str, size: int, room: int) -> ImageFont.FreeTypeFont:
    while size > 7 and _font(size).getlength(text) > room:
        size -= 1
    return _font(size)


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType")
    return font


def _encoded(image: Image.Image, output_format: str) -> bytes:
    file = BytesIO()
    if output_format == "png":
        image.save(file, "PNG", compress_level=6)
    else:
        image.save(file, "JPEG", quality=88)
    return file.getvalue()
