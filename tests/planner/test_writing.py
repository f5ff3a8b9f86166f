"""What is written is read again as the same jobs, and never as a formula."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    """A row that a workbook cannot hold stops the file, and the old one stays."""
    path = tmp_path / "looks.xlsx"
    path.write_bytes(b"old")
    with pytest.raises(InputError, match="control characters"):
        write_sheet(path, ["prompt"], [["a\x01"]])
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["looks.xlsx"]
