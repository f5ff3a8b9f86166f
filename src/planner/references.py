"""Pictures beside a workload file: references that are paths below its folder.

Here belongs what such a path may be, and reading what lies there: a file of the folder itself, nothing
above or beside it, and a picture by its bytes. How it is sent belongs to `request`. Each file is read
once for its digest, however many rows name it, and its bytes are not kept.
"""

from __future__ import annotations

import os
import re
import stat
from functools import partial
from typing import Final

from planner.request import LocalPicture, PictureChanged

MOST_BYTES: Final = 10_000_000
"""Of one picture. The provider states no limit, and a body it finds too large never heals."""
MOST_PATH_CHARS: Final = 1_000
"""A longer text is no path but a picture without its prefix."""
HINT: Final = "a path is relative to the workload file, such as faces/anna.jpg"

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)
_ABSOLUTE: Final = re.compile(r"/|[a-z]:", re.IGNORECASE)
_HEAD_BYTES: Final = 16
_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class Unusable(Exception):
    """Why a path is no picture of the folder, in words that follow `the face reference`."""


def is_path(text: str) -> bool:
    """Whether a reference is meant as a file: it has no scheme, and is short enough for a name.

    >>> [is_path(text) for text in ("faces/anna.jpg", "https://x.de/a.png", "data:image/png;base64,AA==")]
    [True, False, False]
    """
    return len(text) <= MOST_PATH_CHARS and _SCHEME.match(text) is None


class Folder:
    """The pictures below one folder; None where the workload has no folder."""

    def __init__(self, folder: str | None) -> None:
        self._folder = folder
        self._found: dict[str, LocalPicture] = {}

    def known(self, text: str) -> LocalPicture | None:
        """The picture that was found under that very path before."""
        return self._found.get(text)

    def find(self, text: str) -> LocalPicture:
        """The picture at a path; raises `Unusable` where there is none that may be sent."""
        path = self._inside(text)
        data = _read(path)
        picture = LocalPicture.of(_kind(data), data, partial(_read_again, path))
        self._found[text] = picture
        return picture

    def _inside(self, text: str) -> str:
        """The real path of a file of the folder, whatever links lead to it."""
        path = text.replace("\\", "/")
        if _ABSOLUTE.match(path):
            raise Unusable("is an absolute path")
        if ".." in path.split("/"):
            raise Unusable("leads out of the folder of the workload")
        if self._folder is None:
            raise Unusable("is a path, and what comes from standard input has no folder")
        root = os.path.realpath(self._folder)
        try:
            found = os.path.realpath(os.path.join(root, path))
        except (OSError, ValueError):
            raise Unusable(_NOTHING) from None
        if os.path.commonpath([root, found]) != root:
            raise Unusable("leads out of the folder of the workload")
        return found


_NOTHING: Final = "is neither an image URL, base64 with its prefix, nor a file below the workload's folder"


def _read(path: str) -> bytes:
    """All of a regular file that is not too large; a pipe or a device is never waited for."""
    try:
        file = os.open(path, _FLAGS)
    except (OSError, ValueError) as error:
        raise Unusable("cannot be read" if isinstance(error, PermissionError) else _NOTHING) from None
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise Unusable(_NOTHING)
        with os.fdopen(file, "rb", closefd=False) as stream:
            head = stream.read(_HEAD_BYTES)
            _kind(head)
            data = head + stream.read(MOST_BYTES + 1 - len(head))
    finally:
        os.close(file)
    if len(data) > MOST_BYTES:
        raise Unusable(f"is larger than {MOST_BYTES // 1_000_000} MB")
    return data


def _kind(data: bytes) -> str:
    """The media type by the first bytes, whatever the file is called.

    >>> _kind(b"\\xff\\xd8\\xff\\xe0"), _kind(b"RIFF\\x10\\x00\\x00\\x00WEBPVP8 ")
    ('image/jpeg', 'image/webp')
    """
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    raise Unusable("is a file that is no PNG, JPEG or WebP picture")


def _read_again(path: str) -> bytes:
    try:
        return _read(path)
    except Unusable:
        raise PictureChanged("a picture of this row is not there any more") from None
