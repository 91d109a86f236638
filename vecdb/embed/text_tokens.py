"""Texts to token ids by a tokenizer file: prompts, special tokens, the cut at max_tokens.

The only file that knows tokenizers. Every kind that reads text by a Hugging Face tokenizer has one
of these; what becomes of the ids is the kind's own.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Encoding, Tokenizer
from tokenizers.models import BPE
from tokenizers.processors import TemplateProcessing

from vecdb.embed.catalog import ModelSpec, read_verified
from vecdb.embed.encoder import Pair, Prepared, Role
from vecdb.errors import Corrupt, FailedPrecondition

# English has four to five characters a token, so the first look at a long text mostly fills the
# model.
FIRST_LOOK_CHARS_PER_TOKEN = 8
# Beyond this, one text at a time: a tokenizer needs up to a kilobyte for each character.
LONG_LOOK_CHARS = 1 << 16

Around = tuple[tuple[int, ...], tuple[int, ...]]
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


class TextTokens:
    """The reading half of a text model. Raises Corrupt when its file is not the catalogue's.

    around: the special tokens before and behind a text, in place of those that the file says.
    Raises FailedPrecondition for one that the file does not know.
    """

    def __init__(
        self, spec: ModelSpec, path: Path, role: str = "tokenizer", around: Around | None = None
    ) -> None:
        self._most = spec.max_tokens
        self._prompts = {Role.QUERY: spec.query_prompt, Role.DOCUMENT: spec.document_prompt}
        self.tokenizer = _tokenizer(read_verified(path, spec.files[role]), path)
        if around is not None:
            _surround(self.tokenizer, around, path)
        self._seams = _seams(self.tokenizer)
        # Special tokens that a user types are matched before words are, across any boundary.
        added = self.tokenizer.get_added_tokens_decoder().values()
        self._margin = max((len(token.content) for token in added), default=0)
        self._end = self._end_tokens()
        self._first_look = spec.max_tokens * FIRST_LOOK_CHARS_PER_TOKEN
        self._long_look = threading.Lock()

    def prepare(self, texts: Sequence[str], role: Role) -> list[Prepared]:
        """Return the tokens of each text, the role's prompt in front, cut to max_tokens."""
        prompt = self._prompts[role]
        prompted = [prompt + text for text in texts] if prompt else texts
        short = [text for text in prompted if len(text) <= self._first_look]
        # encode_batch leaves the GIL to other callers; encode does not.
        encodings = iter(self.tokenizer.encode_batch_fast(short))
        return [
            self._cut(next(encodings).ids) if len(text) <= self._first_look else self._long(text)
            for text in prompted
        ]

    def _long(self, text: str) -> Prepared:
        """Return the tokens of a text whose beginning fills the model, without reading it all.

        The text is looked at from its start, twice as far each time, until the words that cannot
        change any more fill the model; so the tokens are those of the whole text whatever it
        holds, and a megabyte of prose costs what its first page does. Not settled are the last
        word that was seen, because it may go on, and what a special token could begin in.
        """
        size = self._first_look
        while size < len(text):
            encoding = self._look(text[:size])
            kept = self._most - len(self._end)
            if self._settled(encoding, size - self._margin) >= kept:
                return self._cut(encoding.ids, at_least=self._most + 1)
            size *= 2
        return self._cut(self._look(text).ids)

    def beginnings(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text without special tokens: all, or more than the model reads."""
        short = [text for text in texts if len(text) <= self._first_look]
        encodings = iter(self.tokenizer.encode_batch_fast(short, add_special_tokens=False))
        return [
            next(encodings).ids if len(text) <= self._first_look else self._beginning(text)
            for text in texts
        ]

    def _beginning(self, text: str) -> list[int]:
        size = self._first_look
        while size < len(text):
            encoding = self._look(text[:size], special=False)
            settled = self._settled(encoding, size - self._margin)
            if settled > self._most:
                return encoding.ids[:settled]
            size *= 2
        return self._look(text, special=False).ids

    def _look(self, text: str, special: bool = True) -> Encoding:
        if len(text) <= LONG_LOOK_CHARS:
            return self.tokenizer.encode_batch([text], add_special_tokens=special)[0]
        with self._long_look:
            return self.tokenizer.encode_batch([text], add_special_tokens=special)[0]

    def _cut(self, ids: list[int], at_least: int = 0) -> Prepared:
        """Return ids within max_tokens. at_least: how many the text has, where ids are fewer."""
        most = self._most
        truncated = max(len(ids), at_least) > most
        if truncated:
            # The model was trained to see its end token, so what goes is the text before it.
            ids = ids[: most - len(self._end)] + self._end
        return Prepared(np.array(ids, dtype=np.int64), truncated)

    def _settled(self, encoding: Encoding, limit: int) -> int:
        return self._seams.settled(encoding, limit) if self._seams else _settled(encoding, limit)

    def _end_tokens(self) -> list[int]:
        """Return the special tokens that close a text, such as [SEP]."""
        encoding = self.tokenizer.encode("a")
        end: list[int] = []
        for token, special in zip(
            reversed(encoding.ids), reversed(encoding.special_tokens_mask), strict=True
        ):
            if not special:
                break
            end.insert(0, token)
        return end


class PairTokens:
    """The reading half of a model that judges a query and a text together.

    Raises Corrupt when its file is not the catalogue's, FailedPrecondition for a tokenizer that
    does not say how two texts become one.
    """

    def __init__(self, spec: ModelSpec, path: Path) -> None:
        self.tokens = TextTokens(spec, path)
        self._prompts = spec.query_prompt, spec.document_prompt
        encoding = self.tokens.tokenizer.encode("a", "a")
        sequences = encoding.sequence_ids
        # Where the first text is, and the second: between them, and around, are special tokens.
        spans = [_span(sequences, number) for number in (0, 1)]
        (start, stop), (second, end) = spans
        if not start < stop < second < end:
            raise FailedPrecondition(
                f"model {spec.name}: {path} does not say how to join two texts"
            )
        self._around = [
            np.array([encoding.ids[a:b], encoding.type_ids[a:b]], np.int64).T
            for a, b in ((0, start), (stop, second), (end, len(sequences)))
        ]
        self._types = encoding.type_ids[start], encoding.type_ids[second]
        self._most = spec.max_tokens - sum(map(len, self._around))

    def prepare(self, pairs: Sequence[Pair]) -> list[Prepared]:
        """Return the tokens of each pair, (t, 2) int64: ids, and of which of the two they are.

        What is too long is cut where sentence-transformers' CrossEncoder cuts it: the longer one,
        and both to the same length if the shorter has more than half.
        """
        queries, texts = self._prompts
        asked = list(dict.fromkeys(pair.query for pair in pairs))  # mostly one
        known = dict(
            zip(asked, self.tokens.beginnings([queries + one for one in asked]), strict=True)
        )
        read = self.tokens.beginnings([texts + pair.text for pair in pairs])
        return [self._joined(known[pair.query], ids) for pair, ids in zip(pairs, read, strict=True)]

    def _joined(self, query: list[int], text: list[int]) -> Prepared:
        kept = _kept(len(query), len(text), self._most)
        before, between, after = self._around
        first, second = (
            np.column_stack([ids[:count], np.full(min(len(ids), count), kind)]).astype(np.int64)
            for ids, count, kind in zip((query, text), kept, self._types, strict=True)
        )
        tokens = np.concatenate([before, first, between, second, after])
        return Prepared(tokens, len(query) + len(text) > self._most)


def _kept(first: int, second: int, most: int) -> tuple[int, int]:
    """Return how many tokens of two texts stay of `most`: of the longer as many as are left."""
    if first + second <= most:
        return first, second
    half = most // 2
    if first <= second:
        return (first, most - first) if first <= half else (half, most - half)
    return (most - second, second) if second <= half else (most - half, half)


def _span(sequences: Sequence[int | None], number: int) -> tuple[int, int]:
    places = [at for at, one in enumerate(sequences) if one == number]
    return (places[0], places[-1] + 1) if places else (0, 0)


def _settled(encoding: Encoding, limit: int) -> int:
    """Return how many leading tokens stay as they are, however the text goes on.

    limit: characters up to which that can be said at all.
    """
    last = next((word for word in reversed(encoding.word_ids) if word is not None), None)
    count = 0
    for word, (_, end) in zip(encoding.word_ids, encoding.offsets, strict=True):
        if (word is not None and word == last) or end > limit:
            break
        count += 1
    return count


class _Seams:
    """Where tokens cannot change each other, in a text that its tokenizer takes for one word.

    A merge joins what stands side by side into a token, so none reaches across two characters that
    stand side by side within no token, nor across a byte of a character that no token has.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        words = (word for word in tokenizer.get_vocab(False) if not _BYTE.fullmatch(word))
        self._joined = {word[at : at + 2] for word in words for at in range(len(word) - 1)}

    def settled(self, encoding: Encoding, limit: int) -> int:
        """Return how many leading tokens stay as they are, however the text goes on."""
        tokens, words, offsets = encoding.tokens, encoding.word_ids, encoding.offsets
        for count in range(len(tokens) - 1, 0, -1):
            if words[count] is None or words[count - 1] is None or offsets[count - 1][1] > limit:
                continue
            left, right = tokens[count - 1], tokens[count]
            either_byte = _BYTE.fullmatch(left) or _BYTE.fullmatch(right)
            if either_byte or left[-1] + right[0] not in self._joined:
                return count
        return 0


def _seams(tokenizer: Tokenizer) -> _Seams | None:
    """Return the seams of texts that the tokenizer does not split into words, as Mistral's."""
    model = tokenizer.model
    if type(model) is not BPE or model.continuing_subword_prefix or model.end_of_word_suffix:
        return None
    words = set(tokenizer.encode("a a", add_special_tokens=False).word_ids)
    return _Seams(tokenizer) if len(words) == 1 else None


def _surround(tokenizer: Tokenizer, around: Around, path: Path) -> None:
    """Have the tokenizer put those special tokens around each text."""
    pieces: list[dict[str, Any]] = []
    for number in dict.fromkeys((*around[0], *around[1])):
        word = tokenizer.id_to_token(number)
        if word is None:
            raise FailedPrecondition(f"{path} has no token {number}")
        pieces.append({"id": f"id{number}", "ids": [number], "tokens": [word]})
    before, behind = ([f"id{number}" for number in side] for side in around)
    tokenizer.post_processor = TemplateProcessing(
        single=[*before, "$A", *behind], special_tokens=pieces
    )


def _tokenizer(content: bytes, path: Path) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_buffer(content)
    except Exception as error:
        raise Corrupt(f"{path} is not a tokenizer: {error}", path=path) from None
    # The file carries its exporter's settings, which cut at 128 without a word.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
