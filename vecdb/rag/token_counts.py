"""How many tokens a text has for a model, without asking the model each time.

A tokenizer works inside of words, so a text has the tokens of its words. Those of one document are
asked for once, in batches; a splitter then counts thousands of its pieces without a call. What a
word that was cut in two has is not asked for but bounded from above. A count depends on the model
and the document alone, never on documents before it: the same text is always cut alike.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

Count = Callable[[str], int]
"""The tokens of a text, without special ones."""
Learn = Callable[[str], Count]
"""Returns what counts the tokens of any part of a text, which is asked for at once."""
Tokenize = Callable[[list[str]], list[int]]
"""The tokens of each text, special ones and a prompt included; at most TEXTS_MAX texts a call."""

TEXTS_MAX = 1_000
CACHED_MAX = 200_000
LEARNED_MAX = 200_000
"""Different pieces of one document that are asked for; others are bounded."""

# Han, Kana and their punctuation: written without spaces, and mostly a token or two a character.
_DENSE = "\u2e80-\u30ff\u31c0-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff"
_PIECE = re.compile(rf"[{_DENSE}]{{1,24}}|[^\s{_DENSE}]{{1,48}}|\s{{2,16}}|[^\S ]")
_PART = re.compile(rf"[{_DENSE}]|[^\W{_DENSE}]+|[^\w\s]")
_ESTIMATED = re.compile(rf"[{_DENSE}]|[^\W{_DENSE}]+|[^\w\s]|\s{{16}}")
_ESTIMATED_CHARACTERS = 6  # of a token in a word


class TokenCounter:
    """Counts by one model's tokens. Safe for any number of threads.

    Raises what `tokenize` raises, here and in learn().
    """

    def __init__(self, tokenize: Tokenize) -> None:
        self._tokenize = tokenize
        one, two, apart, lines = tokenize(["a", "a a", "a    a", "a\n\na"])
        self._around = max(0, 2 * one - two)
        self._gap = max(0, apart - two, lines - two)
        self._lock = threading.Lock()
        self._cached: dict[str, int] = {}  # guarded by _lock

    def learn(self, text: str) -> Count:
        """Return what counts the tokens of any part of the text, without special ones."""
        wanted = _pieces(text)
        with self._lock:
            known = {piece: self._cached[piece] for piece in wanted if piece in self._cached}
        missing = [piece for piece in wanted if piece not in known]
        for at in range(0, len(missing), TEXTS_MAX):
            asked = missing[at : at + TEXTS_MAX]
            for piece, tokens in zip(asked, self._tokenize(asked), strict=True):
                # What has none for the model still takes space in a chunk.
                known[piece] = max(1, tokens - self._around)
        with self._lock:
            if len(self._cached) + len(missing) > CACHED_MAX:
                self._cached.clear()
            if len(missing) <= CACHED_MAX:
                self._cached.update((piece, known[piece]) for piece in missing)
        return _Counts(known, self._gap)


class _Counts:
    """Counts the parts of one document."""

    def __init__(self, known: dict[str, int], gap: int) -> None:
        self._known = known
        self._gap = gap
        # What follows from `known` alone, so whoever comes first finds the same.
        self._bounds: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        known, total = self._known, 0
        for piece in _PIECE.findall(text):
            tokens = known.get(piece)
            total += self._bound(piece) if tokens is None else tokens
        return total

    def _bound(self, piece: str) -> int:
        """Return at least the tokens of a piece that was not asked for."""
        found = self._bounds.get(piece)
        if found is None:
            if piece.isspace():
                found = max(self._gap, len(piece) // 16)
            else:
                parts = _PART.findall(piece)
                found = sum(self._known.get(part) or len(part.encode()) for part in parts) or 1
            if len(self._bounds) < LEARNED_MAX:
                self._bounds[piece] = found
        return found


def estimate(text: str) -> int:
    """Return about how many tokens a text has, where no model says it: of prose, a little more."""
    return sum(map(_estimated, _ESTIMATED.findall(text)))


def _estimated(word: str) -> int:
    return 1 + (len(word) - 1) // _ESTIMATED_CHARACTERS if word[0].isalnum() else 1


def _pieces(text: str) -> list[str]:
    """Return the different pieces of a text, and their parts, in the order that they come in."""
    found = dict.fromkeys(_PIECE.findall(text))
    pieces = [piece for piece in found if not piece.isspace()][:LEARNED_MAX]
    return list(dict.fromkeys([*pieces, *(part for one in pieces for part in _PART.findall(one))]))
