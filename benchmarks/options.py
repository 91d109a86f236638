"""The command line that all benchmarks share."""

from __future__ import annotations

import argparse
from pathlib import Path


def parser(doc: str | None, points: str, rounds: str) -> argparse.ArgumentParser:
    """Return the parser of a benchmark. doc: its module's. points, rounds: what they count."""
    made = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    made.add_argument("--smoke", action="store_true", help="toy sizes, seconds; no figure counts")
    made.add_argument("--json", type=Path, help="write the figures here")
    made.add_argument("--points", type=int, help=f"{points} (100,000)")
    made.add_argument("--rounds", type=int, help=f"{rounds} (5)")
    made.add_argument("--folder", type=Path, help="where to keep the data (the system's choice)")
    return made
