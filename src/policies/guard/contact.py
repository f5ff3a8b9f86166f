"""The contact sheet: one page that shows every picture of a shoot, with what each cost.

Here belongs the page and nothing that decides. It holds no script from elsewhere and no picture: the
pictures are shown from the files beside it, and everything the user wrote is text and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final
from urllib.parse import quote

from planner.columns import one_line
from policies.guard.batch import Ending
from policies.guard.pictures import write_whole
from policies.guard.results import PAGE_NAME, Record

_SAID: Final = {
    Ending.COMPLETED: "completed",
    Ending.FAILED: "failed",
    Ending.DENIED: "denied",
    Ending.NEEDS_APPROVAL: "needs approval",
    Ending.UNKNOWN: "unconfirmed",
    Ending.NOT_STARTED: "not started",
}

_STYLE: Final = """
:root { color-scheme: light dark; --paper: #faf9f7; --ink: #1d1c1a; --soft: #6f6b65; --card: #fff;
  --line: #e4e0da; --bad: #a8321f; --wait: #8a6100 }
@media (prefers-color-scheme: dark) { :root { --paper: #151413; --ink: #f0ede8; --soft: #a09a92;
  --card: #201e1c; --line: #34302c; --bad: #ff9a85; --wait: #f0c060 } }
* { box-sizing: border-box }
body { margin: 0; padding: 2rem clamp(1rem, 4vw, 3rem); background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif }
h1 { margin: 0; font-size: 1.4rem }
.sum, figcaption small { color: var(--soft) }
nav { display: flex; flex-wrap: wrap; gap: .5rem 1.25rem; margin: 1.25rem 0 1.75rem }
nav label { cursor: pointer }
main { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)) }
figure { margin: 0; display: flex; flex-direction: column; overflow: hidden; background: var(--card);
  border: 1px solid var(--line); border-radius: .6rem }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(45%, 1fr)); gap: 1px }
img { display: block; width: 100%; height: 15rem; object-fit: contain }
.pictures img:not(:only-child) { height: 8rem }
.none { display: grid; place-items: center; height: 15rem; color: var(--soft) }
figcaption { padding: .6rem .8rem .8rem; border-top: 1px solid var(--line); overflow-wrap: anywhere }
figcaption b, figcaption small { display: block }
.failed .state, .denied .state { color: var(--bad) }
.unknown .state, .needs_approval .state { color: var(--wait) }
p.prompt { margin: .4rem 0 0; display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 3;
  overflow: hidden; font-size: .85rem }
"""


def write_page(folder: Path, shoot: str, records: Sequence[Record]) -> None:
    """Write `contact.html`; raises `OperatorError` when it cannot be written."""
    write_whole(folder / PAGE_NAME, page(shoot, records).encode("utf-8", "replace"))


def page(shoot: str, records: Sequence[Record]) -> str:
    """The whole page as HTML.

    >>> "<title>Spring &lt;26&gt;</title>" in page("Spring <26>", [])
    True
    """
    counts = Counter(record.state for record in records)
    present = [ending for ending in Ending if counts[ending]]
    filters = "".join(_filter(ending, counts[ending]) for ending in present)
    hidden = "".join(
        f"body:has(#show-{ending}:not(:checked)) .{ending} {{ display: none }}\n" for ending in present
    )
    figures = "\n".join(map(_figure, records))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{_text(shoot)}</title>
<style>{_STYLE}{hidden}</style>
</head>
<body>
<h1>{_text(shoot)}</h1>
<div class="sum">{_sum(records)}</div>
<nav aria-label="show">{filters}</nav>
<main>
{figures}
</main>
</body>
</html>
"""


def _text(text: str) -> str:
    """A text of the user's as text: no markup, and nothing that would turn the line round or hide."""
    return escape(one_line(text))


def _sum(records: Sequence[Record]) -> str:
    pictures = sum(len(record.files) for record in records)
    credits = sum(record.credits for record in records if record.state != Ending.UNKNOWN)
    return f"{len(records):,} jobs · {pictures:,} pictures · {credits:,} credits charged"


def _filter(ending: Ending, count: int) -> str:
    box = f'<input type="checkbox" id="show-{ending}" checked>'
    return f"<label>{box} {_SAID[ending]} {count:,}</label>"


def _figure(record: Record) -> str:
    said = _SAID.get(Ending(record.state), record.state) if record.state in _SAID else _text(record.state)
    reason = f"<small>{_text(record.reason)}</small>" if record.reason else ""
    prompt = _prompt(record)
    shown = f'<p class="prompt" title="{_text(prompt)}">{_text(prompt)}</p>' if prompt else ""
    kind = record.state if record.state in _SAID else ""
    return (
        f'<figure class="{kind}">{_pictures(record, said)}<figcaption><b>{_text(record.key)}</b>'
        f'<small><span class="state">{said}</span> · {_cost(record)}</small>{reason}{shown}'
        "</figcaption></figure>"
    )


def _cost(record: Record) -> str:
    noun = "credit" if record.credits == 1 else "credits"
    return f"{record.credits:,} {noun}{', estimated' if record.estimated else ''}"


def _pictures(record: Record, said: str) -> str:
    if not record.files:
        return f'<div class="none">{said}</div>'
    total = len(record.files)
    shown = "".join(_picture(record, file, place, total) for place, file in enumerate(record.files, 1))
    return f'<div class="pictures">{shown}</div>'


def _picture(record: Record, file: str, place: int, total: int) -> str:
    address = _text(quote(file))
    alt = _prompt(record) or record.key
    which = f" ({place} of {total})" if total > 1 else ""
    return f'<a href="{address}"><img src="{address}" alt="{_text(alt + which)}" loading="lazy"></a>'


def _prompt(record: Record) -> str:
    found = (text for name, text in record.columns.items() if name.strip().lower() == "prompt")
    return next(found, "")
