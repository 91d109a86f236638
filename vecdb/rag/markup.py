"""HTML as Markdown: its headings, paragraphs, lists, tables and code, and nothing that is not read.

The one file that knows markdownify, and the parser below it. Runs in a reader, which may die of it.
"""

from __future__ import annotations

import codecs
import re
import sys
from typing import NamedTuple

from bs4 import BeautifulSoup, CData, Tag
from bs4.element import PreformattedString
from markdownify import MarkdownConverter

from vecdb.errors import BadDocument
from vecdb.rag.texts import Text

DEPTH_MAX = 400
"""Elements inside of each other. Pages have dozens; the converter calls itself for each."""


class _Ends(NamedTuple):
    """What a start tag ends, of what is open up to the nearest of `within`."""

    names: tuple[str, ...]
    within: tuple[str, ...]


_LOOK_UP = 16
_BOXES = ("div", "section", "article", "li", "dd", "td", "th", "blockquote", "body", "html")
_P = _Ends(("p",), _BOXES)
_BLOCKS = (
    "p div section article ul ol dl table pre blockquote h1 h2 h3 h4 h5 h6 hr form header footer"
).split()
_ENDS = {
    **dict.fromkeys(_BLOCKS, _P),
    "li": _Ends(("li",), ("ul", "ol")),
    **dict.fromkeys(("dt", "dd"), _Ends(("dt", "dd"), ("dl",))),
    **dict.fromkeys(("td", "th"), _Ends(("td", "th"), ("tr", "table"))),
    "tr": _Ends(("tr",), ("table",)),
    **dict.fromkeys(("thead", "tbody", "tfoot"), _Ends(("thead", "tbody", "tfoot"), ("table",))),
}

_LEFT_OUT = (
    "script style template noscript nav head title svg iframe object canvas audio video form "
    "button select textarea input dialog"
).split()
_ROLES = frozenset(("navigation", "search", "banner", "contentinfo"))
# As DocBook, Sphinx and common themes call what only leads elsewhere.
_CLASSES = frozenset(
    "breadcrumb breadcrumbs headerlink menu nav navbar navfooter navheader navigation pagination "
    "sidebar sphinxsidebar toc".split()
)
_PARTS = ["thead", "tbody", "tfoot", "tr", "td", "th"]
_LINKED = 0.6
"""A header or footer of more links than this, by characters, is navigation."""

