"""An immutable segment on disk: written whole, published by a rename, read in place.

Opening checks the manifest, and every array's size, dtype and shape, without reading the arrays;
`verify` reads them all and compares checksums. Both raise Corrupt, naming the file.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from vecdb import kernel
from vecdb.errors import Corrupt, Unavailable
from vecdb.segment.array_file import map_array, save_array
from vecdb.segment.bitmaps import no_rows
from vecdb.segment.encoding import check_version, indexed_spaces
from vecdb.segment.fields import FieldSource, nodes, parse
from vecdb.segment.fields_disk import FieldIndex, write_fields
from vecdb.segment.fields_memory import CollectedFields
from vecdb.segment.graph import (
    ROWS_MIN,
    Graph,
    Progress,
    build_graph,
    measure_recall,
)
from vecdb.segment.memory import Row
from vecdb.segment.postings import GrowingSparse, GrowingText, SparseSource, TextSource
from vecdb.segment.postings_arrays import PostingsArrays, PostingsBuilder
from vecdb.segment.space_arrays import SpaceArrays, no_vectors
from vecdb.segment.vectors import Answer, Effort, comparable
from vecdb.types import F32, U32, U64, Bitmap, Schema, Space

FORMAT_VERSION = 1
_CHUNK = 4 << 20
_MATRIX_ROWS = 1 << 16


class Segment:
    """Rows of a contiguous range of slots, by ascending slot."""

    def __init__(self, folder: Path, seal: int, schema: Schema, numbers: dict[str, int]) -> None:
        """Open the segment of a folder. Raises Corrupt when it is not what `seal` promises."""
        self.folder = folder
        self._seal = seal
        self._manifest = _read_manifest(folder, seal)
        try:
            self.first: int = self._manifest["first"]
            self.end: int = self._manifest["end"]
            self.rows: int = self._manifest["rows"]
            self.bytes = sum(array["bytes"] for array in self._manifest["arrays"].values())
            self.slots: U64 = self._open("slots", "<u8", (self.rows,))
            self.dead = self._open_dead()
            check_version(self._manifest.get("encoding"))
            self._spaces = {
                one.name: self._open_space(one, numbers[one.name]) for one in indexed_spaces(schema)
            }
            self.fields: FieldSource = FieldIndex(
                self.rows,
                self._open("fields", "|u1", (self._manifest["arrays"]["fields"]["shape"][0],)),
                self._manifest["fields"],
                self._manifest["unindexed"],
            )
            self._postings = PostingsArrays(self._open, schema, numbers, self._manifest)
            self._check_lacking(schema, numbers)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise self._corrupt(f"does not hold together: {error!r}") from None

    def _open_dead(self) -> U32:
        """Return the rows, ascending, that had ended already when the segment was made."""
        if "dead" not in self._manifest["arrays"]:
            return np.empty(0, np.uint32)
        dead: U32 = self._open("dead", "<u4", tuple(self._manifest["arrays"]["dead"]["shape"]))
        if int(dead.max(initial=0)) >= self.rows:
            raise self._corrupt("dead.npy names a row past the last")
        return dead

    def _open_space(self, space: Space, number: int) -> SpaceArrays:
        name = f"rows-{number}"
        if f"vectors-{number}" not in self._manifest["arrays"]:
            # The space was added since, and a point that got a vector got another slot with it.
            return no_vectors(space.dim)
        rows: U32 | None = None
        count = self.rows
        if name in self._manifest["arrays"]:
            count = self._manifest["arrays"][name]["shape"][0]
            rows = self._open(name, "<u4", (count,))
            if count and int(rows.max()) >= self.rows:
                raise self._corrupt(f"{name}.npy names a row past the last")
        return SpaceArrays(
            self._open(f"vectors-{number}", "<f4", (count, space.dim)),
            self._open(f"codes-{number}", "|u1", (count, space.dim)),
            self._open(f"bounds-{number}", "<f4", (count, 3)),
            rows,
            self._open_graph(number, count),
            self._recalls(number),
        )

    def _check_lacking(self, schema: Schema, numbers: dict[str, int]) -> None:
        """Raise Unavailable for a schema from before the drop of what it was made without."""
        texts = set(schema.texts).difference(self.text().fields)
        held, spaces = self._manifest["arrays"].keys(), list[int]()
        for number in (numbers[space.name] for space in schema.all_spaces):
            if not held & {f"vectors-{number}", f"sparse-{number}-ends"}:
                spaces.append(number)
        for lacking, following in ((spaces, "next_space"), (texts, "next_text")):
            if lacking and min(lacking) < self._manifest["schema"][following]:
                raise Unavailable("the schema has changed meanwhile", retry_after_s=0.01)

    def _open_graph(self, number: int, count: int) -> Graph | None:
        described = self._manifest["graphs"].get(str(number))
        if described is None:
            return None
        offsets = np.array(described["upper_offsets"], np.uint64)
        width, upper_width = (
            self._manifest["arrays"][f"{name}-{number}"]["shape"][1]
            for name in ("links0", "upper-links")
        )
        graph = Graph(
            self._open(f"links0-{number}", "<u4", (count, width)),
            offsets,
            self._open(f"upper-rows-{number}", "<u4", (int(offsets[-1]),)),
            self._open(f"upper-links-{number}", "<u4", (int(offsets[-1]), upper_width)),
            described["entry"],
        )
        if offsets[0] != 0 or (np.diff(offsets.astype(np.int64)) < 0).any():
            raise self._corrupt("upper_offsets of a graph do not ascend from 0")
        if not 0 <= graph.entry < count:
            raise self._corrupt("the entry of a graph is no row")
        return graph

    def _open(self, name: str, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
        path = self.folder / f"{name}.npy"
        promised = self._manifest["arrays"][name]
        if -1 in shape:
            shape = tuple(promised["shape"])
        try:
            if path.stat().st_size != promised["bytes"]:
                raise self._corrupt(
                    f"{path.name} has {path.stat().st_size} bytes, not {promised['bytes']}"
                )
            if 0 in shape:  # nothing to map
                return np.empty(shape, dtype)
            array = map_array(path)
        except (OSError, ValueError, EOFError, SyntaxError) as error:
            _raise_unless_of_the_file(error)
            raise self._corrupt(f"{path.name} cannot be opened: {error}") from None
        if array.dtype.str != dtype or array.shape != shape or not array.flags.c_contiguous:
            raise self._corrupt(
                f"{path.name} is {array.dtype.str} {array.shape}, expected {dtype} {shape}"
            )
        # The plain array over the map: numpy's memmap class costs on every slice.
        return array.view(np.ndarray)

    def _corrupt(self, what: str) -> Corrupt:
        return _corrupt(self.folder, what)

    def verify(self) -> None:
        """Read every file and compare its checksum. Raises Corrupt."""
        _read_manifest(self.folder, self._seal)
        for name, promised in self._manifest["arrays"].items():
            checksum = 0
            try:
                with (self.folder / f"{name}.npy").open("rb") as file:
                    while chunk := file.read(_CHUNK):
                        checksum = google_crc32c.extend(checksum, chunk)
            except OSError as error:
                _raise_unless_of_the_file(error)
                raise self._corrupt(f"{name}.npy cannot be read: {error}") from None
            if checksum != promised["crc32c"]:
                raise self._corrupt(f"{name}.npy fails its checksum")

    def strays(self) -> list[str]:
        """Return the names of files in the folder that are none of the segment's, sorted."""
        own = {"manifest.json", *(f"{name}.npy" for name in self._manifest["arrays"])}
        return sorted(path.name for path in self.folder.iterdir() if path.name not in own)

    def text(self) -> TextSource:
        """Return the words of the text fields, of those that it was built with."""
        return self._postings.text or GrowingText({}).read(self.rows)

    def sparse(self, space: str) -> SparseSource:
        """Return the vectors of a sparse space."""
        return self._postings.sparse[space] or GrowingSparse().read(self.rows)

    def vectors(self, space: str) -> tuple[F32, U32 | None]:
        """Return the comparable vectors of a space, and the rows they belong to; None for all."""
        arrays = self._spaces[space]
        return arrays.vectors, arrays.rows

    def _recalls(self, number: int) -> list[tuple[int, float]]:
        described = self._manifest["graphs"].get(str(number))
        if described is None:
            return []
        measured = [(int(ef), float(recall)) for ef, recall in described["recall"]]
        if not measured or measured[0][0] < 1:
            raise self._corrupt("the measured recall of a graph is missing")
        return measured

    def having(self, space: str) -> Bitmap | None:
        """Return the rows that have a vector in a space; None for all."""
        if space in self._postings.sparse:
            arrays = self._postings.sparse[space]
            return no_rows(self.rows) if arrays is None else arrays.having()
        rows = self._spaces[space].rows
        return None if rows is None else kernel.row_bits(rows, self.rows)

    def graph(self, space: str) -> Graph | None:
        """Return the graph over the vectors of a space, or None when there is none."""
        return self._spaces[space].graph

    def recalls(self, space: str) -> list[tuple[int, float]]:
        """Return the recall@10 that was measured of the graph of a space, by ascending ef."""
        return self._spaces[space].recalls

    def search(
        self, space: Space, query: F32, k: int, effort: Effort, mask: Bitmap | None
    ) -> Answer:
        """Return rows of the mask near to the query, best first: k, or all there are."""
        arrays = self._spaces[space.name]
        return arrays.search(space, query, k, effort, arrays.allowed(mask, self.rows))

    def search_many(
        self, space: Space, queries: F32, k: int, effort: Effort, mask: Bitmap | None, threads: int
    ) -> list[Answer]:
        """Return what search does for each of some queries (q, dim)."""
        arrays = self._spaces[space.name]
        allowed = arrays.allowed(mask, self.rows)
        return arrays.search_many(space, queries, k, effort, allowed, threads)


