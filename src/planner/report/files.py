"""Writing a report to a file, wholly or not at all.

Here belongs the way to the disk. What is written belongs to `tables` and to whoever makes the rows.
"""

from __future__ import annotations

import os
from pathlib import Path


def write_atomically(path: Path, content: str | bytes) -> None:
    """Put a text (as UTF-8) or bytes into a file; a reader sees the old content or the new, never a part.

    Raises `OSError` that names `path`. A device or pipe, such as `/dev/stdout`, is written to as it is.
    """
    target = path.resolve()
    data = content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace")
    try:
        if target.exists() and not target.is_file():
            target.write_bytes(data)
        else:
            _replace(target, data)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def _replace(target: Path, data: bytes) -> None:
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
