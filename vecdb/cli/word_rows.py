"""Rows of files of words, nodes, users or items and their vectors: Word2Vec, node2vec, GloVe.

Each becomes a point whose id is the word. The same files as a model, which encodes texts by their
words, are an entry of the catalogue of kind "static-words".
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from vecdb.cli.row_files import Row
from vecdb.embed.word_files import READERS
from vecdb.errors import Corrupt, InvalidArgument

FIRST_LINE_BYTES: Final = 1 << 20


def _rows(role: str, file: Path) -> Iterator[Row]:
    """Yield the rows of a file that one of word_files.READERS knows."""
    with file.open("rb") as source:
        first = source.readline(FIRST_LINE_BYTES).split()
        # `n dim`, or of GloVe, which has no such line, a word and its numbers.
        said = len(first) - 1 if role == "glove" else int(first[-1]) if _counts(first) else 0
        if said < 1:
            raise InvalidArgument(f"{file.name}: its first line does not say how long vectors are")
        with mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            try:
                found = READERS[role](mapped, file, said)
            except Corrupt as error:
                raise InvalidArgument(error.message) from None
    for word, vector in zip(found.words, found.vectors, strict=True):
        yield {"id": word, "vector": vector, "payload": {}}


def _counts(first: list[bytes]) -> bool:
    return len(first) == 2 and all(number.isdigit() for number in first)


WORD_ORIGINS: Final[dict[str, Callable[[Path], Iterator[Row]]]] = {
    "word2vec": partial(_rows, "word2vec"),
    "word2vec-binary": partial(_rows, "word2vec_binary"),
    "node2vec": partial(_rows, "word2vec"),
    "glove": partial(_rows, "glove"),
}
