"""Whether a policy is enforced, as commands tell it: a policy in shadow denies and changes nothing.

Here belong the word for documents and what is said where a policy in shadow is looked at as if it were
enforced. What shadow means belongs to `engine`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from policies.engine import Policy

AS_IF_ENFORCED: Final = "in shadow, decided as if enforced"
"""Stands behind the name of a policy in shadow."""


def enforcement(policy: Policy) -> Literal["on", "shadow"]:
    """The word of the policy file."""
    return "on" if policy.enforced else "shadow"


def compared(before: Policy, after: Policy) -> str:
    """What has to be known before two policies are compared; empty where both are enforced.

    >>> from policies.loading import load_policy, parse_policy
    >>> trial = parse_policy("policy: 1\\nname: t\\notherwise: deny\\nenforcement: shadow", "t.yaml")
    >>> compared(load_policy("starter"), trial)
    'the second is in shadow and lets everything go as asked: compared as if both were enforced'
    """
    match enforcement(before), enforcement(after):
        case "on", "on":
            return ""
        case "shadow", "shadow":
            who = "both are in shadow and let"
        case "shadow", _:
            who = "the first is in shadow and lets"
        case _:
            who = "the second is in shadow and lets"
    return f"{who} everything go as asked: compared as if both were enforced"
