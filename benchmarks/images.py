"""Images through the server: how well near images are of one class, and how fast they are stored.

    python benchmarks/images.py [--smoke] [--json FILE] [--points N] [--rounds R] [--folder DIR]

Each image asks for the nearest among the others. benchmarks/README.md says what each figure means.
"""

from __future__ import annotations

import os
import sys
import time

import numpy as np
from numpy.typing import NDArray

from fashion import CLASSES, Pictures, pictures
from live import serve, settle
from options import parser as options_parser
from report import Report, measured
from timing import timed
from vecdb.config import StorageConfig
from vecdb.embed import catalog
from vecdb.embed.encoder import Execution, Role
from vecdb_client import Collection

MODEL = "opennsfw-resnet50"
K = 10
SERVICE = "vecdb.v1.Models"
AT_ONCE = 8
# 600 images: their raw pixels reach 0.745, chance 0.1.
ACCURACY_TARGET = 0.75
INGEST_TARGET = 0.9


def main() -> int:
    """Run and return the exit status."""
    options = options_parser(
        __doc__, "images", "timed searches by each of some images"
    ).parse_args()
    spec = catalog.load_catalog()[MODEL]
    if reason := catalog.missing(spec):
        sys.exit(f"images.py needs a model: {reason}")
    count = options.points or (40 if options.smoke else 600)
    rounds = options.rounds or (1 if options.smoke else 3)
    data = pictures(count)
    threads = len(os.sched_getaffinity(0))
    with measured("images", options) as (report, root):
        report.fact("data_set", data.name)
        report.fact("n", count)
        report.fact("dim", spec.dim)
        report.fact("model", spec.name)
        report.fact("model_threads", threads)
        report.fact("k", K)
        report.fact("rounds", rounds)
        report.fact("index", "vectors of images; searched exactly below some thousand")
        report.fact("clients", "one, in turn")
        bare = _bare(report, spec, data, threads)
        settings = {"embed.model": MODEL, "embed.cache_bytes": 0}
        with serve(root, embed=True, settings=settings) as live, live.client(300) as client:
            client.wait_ready(120, service=SERVICE)
            collection = client.create_collection("images", model=MODEL)
            _ingest(report, collection, data, bare)
            settle(live, collection, StorageConfig().tail_points)
            _nearest(report, collection, data)
            _speed(report, collection, data, rounds)
    return 0


def _bare(report: Report, spec: catalog.ModelSpec, data: Pictures, threads: int) -> float:
    """Return images a second of the model alone in this process, in a loop over small batches."""
    # Here and not above: its libraries need not be installed.
    from vecdb.embed.onnx_image import OnnxImage

    model = OnnxImage(spec, catalog.resolve_files(spec), Execution(threads))
    files = data.files[: min(len(data.files), 160)]
    started = time.perf_counter()
    for first in range(0, len(files), AT_ONCE):
        read = model.prepare(files[first : first + AT_ONCE], Role.DOCUMENT)
        model.encode([one.input for one in read])
    rate = len(files) / (time.perf_counter() - started)
    report.figure("bare_per_s", rate, "/s", f"the model alone, {AT_ONCE} images at a time")
    model.close()
    return rate


def _ingest(report: Report, collection: Collection, data: Pictures, bare: float) -> None:
    report.say(f"{len(data.files):,} images go in, encoded by the server")
    started = time.perf_counter()
    collection.upsert(
        {"id": str(at), "image": file, "payload": {"class": int(data.classes[at])}}
        for at, file in enumerate(data.files)
    )
    rate = len(data.files) / (time.perf_counter() - started)
    report.figure("ingest_per_s", rate, "/s", "images decoded, encoded and stored")
    what = "that over the model alone, which ran before it"
    report.figure("ingest_vs_bare", rate / bare, "", what, at_least=INGEST_TARGET)


def _nearest(report: Report, collection: Collection, data: Pictures) -> None:
    """Report how often the nearest other image is of the same class."""
    first, share = [], []
    stored = collection.get([str(at) for at in range(len(data.files))], with_vectors=True).points
    vectors = {int(point.id): point.vector for point in stored}
    for at, expected in enumerate(data.classes.tolist()):
        hits = [hit for hit in collection.search(vectors[at], k=K + 1) if hit.id != str(at)][:K]
        found = [hit.payload["class"] == expected for hit in hits]
        first.append(found[0])
        share.append(np.mean(found))
    what = "nearest images that are of the image's class"
    report.figure("nearest_accuracy", np.mean(first), "", what, at_least=ACCURACY_TARGET)
    report.figure("ten_nearest_share", np.mean(share), "", f"of the {K} nearest, those likewise")
    report.figure("pixels_accuracy", _of_pixels(data), "", "the same by raw pixels, by cosine")
    report.figure("chance_accuracy", 1 / CLASSES, "", "the same by chance")


def _of_pixels(data: Pictures) -> float:
    rows: NDArray[np.float32] = data.pixels.reshape(len(data.pixels), -1).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    scores = rows @ rows.T
    np.fill_diagonal(scores, -np.inf)
    return float(np.mean(data.classes[scores.argmax(axis=1)] == data.classes))


def _speed(report: Report, collection: Collection, data: Pictures, rounds: int) -> None:
    some = data.files[:20]
    searches: list[float] = []
    for _ in range(rounds):
        searches += timed(lambda at: collection.search(image=some[at % len(some)], k=K), len(some))
    report.times("image_search", searches, "a search by an image file, no vector kept from before")


if __name__ == "__main__":
    sys.exit(main())
