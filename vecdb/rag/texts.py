"""What a document is after it was read, and after it was cut. Data."""

from __future__ import annotations

from typing import NamedTuple


class Text(NamedTuple):
    """A document as text.

    text: all that is searched, in Markdown where `markdown`; chunks count its characters. title:
    what the document says of itself, or "". warnings: what a person should know.
    """

    text: str
    markdown: bool = False
    title: str = ""
    warnings: tuple[str, ...] = ()


class Chunk(NamedTuple):
    """A piece of a text: text[start:end], and the headings it stands under, outermost first.

    tokens: of the piece alone, by the model's tokens, as far as they are known.
    """

    text: str
    start: int
    end: int
    headings: tuple[str, ...]
    tokens: int
