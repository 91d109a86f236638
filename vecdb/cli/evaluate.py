"""`vecdb eval`: how good searches are, in several ways, on questions whose answers are known.

It asks a running server as any client does; vecdb/rag/judging.py says what the figures are.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeAlias

import numpy as np
import typer
from rich.table import Table
from rich.text import Text

from vecdb.cli.client_commands import DEFAULT_ADDRESS, Address, connect, the_collection
from vecdb.cli.interval_plot import Panels, bars, best, svg
from vecdb.cli.judged_questions import DOCUMENT, JudgedQuestion, Known, known_ids, read_questions
from vecdb.cli.screen import out, progress_bar, warn
from vecdb.errors import FailedPrecondition, InvalidArgument
from vecdb.rag.judging import K, difference, estimate, ndcg, recall, reciprocal_rank
from vecdb_client import Collection, CollectionInfo, CrossEncoder, Search, SearchResult
from vecdb_client import VecdbError as ClientError

WAYS = "bm25, dense, hybrid, or rerank=MODEL"
TEXT = "text"
"""Where the payload of a chunk has its text."""


class By(StrEnum):
    """What the ids of the questions name."""

    document = "document"
    point = "point"


class Way(NamedTuple):
    """A configuration: its name, and what to search for with a question."""

    name: str
    search: Callable[[str], Search]


class Answer(NamedTuple):
    """What a question found: ids, the best first. ms: on the server, without encoding."""

    found: list[str]
    ms: float
    warnings: tuple[str, ...]


Scores: TypeAlias = dict[str, list[float]]
"""A figure for each question, by the title of the metric."""


def evaluate(
    questions: Annotated[
        Path,
        typer.Argument(
            exists=True,
            dir_okay=False,
            help='JSON lines: {"question": TEXT, "relevant": [ID, ...]}, or {ID: GRADE, ...}.',
        ),
    ],
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", help="Needed when there are several.")
    ] = None,
    config: Annotated[
        list[str] | None,
        typer.Option(metavar="WAY", help=f"{WAYS}; repeatable. [default: all but rerank]"),
    ] = None,
    k: Annotated[int, typer.Option("-k", "--k", min=1, max=1_000, help="Of recall@k.")] = K,
    by: Annotated[
        By | None, typer.Option(help="What the ids name. [default: documents where there are any]")
    ] = None,
    space: Annotated[str | None, typer.Option(help="Whose vectors; the one with a model.")] = None,
    text_at: Annotated[
        str | None, typer.Option("--field", help="Payload path of the text that rerank reads.")
    ] = None,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Questions at the same time.")] = 4,
    plot: Annotated[
        Path | None, typer.Option(help="Write a picture, an SVG, here; - for bars below.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all figures here, by question too.")
    ] = None,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Compare ways to search by questions whose relevant documents or points are known."""
    asked = read_questions(questions)
    for file in (plot, json_file):
        if file is not None and not file.absolute().parent.is_dir():
            raise InvalidArgument(f"{file}: there is no folder {file.parent}")
    with connect(address) as client:
        chosen = client.collection(the_collection(client, collection))
        info = chosen.info()
        ways = ways_of(info, config or [], space, text_at)
        known = known_ids(chosen, (id for one in asked for id in one.grades))
        meant = by or (By.document if known.documents else By.point)
        _warn_of_missing(info.name, asked, known, meant)
        answers = _asked(chosen, ways, asked, max(k, K), meant, parallel)
    scores = {name: _scores(asked, found, k) for name, found in answers.items()}
    title = f"{info.name}: {len(asked):,} questions of {questions.name}, by {meant}"
    panels = _panels(scores)
    out.print(_table(title, scores, panels), _times(answers), sep="\n")
    out.print(f"[dim]ms on the server, without encoding questions; {parallel} at a time[/]")
    if plot is not None and str(plot) == "-":
        out.print(bars(panels))
    elif plot is not None:
        note = "means with 95 % intervals, by resampling the questions"
        _write(plot, svg(title, note, panels))
    if json_file is not None:
        whole = {"collection": info.name, "questions": len(asked), "by": str(meant), "k": k}
        whole["configurations"] = _figures(asked, answers, scores, panels)
        _write(json_file, json.dumps(whole, ensure_ascii=False, indent=1) + "\n")


