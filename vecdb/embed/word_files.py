"""The files that words and their vectors are kept in: GloVe, Word2Vec, NumPy, lists of words.

Each is read from a mapping that catalog.py has verified, in one pass, into an array that is made
once: beside that, reading takes a few megabytes. Nothing is unpickled. What is wrong in a file is
named by its line or word; the files are an operator's own, so a wrong one is refused as a whole.
"""

from __future__ import annotations

import mmap
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from vecdb.embed.catalog import FileRef, map_verified
from vecdb.errors import Corrupt
from vecdb.types import F32

BLOCK = 4096  # lines whose numbers are read at once
WORD_BYTES_MAX = 1024  # of a binary file: without an end by then, it is not one
_HEADER = re.compile(rb"(\d{1,12}) +(\d{1,6}) *\r?\n")


class WordVectors(NamedTuple):
    """Words in the order of their file, and their vectors: (n, dim), a float type."""

    words: list[str]
    vectors: NDArray[Any]


def read_vectors(files: Mapping[str, FileRef], paths: Mapping[str, Path], dim: int) -> WordVectors:
    """Return what the files of an entry hold, by their roles: see KINDS. Raises Corrupt."""
    if "npy" in files:
        vectors = _npy(paths["npy"], files["npy"], dim)
        words = _vocabulary(paths["vocabulary"], files["vocabulary"])
        if len(words) != len(vectors):
            raise Corrupt(
                f"{paths['vocabulary']} has {len(words)} words, "
                f"{paths['npy']} {len(vectors)} vectors",
                path=paths["vocabulary"],
            )
        return WordVectors(words, vectors)
    (role,) = files.keys() & READERS.keys()
    path = paths[role]
    with map_verified(path, files[role]) as mapped:
        return READERS[role](mapped, path, dim)


def read_weights(path: Path, ref: FileRef) -> dict[str, float]:
    """Return the weight of each word of a file of lines `word weight`. Raises Corrupt."""
    weights: dict[str, float] = {}
    with map_verified(path, ref) as mapped:
        for number, line in _lines(mapped):
            word, _, said = _text(line, path, number).replace("\t", " ").rpartition(" ")
            try:
                weight = float(said)
            except ValueError:
                raise _wrong(path, number, f"no weight is {said!r}") from None
            if not 0 < weight < np.inf:
                raise _wrong(path, number, f"the weight of {word!r} is {said}, not above 0")
            if not word or word in weights:
                raise _wrong(path, number, f"the word {word!r} is empty or there already")
            weights[word] = weight
    if not weights:
        raise Corrupt(f"{path} holds no weight", path=path)
    return weights


def _glove(mapped: mmap.mmap, path: Path, dim: int) -> WordVectors:
    """Return a text of lines `word x1 ... xdim`."""
    return _text_vectors(mapped, path, dim, sum(1 for _ in _lines(mapped)), 1)


def _word2vec(mapped: mmap.mmap, path: Path, dim: int) -> WordVectors:
    """Return a text as GloVe's, below a line `n dim`."""
    n = _header(mapped, path, dim, bytes_each=2 * dim + 2)
    found = _text_vectors(mapped, path, dim, n, 2)
    if len(found.words) != n:
        raise Corrupt(f"{path} says that it has {n} words, and has {len(found.words)}", path=path)
    return found


def _word2vec_binary(mapped: mmap.mmap, path: Path, dim: int) -> WordVectors:
    """Return what follows `n dim`: n times a word, a space, float32s, and maybe a newline."""
    n = _header(mapped, path, dim, bytes_each=4 * dim + 2)
    words: list[str] = []
    vectors = np.empty((n, dim), dtype=np.float32)
    at = mapped.tell()
    for row in range(n):
        space = mapped.find(b" ", at, at + WORD_BYTES_MAX)
        end = space + 1 + 4 * dim
        if space < 0 or end > len(mapped):
            raise Corrupt(f"{path} ends, or is broken, in word {row + 1} of {n}", path=path)
        words.append(_text(mapped[at:space].lstrip(b"\n"), path, row + 1, "word"))
        vectors[row] = np.frombuffer(mapped, "<f4", dim, space + 1)
        at = end
        if row % BLOCK == 0:
            _forget(mapped)
    if mapped[at:].strip(b"\n"):
        raise Corrupt(f"{path} goes on after the {n} words that it says it has", path=path)
    return WordVectors(words, vectors)


READERS = {"glove": _glove, "word2vec": _word2vec, "word2vec_binary": _word2vec_binary}


def _npy(path: Path, ref: FileRef, dim: int) -> NDArray[Any]:
    """Return the array of a .npy file as it lies there, mapped: (n, dim), a float type."""
    mapped = map_verified(path, ref)
    try:
        read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
        shape, by_columns, dtype = read_header[npy.read_magic(mapped)](mapped)
        if dtype.kind != "f" or len(shape) != 2 or shape[1] != dim:
            raise ValueError(f"it is {shape} {dtype}, expected (n, {dim}) of floats")
        flat = np.frombuffer(mapped, dtype, shape[0] * dim, mapped.tell())
    except (KeyError, ValueError) as error:
        raise Corrupt(f"{path} is not an array of vectors: {error}", path=path) from None
    return flat.reshape(shape, order="F" if by_columns else "C")


