"""Valid requests and the many ways in which a spreadsheet writes them: shared by the workload tests."""

from __future__ import annotations

import csv
import io

from hypothesis import strategies as st

from planner.request import CHOICES, FIELDS

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=30)
PROMPTS = TEXT.filter(lambda text: text.strip() != "")
# Without `€`: behind `ß` its Windows-1252 byte is valid UTF-8, and no reader could tell them apart.
LATIN_PROMPTS = st.text(st.sampled_from("abc XYZ,;\t\"'\r\nüéß"), min_size=1, max_size=30).filter(
    lambda text: text.strip() != ""
)
REFERENCES = st.sampled_from(
    ("https://example.com/a.png", "http://example.com/b?c=d;e,f", "data:image/png;base64,iVBORw0KGgo=")
)
CLOSED = {
    **{field: st.sampled_from(choices) for field, choices in CHOICES.items()},
    "seed": st.integers(0, 2**32 - 1),
    "num_images": st.integers(1, 4),
    "return_base64": st.booleans(),
    "image_reference": REFERENCES,
    "face_reference": REFERENCES,
}


def requests(prompts=PROMPTS):
    """Valid requests as mappings; omitted inputs are absent."""
    return st.fixed_dictionaries({"prompt": prompts}, optional=CLOSED)


def plain_cell(value) -> str:
    """A value as a careful author writes it."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


@st.composite
def loose_cells(draw, field, value):
    """A value as a spreadsheet may write it."""
    text = plain_cell(value)
    if value is None or field in ("prompt", "image_reference", "face_reference"):
        return text
    if field == "aspect_ratio":
        hour, minute = map(int, text.split(":"))
        return draw(
            st.sampled_from((text, f"{hour:02}:{minute:02}", f"{hour:02}:{minute:02}:00", f" {text} "))
        )
    if field in ("seed", "num_images"):
        return draw(st.sampled_from((text, f"{text}.0", f" {text}")))
    if field == "return_base64":
        return draw(
            st.sampled_from(("TRUE", "yes", "1", "wahr") if value else ("False", "NO", "0", "falsch"))
        )
    return draw(st.sampled_from((text, text.upper(), text.title(), f" {text} ")))


LOOSE_NAMES = st.sampled_from(
    (
        str.upper,
        str.title,
        lambda name: name.replace("_", " ") + " ",
        lambda name: name.replace("_", "-"),
        lambda name: name.replace("_", ""),
    )
)


def table(rows, header=FIELDS, separator=",", newline="\r\n") -> str:
    """A CSV text of that header and those rows of cells."""
    stream = io.StringIO(newline="")
    # the writer itself quotes no other line end than its own
    breaks = any({"\r", "\n"} & set(cell) for row in rows for cell in row)
    quoting = csv.QUOTE_ALL if breaks else csv.QUOTE_MINIMAL
    writer = csv.writer(stream, delimiter=separator, lineterminator=newline, quoting=quoting)
    writer.writerow(header)
    writer.writerows(rows)
    return stream.getvalue()
