"""From hits to the passages that a question is answered from, within a budget of tokens.

What each step is for: near-duplicates go, since a second copy says nothing new; no document takes
all places; a hit that fits is there before any neighbour is; chunks that touch become one passage,
so that nothing is read twice; what does not fit is cut at a sentence, and says so.

The text that a language model reads quotes what documents say: each line of theirs begins with
"> ", and brackets that would look like a citation become round ones. So no document can end its own
quote, number itself, or speak in the place of the instructions.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from vecdb.analysis import analyze
from vecdb.rag.chunking import chunk
from vecdb.rag.documents import DOCUMENT, METADATA, SECTION, TEXT, TITLE
from vecdb.rag.texts import Text
from vecdb.rag.token_counts import Learn

DUPLICATE_SHARE = 0.8
"""Two texts that share this part of their pairs of words are one."""
CUT_TOKENS_MIN = 24
"""What is left of a passage must have this many tokens to be worth its place."""

_CITATION = re.compile(r"[\[【［]([\d\s,;、，\-–]+)[\]】］]")  # noqa: RUF001 - as models write them
_SPACE = re.compile(r"\s+")


class Hit(NamedTuple):
    """A chunk that was found, or stands beside one that was.

    score, relevance: 0 of a neighbour. chunk: its place in the document, from 0. start, end:
    characters of the document's text.
    """

    id: str
    score: float
    relevance: float
    document: str
    title: str
    section: str
    text: str
    chunk: int
    start: int
    end: int
    metadata: dict[str, Any]


class Options(NamedTuple):
    """What a context is to be. by_document: passages in the order of the text, not of relevance."""

    budget_tokens: int
    passages: int = 8
    per_document: int = 3
    neighbours: int = 1
    by_document: bool = False


class Passage(NamedTuple):
    """A stretch of one document. best: its best hit. points: ids of the hits in it. cut: to fit."""

    best: Hit
    start: int
    end: int
    text: str
    points: tuple[str, ...]
    cut: bool


class Context(NamedTuple):
    """Passages in their order, the text that holds them all, and its tokens."""

    passages: list[Passage]
    rendered: str
    tokens: int
    warnings: list[str]


Place: TypeAlias = tuple[str, int]
"""A document, and which of its chunks."""
Neighbours = Callable[[Sequence[Place]], Mapping[Place, Hit]]
"""Returns the chunks at some places, those that there are."""


def hit_of(name: str, payload: bytes, score: float = 0.0) -> Hit | None:
    """Return a chunk from its point, or None for a point that is none: collections hold both."""
    known: dict[str, Any] = json.loads(payload or b"{}")
    try:
        return Hit(
            name,
            score,
            0.0,
            str(known[DOCUMENT]),
            str(known.get(TITLE, "")),
            str(known.get(SECTION, "")),
            str(known[TEXT]),
            int(known["chunk"]),
            int(known["start"]),
            int(known["end"]),
            known.get(METADATA) or {},
        )
    except (KeyError, TypeError, ValueError):
        return None


def assemble(
    hits: Iterable[Hit], options: Options, learn: Learn, neighbours: Neighbours
) -> Context:
    """Return the passages of some hits, which are given best first; not all of them are taken."""
    chosen = _chosen(hits, options)
    table = _Table(options.budget_tokens, learn)
    table.meet(chosen)
    warnings: list[str] = []
    for hit in chosen:
        if not table.seat(hit):
            break
    if chosen and not table.seated:
        needed = table.tokens(_block(1, chosen[0], chosen[0].text))
        warnings.append(
            f"a budget of {options.budget_tokens} tokens holds no passage: the best has {needed}"
        )
    if table.seated and not table.cut and options.neighbours:
        _add_neighbours(table, options.neighbours, neighbours)
    left_out = len(chosen) - len(table.hits)
    if left_out and table.seated:
        warnings.append(f"{left_out} more passages did not fit into the budget")
    passages = _merged(table, {hit.id: rank for rank, hit in enumerate(chosen)})
    if options.by_document:
        first: dict[str, int] = {}
        for rank, passage in enumerate(passages):
            first.setdefault(passage.best.document, rank)
        passages.sort(key=lambda one: (first[one.best.document], one.start))
    rendered = render(passages)
    return Context(passages, rendered, table.tokens(rendered), warnings)


def render(passages: Iterable[Passage]) -> str:
    """Return passages as a language model is to read them: numbered from 1, and quoted."""
    return "\n\n".join(
        _block(marker, passage.best, passage.text) for marker, passage in enumerate(passages, 1)
    )


def _chosen(hits: Iterable[Hit], options: Options) -> list[Hit]:
    """Return the hits that are shown: no near-duplicates, not too many of a document."""
    chosen: list[Hit] = []
    pairs: list[frozenset[tuple[str, str]]] = []
    taken: Counter[str] = Counter()
    for hit in hits:
        if len(chosen) == options.passages:
            break
        if taken[hit.document] >= options.per_document:
            continue
        own = _pairs(hit.text)
        if any(_is_alike(own, other) for other in pairs):
            continue
        chosen.append(hit)
        pairs.append(own)
        taken[hit.document] += 1
    return chosen


def _pairs(text: str) -> frozenset[tuple[str, str]]:
    words = analyze(text, "").words
    return frozenset(zip(words, words[1:] or words, strict=False))


def _is_alike(one: frozenset[tuple[str, str]], other: frozenset[tuple[str, str]]) -> bool:
    if not one or not other:
        return False
    both = len(one & other)
    return both >= DUPLICATE_SHARE * (len(one) + len(other) - both)


class _Table:
    """Chunks that have a place, and the tokens that are left."""

    def __init__(self, tokens: int, learn: Learn) -> None:
        self._left = tokens
        self._learn = learn
        self.seated: dict[Place, Hit] = {}
        self.hits: list[Hit] = []
        self.cut = ""

    def tokens(self, text: str) -> int:
        """Return the tokens of a text."""
        return self._learn(text)(text)

    def meet(self, hits: Iterable[Hit]) -> None:
        """Have all words of hits asked for at once, which is one call of the model."""
        self._learn("\n".join(_block(1, hit, hit.text) for hit in hits))

    def seat(self, hit: Hit) -> bool:
        """Give a hit its place, cut where it has to be; return whether more may fit."""
        header = self.tokens(_block(1, hit, ""))
        left = self._left - header
        needed = self.tokens(_quoted(hit.text))
        if needed > left:
            if left < CUT_TOKENS_MIN:
                return False
            hit = self._shortened(hit, left)
            if not hit.text:
                return False
            self.cut = hit.id
            needed = left
        self._left -= header + needed
        self.seated[hit.document, hit.chunk] = hit
        self.hits.append(hit)
        return not self.cut

    def add(self, place: Place, neighbour: Hit) -> None:
        """Give a neighbour its place, if it fits whole."""
        # What parts it from the chunk beside it are two lines, each with its mark.
        needed = self.tokens(_quoted(neighbour.text)) + 2 * self.tokens("> ")
        if needed <= self._left:
            self._left -= needed
            self.seated[place] = neighbour

    def _shortened(self, hit: Hit, tokens: int) -> Hit:
        """Return a hit that ends where a sentence does, with so many tokens at most."""
        # Each line has a mark of quotation, which the cutter does not know of.
        lines = hit.text.count("\n") + 1
        room = max(CUT_TOKENS_MIN // 2, tokens - self.tokens("> ") * lines)
        first = chunk(Text(hit.text), self._learn(hit.text), room, 0, len(hit.text))[0]
        return hit._replace(text=hit.text[: first.end], end=hit.start + first.end)


def _add_neighbours(table: _Table, reach: int, neighbours: Neighbours) -> None:
    """Add what stands around the hits, the nearest first, as long as it fits."""
    wanted: dict[Place, None] = {}
    for distance in range(1, reach + 1):
        for hit in table.hits:
            for at in (hit.chunk - distance, hit.chunk + distance):
                if at >= 0 and (hit.document, at) not in table.seated:
                    wanted[hit.document, at] = None
    found = neighbours(list(wanted))
    table.meet(found.values())
    for place in wanted:
        if place in found and _touches(place, table.seated):
            table.add(place, found[place])


def _touches(place: Place, seated: Mapping[Place, Hit]) -> bool:
    document, at = place
    return (document, at - 1) in seated or (document, at + 1) in seated


def _merged(table: _Table, ranks: Mapping[str, int]) -> list[Passage]:
    """Return the passages, in the order of their best hits. ranks: of hits, by id."""
    runs: list[list[Hit]] = []
    for (document, at), hit in sorted(table.seated.items()):
        last = runs[-1][-1] if runs else None
        if last and (last.document, last.chunk + 1) == (document, at) and last.id != table.cut:
            runs[-1].append(hit)
        else:
            runs.append([hit])
    passages: list[tuple[int, Passage]] = []
    for run in runs:
        found = sorted((ranks[hit.id], hit) for hit in run if hit.id in ranks)
        rank, best = found[0]
        points = tuple(hit.id for _, hit in found)
        cut = any(hit.id == table.cut for hit in run)
        passages.append((rank, Passage(best, run[0].start, run[-1].end, _joined(run), points, cut)))
    return [passage for _, passage in sorted(passages, key=lambda one: one[0])]


def _joined(run: Sequence[Hit]) -> str:
    """Return the text of chunks that follow one another, without what they repeat."""
    text, end = run[0].text, run[0].end
    for hit in run[1:]:
        if hit.start > end:  # white space, of which it is not known how it looked
            text += " " if hit.start - end == 1 else "\n\n"
        text += hit.text[max(0, end - hit.start) :]
        end = max(end, hit.end)
    return text


def _block(marker: int, hit: Hit, text: str) -> str:
    head = _plain(hit.section or hit.title)
    source = _plain(hit.document)
    title = f"[{marker}] {head} ({source})" if head and head != source else f"[{marker}] {source}"
    return f"{title}\n{_quoted(text)}" if text else title


def _quoted(text: str) -> str:
    safe = _CITATION.sub(r"(\1)", text)
    return "\n".join(f"> {line}".rstrip() for line in safe.splitlines())


def _plain(text: str) -> str:
    """Return a title or an id on one line, without brackets that could be a citation's."""
    return _SPACE.sub(" ", _CITATION.sub(r"(\1)", text)).strip()
