"""Means and their intervals as pictures: an SVG that stands by itself, and bars for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TypeAlias

from rich.table import Table
from rich.text import Text

from vecdb.rag.judging import Estimate

Panels: TypeAlias = Mapping[str, Mapping[str, Estimate]]
"""Titles to names to what was estimated of each; every panel has the same names."""

ROW, PANEL, GAP, TOP = 30, 230, 34, 74
VALUE, CHARACTER = 52, 7.6
"""Pixels: between rows, of a panel's scale, between panels, above the first row; of a value's
figures; of a character of a name."""
TICKS = 4
BAR = 30

# Both grounds are drawn, so that a viewer's own is never under the other's ink.
STYLE = """
text { font: 13px ui-sans-serif, system-ui, sans-serif; fill: #1f2328; }
.ground { fill: #ffffff; } .title { font-weight: 600; font-size: 15px; }
.tick, .note { fill: #59636e; font-size: 11px; } .grid { stroke: #d8dee4; }
.bar { stroke: #6e7781; stroke-width: 2; } .dot { fill: #6e7781; }
.best .bar { stroke: #0969da; } .best .dot { fill: #0969da; } .best text { font-weight: 600; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .ground { fill: #0d1117; } .tick, .note { fill: #9198a1; }
  .grid { stroke: #30363d; } .bar { stroke: #9198a1; } .dot { fill: #9198a1; }
  .best .bar { stroke: #58a6ff; } .best .dot { fill: #58a6ff; }
}
"""


def svg(title: str, note: str, panels: Panels) -> str:
    """Return a picture with a panel beside a panel, each a row a name: a dot and its interval.

    Scales are a panel's own. The best of each is marked. It needs no other file, and follows the
    viewer's choice of light or dark.
    """
    names = list(next(iter(panels.values())))
    left = 24 + CHARACTER * max(map(len, names))
    width = left + len(panels) * (PANEL + VALUE + GAP)
    height = TOP + ROW * len(names) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width:.0f} {height}" '
        f'width="{width:.0f}" height="{height}">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        '<rect class="ground" width="100%" height="100%"/>',
        f'<text class="title" x="16" y="26">{escape(title)}</text>',
        *(
            f'<text x="16" y="{TOP + ROW * (row + 0.5) + 4:.0f}">{escape(name)}</text>'
            for row, name in enumerate(names)
        ),
    ]
    for at, (metric, estimates) in enumerate(panels.items()):
        parts += _panel(left + at * (PANEL + VALUE + GAP), metric, estimates)
    parts.append(f'<text class="note" x="16" y="{height - 8}">{escape(note)}</text></svg>')
    return "\n".join(parts) + "\n"


def bars(panels: Panels) -> Table:
    """Return the same for a terminal: bars from 0 to 1, the interval's width as a lighter part."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for metric, estimates in panels.items():
        for name, one in estimates.items():
            low, mean, high = (round(BAR * min(1, x)) for x in (one.low, one.mean, one.high))
            bar = Text("█" * low + "▓" * (mean - low) + "░" * (high - mean), style="cyan")
            table.add_row(metric, Text(name), bar, f"{one.mean:.3f}")
            metric = ""
        table.add_row()
    return table


def best(estimates: Mapping[str, Estimate]) -> str:
    """Return the name with the highest mean, the first of several."""
    return max(estimates, key=lambda name: estimates[name].mean)


def _panel(left: float, metric: str, estimates: Mapping[str, Estimate]) -> Iterator[str]:
    low, high, step = _scale([*estimates.values()])
    bottom = TOP + ROW * len(estimates)

    def place(value: float) -> float:
        return left + PANEL * (value - low) / (high - low)

    yield f'<text x="{left:.1f}" y="{TOP - 22}">{escape(metric)}</text>'
    for tick in range(round((high - low) / step) + 1):
        value = low + tick * step
        x = place(value)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 8}" y2="{bottom}"/>'
        label = f'text-anchor="middle" x="{x:.1f}" y="{bottom + 14}"'
        yield f'<text class="tick" {label}>{value:g}</text>'
    for row, (name, one) in enumerate(estimates.items()):
        y = TOP + ROW * (row + 0.5)
        yield f'<g class="{"best" if name == best(estimates) else "other"}">'
        ends = f'x1="{place(one.low):.1f}" x2="{place(one.high):.1f}"'
        yield f'<line class="bar" {ends} y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<circle class="dot" cx="{place(one.mean):.1f}" cy="{y:.1f}" r="5"/>'
        yield f'<text x="{left + PANEL + 12:.1f}" y="{y + 4:.1f}">{one.mean:.3f}</text></g>'


def _scale(estimates: Sequence[Estimate]) -> tuple[float, float, float]:
    """Return round numbers around all intervals, and the step between ticks."""
    low = min(one.low for one in estimates)
    high = max(one.high for one in estimates)
    step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.25) if (high - low) / s <= TICKS)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return step * first, step * max(last, first + 1), step
