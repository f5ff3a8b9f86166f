"""A workload file as jobs: keys, identical rows, faults and repairs of a whole file."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.cells import CHOICES_RESPELLED, CLOCK_TIMES, WHOLE_NUMBERS
from planner.errors import InputError
from planner.loading import shipped_prices
from planner.notes import TEXTS_TRIMMED, composed, look_clean
from planner.quoting import price_cell, quote, quotes
from planner.request import canonical
from planner.workload import COLUMNS_RESPELLED, SAME_JOB, open_workload, read_workload
from tests.planner.workload_examples import REFERENCES, table

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def write(tmp_path):
    """Writes a text as a workload file and gives its path."""

    def write_file(text: str, name: str = "looks.csv") -> str:
        path = tmp_path / name
        path.write_bytes(text.encode())
        return str(path)

    return write_file


def credits(jobs) -> int:
    return sum(quote(job.request, shipped_prices()).credits for job in jobs)


def faults_of(path, **options):
    with pytest.raises(InputError) as caught:
        read_workload(path, **options)
    return caught.value.faults


def test_the_shipped_lookbook_is_240_jobs_for_1124_credits():
    """The example workload needs no repair and costs what a hand count says."""
    workload = open_workload(DATA / "lookbook.csv")
    jobs = list(workload.jobs())
    assert (len(jobs), credits(jobs)) == (240, 1124)
    assert workload.repairs == ()
    assert jobs[1].labels == {
        "team": "social", "campaign": "story-takeover", "stage": "production", "sku": "SW-762-NVY"
    }  # fmt: skip
    assert jobs[1].where == f"{DATA / 'lookbook.csv'}:3"


def test_the_shipped_example_is_the_tested_one():
    """The package data is the same file as the tests' own."""
    import planner

    shipped = Path(planner.__file__).parent / "data" / "lookbook.csv"
    assert shipped.read_bytes() == (DATA / "lookbook.csv").read_bytes()


def test_the_lookbook_after_excel_asks_for_the_same_pictures():
    """Semicolons, clock times, case and loose names are read back, and every repair is counted."""
    workload = open_workload(DATA / "lookbook-excel.csv")
    jobs, before = list(workload.jobs()), read_workload(DATA / "lookbook.csv")[:24]
    assert [job.request for job in jobs] == [job.request for job in before]
    assert [job.key for job in jobs] == [job.key for job in before]
    assert [{**job.labels, "notiz": ""} for job in jobs] == [{**job.labels, "notiz": ""} for job in before]
    assert jobs[0].labels["notiz"] == "Größe prüfen"
    assert credits(jobs) == 108
    counted = {repair.what: repair.count for repair in workload.repairs}
    assert counted == {COLUMNS_RESPELLED: 8, CHOICES_RESPELLED: 34, CLOCK_TIMES: 11, WHOLE_NUMBERS: 2}
    assert str(workload.repairs[2]).endswith(
        "clock times: 11 (first at " + f"{DATA / 'lookbook-excel.csv'}:2)"
    )


def test_every_fault_of_a_messy_file_is_found_in_its_order():
    """Lines 3 to 14 and 16 are wrong, each with its field, and nothing else is."""
    path = DATA / "messy.csv"
    faults = faults_of(path)
    assert [fault.where for fault in faults] == [f"{path}:{line}" for line in (*range(3, 15), 16)]
    assert [fault.field for fault in faults] == [
        "resolution", "generation_mode", "prompt", "num_images", "num_images", "num_images", "seed", "seed",
        "face_reference", "image_reference", "aspect_ratio", "output_format", "key",
    ]  # fmt: skip
    assert {fault.code for fault in faults[:-1]} == {"invalid_value"}
    assert faults[-1].code == "key_conflict"
    assert "line 2" in faults[-1].message
    assert all(fault.hint for fault in faults)


def test_faulty_rows_can_be_skipped():
    """With `skip_bad` the good rows go on as they are and the others are listed."""
    workload = open_workload(DATA / "messy.csv")
    jobs = list(workload.jobs(skip_bad=True))
    assert [(job.key, job.line) for job in jobs] == [("good-1", 2), ("good-2", 15)]
    assert jobs[1].request.prompt == "  back view, man wearing a black technical parka  "
    assert len(workload.faults) == 13


def test_no_job_comes_after_the_first_fault(write):
    """A consumer that streams sees no job behind a fault, but every fault of the file."""
    path = write("prompt,resolution\na,1k\nb,9k\nc,1k\nd,7k\n")
    seen = []
    with pytest.raises(InputError) as caught:
        seen.extend(job.line for job in open_workload(path).jobs())
    assert seen == [2]
    assert [fault.where[-2:] for fault in caught.value.faults] == [":3", ":5"]


