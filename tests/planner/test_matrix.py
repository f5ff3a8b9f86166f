"""Matrices: expanded as a plain loop would, counted without expanding, and refused before anything is."""

from __future__ import annotations

import shutil
from collections import Counter
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import InputError
from planner.quoting import price_cell
from planner.workload import open_workload, read_workload

DATA = Path(__file__).parents[1] / "data"
SHOOT = """\
workload: 1
products: products.csv
where: {status: active, type: [Denim, Knitwear]}
each:
  pose: [front, back, seated]
  aspect_ratio: ["3:4", 1:1]
  seed: [1, 2]
exclude:
  - {pose: seated, type: Denim}
key: "{Variant SKU}-{pose}-{aspect_ratio}-{seed}"
prompt: "{title}: {body_html} {pose}"
defaults: {resolution: 2k, generation_mode: quality}
labels: {team: ecommerce, type: "{type}"}
"""


def written(folder: Path, text: str, products: str | None = None) -> str:
    """A matrix in a folder, beside its products."""
    if products is None:
        shutil.copy(DATA / "products.csv", folder)
    else:
        (folder / "products.csv").write_text(products, "utf-8")
    (folder / "shoot.yaml").write_text(text, "utf-8")
    return str(folder / "shoot.yaml")


def faults(path: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        read_workload(path)
    return [str(fault).replace(str(Path(path).parent) + "/", "") for fault in caught.value.faults]


def test_a_matrix_is_its_combinations_in_order(tmp_path: Path) -> None:
    """Every combination that is not excluded, the last axis turning fastest, with labels and defaults."""
    jobs = read_workload(written(tmp_path, SHOOT))
    first = [job for job in jobs if job.labels["type"] == "Denim"][:4]
    assert [job.key.split("-", 2)[2] for job in first] == [
        "front-3:4-1", "front-3:4-2", "front-1:1-1", "front-1:1-2",
    ]  # fmt: skip
    assert {(job.labels["type"], job.labels["pose"]) for job in jobs} == {
        *product(("Denim", "Knitwear"), ("front", "back")),
        ("Knitwear", "seated"),
    }
    assert {(job.request.resolution, job.labels["team"]) for job in jobs} == {("2k", "ecommerce")}
    assert all("<" not in job.request.prompt for job in jobs)
    assert jobs[0].where.endswith("shoot.yaml, " + str(tmp_path / "products.csv") + ":4")


def test_a_cell_with_braces_stays_as_it_stands(tmp_path: Path) -> None:
    """What is filled in is never a template, an escaped brace is one brace, and HTML becomes text."""
    text = (
        "workload: 1\nproducts: products.csv\neach: {pose: ['{title}']}\n"
        "prompt: '{{{title}}} {pose} {body_html}'\n"
    )
    path = written(tmp_path, text, "Title,Body (HTML)\n{pose} {0.__class__},<b>A</b> &amp; {title}\n")
    assert read_workload(path)[0].request.prompt == "{{pose} {0.__class__}} {title} A & {title}"


def test_further_rows_of_a_handle_take_what_its_first_row_says(tmp_path: Path) -> None:
    """A shop's export names title and description once for all variants."""
    text = "workload: 1\nproducts: products.csv\nkey: '{variant_sku}'\nprompt: '{title}, {body_html}'\n"
    table = "Handle,Title,Body (HTML),Variant SKU\na,Dress,<p>Red</p>,1\na,,,2\nb,Coat,,3\n"
    jobs = read_workload(written(tmp_path, text, table))
    assert [(job.key, job.request.prompt) for job in jobs] == [
        ("1", "Dress, Red"), ("2", "Dress, Red"), ("3", "Coat, "),
    ]  # fmt: skip


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    """Unknown names, an empty axis, a value of a closed field, a key without an axis: each with its line."""
    text = """\
workload: 1
products: products.csv
where: {statsu: active}
each:
  pose: []
  resolution: [2k, 8k]
  seed: [1, 2]
key: "{variant_sku}-{resolution}"
prompt: "{titel} {"
defaults: {resolutoin: 2k, num_images: 7}
lables: {}
"""
    found = faults(written(tmp_path, text))
    lines = sorted(int(fault.split(":")[1]) for fault in found)
    assert lines == [3, 5, 6, 8, 9, 10, 10, 11]
    assert any("did you mean `status`?" in fault for fault in found)
    assert any("add {seed} to it" in fault for fault in found)


def test_a_value_from_a_product_is_checked_once_and_blamed_on_its_line(tmp_path: Path) -> None:
    """However many jobs a wrong cell would be part of, it is one fault, of the products file."""
    text = (
        "workload: 1\nproducts: products.csv\neach: {seed: [1, 2, 3]}\n"
        "prompt: '{title}'\ndefaults: {resolution: '{size}'}\n"
    )
    (found,) = faults(written(tmp_path, text, "title,size\na,2K\nb,8k\nc,8k\n"))
    assert "products.csv:3: " in found
    assert "`8k`" in found


def test_a_key_that_two_products_share_is_told_once(tmp_path: Path) -> None:
    """Not once for each of their jobs, and with the column that would tell them apart."""
    text = (
        "workload: 1\nproducts: products.csv\neach: {seed: [1, 2, 3]}\n"
        "key: '{kind}-{seed}'\nprompt: '{title}'\n"
    )
    (found,) = faults(written(tmp_path, text, "title,kind,sku\na,x,1\nb,x,2\na,y,3\n"))
    assert "products.csv:3: this product has the key of the one on line 2 (add {sku} to the key)" in found


def test_a_name_has_one_meaning(tmp_path: Path) -> None:
    """An axis that a default or a label repeats, a misspelt axis and an axis `key` are faults."""
    text = """\
workload: 1
each: {seed: [1, 2], resolutoin: [2k], key: [a]}
prompt: "x"
defaults:
  seed: 7
labels:
  num_images: 2
  Seed: 3
"""
    found = faults(written(tmp_path, text))
    assert sorted(int(fault.split(":")[1]) for fault in found) == [2, 2, 2, 7, 8]
    assert any("did you mean `resolution`?" in fault for fault in found)


def test_a_condition_that_never_holds_is_a_fault(tmp_path: Path) -> None:
    """A misspelt exclude would be paid for, and a filter that leaves nothing is no plan."""
    text = """\
workload: 1
products: products.csv
where: {status: Active}
each: {pose: [front, back]}
exclude:
  - {pose: frnt}
prompt: "{title}, {pose}"
"""
    found = faults(written(tmp_path, text))
    assert ["no value of the axis `pose`" in fault for fault in found].count(True) == 1
    assert any("`where` leaves no product" in fault for fault in found)


def test_an_empty_prompt_of_a_product_is_told_once(tmp_path: Path) -> None:
    """A product without a title is one fault however many pictures it would have had."""
    text = "workload: 1\nproducts: products.csv\neach: {seed: [1, 2]}\nprompt: '{title}'\n"
    (found,) = faults(written(tmp_path, text, "title,sku\na,1\n,2\n"))
    assert "products.csv:3: the prompt is empty" in found


def test_what_is_left_out_need_not_be_right(tmp_path: Path) -> None:
    """Products that a filter or an exclude takes away are not checked."""
    text = """\
workload: 1
products: products.csv
where: {on: "1"}
each: {pose: [front]}
exclude: [{kind: old}]
prompt: "{title}, {pose}"
defaults: {resolution: "{size}"}
"""
    path = written(tmp_path, text, "title,size,on,kind\na,2k,1,new\nb,8k,0,new\nc,9k,1,old\n")
    assert [job.request.prompt for job in read_workload(path)] == ["a, front"]


def test_a_matrix_needs_no_products_and_may_come_from_a_pipe(tmp_path: Path, monkeypatch) -> None:
    """Axes alone are a matrix, known by its first word where it has no name."""
    import io
    import sys
    from types import SimpleNamespace

    text = b"# autumn\nworkload: 1\neach:\n  prompt: [a dress, a coat]\n  Aspect Ratio: [16:9, 1:1]\n"
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text)))
    found = [(job.request.prompt, job.request.aspect_ratio) for job in read_workload("-")]
    assert found == [*product(("a dress", "a coat"), ("16:9", "1:1"))]


