"""Words of hits that matched: what is asked for, and the pieces of text they stand in. Data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from vecdb_client.pb import search_pb2


@dataclass(frozen=True, slots=True)
class Highlights:
    """Ask for the words of each hit that matched keywords, or text conditions of filters.

    fields: paths of text fields in which words are asked for; none for all of those. fragments: the
    most pieces of a field, up to 20, characters: of each, 20 to 100,000; None for 3 and 160.
    """

    fields: str | Sequence[str] = ()
    fragments: int | None = None
    characters: int | None = None


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of a stored text, and the ranges [start, end) of it that matched.

    value: which value at the field's path it is of, from 0; start: where it begins there. All are
    counted in characters, as Python's str is.
    """

    text: str
    value: int
    start: int
    words: tuple[tuple[int, int], ...]

    def marked(self, before: str, after: str) -> str:
        """Return the text with something before and after every range that matched."""
        parts: list[str] = []
        at = 0
        for start, end in self.words:
            parts += [self.text[at:start], before, self.text[start:end], after]
            at = end
        return "".join([*parts, self.text[at:]])


NO_HIGHLIGHTS: Final[Mapping[str, tuple[Fragment, ...]]] = MappingProxyType({})


def highlights_of(messages: Sequence[search_pb2.Highlight]) -> Mapping[str, tuple[Fragment, ...]]:
    """Return the fragments of each text field, by its path."""
    if not messages:
        return NO_HIGHLIGHTS
    return {
        one.field: tuple(
            [
                Fragment(
                    piece.text,
                    piece.value,
                    piece.start,
                    tuple([(word.start, word.end) for word in piece.words]),
                )
                for piece in one.fragments
            ]
        )
        for one in messages
    }
