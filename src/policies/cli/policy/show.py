"""`planner policy show`: a policy as it counts, with all that it extends.

Here belongs printing it. How files are laid over each other belongs to `policies.extending`, and the
text of what they come to to `policies.writing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from policies.cli.output import emit_json, example, json_option, say

if TYPE_CHECKING:
    from policies.engine import Policy


@click.command(
    epilog=example("planner policy show studio.yaml", "planner policy show starter --json"),
)
@click.argument("file", metavar="FILE|NAME")
@json_option
def command(file: str, as_json: bool) -> None:
    """The policy in a file, or the shipped one of that name, with all that it extends.

    The result stands by itself: read as a policy it is the very same one, with the same digest.
    """
    from policies.loading import extended, load_policy

    policy = load_policy(file)
    if as_json:
        emit_json("policy-show", _document(policy, extended(file)))
    else:
        say(policy.text.removesuffix("\n"))


def _document(policy: Policy, extends: Sequence[str]) -> dict[str, Any]:
    """Decimals stand as text; the digest is SHA-256 over `document` with sorted keys and no spaces."""
    import json

    from planner.documents import read_yaml

    data = read_yaml(policy.text, policy.name).data
    return {
        "name": policy.name,
        "digest": policy.digest,
        "extends": list(extends),
        "document": json.loads(json.dumps(data, default=str)),
    }
