"""How things look: amounts, tables, colours and documents."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import Fault
from policies.cli.output import (
    emit_errors,
    emit_json,
    mode_line,
    plain,
    span_text,
    styled,
    table,
    usd_text,
    wants_json,
)


def test_a_document_names_its_shape_first(capsys):
    """Every document starts with its schema, and text stays readable."""
    emit_json("quote", {"what": "größe"})
    shown = capsys.readouterr().out
    assert shown == '{"schema": "planner.quote/1", "what": "größe"}\n'


def test_errors_are_one_line_each(capsys):
    """People get place, message and hint of each fault on a line of its own, on stderr."""
    emit_errors([Fault("a", "`8k` is wrong", "x.csv:4", hint="use 4k"), Fault("b", "bad")], as_json=False)
    found = capsys.readouterr()
    assert (found.out, found.err) == ("", "error: x.csv:4: `8k` is wrong (use 4k)\nerror: bad\n")


@given(st.text())
def test_no_text_of_a_user_moves_the_cursor(text):
    """Whatever stands in a file, what is printed of it is one line without control characters."""
    assert plain(text).isprintable()
    assert len(plain(text)) == len(text)


def test_a_fault_with_control_characters_is_still_one_line(capsys):
    """A fault that quotes a text with an escape sequence prints it without the escape."""
    emit_errors([Fault("a", "`x\x1b[2J\ny` is wrong")], as_json=False)
    assert capsys.readouterr().err == "error: `x [2J y` is wrong\n"


def test_no_color_is_honoured(monkeypatch):
    """With NO_COLOR no text is styled; without it, it is, and click removes it in a pipe."""
    monkeypatch.setenv("NO_COLOR", "1")
    assert styled("x", fg="red") == "x"
    monkeypatch.delenv("NO_COLOR")
    assert styled("x", fg="red") != "x"
    assert click.unstyle(styled("x", fg="red")) == "x"


def test_the_line_of_commands_that_spend():
    """Mode, account, ledger, policy with the start of its digest, and the month so far."""
    facts = {"account": "main", "ledger": "spend.db", "policy": "studio", "digest": "9f31c04e77"}
    assert click.unstyle(mode_line(live=False, month_credits=1, **facts)) == (
        "SANDBOX · account main · ledger spend.db · policy studio (9f31c04e) · this month 1 credit"
    )


@pytest.mark.parametrize(
    ("usd", "text"),
    [("0", "$0.00"), ("0.075", "$0.075"), ("1.005", "$1.01"), ("1234567.8", "$1,234,567.80")],
)
def test_money_for_people(usd, text):
    """Cents, thousands apart; only amounts under a dollar show more digits."""
    assert usd_text(Decimal(usd)) == text


@given(st.floats(0, 1e8))
def test_a_length_of_time_has_at_most_two_units(seconds):
    """Any number of seconds becomes one or two amounts with their units."""
    words = span_text(seconds).split()
    assert len(words) in (2, 4)
    assert all(word.isdecimal() for word in words[::2])


def test_markdown_cells_cannot_break_their_table():
    """A bar in a label is escaped, so that the row keeps its columns."""
    shown = table([["a|b", 1]], ["x", "n"], style="github")
    assert "a\\|b" in shown


def test_numbers_in_texts_stay_as_they_are():
    """A key such as `007` or `1e5` is text: no table turns it into a number."""
    shown = table([["007", 1], ["1e5", 2]], ["key", "n"])
    assert "007" in shown
    assert "1e5" in shown


@given(st.lists(st.sampled_from(["--json", "--format", "json", "--", "x", "table"])))
def test_json_is_wanted_only_before_a_double_dash(words):
    """What stands after `--` is a file name, whatever it looks like."""
    before = words[: words.index("--")] if "--" in words else words
    asked = "--json" in before or any(pair == ("--format", "json") for pair in pairwise(before))
    assert wants_json(words) is asked