def test_a_wrong_header_stops_even_when_bad_rows_are_skipped(write):
    """A column that nearly is an input concerns every row; the faults of the rows are listed with it."""
    path = write("prompt,resolutoin,num_images\na,4k,9\nb,4k,1\n")
    seen = []
    with pytest.raises(InputError) as caught:
        seen.extend(open_workload(path).jobs(skip_bad=True))
    assert seen == []
    assert [(fault.field, fault.where[-2:]) for fault in caught.value.faults] == [
        ("resolution", ":1"), ("num_images", ":2")
    ]  # fmt: skip
    assert caught.value.faults[0].hint == "did you mean `resolution`?"


def test_the_same_key_with_the_same_request_is_one_job(write):
    """A row that says the same in other words, defaults written out, is counted and not a job again."""
    path = write("key,prompt,seed,resolution\na,x,,\na,x,42,1K\nb,x,,\n")
    workload = open_workload(path)
    assert [(job.key, job.line) for job in workload.jobs()] == [("a", 2), ("b", 4)]
    assert [(repair.what, repair.count) for repair in workload.repairs] == [(SAME_JOB, 1)]


def test_rows_without_a_key_count_their_occurrence(write):
    """The n-th row that asks for a picture has occurrence n, whatever its labels and spelling are."""
    path = write("key,prompt,seed,team\n,x,,a\n,y,,a\n,x,42,b\nk,x,,a\n,x,,c\n")
    found = [(job.key, job.request.prompt, job.occurrence) for job in open_workload(path).jobs()]
    assert found == [(None, "x", 1), (None, "y", 1), (None, "x", 2), ("k", "x", 1), (None, "x", 3)]


def test_keys_and_labels_are_trimmed_and_composed(write):
    """Two spellings of one key are one key, label texts keep their case, and the repairs are counted."""
    path = write("key,prompt,Team \n u\u0308 ,x, Caf\u0065\u0301 \n\u00fc,x,Café\n")
    workload = open_workload(path)
    (job,) = workload.jobs()
    assert (job.key, job.labels) == ("ü", {"team": "Café"})
    assert job.columns == {"key": " u\u0308 ", "prompt": "x", "Team ": " Caf\u0065\u0301 "}
    assert {repair.what: repair.count for repair in workload.repairs} == {TEXTS_TRIMMED: 2, SAME_JOB: 1}


@given(st.lists(st.text(st.sampled_from("ab |\t\n\x1c\xa0\u2003é\u0301"), max_size=4), max_size=3))
def test_texts_that_look_clean_are_clean(texts):
    """The one look at all labels of a row never overlooks one that is to be trimmed or composed."""
    if look_clean(texts):
        assert [composed(text) for text in texts] == texts


@pytest.mark.parametrize("key", ["k" * 201, "a\x07b", "a\u2028b"])
def test_a_key_is_short_and_plain(write, key):
    """A key of more than 200 characters, or with a control character, is a fault of its row."""
    (fault,) = faults_of(write(f"key,prompt\n{key},x\n"))
    assert (fault.code, fault.field, fault.where[-2:]) == ("invalid_value", "key", ":2")


def test_a_key_of_200_characters_is_good(write):
    """The bound itself is inside."""
    (job,) = read_workload(write(f"key,prompt\n{'ü' * 200},x\n"))
    assert job.key == "ü" * 200


def test_another_column_can_be_the_key(write):
    """The chosen column is the key and no label; a column `key` beside it is neither."""
    path = write("key,SKU,prompt,team\na,7,x,t\na,8,y,t\n")
    jobs = read_workload(path, key_column="sku")
    assert [job.key for job in jobs] == ["7", "8"]
    assert jobs[0].labels == {"team": "t"}
    assert jobs[0].columns == {"key": "a", "SKU": "7", "prompt": "x", "team": "t"}


def test_a_key_column_that_is_not_there_is_named_with_a_guess(write):
    """A slip in `--key-column` is a fault, not a file without keys."""
    (fault,) = faults_of(write("SKU-No,prompt\n1,x\n"), key_column="sku_np")
    assert (fault.code, fault.hint) == ("missing_column", "did you mean `SKU-No`?")


def test_short_rows_are_filled_and_long_rows_are_faults(write):
    """Empty cells may be left out at the end; a text behind the last column is a slipped separator."""
    path = write("prompt,resolution,team\nx\ny,2k,t,,\nz,2k,t,extra\n")
    workload = open_workload(path)
    assert [job.request.prompt for job in workload.jobs(skip_bad=True)] == ["x", "y"]
    assert [(fault.code, fault.where[-2:]) for fault in workload.faults] == [("broken_row", ":4")]


