"""Products as a shop exports them: HTML, further rows of a handle, and names as templates say them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import InputError
from planner.products import plain_text, read_products
from planner.sheets import find_source
from planner.templates import parse_template

DATA = Path(__file__).parents[1] / "data"


def test_a_shops_export_is_read_as_it_is() -> None:
    """48 products, each with its line, names without brackets, and descriptions without tags."""
    found = read_products(find_source(DATA / "products.csv"))
    assert len(found.rows) == 48
    assert {"handle", "body_html", "variant_sku", "option1_value"} <= {*found.columns}
    assert [product.line for product in found.rows[:2]] == [2, 3]
    assert found.rows[1].values["body_html"] == "A rust linen shirt dress."


def test_json_lines_are_products_too(tmp_path: Path) -> None:
    """Numbers are the texts that a sheet would hold, and a name that one line lacks is still a column."""
    (tmp_path / "p.jsonl").write_text('{"SKU": 7, "Title": "Coat"}\n{"SKU": 8, "In Stock": true}\n', "utf-8")
    found = read_products(find_source(tmp_path / "p.jsonl"))
    assert found.columns == ("sku", "title", "in_stock")
    assert [dict(product.values) for product in found.rows] == [
        {"sku": "7", "title": "Coat"}, {"sku": "8", "in_stock": "TRUE"},
    ]  # fmt: skip


def test_a_broken_row_of_the_products_is_named(tmp_path: Path) -> None:
    """Half a products file is none."""
    (tmp_path / "p.csv").write_text('title\na coat\n"a dress\n', "utf-8")
    with pytest.raises(InputError, match=r"p\.csv:3: a quote is opened here"):
        read_products(find_source(tmp_path / "p.csv"))


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("a < b & c", "a < b & c"),
        ("<p>One</p><p>Two</p>", "One Two"),
        ("<script>alert(1)</script>Silk<br>&nbsp;wool", "Silk wool"),
        ("<style>p {x}</style><b>A</b>B", "AB"),
        ("&lt;b&gt;", "<b>"),
        ("</script></style>after", "after"),
    ],
)
def test_html_is_what_a_browser_would_show(html: str, text: str) -> None:
    """Tags go, entities are letters, blocks are words apart, and hidden parts stay hidden."""
    assert plain_text(html) == text


@given(st.text("<>&;ab/!-[]ps ='\"", max_size=30))
def test_any_text_may_stand_where_html_is_expected(html: str) -> None:
    """Whatever a shop exports is read, on one line."""
    assert "\n" not in plain_text(html)


@given(
    st.lists(st.sampled_from(["{{", "}}", "x", " {a} ", "{b}"]), max_size=6).map("".join),
    st.text("{}ab", max_size=5),
    st.text("{}ab", max_size=5),
)
def test_a_template_is_filled_once(template: str, a: str, b: str) -> None:
    """In one go or name by name, and never looked into again: as replacing every part by hand does."""
    found, values = parse_template(template), {"a": a, "b": b}
    parts = {"{{": "{", "}}": "}", "{a}": a, "{b}": b}
    by_hand, place = "", 0
    while place < len(template):
        part = next((part for part in parts if template.startswith(part, place)), template[place])
        by_hand += parts.get(part, part)
        place += len(part)
    assert found.text(values) == by_hand
    assert found.filled({"a": a}).filled({"b": b}).pieces == (by_hand,)


@pytest.mark.parametrize("template", ["{", "}", "a {b", "{a{b}}", "{{}"])
def test_a_single_brace_is_no_template(template: str) -> None:
    """A slip in a template is told rather than sent."""
    with pytest.raises(ValueError, match="stands alone"):
        parse_template(template)
