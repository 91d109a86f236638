"""Commands that ask a running server: search, get, info."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import reduce
from operator import and_
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from vecdb.cli.connection import reach
from vecdb.cli.explanation import explanation_tables
from vecdb.cli.screen import bytes_text, err, hits_table, out, warn
from vecdb.errors import InvalidArgument, NotFound, Unavailable
from vecdb.segment.times import microseconds
from vecdb_client import (
    NO_RETRIES,
    Client,
    CollectionStats,
    CrossEncoder,
    DataLoss,
    DeadlineExceeded,
    F,
    Filter,
    MultiDenseSpace,
    Search,
    SparseSpace,
)
from vecdb_client import Unavailable as ServerUnavailable

Address = Annotated[
    str, typer.Option("--address", "-a", envvar="VECDB_ADDRESS", help="The server's gRPC address.")
]
Where = Annotated[
    list[str] | None,
    typer.Option("--where", "-w", metavar="FIELD=VALUE", help="Also != < <= > >=; repeatable."),
]
DEFAULT_ADDRESS = "127.0.0.1:6363"
PROBE_S = 5.0
METRICS = ("cosine", "dot", "euclid", "manhattan")

_CONDITION = re.compile(r"([^=<>!]+?)\s*(>=|<=|!=|=|>|<)\s*(.*)", re.DOTALL)


@contextmanager
def connect(address: str, timeout_s: float = 30.0) -> Iterator[Client]:
    """Yield a client of a server that answers; whoever waits at a terminal hears at once if not."""
    how = reach()
    with Client(address, **how, timeout_s=PROBE_S, retries=NO_RETRIES) as probe:
        try:
            probe.health()
        except (ServerUnavailable, DeadlineExceeded) as error:
            raise Unavailable(
                f"no vecdb server answers at {address}: {error.message}",
                hint="start one with `vecdb serve`, or name another with --address; one that has "
                "TLS is reached with --tls or --ca FILE",
            ) from None
    with Client(address, **how, timeout_s=timeout_s) as client:
        yield client


def parse_where(conditions: list[str]) -> Filter | None:
    """Return the filter of conditions such as ``year>=2020``; all must hold."""
    filters: list[Filter] = []
    for text in conditions:
        found = _CONDITION.fullmatch(text)
        if found is None:
            raise InvalidArgument(f"--where {text!r}: expected FIELD=VALUE, or != < <= > >=")
        path, operator, raw = found.groups()
        value = _value(raw)
        field = F(path)
        if operator in ("=", "!="):
            filters.append(field == value if operator == "=" else field != value)
            continue
        if isinstance(value, bool) or (isinstance(value, str) and microseconds(value) is None):
            raise InvalidArgument(f"--where {text!r}: {operator} expects a number or a time")
        compare = {">": field.__gt__, ">=": field.__ge__, "<": field.__lt__, "<=": field.__le__}
        filters.append(compare[operator](value))
    return reduce(and_, filters) if filters else None


def _value(raw: str) -> str | int | float | bool:
    try:
        value = json.loads(raw)
    except ValueError:
        return raw
    return value if isinstance(value, (str, int, float, bool)) else raw


def the_collection(client: Client, name: str | None) -> str:
    """Return the collection meant: the one named, or the only one there is."""
    if name is not None:
        return name
    names = [info.name for info in client.list_collections(with_metadata=False)]
    if len(names) == 1:
        return names[0]
    if not names:
        raise NotFound("the server has no collection", hint="make one: vecdb import FILE NAME")
    raise InvalidArgument(
        f"the server has {len(names)} collections: {', '.join(names[:10])}",
        hint="choose one with --collection",
    )


def search(
    query: Annotated[
        str | None, typer.Argument(help="A text, or a vector as [0.1, 0.2, ...].")
    ] = None,
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", help="Needed when there are several.")
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Hits wanted.")] = 5,
    where: Where = None,
    space: Annotated[str, typer.Option(help="The space to search in.")] = "",
    keyword: Annotated[
        bool, typer.Option("--keyword", help="By the words of the text fields, not by vector.")
    ] = False,
    hybrid: Annotated[
        bool, typer.Option("--hybrid", help="By vector and by words, both lists fused by rank.")
    ] = False,
    image: Annotated[
        Path | None,
        typer.Option(
            "--image", exists=True, dir_okay=False, help="By an image file; the query is its words."
        ),
    ] = None,
    rerank: Annotated[
        str | None,
        typer.Option("--rerank", help="A model that judges the best by text, such as a re-ranker."),
    ] = None,
    text_at: Annotated[
        str | None,
        typer.Option(
            "--field", help="With --rerank: the payload path of the text; else as stored."
        ),
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say how they were found.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Find the points nearest to a text, an image or a vector, or by their words."""
    if keyword and hybrid:
        raise InvalidArgument("--keyword is by words alone, --hybrid by vector too: give one")
    if explain and as_json:
        raise InvalidArgument("--explain is for people, --json for programs: give one")
    if query is None and image is None:
        raise typer.BadParameter("missing: a text, a vector, or --image FILE", param_hint="QUERY")
    asked: Search = {"k": k, "filter": parse_where(where or [])}
    if keyword and image is None:
        asked["keyword"] = query
    else:
        asked |= {"space": space, "hybrid": hybrid, **_nearest_to(query, image, keyword, hybrid)}
    asked["highlights"] = (keyword or hybrid) and not as_json
    asked |= _second_look(rerank, text_at)
    with connect(address) as client:
        chosen = client.collection(the_collection(client, collection))
        explanation = chosen.explain(asked) if explain else None
        result = explanation.result if explanation else chosen.search(**asked)
    if explanation:
        out.print(*explanation_tables(explanation), sep="\n")
    if as_json:
        for hit in result:
            line = {"id": hit.id, "score": hit.score, "payload": hit.payload}
            typer.echo(json.dumps(line, ensure_ascii=False))
    else:
        out.print(hits_table(result))
        took = result.timings
        out.print(
            f"[dim]{took.total_us / 1000:.1f} ms (embedding {took.embed_us / 1000:.1f}), "
            f"{result.matched} points considered; {result.plan}[/]"
        )
    for warning in result.warnings:
        warn(warning)


