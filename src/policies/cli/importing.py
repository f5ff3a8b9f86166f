"""`planner ledger import`: what was spent before, or elsewhere, from a file of past requests.

Here belong the command and its words; what a row becomes belongs to `policies.ledger.importing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from policies.cli.output import (
    counted,
    credits_text,
    dim,
    emit_json,
    example,
    json_option,
    repair_json,
    say,
    say_repairs,
    strong,
)
from policies.cli.settings import chosen_credit_price, price_book, resolve, setting

if TYPE_CHECKING:
    from collections.abc import Collection

    from policies.ledger.importing import Imported
    from policies.ledger.store import Store


@click.command(
    "import",
    epilog=example(
        "planner ledger import history.csv --labels team,campaign,stage",
        "planner ledger import october.csv --account main --ledger spend.db",
    ),
)
@click.argument("file", metavar="FILE")
@click.option(
    "--labels", metavar="NAMES", help="The columns that are labels; default: the policy's, else all."
)
@setting("ledger", "account", "prices", "credit_price")
@json_option
def command(
    file: str,
    labels: str | None,
    ledger: str | None,
    account: str | None,
    prices: str | None,
    credit_price: str | None,
    as_json: bool,
) -> None:
    """Book the past requests of FILE, each at the instant it was sent and at the price that stands there.

    The same file again books nothing twice, and brings in costs that were missing before. A row keeps its
    quote; one without is priced by the entry that was in force then. A missing cost is an estimate, not 0.
    """
    from planner.history import read_history
    from policies.ledger.store import Store

    settings = resolve(ledger=ledger, account=account, prices=prices, credit_price=credit_price)
    book, price = price_book(settings), chosen_credit_price(settings)
    store = Store.open(settings.ledger)
    try:
        history = read_history(file, _labels(labels, store))
        found = store.import_past(history.past, settings.account, book, price.rate_microusd)
        again = store.path
    finally:
        store.close()
    say_repairs(history.repairs, aside=as_json)
    if as_json:
        figures = {name: getattr(found, name) for name in found.__slots__}
        repairs = [repair_json(repair) for repair in history.repairs]
        emit_json("ledger-import", {"account": settings.account, **figures, "repairs": repairs})
    else:
        _say(found, settings.account, again)


def _labels(given: str | None, store: Store) -> Collection[str] | None:
    """The columns that are labels: as given, else those that a policy in force declares, else all."""
    from planner.columns import column_name

    if given is not None:
        return [column_name(name) for name in given.split(",") if name.strip()]
    declared = {name for policy in store.policies_in_force().values() for name in policy.labels}
    return declared or None


def _say(found: Imported, account: str, ledger: str) -> None:
    new = f"{counted(found.new, 'past request')} booked, {credits_text(found.credits)}"
    say(strong(new) + dim(f" · account {account} · {ledger}"))
    told = [
        (found.estimated, "settled at their quote, because the file does not say what they cost"),
        (found.priced, "without a quote, priced by the entry that was in force then"),
        (found.known, "known already"),
        (found.corrected, "of those with a cost that was missing until now"),
    ]
    for number, words in told:
        if number:
            say(f"{number:>9,}  {words}")