def _vocabulary(path: Path, ref: FileRef) -> list[str]:
    """Return the words of a text, one a line, or of a Parquet file of one column of strings."""
    if path.suffix != ".parquet":
        with map_verified(path, ref) as mapped:
            return [_text(line, path, number) for number, line in _lines(mapped)]
    import pyarrow as pa
    from pyarrow import parquet

    words: list[str] = []
    with map_verified(path, ref) as mapped:
        try:
            file = parquet.ParquetFile(mapped)
            kinds = file.schema_arrow.types
            if kinds not in ([pa.string()], [pa.large_string()]):
                raise Corrupt(f"{path} has columns {kinds}, expected one of strings", path=path)
            for batch in file.iter_batches(BLOCK, use_threads=False):
                words += batch.column(0).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise Corrupt(f"{path} is not a Parquet file: {error}", path=path) from None
    pa.default_memory_pool().release_unused()
    if None in words:
        raise Corrupt(f"{path} has nulls among its words", path=path)
    return words


def _text_vectors(mapped: mmap.mmap, path: Path, dim: int, most: int, first: int) -> WordVectors:
    """Return the words and vectors of lines. most: lines; first: the number of the first one."""
    words: list[str] = []
    vectors = np.empty((most, dim), dtype=np.float32)
    block: list[bytes] = []
    for number, line in _lines(mapped, first):
        if number - first >= most:
            raise _wrong(path, number, f"there is more than the {most} words said above")
        word, numbers = _parted(line.rstrip(b" \t"), dim)
        if numbers is None:
            raise _wrong(path, number, f"expected a word and {dim} numbers")
        words.append(_text(word, path, number))
        block.append(numbers)
        if len(block) == BLOCK:
            _fill(vectors, len(words) - BLOCK, block, path, first)
            block.clear()
            _forget(mapped)
    _fill(vectors, len(words) - len(block), block, path, first)
    return WordVectors(words, vectors)


def _parted(line: bytes, dim: int) -> tuple[bytes, bytes | None]:
    """Return the word of a line and its numbers, None where there are not dim of them."""
    word, _, numbers = line.partition(b" ")
    if numbers.count(b" ") == dim - 1:
        return word, numbers
    # Some vocabularies have words with spaces in them, such as ". . .".
    parts = line.rsplit(b" ", dim)
    if len(parts) <= dim or _is_number(parts[0].rsplit(b" ", 1)[-1]):
        return word, None
    return parts[0], b" ".join(parts[1:])


def _is_number(part: bytes) -> bool:
    try:
        float(part)
    except ValueError:
        return False
    return True


def _fill(vectors: F32, row: int, block: list[bytes], path: Path, first: int) -> None:
    """Write the numbers of lines to vectors, from a row on. first: the line of row 0."""
    end = row + len(block)
    dim = vectors.shape[1]
    if not block:
        return
    found = _floats(b" ".join(block))
    if found is None or len(found) != len(block) * dim:
        for at, numbers in enumerate(block):
            one = _floats(numbers)
            if one is None or len(one) != dim:
                raise _wrong(path, first + row + at, f"expected a word and {dim} numbers")
    assert found is not None
    vectors[row:end] = found.reshape(-1, dim)


def _floats(text: bytes) -> F32 | None:
    """Return the numbers of a text, None where there is something else in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return np.fromstring(text, dtype=np.float32, sep=" ")
        except (ValueError, DeprecationWarning):
            return None


def _header(mapped: mmap.mmap, path: Path, dim: int, bytes_each: int) -> int:
    """Return the number of words that the first line says, and stand behind it."""
    line = mapped.readline()
    found = _HEADER.fullmatch(line)
    if found is None:
        raise Corrupt(f"{path} does not begin with two numbers, of words and of dim", path=path)
    n, said = map(int, found.groups())
    if said != dim:
        raise Corrupt(f"{path} has vectors of {said} numbers, the catalogue says {dim}", path=path)
    if n * bytes_each > len(mapped) + 1:  # the last newline may be missing
        raise Corrupt(f"{path} says that it has {n} words, and is too short for them", path=path)
    return n


def _lines(mapped: mmap.mmap, first: int = 1) -> Iterator[tuple[int, bytes]]:
    """Yield the lines from where the mapping stands, numbered, without their ends; go back."""
    start = mapped.tell()
    number = first
    while line := mapped.readline():
        yield number, line.rstrip(b"\r\n")
        number += 1
    mapped.seek(start)


def _text(word: bytes, path: Path, number: int, what: str = "line") -> str:
    try:
        return word.decode()
    except UnicodeDecodeError:
        raise _wrong(path, number, f"{word[:40]!r} is not UTF-8", what) from None


def _forget(mapped: mmap.mmap) -> None:
    """Give up the memory of what was read; it is in the page cache, if it is needed again."""
    if hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _wrong(path: Path, number: int, why: str, what: str = "line") -> Corrupt:
    return Corrupt(f"{path}: {what} {number}: {why}", path=path)
