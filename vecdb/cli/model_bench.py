"""`vecdb models bench`: how fast a model is on this machine by itself. No server is asked.

What a server adds to it, benchmarks/embed.py measures.
"""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from vecdb.cli.model_files import FOLDER
from vecdb.cli.screen import bytes_text, err, out
from vecdb.cli.stdlib_docs import read_stdlib
from vecdb.config import settings
from vecdb.embed import catalog
from vecdb.embed.encoder import Encoder, Execution, Item, Pair, Role
from vecdb.embed.exactness import probes
from vecdb.embed.pull import CATALOG
from vecdb.embed.residents import load_model
from vecdb.errors import InvalidArgument, NoModel
from vecdb.memory import resident_bytes

LENGTHS = "16,128"
BATCHES = "1,8,32"
ITEMS = 32
"""Different ones of each length, taken in turn."""
RUNS = 3
"""The least that are timed; one before them is not."""
ENTRIES = 200


@dataclass(frozen=True, slots=True)
class Loaded:
    """What loading a model took. bytes: how much more this process has since."""

    model: str
    device: str
    precision: str
    threads: int
    load_s: float
    bytes: int


@dataclass(frozen=True, slots=True)
class Measured:
    """How fast batches of some size go. tokens: of an item, on average. *_ms: medians of a batch.

    prepare_ms: of batch_ms, what reading the items takes, such as splitting text into tokens.
    """

    tokens: float
    batch: int
    batch_ms: float
    prepare_ms: float
    items_per_s: float
    tokens_per_s: float


