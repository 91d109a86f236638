"""What the tables of the terminal show."""

from __future__ import annotations

from rich.console import Console

from vecdb.cli.screen import hits_table
from vecdb_client import Fragment, Hit


def drawn(hit: Hit, *, color: bool) -> str:
    console = Console(width=80, force_terminal=color, color_system="standard" if color else None)
    with console.capture() as capture:
        console.print(hits_table([hit]))
    return capture.get()


def test_words_that_match_are_marked() -> None:
    pieces = (Fragment("a [red]\nrun", 0, 0, ((8, 11),)), Fragment("runs", 1, 0, ((0, 4),)))
    hit = Hit("id", b'{"t": 1}', 1, {}, {}, {}, {}, 1.0, -1.0, (), 0, {"t": pieces})
    plain = drawn(hit, color=False)
    assert "t: a [red] run ... runs" in plain  # no markup of ours, and one line
    assert '{"t": 1}' in plain
    marked = drawn(hit, color=True)
    assert marked.count("\x1b[1;33mrun") == 2