# What says that this process may not open one more file now, and nothing about the file.
_NOT_NOW = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES, errno.EPERM, errno.EINTR)


def _raise_unless_of_the_file(error: Exception) -> None:
    """Raise Unavailable for an error that would pass, so that no sound file is taken for bad."""
    if isinstance(error, OSError) and error.errno in _NOT_NOW:
        raise Unavailable(
            f"a segment cannot be opened now: {error.strerror}",
            hint="raise the limit of open files (ulimit -n), or lower storage.open_collections",
            retry_after_s=1.0,
        ) from None


def _corrupt(folder: Path, what: str) -> Corrupt:
    return Corrupt(
        f"segment {folder.name}: {what}",
        hint="it is rebuilt from the store; vecdb check says whether more is damaged",
        segment=folder.name,
    )


def _read_manifest(folder: Path, seal: int) -> dict[str, Any]:
    try:
        content = (folder / "manifest.json").read_bytes()
    except OSError as error:
        _raise_unless_of_the_file(error)
        raise _corrupt(folder, f"manifest.json cannot be read: {error}") from None
    if google_crc32c.value(content) != seal:
        raise _corrupt(folder, "manifest.json fails its checksum")
    manifest: dict[str, Any] = json.loads(content)
    if manifest["format"] != FORMAT_VERSION:
        raise _corrupt(folder, f"is of format {manifest['format']}, not {FORMAT_VERSION}")
    return manifest


