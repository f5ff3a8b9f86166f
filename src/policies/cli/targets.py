"""Where a workload may be written anew: never over what it is read from.

Here belongs what `expand` and `plan --apply` share about their target; the way to the disk is `writing`'s.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from planner.errors import InputError

if TYPE_CHECKING:
    from planner.workload import Workload


def check_target(workload: Workload, target: Path, flag: str) -> None:
    """Raises `InputError` where a target would take the place of a file that the workload is read from."""
    matrix = workload.matrix()
    for name in (workload.name,) if matrix is None else matrix.files:
        if target.exists() and Path(name).exists() and target.samefile(name):
            hint = "name another file; what is read stays as it is"
            raise InputError(f"`{target}` is what is read", code="bad_file", where=flag, hint=hint)


def check_pictures(workload: Workload, target: Path, flag: str) -> None:
    """Raises `InputError` where the local pictures that a workload names would not lie beside the target."""
    if target.absolute().parent != Path(workload.name).absolute().parent:
        message = "the workload names pictures by where they lie beside it"
        raise InputError(message, code="bad_file", where=flag, hint="write into the same folder")
