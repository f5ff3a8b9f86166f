"""Plain values written as YAML that is read again as the very same values.

Here belongs the text of a policy that was laid together from several files: what a ledger keeps and
`planner policy show` prints. How the files are laid together belongs to `extending`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import lru_cache
from textwrap import indent
from typing import Any, Final

from planner.documents import plain_scalar
from policies.document import SECTIONS, PolicyShape
from policies.extending import Merged

_WIDTH: Final = 1_000_000
"""Lines are not folded, because a folded text is hard to compare."""


def merged_text(merged: Merged) -> str:
    """The policy as one YAML text; a comment at each part says where it came from."""
    names = " and ".join(_comment(source.shown) for source in merged.sources[1:])
    extends = f", which extends {names}" if names else ", with the profile that it names"
    lines = [f"# {_comment(merged.sources[0].shown)}{extends}"]
    for key in PolicyShape.model_fields:
        if key in merged.data:
            lines += _part(merged, key, merged.data[key])
    return "\n".join(lines) + "\n"


def written(data: Any) -> str:
    """Plain values as YAML; what a scalar is read as again is asked of the reader itself.

    >>> print(written({"name": "1e3", "when": {"credits": {"above": 4}, "resolution": ["2k", "4k"]}}))
    name: '1e3'
    when:
      credits: {above: 4}
      resolution: [2k, 4k]
    """
    import yaml

    text: str = yaml.dump(
        data, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=_WIDTH, default_flow_style=None
    )
    return text.removesuffix("\n").removesuffix("\n...")


def _part(merged: Merged, key: str, value: Any) -> Iterator[str]:
    if key in SECTIONS and value:
        yield f"{key}:"
        for place, entry in enumerate(value):
            yield f"  # {_comment(merged.told(key, place))}"
            yield indent(written([entry]), "  ")
    elif key in ("labels", "conditions") and value:
        yield f"{key}:"
        for name, part in value.items():
            yield f"  # {_comment(merged.told(key, name))}"
            yield indent(written({name: part}), "  ")
    else:
        yield f"{written({key: value})}  # {_comment(merged.told(key))}"


def _comment(text: str) -> str:
    """A file's name as it may stand in a comment."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


_TAGS: Final[Mapping[type, str]] = {
    type(None): "tag:yaml.org,2002:null",
    bool: "tag:yaml.org,2002:bool",
    int: "tag:yaml.org,2002:int",
    Decimal: "tag:yaml.org,2002:float",
    str: "tag:yaml.org,2002:str",
}


@lru_cache(maxsize=1)
def _dumper() -> Any:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Quotes what would otherwise be read as something else, by our rules instead of YAML 1.1."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
            return super().increase_indent(flow, indentless=False)

        def serialize(self, node: Any) -> None:
            if isinstance(node, yaml.CollectionNode):
                node.flow_style = False
            super().serialize(node)

        def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
            if kind is not yaml.ScalarNode:
                return super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
            return _TAGS[type(plain_scalar(value)) if implicit[0] else str]

    Dumper.add_representer(str, lambda dumper, text: dumper.represent_scalar(_TAGS[str], text))
    Dumper.add_representer(
        Decimal, lambda dumper, number: dumper.represent_scalar(_TAGS[Decimal], decimal_text(number))
    )
    return Dumper


def decimal_text(number: Decimal) -> str:
    """A decimal as it is read again exactly, its zeros included.

    >>> [decimal_text(Decimal(text)) for text in ("0.10", "1.", "1e3")]
    ['0.10', '1e0', '1E+3']
    """
    text = str(number)
    if isinstance(plain_scalar(text), Decimal):
        return text
    # A whole number would be read as an integer, and a very long one as text.
    sign, digits, exponent = number.as_tuple()
    return f"{'-' * sign}{''.join(map(str, digits))}e{exponent}"
