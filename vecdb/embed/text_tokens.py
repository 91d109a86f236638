"""Texts to token ids by a tokenizer file: prompts, special tokens, the cut at max_tokens.

The only file that knows tokenizers. Every kind that reads text by a Hugging Face tokenizer has one
of these; what becomes of the ids is the kind's own.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Encoding, Tokenizer

from vecdb.embed.catalog import ModelSpec, read_verified
from vecdb.embed.encoder import Prepared, Role
from vecdb.errors import Corrupt

# English has four to five characters a token, so the first look at a long text mostly fills the
# model.
FIRST_LOOK_CHARS_PER_TOKEN = 8
# Beyond this, one text at a time: a tokenizer needs up to a kilobyte for each character.
LONG_LOOK_CHARS = 1 << 16


class TextTokens:
    """The reading half of a text model. Raises Corrupt when its file is not the catalogue's."""

    def __init__(self, spec: ModelSpec, path: Path, role: str = "tokenizer") -> None:
        self._most = spec.max_tokens
        self._prompts = {Role.QUERY: spec.query_prompt, Role.DOCUMENT: spec.document_prompt}
        self.tokenizer = _tokenizer(read_verified(path, spec.files[role]), path)
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
            if _settled(encoding, size - self._margin) >= kept:
                return self._cut(encoding.ids, at_least=self._most + 1)
            size *= 2
        return self._cut(self._look(text).ids)

    def _look(self, text: str) -> Encoding:
        if len(text) <= LONG_LOOK_CHARS:
            return self.tokenizer.encode_batch([text])[0]
        with self._long_look:
            return self.tokenizer.encode_batch([text])[0]

    def _cut(self, ids: list[int], at_least: int = 0) -> Prepared:
        """Return ids within max_tokens. at_least: how many the text has, where ids are fewer."""
        most = self._most
        truncated = max(len(ids), at_least) > most
        if truncated:
            # The model was trained to see its end token, so what goes is the text before it.
            ids = ids[: most - len(self._end)] + self._end
        return Prepared(np.array(ids, dtype=np.int64), truncated)

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


def _tokenizer(content: bytes, path: Path) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_buffer(content)
    except Exception as error:
        raise Corrupt(f"{path} is not a tokenizer: {error}", path=path) from None
    # The file carries its exporter's settings, which cut at 128 without a word.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
