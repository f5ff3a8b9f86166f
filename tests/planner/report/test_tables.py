"""Plain rows as text for a terminal, for Markdown and for a spreadsheet."""

import csv
import io
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.report.files import write_atomically
from planner.report.tables import Column, Table, as_csv, as_markdown, as_text

COLUMNS = (Column("team", "team"), Column("usd", "USD", figure=True))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_text_of_a_csv_is_a_formula(start):
    """A text that a spreadsheet would evaluate is kept with an apostrophe before it."""
    text = start + "cmd|' /C calc'!A0"
    [_, row] = csv.reader(io.StringIO(as_csv(Table(COLUMNS, ((text, Decimal(1)),))), newline=""))
    assert row[0] == "'" + text


def test_negative_figures_stay_figures():
    """A minus before a number is no formula, and an apostrophe would make it a text."""
    table = Table((Column("a", "a"), Column("b", "b")), ((-3, Decimal("-0.30")),))
    assert as_csv(table) == "a,b\n-3,-0.30\n"


@given(st.lists(st.tuples(st.text(), st.integers()), max_size=5))
def test_csv_is_read_back_as_it_was(rows):
    """Commas, quotes and line ends in a label survive; only the apostrophe is added."""
    read = list(csv.reader(io.StringIO(as_csv(Table(COLUMNS, tuple(rows))), newline="")))[1:]
    assert [(text.removeprefix("'"), int(number)) for text, number in read] == [
        (text.removeprefix("'"), number) for text, number in rows
    ]


@given(st.text())
def test_no_text_acts_on_a_terminal(text):
    """Whatever a label holds, the table has the lines it should have and nothing unprintable."""
    lines = as_text(Table(COLUMNS, ((text, 1),), ("total", 1))).split("\n")
    assert len(lines) == 5
    assert all(line.isprintable() for line in lines)


def test_no_text_acts_in_markdown():
    """A label can neither end its cell nor become a link or a tag."""
    shown = as_markdown(Table(COLUMNS, (("a|b [x](y) <i>\n| c |", 1),)))
    assert len(shown.split("\n")) == 3
    assert r"a\|b \[x\](y) \<i\> \| c \|" in shown


def test_money_of_a_column_has_the_same_decimals():
    """So that figures can be compared by eye."""
    shown = as_text(Table(COLUMNS, (("a", Decimal("1.50")), ("b", Decimal("1234.0674")))))
    assert [line.split()[1] for line in shown.split("\n")[2:]] == ["1.5000", "1,234.0674"]


def test_an_empty_table_is_its_titles():
    """No rows are no reason to fail."""
    empty = Table(COLUMNS, ())
    assert as_text(empty).split("\n")[0].split() == ["team", "USD"]
    assert "| team" in as_markdown(empty)
    assert as_csv(empty) == "team,usd\n"


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path):
    """The new text, in UTF-8, with the rights of any new file."""
    path = tmp_path / "spend.csv"
    path.write_text("old")
    write_atomically(path, "München\n")
    assert path.read_bytes() == "München\n".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_keeps_pointing_where_it_did(tmp_path):
    """The file behind a link is replaced, not the link."""
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_atomically(tmp_path / "link", "x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "x"


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    """The error speaks of the file that was asked for, and not of a temporary one."""
    with pytest.raises(OSError, match="No such file") as error:
        write_atomically(tmp_path / "no" / "spend.csv", "x")
    assert error.value.filename == str(tmp_path / "no" / "spend.csv")
