"""`planner run` with faces that are files beside the workload: sent as what they hold, kept nowhere."""

from base64 import b64encode
from io import BytesIO

import pytest
from PIL import Image

from planner.request import LocalPicture, ModelCreateRequest
from policies.guard.batch import Line
from policies.ledger.states import State
from tests.policies.cli.processes import planner
from tests.policies.cli.test_run import entries, folder, run, run_words, shared
from tests.policies.guard.stage import stage

__all__ = ["folder", "shared"]


def picture(colour):
    found = BytesIO()
    Image.new("RGB", (8, 8), colour).save(found, "PNG")
    return found.getvalue()


@pytest.fixture
def shoot(folder):
    """Three looks of two faces, one of them under two names."""
    (folder / "faces").mkdir()
    for name, colour in (("anna", "teal"), ("again", "teal"), ("ben", "navy")):
        (folder / "faces" / f"{name}.png").write_bytes(picture(colour))
    rows = "".join(f"{name},a coat,faces/{name}.png,2k,fast\n" for name in ("anna", "again", "ben"))
    (folder / "looks.csv").write_text("key,prompt,face_reference,resolution,generation_mode\n" + rows)
    return folder


def test_faces_beside_the_file_are_sent_and_leave_no_trace_in_the_ledger(shoot, shared):
    """Priced as faces, paid once; neither a path nor a byte nor its digest is in the ledger."""
    code, document = run(shoot, shared)
    assert (code, document["credits"]["settled"]) == (0, 15)
    found = {entry.key: entry for entry in entries(shoot)}
    assert all(entry.face_reference is True for entry in found.values())
    assert found["anna"].asked_mac == found["again"].asked_mac != found["ben"].asked_mac
    kept = b"".join(path.read_bytes() for path in shoot.glob("spend.db*") if path.is_file())
    for private in (b"faces/anna", b"sha256", b64encode(picture("teal"))[:40], b"image/png"):
        assert private not in kept
    code, document = run(shoot, shared)
    assert (code, document["reused"], document["credits"]["this_run"]) == (0, 3, 0)


def test_a_retouched_face_is_another_request(shoot, shared):
    """Its row conflicts like any changed row, and `--retake changed` makes it."""
    run(shoot, shared)
    (shoot / "faces" / "ben.png").write_bytes(picture("red"))
    assert run(shoot, shared)[1]["failed"] == 1
    code, document = run(shoot, shared, "--retake", "changed")
    assert (code, [(item["key"], item["take"]) for item in document["retakes"]]) == (0, [("ben", 2)])


def test_a_path_that_may_not_be_sent_stops_the_file(shoot, shared):
    """Every such row is told with its line, before anything is sent."""
    accepted = shared.bill()["accepted"]
    with (shoot / "looks.csv").open("a") as file:
        file.write("x,a coat,../secret.png,2k,fast\ny,a coat,/etc/passwd,2k,fast\n")
    code, _, err = planner(shoot, *run_words(shared))
    assert code == 2
    assert "looks.csv:5: the face reference leads out of the folder" in err
    assert "looks.csv:6: the face reference is an absolute path" in err
    assert "secret" not in err
    assert shared.bill()["accepted"] == accepted


def test_a_face_that_changes_under_a_run_stops_its_row_before_anything_is_held(tmp_path):
    """What was decided is sent or nothing: no entry, no credit, and the other rows go."""
    good = LocalPicture.of("image/png", picture("teal"), lambda: picture("teal"))
    bad = LocalPicture.of("image/png", picture("teal"), lambda: picture("red"))
    lines = [
        Line(key, ModelCreateRequest(prompt=key, face_reference=face))
        for key, face in (("good", good), ("bad", bad))
    ]
    with stage(tmp_path) as found:
        assert found.run(lines).exit_code == 1
        assert [line.ending.value for line in lines] == ["completed", "failed"]
        assert "was changed since the file was read" in lines[1].reason
        assert [(entry.key, entry.state) for entry in found.entries()] == [("good", State.SETTLED)]
        assert found.handle.bill().credits == 4
