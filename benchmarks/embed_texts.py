"""Texts of an exact number of tokens, no two alike: real prose cut at words.

From the package summaries of pypi-minilm-100k where they are there, else from the documentation of
Python's own library. What is asked for twice would come from the server's cache.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from points import DATA_SET, FOLDER
from vecdb.cli.stdlib_docs import read_stdlib

SPECIAL = 2
"""Tokens around a text."""
TOGETHER = 512
"""Pieces of prose that become one text before they are cut."""


@dataclass(frozen=True, slots=True)
class Prose:
    """Where texts come from. pieces: as they are, no two alike."""

    name: str
    pieces: list[str]


def prose(*, smoke: bool) -> Prose:
    """Return what there is to cut texts from, the same in every run."""
    path = FOLDER / "texts.jsonl.gz"
    if path.is_file() and not smoke:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return Prose(DATA_SET, _distinct(json.loads(line)["summary"] for line in file))
    entries = islice(read_stdlib(), 400 if smoke else None)
    docs = (" ".join(entry.doc.split())[:2_000] for entry in entries)
    return Prose("documentation of Python's library", _distinct(docs))


def cut(source: Prose, tokenizer_file: Path, tokens: int, count: int) -> list[str]:
    """Return texts that a model reads as that many tokens, special ones included."""
    # Fewer where there is not enough prose.
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    found: dict[str, None] = {}
    for piece in _long_texts(source, tokens):
        found.update(dict.fromkeys(_cut(piece, tokenizer, tokens)))
        if len(found) >= count:
            break
    return list(found)[:count]


def _distinct(pieces: Iterator[str]) -> list[str]:
    found = list(dict.fromkeys(piece for piece in pieces if piece.strip()))
    np.random.default_rng(5).shuffle(found)
    return found


def _long_texts(source: Prose, tokens: int) -> Iterator[str]:
    pieces = source.pieces
    # Several times, each in another order, for long texts need more prose than there may be.
    for at in range(1 + tokens // 32):
        order = np.random.default_rng(at).permutation(len(pieces))
        for start in range(0, len(order), TOGETHER):
            yield " ".join(pieces[row] for row in order[start : start + TOGETHER])


def _cut(piece: str, tokenizer: Tokenizer, tokens: int) -> list[str]:
    whole = tokenizer.encode(piece, add_special_tokens=False)
    words, offsets = whole.word_ids, whole.offsets
    wanted = tokens - SPECIAL
    found: list[str] = []
    start = 0
    while start + wanted < len(words):
        end = start + wanted
        starts, ends = (at == 0 or words[at] != words[at - 1] for at in (start, end))
        if starts and ends:
            found.append(piece[offsets[start][0] : offsets[end - 1][1]])
            start = end
        else:
            start += 1
    # A cut may change how a neighbour is read: only what is as long as it should be stays.
    sizes = [len(one.ids) for one in tokenizer.encode_batch(found)] if found else []
    return [text for text, size in zip(found, sizes, strict=True) if size == tokens]