@dataclass(frozen=True, slots=True)
class GraphBuild:
    """How a segment's graphs are made. base: a segment that they grow from, or None."""

    threads: int
    base: Segment | None
    progress: Progress


@dataclass(frozen=True, slots=True)
class Written:
    """A segment in its folder. dead: rows that had ended. seal: the manifest's crc32c."""

    rows: int
    dead: int
    seal: int


class Rows:
    """The rows that a segment is to be made of, in memory: added by ascending slot."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.slots: list[int] = []
        self.dead: list[int] = []
        self.spaces = indexed_spaces(schema)
        self.cells = {space.name: bytearray() for space in self.spaces}
        self.members: dict[str, list[int]] = {space.name: [] for space in self.spaces}
        self.fields = CollectedFields()
        self.postings = PostingsBuilder(schema)

    def extend(self, rows: Iterable[Row]) -> None:
        """Add rows."""
        for row in rows:
            at = len(self.slots)
            self.slots.append(row.slot)
            if not row.alive:
                self.dead.append(at)
            payload = parse(row.payload)
            self.fields.add(nodes(payload))
            self.postings.add(row, payload)
            for name, vector in row.vectors.items():
                self.cells[name] += vector
                self.members[name].append(at)


def write_segment(
    folder: Path,
    rows: Rows,
    numbers: dict[str, int],
    described: dict[str, object],
    graphs: GraphBuild | None = None,
) -> Written:
    """Write a segment into a new folder, synced; without `graphs` a flat one.

    rows: used up. Where graphs grow from a base, all of its rows come first. described: what else
    the manifest says of its origin.
    """
    arrays: dict[str, dict[str, object]] = {}
    described_graphs: dict[str, dict[str, object]] = {}

    def save(name: str, array: NDArray[Any]) -> None:
        arrays[name] = save_array(folder / f"{name}.npy", array)

    save("slots", np.array(rows.slots, "<u8"))
    if rows.dead:
        save("dead", np.array(rows.dead, "<u4"))
    for space in rows.spaces:
        number = numbers[space.name]
        matrix = _matrix(rows.cells.pop(space.name), space)
        codes, bounds = kernel.quantize(matrix)
        save(f"vectors-{number}", matrix)
        save(f"codes-{number}", codes)
        save(f"bounds-{number}", bounds)
        if len(matrix) < len(rows.slots):
            save(f"rows-{number}", np.array(rows.members[space.name], "<u4"))
        if graphs is not None and len(matrix) >= ROWS_MIN:
            graph, recall = _grown(graphs, space, matrix, codes, bounds)
            save(f"links0-{number}", graph.links0)
            save(f"upper-rows-{number}", graph.upper_rows)
            save(f"upper-links-{number}", graph.upper_links)
            described_graphs[str(number)] = {
                "entry": graph.entry,
                "upper_offsets": graph.upper_offsets.tolist(),
                "m": space.hnsw.m,
                "ef_construction": space.hnsw.ef_construction,
                "recall": recall,
            }
    index, directory, left_out = write_fields(rows.fields)
    save("fields", index)
    manifest = {
        **described,
        **rows.postings.finish(save, numbers),
        "format": FORMAT_VERSION,
        "rows": len(rows.slots),
        "arrays": arrays,
        "graphs": described_graphs,
        "fields": directory,
        "unindexed": left_out,
    }
    content = json.dumps(manifest, sort_keys=True).encode()
    _write_synced(folder / "manifest.json", content)
    sync_folder(folder)
    return Written(len(rows.slots), len(rows.dead), google_crc32c.value(content))


def _grown(
    graphs: GraphBuild, space: Space, matrix: F32, codes: NDArray[np.uint8], bounds: F32
) -> tuple[Graph, list[tuple[int, float]]]:
    """Return the graph over a space's vectors, and its recall by ef."""
    base = graphs.base.graph(space.name) if graphs.base else None
    if graphs.base and base and len(base.links0) == len(matrix):  # nothing to grow by
        return base, graphs.base.recalls(space.name)
    graph = build_graph(matrix, space.metric, space.hnsw, graphs.threads, base, graphs.progress)
    return graph, measure_recall(graph, codes, bounds, matrix, space.metric, graphs.threads)


def _matrix(cells: bytearray, space: Space) -> F32:
    """Return a space's vectors as they are compared, in the memory of their bytes."""
    matrix = np.frombuffer(cells, "<f4").reshape(-1, space.dim).astype(np.float32, copy=False)
    for start in range(0, len(matrix), _MATRIX_ROWS):
        part = matrix[start : start + _MATRIX_ROWS]
        part[:] = comparable(part, space.metric)
    return matrix


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names inside a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
