"""The text of a PDF, its lines put together into paragraphs.

The one file that knows pypdfium2. Runs in a reader, which may die of it.
"""

from __future__ import annotations

import re
import unicodedata

import pypdfium2

from vecdb.errors import BadDocument
from vecdb.rag.texts import Text

FULL_LINE = 0.75
"""A line of this share of a page's long ones goes on in the next; a shorter one ends it."""

PAGES_NAMED = 10

_HYPHEN = "\ufffe\x02\u00ad"  # what PDFium has for a hyphen at the end of a line, and a soft one
_HYPHENATED = re.compile("([\ufffe\x02])\n?")
_ITEM = re.compile(r"\s*(?:[-*+\u2022\u25cf\u25aa\u2013]|\(?\d{1,3}[.)]|\d+(?:\.\d+)+)\s")


def read_pdf(content: bytes) -> Text:
    """Return the text of a PDF, page after page.

    Raises BadDocument for one that is broken, encrypted, or has no text; pages without are a
    warning.
    """
    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        locked = "password" in str(error).lower()
        raise BadDocument(
            "the PDF is locked by a password" if locked else f"the PDF is broken: {error}",
            hint="put it without a password" if locked else "",
        ) from None
    try:
        pages = [_page(document, number) for number in range(len(document))]
        title = " ".join(str(document.get_metadata_value("Title") or "").split())
    finally:
        document.close()
    bare = [number for number, text in enumerate(pages, 1) if not text]
    if len(bare) == len(pages):
        raise BadDocument(
            "the PDF has no text: its pages are pictures, or empty",
            hint="have a program for OCR add the text of scanned pages",
        )
    return Text("\n\n".join(text for text in pages if text), title=title, warnings=_warning(bare))


def _warning(bare: list[int]) -> tuple[str, ...]:
    if not bare:
        return ()
    named = ", ".join(map(str, bare[:PAGES_NAMED])) + (" ..." if bare[PAGES_NAMED:] else "")
    return (f"{len(bare)} pages have no text, and need OCR if they are scanned: {named}",)


def _page(document: pypdfium2.PdfDocument, number: int) -> str:
    """Return the text of a page, "" where it has none or cannot be read."""
    try:
        page = document[number]
    except pypdfium2.PdfiumError:
        return ""
    try:
        text = page.get_textpage()
        try:
            return paragraphs(text.get_text_range())
        finally:
            text.close()
    finally:
        page.close()


def paragraphs(page: str) -> str:
    """Return a page's lines as paragraphs: joined where a line goes on, hyphens at its end gone."""
    # Where PDFium knows a hyphen for what it is, it has no line end behind it.
    page = _HYPHENATED.sub("\\1\n", page.replace("\r\n", "\n").replace("\r", "\n"))
    lines = [line.rstrip() for line in page.split("\n")]
    widths = sorted(map(_width, filter(None, lines)))
    full = FULL_LINE * widths[len(widths) * 9 // 10] if widths else 0
    out: list[str] = []
    goes_on = False
    for line in lines:
        if goes_on and line and not _ITEM.match(line):
            out.append(_joint(out, line) + line.lstrip())
        else:
            out.append(("\n" if out else "") + line)
        goes_on = bool(line) and (_width(line) >= full or line[-1] in _HYPHEN)
    return "".join(out).translate(dict.fromkeys(map(ord, _HYPHEN + "\0"))).strip()


def _joint(out: list[str], line: str) -> str:
    """Return what comes between a line and its continuation; takes a hyphen off the former."""
    before, after = out[-1], line.lstrip()[0]
    if before[-1] in _HYPHEN:
        out[-1] = before[:-1]
        return ""
    if before[-1] == "-" and before[-2:-1].isalpha() and after.islower():
        out[-1] = before[:-1]
        return ""
    return "" if _wide(before[-1]) and _wide(after) else " "


def _wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in "WF"


def _width(line: str) -> int:
    return len(line) + sum(map(_wide, line))
