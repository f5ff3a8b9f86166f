"""Texts with `{names}` in them, filled in one pass: what is filled in is never looked into again.

Here belongs the form of such a text. Which names there are belongs to whoever fills it in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from planner.columns import column_name

_PART: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_SIGNS: Final = re.compile(r"[\W_]+")


def placeholder(text: str) -> str:
    """A column's name as a template says it.

    >>> placeholder("Body (HTML)"), placeholder("Variant SKU")
    ('body_html', 'variant_sku')
    """
    return _SIGNS.sub("_", column_name(text)).strip("_")


@dataclass(frozen=True, slots=True)
class Template:
    """Pieces of text and the names between them: one piece more than names."""

    pieces: tuple[str, ...]
    names: tuple[str, ...]

    def filled(self, values: Mapping[str, str]) -> Template:
        """The template with those of its names filled in that have a value.

        >>> parse_template("{title}, {pose}").filled({"title": "A {pose} dress"})
        Template(pieces=('A {pose} dress, ', ''), names=('pose',))
        """
        pieces, names = [self.pieces[0]], []
        for name, piece in zip(self.names, self.pieces[1:], strict=True):
            if name in values:
                pieces[-1] += values[name] + piece
            else:
                names.append(name)
                pieces.append(piece)
        return Template(tuple(pieces), tuple(names))

    def text(self, values: Mapping[str, str]) -> str:
        """The whole text; raises `KeyError` for a name without a value.

        >>> parse_template("{{{sku}}}").text({"sku": "NL-1"})
        '{NL-1}'
        """
        rest = "".join(values[name] + piece for name, piece in zip(self.names, self.pieces[1:], strict=True))
        return self.pieces[0] + rest


def parse_template(text: str) -> Template:
    """The template in a text, in which a brace is written twice; raises `ValueError` for a single one."""
    pieces, names, end = [""], list[str](), 0
    for part in _PART.finditer(text):
        pieces[-1] += text[end : part.start()]
        end = part.end()
        if part[1] is not None:
            names.append(placeholder(part[1]))
            pieces.append("")
        elif len(part[0]) == 2:
            pieces[-1] += part[0][0]
        else:
            raise ValueError(f"`{part[0]}` stands alone")
    pieces[-1] += text[end:]
    return Template(tuple(pieces), tuple(names))
