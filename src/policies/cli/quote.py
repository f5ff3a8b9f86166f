"""`planner quote`: the exact price of one request, line by line.

Here belong its flags and its layout; the price is `planner.quoting`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from planner.errors import InvalidRequest
from policies.cli.output import (
    DOT,
    credits_text,
    dim,
    emit_json,
    example,
    json_option,
    say,
    span_text,
    strong,
    table,
    usd_text,
)
from policies.cli.settings import (
    at_option,
    blamed,
    chosen_credit_price,
    instant_of,
    latency_profile,
    price_book,
    pricing_instant,
    resolve,
    setting,
)

if TYPE_CHECKING:
    from planner.latency import Seconds
    from planner.money import CreditPrice
    from planner.quoting import Quote
    from planner.request import ModelCreateRequest

_NO_PROMPT = "…"
"""What a request says that is priced without its prompt, which never decides a price."""


@click.command(
    epilog=example(
        "planner quote --resolution 2k --generation-mode quality --num-images 2",
        "planner quote --resolution 4k --face-reference https://example.com/face.png --json",
    )
)
@click.option("--resolution", metavar="1k|2k|4k", help="The size; 1k where omitted.")
@click.option(
    "--generation-mode", metavar="MODE", help="fast, balanced or quality; else the provider's choice."
)
@click.option("--num-images", metavar="1-4", help="How many images; 1 where omitted.")
@click.option("--face-reference", metavar="URL", help="A face to keep: more credits for each image.")
@click.option("--face-reference-mode", metavar="MODE", help="match_reference or match_base.")
@click.option("--image-reference", metavar="URL", help="A pose and composition to follow.")
@click.option("--aspect-ratio", metavar="W:H", help="Such as 3:4; 1:1 where omitted.")
@click.option("--seed", metavar="N", help="The same seed gives the same picture.")
@click.option("--output-format", metavar="FORMAT", help="png or jpeg.")
@click.option("--return-base64", is_flag=True, default=None, help="Never on the CDN.")
@click.option("--prompt", metavar="TEXT", help="Not needed for a price.")
@at_option
@setting("prices", "credit_price", "latency")
@json_option
def command(
    at: str | None,
    prices: str | None,
    credit_price: str | None,
    latency: str | None,
    as_json: bool,
    **inputs: Any,
) -> None:
    """The exact price of one request, line by line."""
    from planner.quoting import quote

    settings = resolve(prices=prices, credit_price=credit_price, latency=latency)
    price = chosen_credit_price(settings)
    book = price_book(settings)
    found = quote(_request(inputs), book, instant_of(at) or pricing_instant(book))
    seconds = latency_profile(settings).of(found)
    if as_json:
        emit_json("quote", _document(found, price, seconds))
    else:
        say(_text(found, price, seconds))


def _request(inputs: dict[str, Any]) -> ModelCreateRequest:
    """The request that the flags describe, read as loosely as the cells of a workload file."""
    from planner.cells import read_cell
    from planner.request import parse_request

    given = {name: value for name, value in inputs.items() if value is not None}
    typed = {n: read_cell(n, value)[0] if isinstance(value, str) else value for n, value in given.items()}
    try:
        return parse_request({"prompt": _NO_PROMPT, **typed})
    except InvalidRequest as error:
        faults = [blamed(fault, f"--{(fault.field or '').replace('_', '-')}") for fault in error.faults]
        raise InvalidRequest(faults=faults) from None


def _document(found: Quote, price: CreditPrice, seconds: Seconds) -> dict[str, Any]:
    return {
        "credits": found.credits,
        "usd": str(price.usd(found.credits)),
        "credit_price": str(price.usd_per_credit),
        "billed_mode": found.billed_mode,
        "price_book": found.price_book,
        "lines": [line.as_json() for line in found.lines],
        "seconds": seconds.as_json(),
    }


def _text(found: Quote, price: CreditPrice, seconds: Seconds) -> str:
    money = f"{usd_text(price.usd(found.credits))} {price_text(price)}"
    rows = [(line.what, line.credits, line.times, line.total) for line in found.lines]
    time = f"usually {span_text(seconds.p50_seconds)}, nine of ten within {span_text(seconds.p90_seconds)}"
    return "\n".join(
        [
            f"{strong(credits_text(found.credits))}{DOT}{money}",
            "",
            table(rows, ["what", "credits", "images", "total"], right=(1, 2, 3)),
            "",
            dim(f"{time} ({seconds.basis}){DOT}prices {found.price_book}"),
        ]
    )


def price_text(price: CreditPrice) -> str:
    """How a credit is paid for: `at $0.0750 a credit, on-demand`."""
    rate = f"at ${price.usd_per_credit} a credit"
    return f"{rate}, {price.name}" if price.name[0].isalpha() else rate
