"""The second, independent reading of the price page."""

import csv
from pathlib import Path

import pytest

from policies.server.sandbox.loading import shipped_provider

TABLE = Path(__file__).parents[2] / "data" / "credits.csv"
ROWS = list(csv.DictReader(TABLE.read_text(encoding="utf-8").splitlines()))


def inputs_of(row):
    """The inputs that a row of the table stands for."""
    inputs = {name: row[name] for name in ("generation_mode", "resolution") if row[name]}
    if row["face_reference"] == "yes":
        inputs["face_reference"] = "https://example.com/face.png"
    if row["num_images"]:
        inputs["num_images"] = int(row["num_images"])
    return inputs


def test_the_table_is_complete():
    """All 4 modes, 4 resolutions, 2 faces and 5 counts, omissions included, are rows of the table."""
    assert len({tuple(inputs_of(row).items()) for row in ROWS}) == 160


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(row.values()))
def test_every_row_is_charged_as_the_table_says(row, body):
    """The debit, the header of the finished prediction and the bill are all the credits of the row."""
    provider = shipped_provider(balance_credits=40)
    id = provider.run(body(**inputs_of(row)), "Bearer k", 0.0).accepted
    assert 40 - provider.credits("Bearer k", 0.0).json()["credits"]["total"] == int(row["credits"])
    done = provider.status(id, "Bearer k", provider.ends_seconds(id))
    assert done.headers["x-fashn-credits-used"] == row["credits"]
    assert provider.output(id, 0, provider.ends_seconds(id)).mode == row["billed_mode"]
    assert provider.bill(1e6).credits == int(row["credits"])