def _possible(exclude, axes):
    """An exclude with those of its values that the axes have: others are faults."""
    listed = {name: value if isinstance(value, list) else [value] for name, value in exclude.items()}
    found = {name: [v for v in listed[name] if v in axes.get(name, listed[name])] for name in listed}
    return {name: values for name, values in found.items() if values}


VALUES = st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True)


@given(
    st.lists(st.tuples(*[st.sampled_from(["1k", "2k", "4k"])] * 2, st.sampled_from("ab")), max_size=6),
    VALUES,
    st.lists(st.integers(1, 4), min_size=1, max_size=3, unique=True),
    st.lists(
        st.fixed_dictionaries(
            {}, optional={"pose": VALUES, "num_images": st.integers(1, 4), "kind": st.sampled_from("ab")}
        ),
        max_size=3,
    ),
)
@settings(max_examples=60)
def test_cells_are_counted_as_expanding_would_count_them(
    tmp_path_factory: pytest.TempPathFactory, products, poses, counts, excludes
) -> None:
    """The number of jobs in each price cell is the same with and without expanding."""
    import json

    folder = tmp_path_factory.mktemp("matrix")
    table = "size,other,kind\n" + "".join(f"{','.join(row)}\n" for row in products)
    matrix = {
        "workload": 1,
        "products": "products.csv",
        "each": {"pose": poses, "num_images": counts},
        "exclude": [_possible(exclude, {"pose": poses, "num_images": counts}) for exclude in excludes],
        "prompt": "x",
        "defaults": {"resolution": "{size}"},
    }
    workload = open_workload(written(folder, json.dumps(matrix), table))
    expanded = Counter(price_cell(job.request) for job in workload.jobs())
    assert +workload.matrix().cells() == expanded
