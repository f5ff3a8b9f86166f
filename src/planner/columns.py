"""What the columns of a workload file mean: inputs, the key, labels.

Here belong column names and how loosely they may be written. What stands in the cells belongs to
`cells`; which labels a ledger keeps is decided by a policy, not here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Final
from unicodedata import normalize

from planner.errors import Fault, nearest
from planner.request import FIELDS

_GAPS: Final = re.compile(r"[\s_-]+")
_BY_LETTERS: Final[Mapping[str, str]] = {field.replace("_", ""): field for field in FIELDS}


def column_name(text: str) -> str:
    """A column's name as labels and templates use it: lower case, underscores between words.

    >>> column_name(" Cost-Center "), column_name("Notiz")
    ('cost_center', 'notiz')
    """
    return _GAPS.sub("_", normalize("NFC", text).strip().lower()).strip("_")


def input_name(text: str) -> str | None:
    """The input of a request that a column names, in any case and with any gaps between words.

    >>> input_name("Aspect-Ratio"), input_name("numImages "), input_name("mode")
    ('aspect_ratio', 'num_images', None)
    """
    return _BY_LETTERS.get(column_name(text).replace("_", ""))


@lru_cache(maxsize=1024)
def nearly_input(text: str) -> str | None:
    """The input that a column name almost spells; such a column is a slip, not a label.

    Two slips (a letter too many, too few, or two swapped) make a near miss, or one wrong letter, but
    people get the first letter right; in `prompt` and `seed` one slip is the most. `seed` is so short
    that honest words (`speed`, `send`) lie close, so a near miss of it has the same letters or is its
    plural. A word that is only a part of a name, such as `mode` (also German for fashion) or
    `format`, is a name of its own.

    >>> nearly_input("resolutoin"), nearly_input("num_image"), nearly_input("mode")
    ('resolution', 'num_images', None)
    """
    letters = column_name(text).replace("_", "")
    if (
        not letters
        or letters in _BY_LETTERS
        or any(letter.isdigit() for letter in letters.replace("base64", ""))
    ):
        return None
    for known, field in _BY_LETTERS.items():
        if abs(len(letters) - len(known)) > 2 or letters[0] not in known[:2]:
            continue
        slips = _slips(letters, known)
        if len(known) <= 4:
            near = letters == known + "s" or (slips <= 1 and set(letters) == set(known))
        else:
            near = slips <= (2 if len(known) > 6 else 1)
        if near:
            return field
    return None


_WRONG_LETTER: Final = 1.5
"""A wrong letter weighs more than a swapped one: `file reference` is two away from `face reference`."""


def _slips(word: str, known: str) -> float:
    """How many slips of the keyboard lie between two words (optimal string alignment, weighted)."""
    before: list[float] = []
    last = [float(place) for place in range(len(known) + 1)]
    for row, letter in enumerate(word, 1):
        here = [float(row)]
        for place, wanted in enumerate(known, 1):
            wrong = 0.0 if letter == wanted else _WRONG_LETTER
            best = min(last[place] + 1, here[-1] + 1, last[place - 1] + wrong)
            swapped = row > 1 and place > 1 and letter == known[place - 2] and word[row - 2] == wanted
            here.append(min(best, before[place - 2] + 1) if swapped else best)
        before, last = last, here
    return last[-1]


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a file, each with its meaning; columns without a name have none."""

    names: tuple[str, ...]
    """The names as the user wrote them; a column without letters has none: ''."""
    inputs: Mapping[str, int]
    """Where each input stands."""
    key: int | None
    labels: tuple[tuple[str, int], ...]
    """The name of each label, and where it stands."""
    unnamed: tuple[int, ...]
    loose: int
    """How many columns were known as inputs although they are spelled differently."""


def read_columns(names: Sequence[str], key_column: str | None = None) -> tuple[Columns, list[Fault]]:
    """The meaning of a header, and everything that is wrong with it.

    >>> columns, faults = read_columns(["Key", "Prompt", "resolutoin", "team"])
    >>> columns.inputs, columns.key, str(faults[0])
    ({'prompt': 1}, 0, '`resolutoin` is not an input of model-create (did you mean `resolution`?)')
    """
    known = [column_name(name) for name in names]
    faults: list[Fault] = []
    key = _key_place(names, known, key_column, faults)
    key_name = "key" if key is None else known[key]
    inputs: dict[str, int] = {}
    labels: dict[str, int] = {}
    for place, name in enumerate(known):
        field = input_name(name)
        taken, meaning = (inputs, field) if field else (labels, name)
        if place == key or not name or (name == "key" and key_name != "key"):
            continue
        if guess := nearly_input(name):
            faults.append(_near_miss(names[place], guess))
        elif meaning == key_name and key is not None:
            faults.append(_twice(names[key], names[place], "key"))
        elif meaning in taken:
            faults.append(_twice(names[taken[meaning]], names[place], field))
        else:
            taken[meaning] = place
    if "prompt" not in inputs and all(fault.field != "prompt" for fault in faults):
        faults.append(_no_prompt(known))
    unnamed = tuple(place for place, name in enumerate(known) if not name)
    loose = sum(names[place] != field for field, place in inputs.items())
    own = tuple(name if known[place] else "" for place, name in enumerate(names))
    return Columns(own, inputs, key, tuple(labels.items()), unnamed, loose), faults


def _key_place(
    names: Sequence[str], known: Sequence[str], key_column: str | None, faults: list[Fault]
) -> int | None:
    wanted = column_name("key" if key_column is None else key_column)
    if input_name(wanted):
        message = f"the column `{wanted}` is an input of the request, not a key"
        faults.append(Fault("missing_column", message, field="key", hint="choose another column"))
    elif wanted and wanted in known:
        return known.index(wanted)
    elif key_column is not None:
        guess = nearest(wanted, known)
        hint = f"did you mean `{shown(names[known.index(guess)])}`?" if guess else "name a column of the file"
        message = f"there is no column `{shown(key_column)}`"
        faults.append(Fault("missing_column", message, field="key", hint=hint))
    return None


def picked(places: Iterable[int]) -> Callable[[Sequence[str]], tuple[str, ...]]:
    """What takes the cells at those places out of a row, as a tuple however many they are.

    >>> picked([2, 0])(["a", "b", "c"]), picked([1])(["a", "b", "c"]), picked([])(["a"])
    (('c', 'a'), ('b',), ())
    """
    match tuple(places):
        case ():
            return lambda cells: ()
        case (place,):
            return lambda cells: (cells[place],)
        case several:
            return itemgetter(*several)


def one_line(text: str) -> str:
    """A text with spaces for line ends and for all that a terminal would act on."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def shown(text: str) -> str:
    """A text of the file as an error quotes it: short and on one line."""
    line = one_line(text).strip()
    return line if len(line) <= 40 else line[:39] + "…"


def _near_miss(name: str, guess: str) -> Fault:
    message = f"`{shown(name)}` is not an input of model-create"
    return Fault("unknown_field", message, field=guess, hint=f"did you mean `{guess}`?")


def _twice(name: str, first: str, field: str | None) -> Fault:
    message = f"the columns `{shown(first)}` and `{shown(name)}` mean the same"
    return Fault("duplicate_column", message, field=field, hint="keep one of the two")


def _no_prompt(known: Sequence[str]) -> Fault:
    guess = nearest("prompt", known, cutoff=0.6)
    hint = f"is it `{shown(guess)}`?" if guess else "name one column `prompt`"
    return Fault("missing_column", "there is no `prompt` column", field="prompt", hint=hint)
