"""`planner policy lint`: what is odd about a policy although it can be read.

Here belongs showing the remarks. What is remarked on belongs to `policies.analysis.lint`.
"""

from __future__ import annotations

import click

from policies.cli.output import DOT, counted, dim, emit_json, example, json_option, plain, say, strong, styled
from policies.cli.settings import at_option, instant_of, price_book, resolve, setting


@click.command(epilog=example("planner policy lint studio.yaml"))
@click.argument("file", metavar="FILE|NAME")
@click.option(
    "--max-cells", type=click.IntRange(min=1), metavar="N", help="Past so many cells nothing is said."
)
@setting("prices")
@at_option
@json_option
def command(file: str, max_cells: int | None, prices: str | None, at: str | None, as_json: bool) -> int:
    """What is odd about a policy: rules without effect, requests without a budget, what was loosened.

    What cannot be right is an error as with any other command. Remarks exit with 1.
    """
    from datetime import UTC, datetime

    from policies.analysis.cells import loosened
    from policies.analysis.lint import MOST_CELLS, lint
    from policies.loading import base_of, load_policy

    policy, base = load_policy(file), base_of(file)
    book, now = price_book(resolve(prices=prices)), instant_of(at) or datetime.now(UTC)
    most = max_cells or MOST_CELLS
    found = lint(policy, book, now, most_cells=most)
    if base is not None:
        found += loosened(base, policy, book, now, most_cells=most)
    if as_json:
        emit_json(
            "policy-lint",
            {
                "policy": {"name": policy.name, "digest": policy.digest},
                "remarks": [fault.as_json() for fault in found],
            },
        )
    else:
        say(dim(f"policy {policy.name} ({policy.digest[:8]}){DOT}{counted(len(policy.rules), 'rule')}"))
        for fault in found:
            say(f"{styled('remark', fg='yellow')} {plain(str(fault))}")
        say(strong("nothing to remark on" if not found else counted(len(found), "remark")))
    return 1 if found else 0
