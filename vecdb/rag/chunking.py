"""Where a text is cut into chunks: at sections, then paragraphs, sentences, words, whichever fits.

A heading's line stays in the text of its section's chunk, so that chunks are what their author
wrote and cover all of it; a chunk's `headings` are those that hold where it begins, its own line
included. What is embedded may leave out the last of them where the text says it already.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from vecdb.errors import FailedPrecondition, LimitExceeded
from vecdb.rag.sections import Section, sections
from vecdb.rag.texts import Chunk, Text
from vecdb.rag.token_counts import Count

if TYPE_CHECKING:
    from semantic_text_splitter import MarkdownSplitter, TextSplitter

SHORT = 4
"""A section, or the rest of one, of less than 1/SHORT of a chunk is put together with others."""

_WINDOW_CHARACTERS = 50_000
"""The splitter sees no more at a time: its time grows with the square of a section's sentences."""

_MARKS = ("\n\n", "\n", ". ", "\u3002", " ")
"""What a long section is cut behind, best first."""

_UNBROKEN_CHARACTERS = 2_000
# Not of these: white space, and the marks that end a sentence or a part of one.
_UNBROKEN = re.compile(
    rf"[^\s.,;:!?\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f]{{{_UNBROKEN_CHARACTERS}}}"
)
"""Text without a place to cut at, where that time is felt much sooner."""


class _Span(NamedTuple):
    start: int
    end: int


def chunk(text: Text, count: Count, tokens: int, overlap: int, most: int) -> list[Chunk]:
    """Return the chunks of a text in order: of at most `tokens` each, but for a single character.

    overlap: tokens that a chunk repeats of the one before it, in the same section. Chunks hold all
    of the text but white space; text.text[start:end] is the text of each. The same text, count and
    numbers give the same chunks.
    Raises LimitExceeded for more chunks than `most`, FailedPrecondition without the extra
    `documents`.
    """
    cut = _Cut(text, count, tokens, overlap)
    found: list[Chunk] = []
    for section in cut.grouped():
        for start, end in cut.spans(section):
            if len(found) == most:
                raise LimitExceeded(
                    f"the document has more than {most:,} chunks",
                    hint="put it in parts, have larger chunks, or raise documents.document_chunks",
                    key="documents.document_chunks",
                )
            piece = text.text[start:end]
            found.append(Chunk(piece, start, end, section.headings, count(piece)))
    return found


class _Cut:
    """How one text is cut."""

    def __init__(self, text: Text, count: Count, tokens: int, overlap: int) -> None:
        self._text = text.text
        self._markdown = text.markdown
        self._count = count
        self._tokens = tokens
        self._overlap = overlap

    def grouped(self) -> Iterator[Section]:
        """Yield sections, short ones with those that follow under the same parent, if they fit."""
        if not self._markdown:
            yield Section(0, len(self._text), (), 0)
            return
        short = self._tokens / SHORT
        last, size = None, 0
        for section in sections(self._text):
            more = self._count(self._text[section.start : section.end])
            if last is not None:
                parent = last.headings[:-1]
                together = (
                    min(size, more) < short
                    and size + more <= self._tokens
                    and section.headings[: len(parent)] == parent
                )
                if together:
                    last, size = last._replace(end=section.end), size + more
                    continue
                yield last
            last, size = section, more
        if last is not None:
            yield last

    def spans(self, section: Section) -> list[_Span]:
        """Return where a section is cut, without white space; its heading is in the first piece."""
        whole = self._trimmed(section.start, section.end)
        if self._size(whole) <= self._tokens:
            return [whole] if whole.start < whole.end else []
        body = self._trimmed(section.body, section.end)
        room = self._tokens - self._size(_Span(whole.start, body.start))
        if self._tokens // 2 <= room < self._tokens:
            found = self._pieces(body, room)
            first = _Span(whole.start, found[0].end)
            if self._size(first) <= self._tokens:
                return [first, *found[1:]]
        return self._pieces(whole, self._tokens)

    def _pieces(self, whole: _Span, tokens: int) -> list[_Span]:
        bounds = [whole.start, *self._places(whole.start, whole.end), whole.end]
        return _without_contained(
            span
            for start, end in itertools.pairwise(bounds)
            for span in self._even(self._split(self._trimmed(start, end), tokens), tokens)
        )

    def _places(self, start: int, end: int) -> Iterator[int]:
        """Yield where text[start:end] is cut so that the splitter has little to see at a time."""
        while start < end:
            stop = end
            if end - start > _WINDOW_CHARACTERS:
                half, stop = start + _WINDOW_CHARACTERS // 2, start + _WINDOW_CHARACTERS
                places = (self._text.rfind(mark, half, stop) + len(mark) for mark in _MARKS)
                stop = next((at for at in places if at > half), stop)
            yield from (match.end() for match in _UNBROKEN.finditer(self._text, start, stop))
            if stop < end:
                yield stop
            start = stop

    def _split(self, whole: _Span, tokens: int) -> list[_Span]:
        if self._size(whole) <= tokens:
            return [whole] if whole.start < whole.end else []
        splitter = _splitter(self._markdown, self._count, tokens, self._overlap)
        found: list[_Span] = []
        reached = whole.start
        for at, piece in splitter.chunk_indices(self._text[whole.start : whole.end]):
            span = _Span(whole.start + at, whole.start + at + len(piece))
            # One that repeats the end of the one before, and nothing else, is nothing.
            if self._text[reached : span.end].strip():
                found.append(span)
                reached = span.end
        return found

    def _even(self, spans: list[_Span], tokens: int) -> list[_Span]:
        """Return the spans, the last two cut anew where the last is short: no crumb is left."""
        if len(spans) < 2 or self._size(spans[-1]) >= tokens / SHORT:
            return spans
        rest = _Span(spans[-2].start, spans[-1].end)
        cut = self._split(rest, min(tokens, self._size(rest) * 5 // 8 + self._overlap))
        before = spans[-3].end if len(spans) > 2 else rest.start
        return [*spans[:-2], *cut] if len(cut) == 2 and cut[0].end > before else spans

    def _size(self, span: _Span) -> int:
        return self._count(self._text[span.start : span.end])

    def _trimmed(self, start: int, end: int) -> _Span:
        piece = self._text[start:end]
        start += len(piece) - len(piece.lstrip())
        return _Span(start, max(start, start + len(piece.strip())))


def _without_contained(spans: Iterable[_Span]) -> list[_Span]:
    """Return the spans but those that another one holds, as an overlap may."""
    kept: list[_Span] = []
    for span in spans:
        while kept and kept[-1].start >= span.start and kept[-1].end <= span.end:
            kept.pop()
        if not kept or span.end > kept[-1].end:
            kept.append(span)
    return kept


def _splitter(
    markdown: bool, count: Count, tokens: int, overlap: int
) -> MarkdownSplitter | TextSplitter:
    try:
        from semantic_text_splitter import MarkdownSplitter, TextSplitter
    except ImportError:
        raise FailedPrecondition(
            "cutting documents needs semantic-text-splitter, which is not installed here",
            hint="pip install 'vecdb[documents]'",
        ) from None
    kind = MarkdownSplitter if markdown else TextSplitter
    return kind.from_callback(count, tokens, min(overlap, max(0, tokens - 1)), True)
