"""Pictures beside a workload file: what a path may be, and that a request speaks of the content."""

import io
import json
import os
import sys
from base64 import b64decode

import pytest

from planner import quote
from planner.errors import InputError
from planner.references import MOST_BYTES
from planner.request import PictureChanged, canonical, fingerprint
from planner.workload import open_workload, read_workload

PNG, JPEG = b"\x89PNG\r\n\x1a\n one face", b"\xff\xd8\xff\xe0 another face"
WEBP = b"RIFF\x10\x00\x00\x00WEBPVP8 a third"


@pytest.fixture
def folder(tmp_path):
    """A shoot with a workload's folder in it, and a picture outside that folder."""
    found = tmp_path / "shoot"
    (found / "faces").mkdir(parents=True)
    (found / "faces" / "anna.jpg").write_bytes(JPEG)
    (found / "faces" / "copy.png").write_bytes(JPEG)
    (found / "faces" / "ben").write_bytes(PNG)
    (found / "pose.webp").write_bytes(WEBP)
    (tmp_path / "private.png").write_bytes(PNG)
    return found


def table(folder, *faces, more=""):
    path = folder / "looks.csv"
    rows = "".join(f"look-{place},a dress,{face}{more}\n" for place, face in enumerate(faces))
    path.write_text(
        "key,prompt,face_reference,resolution\n" + rows if more else "key,prompt,face_reference\n" + rows
    )
    return path


def sent(request):
    return json.loads(request.body())["inputs"]


@pytest.mark.parametrize(
    ("path", "kind", "data"),
    [
        ("faces/anna.jpg", "image/jpeg", JPEG),
        ("./faces/anna.jpg", "image/jpeg", JPEG),
        ("faces\\anna.jpg", "image/jpeg", JPEG),
        (" faces/anna.jpg ", "image/jpeg", JPEG),
        ("faces/copy.png", "image/jpeg", JPEG),
        ("faces/ben", "image/png", PNG),
        ("pose.webp", "image/webp", WEBP),
    ],
)
def test_a_path_is_sent_as_the_picture_that_lies_there(folder, path, kind, data):
    """As base64 with the prefix of what its bytes are, whatever it is called; the price is that of a face."""
    (job,) = read_workload(table(folder, path))
    prefix, base64 = sent(job.request)["face_reference"].split(",")
    assert (prefix, b64decode(base64)) == (f"data:{kind};base64", data)
    assert quote(job.request).credits == 4
    assert job.columns["face_reference"] == path


def test_a_pose_may_be_a_path_too_and_json_lines_as_well(folder):
    """Both references of a record are read."""
    path = folder / "looks.jsonl"
    record = {"prompt": "x", "face_reference": "faces/anna.jpg", "image_reference": "pose.webp"}
    path.write_text(json.dumps(record) + "\n")
    (job,) = read_workload(path)
    inputs = sent(job.request)
    assert inputs["face_reference"].startswith("data:image/jpeg;base64,")
    assert inputs["image_reference"].startswith("data:image/webp;base64,")


def test_a_request_is_known_by_what_is_in_the_picture(folder):
    """The same bytes under two names are one request, changed bytes another, and no path is in it."""
    same, copy, other = read_workload(table(folder, "faces/anna.jpg", "faces/copy.png", "faces/ben"))
    assert fingerprint(same.request) == fingerprint(copy.request) != fingerprint(other.request)
    assert (same.repeated, copy.repeated, other.repeated) == (False, True, False)
    (folder / "faces" / "anna.jpg").write_bytes(JPEG + b" retouched")
    changed, *_ = read_workload(table(folder, "faces/anna.jpg"))
    assert fingerprint(changed.request) != fingerprint(same.request)
    assert b"anna" not in canonical(same.request)
    assert "anna" not in repr(same) + repr(same.request)


def test_the_key_of_a_row_stands_for_the_content(folder):
    """The same key with another picture is a fault of the file, with a copy of it the same job."""
    path = folder / "looks.csv"
    head, row = "key,prompt,face_reference\n", "k,x,faces/{}\n"
    path.write_text(head + row.format("anna.jpg") + row.format("copy.png"))
    assert len(read_workload(path)) == 1
    path.write_text(head + row.format("anna.jpg") + row.format("ben"))
    with pytest.raises(InputError, match="stands on line 2 with a different request"):
        read_workload(path)


def test_rows_share_one_picture_and_hold_none_of_it(folder):
    """Ten thousand rows have one value of a few letters, not ten thousand faces."""
    (folder / "faces" / "anna.jpg").write_bytes(JPEG + bytes(500_000))
    jobs = read_workload(table(folder, *["faces/anna.jpg"] * 10_000))
    first = jobs[0].request.face_reference
    assert all(job.request.face_reference is first for job in jobs)
    assert len(first) < 100
    assert len(sent(jobs[-1].request)["face_reference"]) > 600_000


