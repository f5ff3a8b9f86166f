"""`planner sandbox`: a local stand-in of the provider, where nothing costs anything.

Here belong its flags and the one line it prints; the stand-in itself is `policies.server.sandbox`.
"""

from __future__ import annotations

from pathlib import Path

import click

from policies.cli.output import dim, emit_json, example, json_option, say, strong


@click.command(
    epilog=example(
        "planner sandbox --port 8700 --speed 20",
        "planner sandbox --faults lost_after=0.02,failed=0.03 --state sandbox.jsonl",
    )
)
@click.option("--host", metavar="HOST", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", metavar="N", type=click.IntRange(0, 65535), default=0, help="0: any free one.")
@click.option("--speed", metavar="N", type=float, default=1.0, help="How many times faster time passes.")
@click.option("--seed", metavar="N", type=int, help="The same seed has the same fates.")
@click.option("--faults", metavar="NAME=P,…", default="", help="What goes wrong, and how often.")
@click.option("--balance", metavar="N", type=int, help="The credits of a new account.")
@click.option("--state", metavar="FILE", type=click.Path(path_type=Path), help="Go on there after a restart.")
@json_option
def command(
    host: str,
    port: int,
    speed: float,
    seed: int | None,
    faults: str,
    balance: int | None,
    state: Path | None,
    as_json: bool,
) -> None:
    """Serve a local stand-in of the provider until Ctrl-C; any API key is right."""
    from policies.server.sandbox.app import serve
    from policies.server.sandbox.faults import Faults

    def ready(url: str) -> None:
        if as_json:
            emit_json("sandbox", {"url": url, "speed": speed})
        else:
            say(f"sandbox at {strong(url)} {dim(f'speed {speed:g}, Ctrl-C ends it')}")

    serve(
        host,
        port,
        ready=ready,
        speed=speed,
        seed=seed,
        faults=Faults.parse(faults),
        balance=balance,
        state=state,
    )
