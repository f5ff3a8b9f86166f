"""What is written is read again as the same jobs, and never as a formula."""

from __future__ import annotations

import os
import re
import sys
from datetime import date
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from planner.errors import InputError
from planner.request import FIELDS
from planner.workload import read_workload
from planner.writing import write_sheet
from tests.planner.workload_examples import plain_cell, requests

SUFFIXES = (".csv", ".xlsx", ".jsonl", ".parquet")
PROMPTS = st.text(st.sampled_from("=+-@ab ,;\"'{é"), min_size=1, max_size=12).filter(str.strip)


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(st.lists(requests(PROMPTS), min_size=1, max_size=4))
@settings(max_examples=12)
def test_written_and_read_again_it_is_the_same_jobs(tmp_path_factory, suffix, asked) -> None:
    """Requests, keys and labels survive every format, also texts that look like formulas."""
    path = tmp_path_factory.mktemp("sheet") / f"looks{suffix}"
    rows = [
        [f"=k{place}", "-team", *(plain_cell(request.get(field)) for field in FIELDS)]
        for place, request in enumerate(asked)
    ]
    write_sheet(path, ["key", "team", *FIELDS], rows)
    jobs = read_workload(path)
    assert [job.request.inputs() for job in jobs] == asked
    assert [(job.key, job.labels) for job in jobs] == [(row[0], {"team": "-team"}) for row in rows]
    assert os.listdir(path.parent) == [path.name]


ANY = st.text(min_size=1, max_size=6).filter(str.strip)
TRAPS = [
    "a\rb",
    "a\r\nb",
    "a\n",
    "_x000D_",
    " x ",
    "\tx",
    "#N/A",
    "TRUE",
    "1.0",
    "\ufeffx",
    "null",
    ";",
    '"',
    "𝕏\u2028",
]


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(st.sampled_from(TRAPS) | ANY)
@settings(max_examples=40)
def test_a_prompt_is_never_changed_by_writing(tmp_path_factory, suffix, prompt) -> None:
    """Another letter would be another picture: it comes back as it was, or is not written at all."""
    path = tmp_path_factory.mktemp("sheet") / f"looks{suffix}"
    if suffix == ".xlsx" and re.search("[\x00-\x08\x0b-\x1f\ufffe\uffff]", prompt):
        with pytest.raises(InputError, match="control characters"):
            write_sheet(path, ["prompt"], [[prompt]])
    else:
        write_sheet(path, ["prompt"], [[prompt]])
        assert [job.request.prompt for job in read_workload(path)] == [prompt]


def test_parquet_cells_are_read_as_a_spreadsheet_shows_them(tmp_path: Path) -> None:
    """Whole numbers, truth and gaps of typed columns are the texts that a CSV export would hold."""
    path = tmp_path / "looks.parquet"
    columns = {
        "prompt": ["a", "b"], "Num Images": [2.0, None], "seed": [7, 8], "return_base64": [True, None],
        "day": [date(2026, 11, 23), None],
    }  # fmt: skip
    parquet.write_table(pyarrow.table(columns), path)
    first, second = read_workload(path)
    assert first.request.inputs() == {"prompt": "a", "seed": 7, "num_images": 2, "return_base64": True}
    assert second.request.inputs() == {"prompt": "b", "seed": 8}
    assert (first.labels, first.line, second.line) == ({"day": "2026-11-23"}, 2, 3)


@pytest.mark.parametrize("content", [b"PAR1junk", b"prompt\na\n", b""])
def test_what_is_no_parquet_is_told(tmp_path: Path, content: bytes) -> None:
    """A damaged file, or another under that name, is an error of its own."""
    path = tmp_path / "looks.parquet"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_workload(path)
    assert caught.value.faults[0].code == "unreadable_file"


@pytest.mark.parametrize(
    ("suffix", "library", "extra"), [(".parquet", "pyarrow", "parquet"), (".xlsx", "openpyxl", "sheets")]
)
def test_without_its_extra_a_format_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, library: str, extra: str
) -> None:
    """Reading and writing alike, and nothing is left behind."""
    path = tmp_path / f"looks{suffix}"
    write_sheet(path, ["prompt"], [["a"]])
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    for use in (read_workload, lambda path: write_sheet(path, ["prompt"], [["b"]])):
        with pytest.raises(InputError, match=rf"the extra `{extra}`") as caught:
            use(path)
        assert caught.value.faults[0].code == "missing_extra"
    assert os.listdir(tmp_path) == [path.name]


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    """A row that a workbook cannot hold stops the file, and the old one stays."""
    path = tmp_path / "looks.xlsx"
    path.write_bytes(b"old")
    with pytest.raises(InputError, match="control characters"):
        write_sheet(path, ["prompt"], [["a\x01"]])
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["looks.xlsx"]
