"""Pictures on their way home: names that are safe everywhere, whole files or none, and no key in sight."""

import asyncio
import threading
from base64 import b64encode
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from planner.errors import InputError
from policies.guard.batch import Line, name_pictures
from policies.guard.naming import Names, Template, safe_name
from policies.guard.pictures import PictureFolder, is_complete, kind_of, write_whole


def picture(kind):
    found = BytesIO()
    Image.new("RGB", (8, 8), "teal").save(found, kind)
    return found.getvalue()


PNG, JPEG = picture("PNG"), picture("JPEG")


# -- names -----------------------------------------------------------------------------------------


@given(st.text(max_size=400))
def test_a_safe_name_is_safe_on_every_system(text):
    """Visible, of one folder, not reserved, not too long, and never a way up or out."""
    name = safe_name(text)
    assert name
    assert len(name.encode()) <= 200
    assert not set(name) & set('<>:"/\\|?*')
    assert not any(category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp") for letter in name)
    assert name.strip(" .") == name
    assert name.split(".")[0].strip().lower() not in {"con", "prn", "aux", "nul", "com1", "lpt9"}
    assert safe_name(name) == name


@pytest.mark.parametrize(
    ("template", "values", "name"),
    [
        ("{sku}/{key}-{n}", {"sku": "SW-1", "key": "a", "n": "2"}, "SW-1/a-2"),
        ("{sku}/{key}-{n}", {"key": "a", "n": "2"}, "a-2"),
        ("{sku}_{team}-{key}-{n}", {"sku": "S", "key": "a", "n": "1"}, "S-a-1"),
        ("{team}-{key}-{n}", {"team": " ", "key": "a", "n": "1"}, "a-1"),
        ("{key}-{n}-{team}", {"key": "a", "n": "1"}, "a-1"),
        ("look {key}", {"key": "a", "n": "3"}, "look a-3"),
        ("../{key}-{n}", {"key": "../../etc/passwd", "n": "1"}, "_/_.._etc_passwd-1"),
        ("{SKU}-{n}", {"sku": "CON", "n": "1"}, "CON-1"),
        ("{sku}/{n}", {"sku": "aux", "n": "1"}, "_aux/1"),
        ("{key}", {"key": "nul\u202e\x00", "n": "1"}, "nul__-1"),
    ],
)
def test_a_template_leaves_out_what_is_empty_and_lets_nothing_escape(template, values, name):
    """Separators go with an empty column, and a value never makes a folder of its own."""
    assert Template.parse(template, ["sku", "team"]).name(values) == name


@pytest.mark.parametrize("text", ["{", "{key!r}", "{n:03}", "}"])
def test_a_template_that_cannot_be_read_is_refused(text):
    """Only plain names stand in braces."""
    with pytest.raises(InputError, match="is not a name template"):
        Template.parse(text)


def test_every_unknown_name_is_told_at_once_with_a_suggestion():
    """A misspelt column is a fault before anything is sent."""
    with pytest.raises(InputError) as caught:
        Template.parse("{skuu}-{kye}", ["sku"])
    assert [fault.hint for fault in caught.value.faults] == [
        "did you mean `{sku}`?",
        "did you mean `{key}`?",
    ]


def test_names_that_differ_in_case_only_get_a_number():
    """Two rows never write the same file, not even where a system takes both for one."""
    lines = [Line("A", columns={"sku": "Straße"}), Line("B", columns={"sku": "STRASSE"}, images=2)]
    name_pictures(lines, Template.parse("{sku}-{n}", ["sku"]), "main", {})
    assert [line.names for line in lines] == [("Straße-1",), ("STRASSE-1~2", "STRASSE-2")]


def test_a_key_keeps_the_names_it_has_had():
    """What earlier results call a picture stays its name, whatever the template says now."""
    lines = [Line("new"), Line("old")]
    name_pictures(lines, Template.parse("pic-{n}"), "main", {"old": ["pic-1"]})
    assert [line.names for line in lines] == [("pic-1~2",), ("pic-1",)]


def test_a_number_behind_a_name_is_free_itself():
    """A suffix never runs into a name that somebody has already."""
    assert Names(["a~2"]).take(["a", "a", "A"]) == ("a", "a~3", "A~4")


# -- bytes -----------------------------------------------------------------------------------------


def test_the_kind_of_a_picture_is_told_by_its_bytes():
    """PNG and JPEG are known; a page, nothing, and a PNG without its end are no pictures."""
    assert (kind_of(PNG), kind_of(JPEG)) == ("png", "jpeg")
    assert [kind_of(data) for data in (b"", b"<html>", PNG[:-20], b"GIF89a")] == [None] * 4


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    """It replaces what was there, makes its folders, and leaves nothing else behind."""
    path = tmp_path / "a" / "look.png"
    write_whole(path, PNG[:-20])
    assert not is_complete(path)
    write_whole(path, PNG)
    assert is_complete(path)
    assert [found.name for found in path.parent.iterdir()] == ["look.png"]


# -- the way home ----------------------------------------------------------------------------------


class Shelf(BaseHTTPRequestHandler):
    """A store of files that answers each path with a list of answers, the last one for ever."""

    def do_GET(self):
        self.server.seen.append(dict(self.headers))
        answers = self.server.answers[self.path]
        status, body, length = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        if length is not None:  # None: the end of the connection is the end of the picture
            self.send_header("content-length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_):
        pass


@contextmanager
def shelf(**answers):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Shelf)
    server.seen, server.answers = [], {f"/{name}": [*found] for name, found in answers.items()}
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def bring(folder, outputs, names, **options):
    async def run():
        pictures = PictureFolder(folder, speed=200.0)
        try:
            return await pictures.bring(outputs, names, **{"beside": "http://127.0.0.1", **options})
        finally:
            await pictures.close()

    return asyncio.run(run())


def test_pictures_come_home_without_the_api_key(tmp_path):
    """The bytes are those of the store, the ending is that of the bytes, and no key was sent."""
    with shelf(x=[(200, PNG, 0)], y=[(200, JPEG, 0)]) as (server, url):
        brought = bring(tmp_path, [f"{url}/x", f"{url}/y"], ["a/one", "two"])
    assert brought.files == ["a/one.png", "two.jpeg"]
    assert (tmp_path / "a" / "one.png").read_bytes() == PNG
    assert not any("authorization" in map(str.lower, headers) for headers in server.seen)


def test_base64_outputs_are_decoded(tmp_path):
    """A `data:` text is a picture like any other; one that is damaged is not written."""
    good = "data:image/jpeg;base64," + b64encode(JPEG).decode()
    brought = bring(tmp_path, [good, "data:image/png;base64,%%%"], ["one", "two"])
    assert (brought.files, brought.missing) == (["one.jpeg"], 1)
    assert (tmp_path / "one.jpeg").read_bytes() == JPEG


def test_a_passing_failure_is_tried_again(tmp_path):
    """A 503, a page instead of a picture and a cut answer come before the picture: it is home."""
    answers = [(503, b"busy", 0), (200, b"<html>", 0), (200, PNG[:30], len(PNG)), (200, PNG, 0)]
    with shelf(x=answers) as (server, url):
        brought = bring(tmp_path, [f"{url}/x"], ["one"])
    assert brought.files == ["one.png"]
    assert len(server.seen) == 4
    assert (tmp_path / "one.png").read_bytes() == PNG


def test_a_picture_that_nobody_says_the_length_of_must_show_its_end(tmp_path):
    """Cut off without a length it is fetched again, as PNG and as JPEG; whole it is home."""
    x, y = [(200, JPEG[:-40], None), (200, JPEG, None)], [(200, PNG[:-8], None), (200, PNG, None)]
    with shelf(x=x, y=y) as (server, url):
        brought = bring(tmp_path, [f"{url}/x", f"{url}/y"], ["one", "two"])
    assert brought.files == ["one.jpeg", "two.png"]
    assert len(server.seen) == 4
    assert [(tmp_path / name).read_bytes() for name in brought.files] == [JPEG, PNG]


def test_what_has_expired_is_gone_and_what_never_comes_whole_is_missing(tmp_path):
    """Both are told apart, and neither leaves a file."""
    with shelf(x=[(404, b"", 0)], y=[(200, PNG[:30], len(PNG))]) as (_, url):
        brought = bring(tmp_path, [f"{url}/x", f"{url}/y"], ["one", "two"])
    assert (brought.files, brought.gone, brought.missing) == ([], 1, 1)
    assert not list(tmp_path.iterdir())


def test_what_is_home_is_not_fetched_again_unless_it_is_another_take(tmp_path):
    """With `keep` a whole file stays; without it the new picture replaces the old one."""
    write_whole(tmp_path / "one.png", PNG)
    with shelf(x=[(200, JPEG, 0)]) as (server, url):
        assert bring(tmp_path, [f"{url}/x"], ["one"], keep=True).files == ["one.png"]
        assert server.seen == []
        assert bring(tmp_path, [f"{url}/x"], ["one"]).files == ["one.jpeg"]


def test_a_folder_that_cannot_be_written_is_told_in_one_line(tmp_path):
    """The picture is missing, not gone, and the error names the file."""
    (tmp_path / "pictures").write_text("in the way")
    output = "data:image/png;base64," + b64encode(PNG).decode()
    brought = bring(tmp_path / "pictures", [output], ["one"])
    assert brought.missing == 1
    assert (brought.unwritable.faults[0].code, brought.unwritable.exit_code) == ("unwritable", 3)
    assert "one.png" in str(brought.unwritable)