def ways_of(
    info: CollectionInfo, names: Sequence[str], space: str | None, text_at: str | None
) -> list[Way]:
    """Return the configurations that were named, or all that a collection has but re-ranking.

    Raises InvalidArgument for what is none, FailedPrecondition for what the collection lacks.
    """
    words, vectors = bool(info.text_fields), _space_of(info, space)
    if not names:
        there = {"bm25": words, "dense": vectors is not None}
        names = [name for name, found in there.items() if found]
        names += ["hybrid"] if len(names) == 2 else []
        if not names:
            raise FailedPrecondition(
                f"{info.name} has neither text fields nor a space with a model",
                hint="`vecdb collections update --add-text` has words be searched",
            )
    return [_way(info, name, vectors, text_at) for name in dict.fromkeys(names)]


def _space_of(info: CollectionInfo, wanted: str | None) -> str | None:
    """Return the space that texts are searched in, or None where no model reads them."""
    spaces = info.own_spaces
    if wanted is not None and wanted not in spaces:
        raise InvalidArgument(f"{info.name} has no space {wanted!r}")
    with_model = [name for name, one in spaces.items() if getattr(one, "model", "")]
    if wanted is not None:
        return wanted if wanted in with_model else None
    if len(with_model) > 1 and "" not in with_model:
        raise InvalidArgument(
            f"{info.name} has several spaces with a model: {', '.join(with_model)}",
            hint="choose one with --space",
        )
    return "" if "" in with_model else next(iter(with_model), None)


def _way(info: CollectionInfo, name: str, space: str | None, text_at: str | None) -> Way:
    kind, _, model = name.partition("=")
    if kind not in ("bm25", "dense", "hybrid", "rerank") or (kind == "rerank") != bool(model):
        raise InvalidArgument(f"--config {name!r}: expected {WAYS}")
    words = bool(info.text_fields)
    if (kind in ("dense", "hybrid") or not words) and kind != "bm25" and space is None:
        raise FailedPrecondition(
            f"--config {name}: no model fills a space of {info.name}",
            hint=f"`vecdb collections update {info.name} --add-space` adds one",
        )
    if kind in ("bm25", "hybrid") and not words:
        raise FailedPrecondition(
            f"--config {name}: {info.name} has no text fields",
            hint=f"`vecdb collections update {info.name} --add-text PATH` adds one",
        )

    def search(question: str) -> Search:
        if kind == "bm25" or space is None:
            asked: Search = {"keyword": question}
        else:
            asked = {"query": question, "space": space, "hybrid": words and kind != "dense"}
        if kind == "rerank":
            asked["rerank"] = CrossEncoder(model, _read_at(info, space, text_at))
        return asked

    return Way(name, search)


def _read_at(info: CollectionInfo, space: str | None, text_at: str | None) -> str | None:
    """Return the payload path of what a re-ranker reads, or None for a space's stored text."""
    paths = [field.path for field in info.text_fields]
    if text_at is not None or TEXT in paths:
        return text_at or TEXT
    return paths[0] if space is None else None


def _warn_of_missing(name: str, asked: Iterable[JudgedQuestion], known: Known, meant: By) -> None:
    there = known.documents if meant is By.document else known.points
    relevant = {id for one in asked for id, grade in one.grades.items() if grade > 0}
    missing = sorted(relevant - there)
    if len(missing) == len(relevant):
        raise InvalidArgument(
            f"none of the {len(relevant):,} relevant ids is a {meant} of {name}",
            hint="see --by and --collection",
        )
    if missing:
        said = f"{len(missing):,} of {len(relevant):,} relevant ids are no {meant}s of {name}"
        warn(f"{said}, such as {missing[0]!r}; they count as not found")