def bench_model(
    name: Annotated[str, typer.Argument(help="A model of the catalogue, or an alias of it.")],
    own: Annotated[
        Path | None,
        typer.Option(
            "--catalog",
            help=f"The catalogue that embed.catalog names. [default: {FOLDER / CATALOG} if there]",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="As embed.device: cpu, openvino or cuda.")] = "cpu",
    precision: Annotated[
        str, typer.Option(help="As embed.precision: float32 or bfloat16.")
    ] = "float32",
    threads: Annotated[int, typer.Option(help="Of inference; 0 for all cores.", min=0)] = 0,
    lengths: Annotated[str, typer.Option(help="Tokens of a text, comma-separated.")] = LENGTHS,
    batches: Annotated[str, typer.Option(help="Items of a batch, comma-separated.")] = BATCHES,
    seconds: Annotated[float, typer.Option(help="How long each is measured.", min=0.0)] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Load a model on this machine and measure how fast it encodes, one batch after the other."""
    _check_word("embed.device", device)
    _check_word("embed.precision", precision)
    token_counts, sizes = _numbers("--lengths", lengths), _numbers("--batches", batches)
    if own is None and (FOLDER / CATALOG).exists():
        own = FOLDER / CATALOG
    spec = catalog.find(catalog.load_catalog(str(own) if own else "").values(), name)
    if spec.of_kind.remote:
        raise InvalidArgument(f"{spec.name} runs at a service, not on this machine")
    if reason := catalog.missing(spec):
        raise NoModel(f"{spec.name} cannot run: {reason}", model=spec.name)
    execution = Execution(threads or len(os.sched_getaffinity(0)), device, precision)
    with err.status(f"loading {spec.name}"):
        encoder, loaded = _load(spec, execution)
    if as_json:
        typer.echo(json.dumps(asdict(loaded)))
    found = []
    with err.status(f"measuring {spec.name}"):
        for items in _inputs(spec, encoder, token_counts):
            for batch in sizes:
                found.append(measure(encoder, items, batch, seconds))
                if as_json:
                    typer.echo(json.dumps(asdict(found[-1])))
    encoder.close()
    if not as_json:
        _show(loaded, found)


def _load(spec: catalog.ModelSpec, execution: Execution) -> tuple[Encoder, Loaded]:
    before, began = _resident_bytes(), time.perf_counter()
    encoder = load_model(spec, execution)
    took_s = time.perf_counter() - began
    taken = max(0, _resident_bytes() - before)
    return encoder, Loaded(
        spec.name, execution.device, execution.precision, execution.threads, took_s, taken
    )


def measure(encoder: Encoder, items: Sequence[Item], batch: int, seconds: float) -> Measured:
    """Return how fast batches of a size are, measured for so long and some runs at least."""
    endless = cycle(items)
    read_s: list[float] = []
    took_s: list[float] = []
    tokens = 0
    while len(took_s) <= RUNS or sum(took_s) < seconds:
        part = list(islice(endless, batch))
        began = time.perf_counter()
        read = encoder.prepare(part, Role.DOCUMENT)
        read_s.append(time.perf_counter() - began)
        encoder.encode([one.input for one in read])
        took_s.append(time.perf_counter() - began)
        tokens += sum(len(one.input) for one in read) if len(took_s) > 1 else 0
    # The first of a size lays out memory for it.
    read_s, took_s = read_s[1:], took_s[1:]
    return Measured(
        tokens=tokens / (batch * len(took_s)),
        batch=batch,
        batch_ms=_middle(took_s) * 1e3,
        prepare_ms=_middle(read_s) * 1e3,
        items_per_s=batch * len(took_s) / sum(took_s),
        tokens_per_s=tokens / sum(took_s),
    )


def _inputs(
    spec: catalog.ModelSpec, encoder: Encoder, lengths: Sequence[int]
) -> Iterator[list[Item]]:
    """Yield items to measure with: texts of each length, and images where it takes those."""
    takes = spec.of_kind.takes
    if takes & {"text", "pair"}:
        words = " ".join(entry.doc for entry in islice(read_stdlib(), ENTRIES)).split()
        for length in lengths:
            yield list(islice(_items(encoder, words, length, pairs="pair" in takes), ITEMS))
    if "image" in takes:
        yield probes(frozenset({"image"}))


def _items(encoder: Encoder, words: list[str], tokens: int, *, pairs: bool) -> Iterator[Item]:
    """Yield texts of as many tokens, or of as many words as there is room for; without end."""
    at = 0
    while True:
        low, high = 1, tokens
        while low < high:
            middle = (low + high + 1) // 2
            (read,) = encoder.prepare([_item(words, at, middle, pairs)], Role.DOCUMENT)
            low, high = (middle, high) if len(read.input) <= tokens else (low, middle - 1)
        yield _item(words, at, low, pairs)
        at = (at + low) % len(words)


def _item(words: list[str], at: int, count: int, pairs: bool) -> Item:
    text = " ".join(islice(cycle(words), at, at + count))
    return Pair("return", text) if pairs else text


def _show(loaded: Loaded, found: Sequence[Measured]) -> None:
    out.print(
        Text(
            f"{loaded.model} on {loaded.device} in {loaded.precision}, {loaded.threads} threads: "
            f"loaded in {loaded.load_s:.1f} s, {bytes_text(loaded.bytes)} more memory"
        )
    )
    table = Table()
    for title in ("tokens", "batch", "ms a batch", "of it reading", "items/s", "tokens/s"):
        table.add_column(title, justify="right")
    for one in found:
        table.add_row(
            f"{one.tokens:,.0f}",
            f"{one.batch:,}",
            f"{one.batch_ms:,.2f}",
            f"{one.prepare_ms:,.2f}",
            f"{one.items_per_s:,.0f}",
            f"{one.tokens_per_s:,.0f}",
        )
    out.print(table)


def _check_word(name: str, given: str) -> None:
    known = settings()[name].metadata["one_of"]
    if given not in known:
        raise InvalidArgument(f"{name} is {given!r}, expected one of {', '.join(known)}")


def _numbers(name: str, given: str) -> list[int]:
    try:
        found = [int(part) for part in given.split(",")]
    except ValueError:
        found = []
    if not found or not all(0 < one <= 1 << 16 for one in found):
        raise InvalidArgument(f"{name} expects numbers from 1 to {1 << 16}, got {given!r}")
    return found


def _middle(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def _resident_bytes() -> int:
    """Return how much memory this process has, its most so far where that cannot be told."""
    return resident_bytes() or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
