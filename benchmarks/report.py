"""What a benchmark prints and writes: facts, figures and their meaning, and targets met or missed.

The table is for people; `write` gives the same as one flat JSON object for programs.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

import machine
from timing import percentile_ms


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured number. at_least, at_most: the target, where there is one."""

    key: str
    value: float
    unit: str
    meaning: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def target(self) -> str:
        """The target as people read it, or ""."""
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return "" if self.at_most is None else f"<= {self.at_most:g}"

    @property
    def met(self) -> bool:
        """Whether the target is met; true without one."""
        low, high = self.at_least, self.at_most
        return (low is None or self.value >= low) and (high is None or self.value <= high)


class Report:
    """Facts and figures of one run, in the order in which they came."""

    def __init__(self, title: str, folder: Path, *, smoke: bool) -> None:
        """Begin with the machine's facts. smoke: toy sizes, of which no target is judged."""
        self._title = title
        self._smoke = smoke
        self._console = Console(width=None if Console().is_terminal else 140)
        self._facts: dict[str, str | float] = {"benchmark": title, "smoke": int(smoke)}
        self._facts.update(machine.facts(folder))
        self._figures: list[Figure] = []

    def say(self, text: str) -> None:
        """Print a line about what happens now."""
        self._console.print(text, style="dim", highlight=False)

    def fact(self, key: str, value: str | float) -> None:
        """Add something that was chosen, not measured: data set, n, dim, threads ..."""
        self._facts[key] = value

    def figure(
        self,
        key: str,
        value: float,
        unit: str,
        meaning: str,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> None:
        """Add something that was measured."""
        if self._smoke:
            at_least = at_most = None
        self._figures.append(Figure(key, float(value), unit, meaning, at_least, at_most))

    def times(
        self, key: str, seconds: Sequence[float], what: str, *, p50_at_most: float | None = None
    ) -> None:
        """Add median and 99th percentile of some durations, in milliseconds."""
        median_ms = percentile_ms(seconds, 50)
        self.figure(f"{key}_p50_ms", median_ms, "ms", f"{what}, median", at_most=p50_at_most)
        self.figure(
            f"{key}_p99_ms", percentile_ms(seconds, 99), "ms", f"{what}, p99 of {len(seconds)}"
        )

    def show(self) -> None:
        """Print everything."""
        self._facts["load_after"] = round(os.getloadavg()[0], 2)
        facts = Table(title=self._title, title_justify="left", show_header=False)
        facts.add_column(style="dim", no_wrap=True)
        facts.add_column(overflow="fold")
        for key, value in self._facts.items():
            facts.add_row(key, str(value))
        self._console.print(facts)
        table = Table(title="figures", title_justify="left")
        table.add_column("figure", no_wrap=True)
        table.add_column("value", justify="right", no_wrap=True)
        table.add_column("unit", no_wrap=True)
        table.add_column("target", no_wrap=True)
        table.add_column("what", overflow="fold")
        for figure in self._figures:
            verdict = figure.target and f"{figure.target} {'met' if figure.met else 'MISSED'}"
            style = "" if figure.met else "bold red"
            shown = number_text(figure.value)
            table.add_row(figure.key, shown, figure.unit, verdict, figure.meaning, style=style)
        self._console.print(table)

    def write(self, path: Path) -> None:
        """Write all facts and figures as one flat JSON object."""
        flat = {**self._facts, **{figure.key: figure.value for figure in self._figures}}
        path.write_text(json.dumps(flat, indent=1) + "\n", encoding="utf-8")


@contextmanager
def measured(title: str, options: argparse.Namespace) -> Iterator[tuple[Report, Path]]:
    """Give a block its report and a folder for its data; then show and write what was reported.

    options: of options.parser. The folder goes with the block, however that ends.
    """
    with tempfile.TemporaryDirectory(
        prefix="vecdb-bench-", dir=options.folder, ignore_cleanup_errors=True
    ) as folder:
        report = Report(title, Path(folder), smoke=options.smoke)
        yield report, Path(folder)
        report.show()
        if options.json:
            report.write(options.json)


def number_text(value: float) -> str:
    """Return a number with three to four digits that matter."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"