def _asked(
    collection: Collection,
    ways: Sequence[Way],
    asked: Sequence[JudgedQuestion],
    k: int,
    by: By,
    parallel: int,
) -> dict[str, list[Answer]]:
    """Return the answers of each way, in the order of the questions."""

    def ask(way: Way, question: JudgedQuestion) -> Answer:
        search: Search = {**way.search(question.text), "k": k, "with_payload": False}
        if by is By.document:
            search |= {"group": DOCUMENT, "group_size": 1}
        result = collection.search(**search)
        took = result.timings
        return Answer(_ids(result, by), (took.total_us - took.embed_us) / 1e3, result.warnings)

    for way in ways:
        try:  # what a way lacks is said before a thousand questions are asked in others
            ask(way, asked[0])
        except ClientError as error:
            raise FailedPrecondition(f"--config {way.name}: {error}") from None
    found: dict[str, list[Answer]] = {way.name: [] for way in ways}
    with progress_bar() as bar, ThreadPoolExecutor(parallel) as pool:
        for way in ways:
            task = bar.add_task(way.name, total=len(asked), rate="")
            for answer in pool.map(ask, [way] * len(asked), asked):
                found[way.name].append(answer)
                bar.advance(task)
    for name, answers in found.items():
        said = Counter(text for one in answers for text in one.warnings)
        for text, times in said.most_common(3):
            warn(f"{name}: {text} ({times:,} of {len(asked):,} questions)")
    return found


def _ids(result: SearchResult, by: By) -> list[str]:
    if by is By.point:
        return [hit.id for hit in result]
    return [str(group.value) for group in result.groups]


def _scores(asked: Sequence[JudgedQuestion], answers: Sequence[Answer], k: int) -> Scores:
    pairs = [(answer.found, one.grades) for answer, one in zip(answers, asked, strict=True)]
    return {
        f"recall@{k}": [recall(*pair, k) for pair in pairs],
        f"nDCG@{K}": [ndcg(*pair) for pair in pairs],
        f"MRR@{K}": [reciprocal_rank(*pair) for pair in pairs],
    }


def _panels(scores: Mapping[str, Scores]) -> Panels:
    metrics = next(iter(scores.values()))
    return {
        metric: {name: estimate(one[metric]) for name, one in scores.items()} for metric in metrics
    }


def _table(title: str, scores: Mapping[str, Scores], panels: Panels) -> Table:
    first, *others = scores
    table = Table(title=Text(title), title_justify="left")
    table.add_column("metric", no_wrap=True)
    table.add_column("config", overflow="fold", min_width=10)
    for heading in ("mean", "95 % interval", *([f"over {first}", "95 % interval"] * bool(others))):
        table.add_column(heading, justify="right", no_wrap=True)
    for metric, estimates in panels.items():
        for name, one in estimates.items():
            top = name == best(estimates)
            row = [Text(f"{one.mean:.3f}{'*' if top else ' '}", style="bold green" if top else "")]
            row.append(Text(f"{one.low:.3f} to {one.high:.3f}"))
            if name != first:
                over = difference(scores[name][metric], scores[first][metric])
                style = "green" if over.low > 0 else "red" if over.high < 0 else "dim"
                row.append(Text(f"{over.mean:+.3f}", style=style))
                row.append(Text(f"{over.low:+.3f} to {over.high:+.3f}", style=style))
            table.add_row(metric if name == first else "", Text(name), *row)
        table.add_section()
    return table


def _times(answers: Mapping[str, Sequence[Answer]]) -> Table:
    table = Table()
    table.add_column("config", overflow="fold", min_width=10)
    table.add_column("ms, median", justify="right")
    table.add_column("95 of 100 below", justify="right")
    for name, found in answers.items():
        middle, high = _percentiles(found)
        table.add_row(Text(name), f"{middle:.1f}", f"{high:.1f}")
    return table


def _percentiles(answers: Iterable[Answer]) -> tuple[float, float]:
    middle, high = np.percentile([one.ms for one in answers], (50, 95))
    return float(middle), float(high)


def _figures(
    asked: Sequence[JudgedQuestion],
    answers: Mapping[str, Sequence[Answer]],
    scores: Mapping[str, Scores],
    panels: Panels,
) -> list[dict[str, Any]]:
    """Return all that was found out, for programs."""
    first = next(iter(scores))
    return [
        {
            "name": name,
            "metrics": {
                metric: {
                    **panels[metric][name]._asdict(),
                    "difference": difference(values, scores[first][metric])._asdict(),
                }
                for metric, values in scores[name].items()
            },
            "ms": dict(zip(("p50", "p95"), _percentiles(found), strict=True)),
            "questions": [
                {
                    "id": one.id,
                    "found": answer.found,
                    **{metric: values[at] for metric, values in scores[name].items()},
                }
                for at, (one, answer) in enumerate(zip(asked, found, strict=True))
            ],
        }
        for name, found in answers.items()
    ]


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidArgument(f"{file} cannot be written: {error.strerror}") from None
