"""`vecdb demo`: a server of your own, filled with Python's documentation, answering questions."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from vecdb.cli.screen import out, progress_bar
from vecdb.cli.stdlib_docs import Entry, read_stdlib
from vecdb.errors import Unavailable
from vecdb_client import Client, Collection

QUESTIONS = (
    "how do I read a csv file",
    "find the most common elements of a list",
    "create a temporary file that is deleted when closed",
    "pick a random element from a list",
    "measure how long a piece of code takes",
)
COLLECTION = "stdlib"
BATCH = 128
START_S = 60.0
STOP_S = 30.0


def demo(
    data: Annotated[
        Path | None, typer.Option(help="Keep the data here; otherwise it goes when the demo ends.")
    ] = None,
    questions: Annotated[
        list[str] | None, typer.Option("--question", "-q", help="Ask these instead; repeatable.")
    ] = None,
    modules: Annotated[
        list[str] | None,
        typer.Option("--module", help="Index these modules alone, such as csv; repeatable."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Stop after the answers.")] = False,
    as_json: Annotated[
        Path | None, typer.Option("--json", help="Write answers and timings here.")
    ] = None,
) -> None:
    """Start a server, index the documentation of Python's own library, and ask it questions."""
    # SIGTERM ends the demo as Ctrl-C does, and so ends the server.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    folder = data or Path(tempfile.mkdtemp(prefix="vecdb-demo-"))
    try:
        with (
            _server(folder) as (address, metrics, process),
            Client(address, timeout_s=60) as client,
        ):
            client.wait_ready(START_S)
            client.wait_ready(START_S, service="vecdb.v1.Models")
            collection = _index(client, modules or [])
            answers = _ask(collection, tuple(questions or QUESTIONS))
            if as_json is not None:
                as_json.write_text(json.dumps(answers, indent=1))
            if not once:
                _say_what_next(address, metrics)
                process.wait()
    except KeyboardInterrupt:
        out.print("\nstopped")
    finally:
        if data is None:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _server(folder: Path) -> Iterator[tuple[str, str, subprocess.Popen[bytes]]]:
    """Run a server on free ports in a process of its own; yield its addresses."""
    folder.mkdir(parents=True, exist_ok=True)
    address_file = folder / "addresses.json"
    address_file.unlink(missing_ok=True)
    log_path = folder / "server.log"
    command = [sys.executable, "-m", "vecdb", "serve", "--data", str(folder / "data")]
    command += ["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]
    command += ["--address-file", str(address_file)]
    with out.status("starting the server and its embedding worker"), log_path.open("wb") as log:
        # Of its own session: Ctrl-C reaches the demo alone, which then stops the server in order.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        addresses = _await_addresses(process, address_file, log_path)
        yield addresses["grpc"], addresses["metrics"], process
    finally:
        _stop(process)


def _await_addresses(
    process: subprocess.Popen[bytes], address_file: Path, log_path: Path
) -> dict[str, str]:
    deadline = time.monotonic() + START_S
    while not address_file.exists():
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            if time.monotonic() < deadline:
                continue
        tail = log_path.read_text(errors="replace")[-2000:]
        raise Unavailable(f"the server did not start:\n{tail}")
    addresses: dict[str, str] = json.loads(address_file.read_text())
    return addresses


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _index(client: Client, modules: list[str]) -> Collection:
    """Return a collection of the library's documentation, or that of some modules."""
    with out.status("reading the documentation of the standard library"):
        entries = [one for one in read_stdlib() if not modules or one.module in modules]
    model = client.list_models()[0]
    collection = client.create_collection(COLLECTION, model=model.name, if_not_exists=True)
    started = time.perf_counter()
    with progress_bar(out) as bar:
        task = bar.add_task("indexing", total=len(entries), rate="")

        def progress(done: int, total: int | None) -> None:
            rate = done / (time.perf_counter() - started)
            bar.update(task, completed=done, rate=f"{rate:,.0f} docs/s")

        # Short texts together, so that few of them wait for a long one in their batch.
        entries.sort(key=lambda entry: len(entry.text))
        collection.upsert((_point(entry) for entry in entries), batch_size=BATCH, progress=progress)
    took = time.perf_counter() - started
    out.print(
        f"indexed [bold]{collection.count():,}[/] docstrings of Python "
        f"{sys.version_info.major}.{sys.version_info.minor} with {model.name} in {took:.0f} s\n"
    )
    return collection


def _point(entry: Entry) -> dict[str, object]:
    payload = {
        "name": entry.name,
        "module": entry.module,
        "kind": entry.kind,
        "signature": entry.signature,
        "doc": entry.doc,
    }
    return {"id": entry.name, "text": entry.text, "payload": payload}


def _ask(collection: Collection, questions: tuple[str, ...]) -> list[dict[str, object]]:
    answers: list[dict[str, object]] = []
    for question in questions:
        started = time.perf_counter()
        result = collection.search(question, k=3)
        took_ms = (time.perf_counter() - started) * 1e3
        embed_ms, search_ms = result.timings.embed_us / 1e3, result.timings.search_us / 1e3
        table = Table(
            title=f"[bold]{question}?[/]  [dim]{took_ms:.1f} ms: embedding {embed_ms:.1f}, "
            f"search {search_ms:.1f}[/]",
            title_justify="left",
            expand=True,
        )
        table.add_column("score", justify="right", no_wrap=True)
        table.add_column("name", style="cyan", overflow="fold", ratio=2)
        table.add_column("what it says", ratio=3, no_wrap=True, overflow="ellipsis")
        for hit in result:
            first_line = hit.payload["doc"].strip().splitlines()[0]
            table.add_row(f"{hit.score:.3f}", Text(hit.id), Text(first_line))
        out.print(table)
        answers.append(
            {
                "question": question,
                "hits": [hit.id for hit in result],
                "scores": [hit.score for hit in result],
                "total_ms": took_ms,
                "embed_ms": embed_ms,
                "search_ms": search_ms,
            }
        )
    return answers


def _say_what_next(address: str, metrics: str) -> None:
    vecdb = os.path.relpath(Path(sys.executable).with_name("vecdb"))
    lines = Text()
    lines.append("Ask something yourself, in another terminal:\n", style="bold")
    lines.append(f'  {vecdb} search -a {address} "parse command line arguments"\n')
    lines.append(f'  {vecdb} search -a {address} -w kind=class "a queue between threads"\n')
    lines.append(f"  {vecdb} info -a {address}\n")
    lines.append("gRPC     ", style="bold")
    lines.append(f"{address}\n")
    lines.append("metrics  ", style="bold")
    lines.append(f"http://{metrics}/metrics\n")
    lines.append("stop     ", style="bold")
    lines.append("Ctrl-C: the server stops, and the demo's data goes")
    out.print(Panel(lines, title="the server is running", title_align="left"))