def test_a_plan_and_the_jobs_tell_the_same(folder):
    """Outlines price rows with a path as rows with a face, and know which repeat."""
    workload = open_workload(table(folder, "faces/anna.jpg", "faces/copy.png", "https://x.de/a.png", ""))
    cells = [cell for cell, _ in workload.outlines()]
    assert cells[0] == cells[1] == cells[2] != cells[3]
    assert [repeated for _, repeated in workload.outlines()] == [False, True, False, False]


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/etc/passwd", "is an absolute path"),
        ("\\\\server\\faces\\a.png", "is an absolute path"),
        ("C:\\faces\\a.png", "is an absolute path"),
        ("../private.png", "leads out of the folder of the workload"),
        ("faces/../../private.png", "leads out of the folder of the workload"),
        ("faces/link.png", "leads out of the folder of the workload"),
        ("linked/private.png", "leads out of the folder of the workload"),
        ("faces/nobody.png", "nor a file below the workload's folder"),
        ("faces", "nor a file below the workload's folder"),
        ("faces/pipe.png", "nor a file below the workload's folder"),
        ("faces/a\0b.png", "nor a file below the workload's folder"),
        ("looks.jsonl", "is a file that is no PNG, JPEG or WebP picture"),
        ("faces/empty.png", "is a file that is no PNG, JPEG or WebP picture"),
        ("faces/huge.png", "is larger than 10 MB"),
        ("ftp://x.de/a.png", "is neither an image URL nor base64 with its prefix"),
        ("file:///etc/passwd", "is neither an image URL nor base64 with its prefix"),
    ],
)
def test_what_may_not_be_sent_is_a_fault_of_its_row(folder, path, problem):
    """With its line and field, without quoting what stands there; nothing outside the folder is read."""
    (folder / "faces" / "link.png").symlink_to("../../private.png")
    (folder / "linked").symlink_to("..")
    os.mkfifo(folder / "faces" / "pipe.png")
    (folder / "faces" / "empty.png").write_bytes(b"")
    (folder / "faces" / "huge.png").write_bytes(PNG + bytes(MOST_BYTES))
    file = folder / "looks.jsonl"
    file.write_text(json.dumps({"prompt": "x", "face_reference": path}) + "\n")
    with pytest.raises(InputError) as caught:
        read_workload(file)
    (fault,) = caught.value.faults
    assert fault.message.endswith(problem)
    assert (fault.where, fault.field) == (f"{file}:1", "face_reference")
    assert path not in fault.message


def test_a_link_inside_the_folder_and_exactly_the_most_bytes_are_fine(folder):
    """What matters is where a link leads; the stated size is still sent."""
    (folder / "faces" / "link.png").symlink_to("ben")
    (folder / "faces" / "large.png").write_bytes((PNG + bytes(MOST_BYTES))[:MOST_BYTES])
    assert len(read_workload(table(folder, "faces/link.png", "faces/large.png"))) == 2


def test_all_faults_of_all_rows_are_told_at_once(folder):
    """A bad path hides no other fault of its row, and no other row."""
    path = folder / "looks.csv"
    path.write_text(
        "key,prompt,face_reference,image_reference,resolution\n"
        "a,x,../private.png,/etc/passwd,8k\n"
        "b,,faces/anna.jpg,,\n"
        "c,x,nobody.png,,\n"
    )
    with pytest.raises(InputError) as caught:
        read_workload(path)
    found = [(fault.where.rpartition(":")[2], fault.field) for fault in caught.value.faults]
    assert found == [
        ("2", "image_reference"),
        ("2", "face_reference"),
        ("2", "resolution"),
        ("3", "prompt"),
        ("4", "face_reference"),
    ]


def test_standard_input_has_no_folder(folder, monkeypatch):
    """A path from a pipe is a fault, whatever lies in the working folder."""
    monkeypatch.chdir(folder)
    data = b"prompt,face_reference\nx,faces/anna.jpg\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    with pytest.raises(InputError, match="what comes from standard input has no folder"):
        read_workload("-")


@pytest.mark.parametrize("change", ["retouched", "gone", "linked away"])
def test_what_is_sent_is_what_was_asked_about(folder, change):
    """A picture that was changed, taken away or led elsewhere since then is not sent."""
    (job,) = read_workload(table(folder, "faces/ben"))
    held = job.request.held()
    path = folder / "faces" / "ben"
    path.unlink()
    if change == "retouched":
        path.write_bytes(PNG + b"!")
    elif change == "linked away":
        path.symlink_to("anna.jpg")
    for act in (job.request.body, job.request.held):
        with pytest.raises(PictureChanged):
            act()
    assert b64decode(sent(held)["face_reference"].partition(",")[2]) == PNG
    assert (held, fingerprint(held)) == (job.request, fingerprint(job.request))