def _second_look(model: str | None, text_at: str | None) -> Search:
    """Return what orders the best of a search anew, if anything does."""
    if model is not None:
        return {"rerank": CrossEncoder(model, text_at)}
    if text_at is not None:
        raise InvalidArgument("--field says what --rerank reads: give that too")
    return {}


def _nearest_to(query: str | None, image: Path | None, keyword: bool, hybrid: bool) -> Search:
    """Return what a search is to be near to, and of a hybrid one its words."""
    if image is not None:
        if keyword or (query is None) == hybrid:
            raise InvalidArgument("--image stands for the query; with --hybrid beside its words")
        return {"image": image, "keyword": query} if hybrid else {"image": image}
    assert query is not None
    return {"query": query if hybrid else _vector_or_text(query)}


def _vector_or_text(query: str) -> str | list[float]:
    if query.lstrip().startswith("["):
        try:
            vector = json.loads(query)
        except ValueError:
            return query
        if isinstance(vector, list) and all(isinstance(x, (int, float)) for x in vector):
            return vector
    return query


def get(
    ids: Annotated[list[str], typer.Argument(help="Ids of points.")],
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", help="Needed when there are several.")
    ] = None,
    vectors: Annotated[bool, typer.Option("--vectors", help="Print the vectors too.")] = False,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Print points by id, one JSON object a line; exit 1 when one is missing."""
    with connect(address) as client:
        chosen = client.collection(the_collection(client, collection))
        found = chosen.get(ids, with_vectors=vectors, with_texts=True)
    for point in found.points:
        line: dict[str, Any] = {"id": point.id, "version": point.version, "payload": point.payload}
        if point.expires_at:
            line["expires_at"] = point.expires_at.isoformat()
        if point.texts:
            line["texts"] = point.texts
        if vectors:
            line["vectors"] = {name: list(vector) for name, vector in point.vectors.items()}
            line["vectors"] |= {
                name: dict(zip(*one, strict=True)) for name, one in point.sparse.items()
            }
            line["vectors"] |= {name: one.tolist() for name, one in point.multi.items()}
        typer.echo(json.dumps(line, ensure_ascii=False))
    for name in found.missing:
        err.print(Text(f"missing: {name}", style="yellow"))
    for name in found.damaged:
        err.print(Text(f"damaged: {name} (run vecdb check)", style="red"))
    if found.missing or found.damaged:
        raise typer.Exit(1)


def info(address: Address = DEFAULT_ADDRESS) -> None:
    """Show a server: its health, models and collections."""
    with connect(address) as client:
        health = client.health()
        models = client.list_models()
        known = client.list_collections(with_metadata=False)
        out.print(f"[bold]{address}[/] {'[green]' if health == 'SERVING' else '[red]'}{health}[/]")
        table = Table("model", "dim", "metric", "max tokens", "state", title_justify="left")
        for model in models:
            state = "ready" if model.ready else model.reason
            table.add_row(
                model.name, str(model.dim), str(model.metric), str(model.max_tokens), state
            )
        out.print(table)
        table = Table(
            "collection", "space", "points", "in memory", "segments", "store", "files", "ttl"
        )
        for one in known:
            ttl = "" if one.ttl_s == math.inf else f"{timedelta(seconds=one.ttl_s)}"
            table.add_row(*_row(client, one.name, _spaces(one.spaces), one.quarantine_reason), ttl)
        out.print(table)


def _spaces(spaces: dict[str, Any]) -> str:
    return ", ".join(
        " ".join([name or "(default)", "sparse", *["idf"] * space.idf, space.model]).rstrip()
        if isinstance(space, SparseSpace)
        else f"{name or '(default)'} {space.dim} {space.metric}"
        + (" multi" if isinstance(space, MultiDenseSpace) else f" {space.model}".rstrip())
        for name, space in spaces.items()
    )


def _row(client: Client, name: str, spaces: str, quarantined: str) -> list[str]:
    try:
        stats = client.collection(name).stats()
    except DataLoss as error:
        return [name, spaces, f"quarantined: {quarantined or error}", "", "", "", ""]
    return [
        name,
        spaces,
        f"{stats.points:,}",
        f"{stats.tail_points:,}",
        _segments(stats),
        bytes_text(stats.store_bytes),
        bytes_text(sum(segment.bytes for segment in stats.segments)),
    ]


def _segments(stats: CollectionStats) -> str:
    words = str(len(stats.segments))
    for build in stats.builds:
        share = f" {build.done / build.total:.0%}" if build.total else ""
        words += f", building {build.number} ({build.phase}{share})"
    return words + (f"; {stats.upkeep_error}" if stats.upkeep_error else "")
