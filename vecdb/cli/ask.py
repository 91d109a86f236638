"""`vecdb ask`: an answer with its sources, or the passages themselves."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.text import Text

from vecdb.cli.client_commands import (
    DEFAULT_ADDRESS,
    Address,
    Where,
    connect,
    parse_where,
    the_collection,
)
from vecdb.cli.screen import err, out, warn
from vecdb.errors import InvalidArgument
from vecdb_client import (
    Answer,
    Context,
    Documents,
    FailedPrecondition,
    Passage,
    Retrieval,
    Turn,
)

MODES = ("hybrid", "dense", "keyword")
QUOTED = 300
"""Characters of a passage that are shown, unless all of it is asked for."""


def ask(
    question: Annotated[
        str | None, typer.Argument(help="What you want to know; none begins a conversation.")
    ] = None,
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", help="Needed when there are several.")
    ] = None,
    context: Annotated[
        bool, typer.Option("--context", help="Show the passages, and ask no language model.")
    ] = False,
    where: Where = None,
    mode: Annotated[
        str, typer.Option(help="hybrid, dense or keyword; by default what the collection has.")
    ] = "",
    rerank: Annotated[str, typer.Option(help="A model that orders the best anew.")] = "",
    passages: Annotated[int, typer.Option(help="Most passages.")] = 0,
    budget: Annotated[int, typer.Option(help="Most tokens of all passages.")] = 0,
    everything: Annotated[
        bool, typer.Option("--everything", help="Also passages that hardly have to do with it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Ask the documents of a collection.

    The server's language model answers, and cites its sources; where none is configured, the
    passages are shown that it would have read.
    """
    if mode not in ("", *MODES):
        raise InvalidArgument(f"--mode {mode}: expected {', '.join(MODES)}")
    asked: dict[str, Any] = {
        "filter": parse_where(where or []),
        "retrieval": Retrieval(mode, cross_encoder=rerank),  # type: ignore[arg-type]
        "passages": passages,
        "budget_tokens": budget,
        "min_relevance": 0.0 if everything else None,
    }
    with connect(address, timeout_s=120.0) as client:
        documents = client.documents(the_collection(client, collection))
        if question is None:
            _converse(documents, asked, context=context)
        elif as_json:
            typer.echo(
                json.dumps(_as_json(documents, question, asked, context), ensure_ascii=False)
            )
        elif context:
            _show_context(documents.context(question, **asked))
        else:
            _answered(documents, question, asked)


def _answered(documents: Documents, question: str, asked: dict[str, Any]) -> str:
    """Print an answer as it comes, then its sources; return its text."""
    try:
        for piece in documents.answer(question, **asked):
            if isinstance(piece, Answer):
                sys.stdout.write("\n")
                _show_end(piece)
                return piece.text
            sys.stdout.write(piece)
            sys.stdout.flush()
    except FailedPrecondition as error:
        if error.reason != "NO_LANGUAGE_MODEL":
            raise
        _show_context(documents.context(question, **asked))
        err.print("no language model is configured: these are the passages (answer.endpoint)")
    return ""


def _converse(documents: Documents, asked: dict[str, Any], *, context: bool) -> None:
    """Answer one question after another, each with those before it in mind."""
    if not sys.stdin.isatty():
        raise InvalidArgument("no question was given", hint="vecdb ask 'your question'")
    history: list[Turn] = []
    while True:
        try:
            question = out.input("[bold]> [/]").strip()
        except EOFError:
            return
        if not question:
            continue
        of = {**asked, "history": history}
        if context:
            _show_context(documents.context(question, **of))
            text = ""
        else:
            text = _answered(documents, question, of)
        history.append(Turn("user", question))
        if text:
            history.append(Turn("assistant", text))


def _as_json(
    documents: Documents, question: str, asked: dict[str, Any], context: bool
) -> dict[str, Any]:
    if context:
        return asdict(documents.context(question, **asked))
    *_, end = documents.answer(question, **asked)
    assert isinstance(end, Answer)
    return asdict(end)


def _show_end(answer: Answer) -> None:
    for passage in answer.citations:
        out.print(_source(passage))
    if answer.finish_reason == "length":
        err.print("the answer was cut at its most tokens: raise answer.max_tokens", style="yellow")
    _show_warnings(answer.context)


def _show_context(context: Context) -> None:
    if context.nothing_relevant:
        out.print(
            f"nothing relevant (the best is {context.relevance:.2f}); --everything shows it anyway"
        )
    for passage in context.passages:
        out.print(_source(passage))
        text = " ".join(passage.text.split())
        short = text if len(text) <= QUOTED else f"{text[:QUOTED]}…"
        # Documents are other people's text: no markup of ours is read in them.
        out.print(Text(f"    {short}"))
    _show_warnings(context)


def _source(passage: Passage) -> Text:
    line = Text(f"[{passage.marker}] ", style="bold")
    line.append(passage.section or passage.title, style="cyan")
    line.append(f"  {passage.document}, characters {passage.start:,} to {passage.end:,}", "dim")
    line.append(f"  relevance {passage.relevance:.2f}", "dim")
    return line


def _show_warnings(context: Context) -> None:
    for warning in context.warnings:
        warn(warning)