_DECLARED = re.compile(
    rb"<(?:meta[^>]+charset|\?xml[^>]+encoding)\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.I
)
# What browsers take these names for: their supersets.
_READ_AS = {"iso8859-1": "cp1252", "ascii": "cp1252", "gb2312": "gb18030", "gbk": "gb18030"}
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WOULD_BE_HEADING = re.compile(r"^( {0,3})(?=#{1,6}(?:[ \t]|$)|(?:=+|-+)[ \t]*$)", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n(?:[ \t]*\n){2,}")


def read_html(content: bytes) -> Text:
    """Return a page as Markdown. Raises BadDocument for one that is nested too deeply."""
    page, warnings = _decoded(content)
    soup = _Page(page, "html.parser")
    title = " ".join(soup.title.get_text().split()) if soup.title else ""
    _prune(soup)
    _flatten(soup)
    # A call of the converter is a few frames for each element.
    sys.setrecursionlimit(10 * DEPTH_MAX + 1000)
    try:
        text: str = _Markdown().convert_soup(soup)
    except RecursionError:
        raise BadDocument(
            f"its elements are nested more than {DEPTH_MAX} deep", hint="put it as plain text"
        ) from None
    return Text(_BLANK_LINES.sub("\n\n", text).strip(), True, title, warnings)


class _Page(BeautifulSoup):
    """A page in which an element ends where HTML lets its end tag be left out."""

    def handle_starttag(self, name: str, *args: object, **options: object) -> Tag | None:
        ends = _ENDS.get(name)
        if ends is not None:
            for tag in reversed(self.tagStack[-_LOOK_UP:]):
                if tag.name in ends.within:
                    break
                if tag.name in ends.names:
                    self.endData()
                    while self.currentTag is not tag:
                        self.popTag()
                    self.popTag()
                    break
        return super().handle_starttag(name, *args, **options)  # type: ignore[arg-type]


def _decoded(content: bytes) -> tuple[str, tuple[str, ...]]:
    for bom, name in _BOMS:
        if content.startswith(bom):
            encoding = name
            content = content[len(bom) :]
            break
    else:
        declared = _DECLARED.search(content[:4096])
        encoding = _encoding(declared[1].decode("ascii", "replace")) if declared else "utf-8"
    text = content.decode(encoding, "replace").replace("\r\n", "\n").replace("\r", "\n")
    broken = text.count("\N{REPLACEMENT CHARACTER}")
    if not broken:
        return text, ()
    return text, (f"{broken:,} characters are not {encoding}, and were replaced",)


def _encoding(name: str) -> str:
    """Return the codec of an encoding that a page names; UTF-8 for what cannot be."""
    try:
        codec = codecs.lookup(name).name
        b"<".decode(codec, "replace")  # raises for a codec that makes no text
    except LookupError:
        return "utf-8"
    # A page whose declaration could be read is not in UTF-16, whatever it says.
    return "utf-8" if codec.startswith("utf-") else _READ_AS.get(codec, codec)


def _prune(soup: BeautifulSoup) -> None:
    """Take out what nobody reads, and check how deep the rest goes."""
    pending: list[tuple[Tag, int]] = [(soup, 0)]
    while pending:
        tag, depth = pending.pop()
        if depth > DEPTH_MAX:
            raise BadDocument(
                f"its elements are nested more than {DEPTH_MAX} deep", hint="put it as plain text"
            )
        for child in list(tag.children):
            if isinstance(child, PreformattedString) and not isinstance(child, CData):
                child.extract()
            elif isinstance(child, Tag):
                if _unread(child):
                    child.extract()
                else:
                    pending.append((child, depth + 1))


def _flatten(soup: BeautifulSoup) -> None:
    """Make paragraphs of tables that only lay something out: no row has text in two cells."""
    for table in soup.find_all("table"):
        own = [tag for tag in table.find_all(_PARTS) if tag.find_parent("table") is table]
        rows = [tag.find_all(["td", "th"], recursive=False) for tag in own if tag.name == "tr"]
        if any(sum(bool(cell.get_text(strip=True)) for cell in row) > 1 for row in rows):
            continue
        for image in table.find_all("img"):
            if str(image.get("alt", "")).startswith("["):  # its name, which stands beside it
                image.extract()
        for tag in (table, *own):
            tag.name = "div"


def _unread(tag: Tag) -> bool:
    if tag.name in _LEFT_OUT or tag.has_attr("hidden"):
        return True
    if tag.get("role") in _ROLES or not _CLASSES.isdisjoint(tag.get("class") or ()):
        return True
    if tag.name not in ("header", "footer") or tag.find(re.compile("^h[1-6]$")):
        return False
    words = len(tag.get_text(strip=True))
    return sum(len(link.get_text(strip=True)) for link in tag.find_all("a")) > _LINKED * words


class _Markdown(MarkdownConverter):  # type: ignore[misc, unused-ignore]
    """Markdown to be searched and read: no addresses, and nothing escaped but would-be headings."""

    def __init__(self) -> None:
        super().__init__(
            heading_style="atx", bullets="-", escape_asterisks=False, escape_underscores=False
        )

    def escape(self, text: str, parent_tags: set[str]) -> str:
        return _WOULD_BE_HEADING.sub(r"\1\\", text)

    def convert_a(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        return text

    def convert_img(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        return " ".join(str(el.get("alt") or "").split())

    def convert_pre(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        text = text.strip("\n")
        if not text.strip():
            return ""
        runs = re.findall(r"`{3,}", text)
        fence = "`" * (max(map(len, runs), default=2) + 1)
        return f"\n\n{fence}\n{text}\n{fence}\n\n"
