"""The results of a shoot: the user's own columns, nothing that a spreadsheet would run, and a memory."""

import csv

from hypothesis import given
from hypothesis import strategies as st

from policies.guard.batch import Ending, Line
from policies.guard.results import (
    CSV_NAME,
    JSONL_NAME,
    Record,
    harmless,
    joined,
    read_records,
    write_records,
    write_table,
)


def line(key, **columns):
    found = Line(key, columns={"key": key, **columns}, names=(f"{key}-1",))
    found.ending, found.credits, found.files = Ending.COMPLETED, 4, [f"{key}-1.png"]
    return found


def table(folder):
    with (folder / CSV_NAME).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_has_the_users_columns_and_ours(tmp_path):
    """Columns keep their names and order; state, credits, files and reason follow."""
    lost = line("b", SKU="SW-2")
    lost.ending, lost.files, lost.reason = Ending.FAILED, [], "PoseError"
    write_table(tmp_path, [Record.of(line("a", SKU="SW-1")), Record.of(lost)])
    assert table(tmp_path) == [
        {
            "key": "a",
            "SKU": "SW-1",
            "state": "completed",
            "credits": "4",
            "files": "a-1.png",
            "reason": "",
        },
        {"key": "b", "SKU": "SW-2", "state": "failed", "credits": "4", "files": "", "reason": "PoseError"},
    ]


def test_a_column_of_the_users_that_is_called_like_ours_keeps_its_name(tmp_path):
    """Ours steps aside, so nothing of the user's is lost."""
    write_table(tmp_path, [Record.of(line("a", state="draft"))])
    assert (table(tmp_path)[0]["state"], table(tmp_path)[0]["planner_state"]) == ("draft", "completed")


@given(st.text(max_size=20))
def test_no_cell_is_a_formula(text):
    """Whatever a cell starts with, a spreadsheet shows it and does not run it; the rest stays as it was."""
    shown = harmless(text)
    assert shown[:1] not in ("=", "+", "-", "@", "\t", "\r")
    assert shown in (text, f"'{text}")


def test_formulas_are_disarmed_in_headers_too(tmp_path):
    """A header is a cell like any other."""
    write_table(tmp_path, [Record.of(line("=1+1", **{"@note": "+49"}))])
    row = table(tmp_path)[0]
    assert (row["key"], row["'@note"]) == ("'=1+1", "'+49")


def test_records_are_read_back_as_they_were(tmp_path):
    """`results.jsonl` is the memory of names, files and columns."""
    records = [Record.of(line("a", note="Größe\n2")), Record.of(line("b"))]
    write_records(tmp_path, records)
    assert [record.key for record in read_records(tmp_path).values()] == ["a", "b"]
    found = read_records(tmp_path)["a"]
    assert (list(found.names), list(found.files)) == (["a-1"], ["a-1.png"])
    assert found.columns == {"key": "a", "note": "Größe\n2"}


def test_a_damaged_line_of_the_memory_is_passed_over(tmp_path):
    """The ledger, not this file, knows what was paid."""
    write_records(tmp_path, [Record.of(line("a"))])
    with (tmp_path / JSONL_NAME).open("a") as file:
        file.write('{"key": "b", \n[]\n')
    assert list(read_records(tmp_path)) == ["a"]
    assert read_records(tmp_path / "nowhere") == {}


def test_a_run_over_some_rows_keeps_the_others(tmp_path):
    """New records replace those of their keys and come first; nothing else is dropped."""
    earlier = {key: Record.of(line(key)) for key in ("a", "b", "c")}
    changed = line("b")
    changed.ending = Ending.UNKNOWN
    found = joined(earlier, [Record.of(changed), Record.of(line("d"))])
    assert [(record.key, record.state) for record in found] == [
        ("b", "unknown"),
        ("d", "completed"),
        ("a", "completed"),
        ("c", "completed"),
    ]


def test_the_reason_tells_what_is_missing_of_the_pictures():
    """Expired and not yet fetched pictures are told apart."""
    found = line("a")
    found.pictures_gone, found.pictures_missing = 1, 2
    assert Record.of(found).reason == "1 expired before they were fetched; 2 not fetched yet"
