"""Where the sections of a Markdown text begin, and the headings that each stands under.

Headings as CommonMark has them, ATX and setext, and none inside of fenced code; tests hold this
against markdown-it-py. Only lines that may begin or end something are looked at: a parser of all of
Markdown takes a minute for what this does in a second, and would keep the server from all else.
Departures: a heading inside of a list or a quotation counts, if it is indented as little as others;
front matter in YAML, and comments of HTML, hold none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

HEADING_CHARACTERS = 200
"""What is longer is cut: a heading is context, not content."""

_TITLE_CHARACTERS = 4 * HEADING_CHARACTERS  # of a heading with its marks

_LINE = re.compile(
    r"^(?:"
    r" {0,3}(?P<hashes>#{1,6})(?:[ \t]+(?P<title>[^\n]*))?$"
    r"|(?: {0,3}|[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]+)(?P<fence>`{3,}(?=[^`\n]*$)|~{3,})"
    r"| {0,3}(?P<underline>=+|-+)[ \t]*$"
    r"| {0,3}(?P<comment><!--)"
    r")",
    re.MULTILINE,
)
_CLOSING_HASHES = re.compile(r"(?:^|[ \t]+)#+[ \t]*$")
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(?:[^\n]*\n)*?(?:---|\.\.\.)[ \t]*(?:\n|\Z)")
_FRONT_TITLE = re.compile(r"^title:[ \t]*(['\"]?)(.+?)\1[ \t]*$", re.MULTILINE)
# What a line above an underline may be beside text that it underlines.
_RULE = re.compile(r" {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$")
_OTHER = re.compile(r" {0,3}(?:>|[-*+](?:[ \t]|$)|\d{1,9}[.)](?:[ \t]|$)|<|\|)")
_INDENTED = re.compile(r" {4}| {0,3}\t")
_LINK = re.compile(r"!?\[([^\[\]]*)\](?:\([^()]*\)|\[[^\[\]]*\])")
_MARKS = re.compile(r"[*`]+|\\(?=[!-/:-@\[-`{-~])")


class Heading(NamedTuple):
    """A heading: text[start:end] are its lines; level 1 is the outermost of six."""

    level: int
    title: str
    start: int
    end: int


class Section(NamedTuple):
    """text[start:end], from its heading to the next. headings: outermost first, its own last.

    body: where the text below its heading begins.
    """

    start: int
    end: int
    headings: tuple[str, ...]
    body: int = 0


def sections(text: str) -> list[Section]:
    """Return the sections of a Markdown text, which together are all of it.

    A heading that nothing but a deeper heading follows begins that one's section.
    """
    found: list[Section] = []
    path: list[tuple[int, str]] = []
    start, body, bare = 0, 0, False
    for heading in headings(text):
        empty = not text[body : heading.start].strip()
        deeper = bool(path) and path[-1][0] < heading.level
        if heading.start > start and not (empty and ((bare and deeper) or not path)):
            found.append(_section(start, heading.start, path, body))
            start = heading.start
        while path and path[-1][0] >= heading.level:
            path.pop()
        path.append((heading.level, heading.title))
        body, bare = heading.end, True
    return [*found, _section(start, len(text), path, body)]


def _section(start: int, end: int, path: list[tuple[int, str]], body: int) -> Section:
    return Section(start, end, tuple(title for _, title in path), body)


def title_of(text: str) -> str:
    """Return what a Markdown text calls itself: its front matter's title, or its first heading."""
    front = _FRONT_MATTER.match(text)
    if front and (named := _FRONT_TITLE.search(front.group())):
        return named.group(2)[:HEADING_CHARACTERS]
    return next((heading.title for heading in headings(text) if heading.title), "")


def headings(text: str) -> Iterator[Heading]:
    """Yield the headings of a Markdown text, in order."""
    front = _FRONT_MATTER.match(text)
    at = floor = front.end() if front else 0  # floor: what lies before belongs to something else
    while match := _LINE.search(text, at):
        kind = match.lastgroup
        line_end = _line_end(text, match.end())
        if kind == "fence":
            at = floor = _fence_end(text, match["fence"], line_end)
        elif kind == "comment":
            close = text.find("-->", match.start())
            at = floor = len(text) if close < 0 else _line_end(text, close)
        elif kind == "underline":
            start = _paragraph_start(text, match.start(), floor)
            if start is not None:
                level = 1 if match["underline"][0] == "=" else 2
                lines = text[start : min(match.start(), start + _TITLE_CHARACTERS)]
                title = " ".join(lines.split())
                yield Heading(level, _plain(title), start, line_end)
            # What underlines nothing is text, and may be underlined itself.
            at, floor = line_end, match.start() if start is None else line_end
        else:
            title = _CLOSING_HASHES.sub("", (match["title"] or "").strip()[:_TITLE_CHARACTERS])
            yield Heading(len(match["hashes"]), _plain(title), match.start(), line_end)
            at = floor = line_end


def _line_end(text: str, at: int) -> int:
    """Return where the line after that of `at` begins."""
    found = text.find("\n", at)
    return len(text) if found < 0 else found + 1


def _fence_end(text: str, fence: str, at: int) -> int:
    """Return where the code that a fence opened ends, the closing fence included."""
    close = re.compile(rf"^[ \t]*{re.escape(fence[0])}{{{len(fence)},}}[ \t]*$", re.MULTILINE)
    found = close.search(text, at)
    return _line_end(text, found.end()) if found else len(text)


def _paragraph_start(text: str, end: int, floor: int) -> int | None:
    """Return where the paragraph begins that ends before a setext underline, or None."""
    start = None
    while end > floor:
        above = text.rfind("\n", floor, end - 1) + 1
        above = max(above, floor)
        line = text[above : end - 1]
        if not line.strip() or _RULE.match(line):
            break
        if _OTHER.match(line):
            return None  # it is an item, a quotation or a table that goes on
        if not _INDENTED.match(line):  # code, or what belongs to the line above it
            start = above
        end = above
    return start


def _plain(title: str) -> str:
    """Return a heading as it is read: without marks and addresses of links."""
    return _MARKS.sub("", _LINK.sub(r"\1", title)).strip()[:HEADING_CHARACTERS]
