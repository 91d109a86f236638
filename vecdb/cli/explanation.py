"""How a search came to its answer, as tables."""

from __future__ import annotations

import json

from rich.table import Table
from rich.text import Text

from vecdb_client import ExplainedLeg, Explanation

STAGES = ("embed", "snapshot", "filter", "search", "fetch", "total")
HITS_SHOWN = 10


def explanation_tables(explanation: Explanation) -> list[Table]:
    """Return tables of the stages, of the filter's conditions, and of each leg."""
    stages = Table("stage", title="time", title_justify="left")
    stages.add_column("us", justify="right")
    for stage in STAGES:
        stages.add_row(stage, f"{getattr(explanation.result.timings, f'{stage}_us'):,}")
    tables = [stages]
    if explanation.conditions:
        conditions = Table("condition", title="filter", title_justify="left")
        conditions.add_column("points", justify="right")
        for one in explanation.conditions:
            text = Text(json.dumps(one.condition, ensure_ascii=False))
            conditions.add_row(text, f"{one.matched:,}")
        tables.append(conditions)
    for at, leg in enumerate(explanation.legs):
        tables += [_parts_table(leg, f"legs[{at}]: {leg.plan}"), _hits_table(leg)]
    return tables


def _parts_table(leg: ExplainedLeg, title: str) -> Table:
    table = Table("part", "how", title=title, title_justify="left")
    for name in ("rows", "matched", "found", "us"):
        table.add_column(name, justify="right")
    for part in leg.parts:
        name = f"segment {part.segment}" if part.segment else "memory"
        numbers = (part.rows, part.matched, part.found, part.search_us)
        table.add_row(name, part.plan, *(f"{number:,}" for number in numbers))
    return table


def _hits_table(leg: ExplainedLeg) -> Table:
    """Return the best of a leg's own list."""
    left = len(leg.hits) - HITS_SHOWN
    table = Table(caption=f"and {left:,} more" if left > 0 else None, caption_justify="left")
    table.add_column("rank", justify="right")
    table.add_column("score", justify="right")
    table.add_column("id", style="cyan", overflow="fold")
    for rank, hit in enumerate(leg.hits[:HITS_SHOWN], 1):
        table.add_row(str(rank), f"{hit.score:.4f}", Text(hit.id))
    return table