def test_columns_without_a_name_may_only_be_empty(write):
    """A text under an empty header cannot be a label, so it is a fault; an empty one is nothing."""
    path = write("prompt,,team, \nx,,t,\ny,note,t,\n")
    workload = open_workload(path)
    (job,) = workload.jobs(skip_bad=True)
    assert job.columns == {"prompt": "x", "team": "t"}
    assert [fault.where[-2:] for fault in workload.faults] == [":3"]


def test_the_line_of_a_row_is_where_it_starts(write):
    """Newlines inside quotes and blank rows are counted, and a blank row is no row."""
    path = write('prompt,resolution\n"a\nb",1k\n\n , \nc,8k\n"d\n\ne",9k\n')
    workload = open_workload(path)
    assert [(job.request.prompt, job.line) for job in workload.jobs(skip_bad=True)] == [("a\nb", 2)]
    assert [fault.where.rsplit(":", 1)[1] for fault in workload.faults] == ["6", "7"]


def test_outlines_price_what_the_jobs_price():
    """The fast pass for plans gives the same cells and repairs, in the same order."""
    workload = open_workload(DATA / "lookbook-excel.csv")
    jobs = [(price_cell(job.request), job.repeated) for job in workload.jobs()]
    repairs = workload.repairs
    assert list(workload.outlines()) == jobs
    assert workload.repairs == repairs
    prices = quotes(shipped_prices().entry_at())
    assert sum(prices[cell].credits for cell, _ in workload.outlines()) == 108


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "key": st.sampled_from(("", "", "", "a", " b", "u\u0308", "c")),
                "prompt": st.sampled_from("xy"),
            },
            optional={
                "seed": st.sampled_from((42, 7)),
                "resolution": st.sampled_from(("1k", "4k")),
                "face_reference": REFERENCES,
                "team": st.sampled_from(("", "art", " art", "o\u0308l", "a | b")),
            },
        ),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from(("csv", "jsonl")),
)
def test_outlines_are_jobs_in_short(rows, kind):
    """In a table as in records: the same jobs, faults and repairs, repeated exactly when the picture is."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"rows.{kind}"
        names = ("key", "prompt", "seed", "resolution", "face_reference", "team")
        cells = [[str(row.get(name, "")) for name in names] for row in rows]
        records = "\n".join(map(json.dumps, rows))
        path.write_bytes((table(cells, names) if kind == "csv" else records).encode())
        workload = open_workload(path)
        jobs = list(workload.jobs(skip_bad=True))
        noted = workload.faults, workload.repairs
        outlines = list(workload.outlines(skip_bad=True))
        assert (workload.faults, workload.repairs) == noted
    seen = set()
    expected = []
    for job in jobs:
        picture = canonical(job.request)
        expected.append((price_cell(job.request), picture in seen))
        seen.add(picture)
    assert outlines == expected == [(price_cell(job.request), job.repeated) for job in jobs]


def test_each_pass_starts_anew(write):
    """Faults and repairs are those of the last pass, so a file can be checked first and run then."""
    workload = open_workload(write("key,prompt,num_images\na,x,2.0\nb,y,9\n"))
    for _ in range(2):
        assert len(list(workload.jobs(skip_bad=True))) == 1
        assert len(workload.faults) == 1
        assert [repair.count for repair in workload.repairs] == [1]


def test_a_job_shows_no_prompt():
    """Neither the prompt nor the face of a job reaches a log by way of its repr."""
    job = read_workload(DATA / "lookbook.csv")[1]
    assert "fine-gauge" not in repr(job)
    assert "example.com" not in repr(job)
    assert "look-0002" in repr(job)


def test_what_a_fault_quotes_stays_on_its_line(write):
    """A line end or an escape inside a cell breaks neither the error nor the terminal."""
    (fault,) = faults_of(write('prompt,resolution\nx,"8k\n\x1b[31m"\n'))
    assert "8k" in fault.message
    assert fault.message.isprintable()


def test_memory_grows_by_keys_not_by_rows(tmp_path):
    """Prompts and labels a hundred times as long need no more memory: only keys and digests are kept."""
    import tracemalloc

    peaks = []
    for size in (10, 1000):
        path = tmp_path / f"{size}.csv"
        rows = (f"key-{number},{'p' * size}{number},{'t' * size}" for number in range(5000))
        path.write_text("key,prompt,team\n" + "\n".join(rows))
        tracemalloc.start()
        assert sum(1 for _ in open_workload(path).jobs()) == 5000
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert path.stat().st_size > 10_000_000
    assert peaks[1] < peaks[0] + 4_000_000  # what is read ahead: a chunk of bytes, twice as text
