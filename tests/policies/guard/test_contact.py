"""The contact sheet: every picture beside its row, everything escaped, nothing fetched from elsewhere."""

from html.parser import HTMLParser
from urllib.parse import unquote

from policies.guard.contact import page, write_page
from policies.guard.results import Record

HOSTILE = """</style><script>alert("x")</script>' onerror='alert(1)"""


def record(key="look-1", state="completed", files=("a b/look-1-1.png",), **columns):
    return Record(key, state, 4, False, list(files), "", [], {}, {"Prompt": "a linen dress", **columns})


class Page(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def test_every_picture_is_shown_from_its_file_with_a_text():
    """The address is relative and written as one; the text says what is seen, and which of several."""
    found = Page(page("main", [record(files=["a b/look#1.png", "two.jpeg"])]))
    images = found.all("img")
    assert [unquote(image["src"]) for image in images] == ["a b/look#1.png", "two.jpeg"]
    assert [image["alt"] for image in images] == ["a linen dress (1 of 2)", "a linen dress (2 of 2)"]


def test_nothing_of_the_users_becomes_markup():
    """Keys, prompts, reasons, shoots and file names are text and nothing else."""
    bad = Record(HOSTILE, "failed", 0, False, [HOSTILE], HOSTILE, [], {}, {"prompt": HOSTILE})
    found = Page(page(HOSTILE, [bad]))
    assert found.all("script") == []
    assert len(found.all("style")) == 1
    assert not any("onerror" in attributes for _, attributes in found.elements)
    assert found.text.count(HOSTILE) == 5


def test_the_page_needs_nothing_from_elsewhere():
    """No script, no style sheet, no font and no address of another host."""
    text = page("main", [record(), record("look-2", "failed", ())])
    found = Page(text)
    assert found.all("script") == found.all("link") == []
    assert "http" not in text
    assert "@import" not in text
    assert "prefers-color-scheme: dark" in text


def test_rows_can_be_shown_by_state():
    """One box for each state that there is, and the sums over all rows."""
    found = Page(page("main", [record(), record("look-2", "needs_approval", ()), record("look-3")]))
    assert [box["id"] for box in found.all("input")] == ["show-completed", "show-needs_approval"]
    assert [figure["class"] for figure in found.all("figure")] == ["completed", "needs_approval", "completed"]
    assert "3 jobs · 2 pictures · 12 credits charged" in found.text


def test_the_page_is_written_beside_the_pictures(tmp_path):
    """Lone surrogates of a broken file do not stop it."""
    write_page(tmp_path, "main", [record(note="x", Prompt="broken \udc80 text")])
    assert "broken   text" in (tmp_path / "contact.html").read_text("utf-8")
