"""`planner policy schema`: the JSON Schemas of policies and suites, for editors.

Here belongs printing them. What they say belongs to `policies.schema`.
"""

from __future__ import annotations

import click

from policies.cli.output import example, say


@click.command(
    epilog=example("planner policy schema > policy.schema.json"),
)
@click.argument("shape", type=click.Choice(["policy", "suite"]), default="policy", required=False)
@click.option("--json", "as_json", is_flag=True, hidden=True, help="A schema is JSON anyway.")
def command(shape: str, as_json: bool) -> None:
    """The JSON Schema of policy files, or of suites, for an editor."""
    import json

    from policies.schema import policy_schema, suite_schema

    found = policy_schema() if shape == "policy" else suite_schema()
    say(json.dumps(found, indent=2, ensure_ascii=False))
