"""Where the words that were asked for stand in a point's texts, and the pieces of text around them.

Words are those of the index: the same rules, stems and pairs of characters. A phrase is marked
where its words stand side by side, other words wherever they are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np

from vecdb.analysis import Located, Words, analyze, locate
from vecdb.segment.fields import Json, nodes_at
from vecdb.types import And, Filter, Match, MatchesText, MinShould, Or, TextField

CHARACTERS_READ = 100_000
"""Of one field of one point: words that stand behind them are not marked."""

SNAP_CHARACTERS = 20
"""How much of a fragment's edge is left out so that it does not begin or end inside a word."""

WEIGHT = 1 << 30

_LONE_SURROGATES = re.compile("[\ud800-\udfff]")


class Shape(NamedTuple):
    """How much is wanted of a field: so many fragments, of so many characters at most."""

    fragments: int
    characters: int


class Fragment(NamedTuple):
    """A piece of a text.

    value: which of the values at the field's path it is of, from 0, arrays looked through. start:
    where it begins there. words: ranges [start, end) of the piece that matched, ascending, apart
    from one another. All in characters, Unicode code points.
    """

    text: str
    value: int
    start: int
    words: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Marks:
    """What is marked in a field: these words wherever they stand, and phrases."""

    field: TextField
    words: frozenset[str]
    phrases: tuple[Words, ...]


class _Found(NamedTuple):
    start: int
    end: int
    word: str


class _Held(NamedTuple):
    """Words that are marked in one of the texts of a field."""

    value: int
    text: str
    words: list[_Found]


Rank: TypeAlias = tuple[int, int]
"""What fragments are chosen by, the least first: minus the weight of their words, and minus those.

Each different word weighs once, the more the fewer times it stands in the field: what is rare says
more than an "of", and where a word stands once that is shown.
"""


def marks_of(field: TextField, asked: Iterable[tuple[str, Match]]) -> Marks:
    """Return what is marked in a field where some texts were asked for."""
    words: set[str] = set()
    phrases: list[Words] = []
    for text, match in asked:
        found = analyze(text, field.language)
        if match is Match.PHRASE and found.words:
            phrases.append(found)
        else:
            words.update(found.words)
    return Marks(field, frozenset(words), tuple(phrases))


def asked_texts(filter: Filter) -> list[MatchesText]:
    """Return the conditions on words that what matches a filter can owe its match to."""
    if isinstance(filter, MatchesText):
        return [filter]
    if isinstance(filter, (And, Or, MinShould)):
        return [found for inner in filter.filters for found in asked_texts(inner)]
    return []


def highlighted(payload: Json, marks: Marks, shape: Shape) -> list[Fragment]:
    """Return the best fragments of a field, in the order of the text; none without a match."""
    held = _held(payload, marks)
    times = Counter(one.word for each in held for one in each.words)
    weights = {word: WEIGHT // count for word, count in times.items()}
    found = [ranked for each in held for ranked in _fragments(each, weights, shape)]
    best = sorted(found, key=lambda ranked: ranked[0])[: shape.fragments]
    return sorted((one for _, one in best), key=lambda one: (one.value, one.start))


def _held(payload: Json, marks: Marks) -> list[_Held]:
    """Return the texts of a field that have a marked word, as far as they are read."""
    held: list[_Held] = []
    left = CHARACTERS_READ
    for value, text in enumerate(nodes_at(payload, marks.field.path)):
        if not isinstance(text, str):
            continue
        read = text[:left]
        left -= len(read)
        words = _words(read, marks)
        if len(read) < len(text):  # a word that was cut may be another one
            words = [one for one in words if one.end < len(read)]
        if words:
            held.append(_Held(value, read, words))
        if not left:
            break
    return held


def _words(text: str, marks: Marks) -> list[_Found]:
    """Return the words of a text that are marked, in their order."""
    located = locate(text, marks.field.language)
    places = {at for at, word in enumerate(located.words) if word in marks.words}
    for phrase in marks.phrases:
        places |= _phrase_places(located, phrase)
    return [_Found(*located.ranges[at], located.words[at]) for at in sorted(places)]


def _phrase_places(located: Located, phrase: Words) -> set[int]:
    """Return which words of a text belong to a phrase, wherever it stands."""
    known = {word: number for number, word in enumerate(dict.fromkeys(phrase.words))}
    places = [at for at, word in enumerate(located.words) if word in known]
    if not places:
        return set()
    # By position: which of the phrase's words stands there, or -1; and which word of the text.
    reach = phrase.positions[-1] - phrase.positions[0] + 1
    words = np.full(located.positions[places[-1]] + reach + 1, -1)
    owners = np.full(len(words), -1)
    for at in places:
        words[located.positions[at]] = known[located.words[at]]
        owners[located.positions[at]] = at
    steps = [position - phrase.positions[0] for position in phrase.positions]
    begins = np.flatnonzero(words == known[phrase.words[0]])
    for word, step in zip(phrase.words, steps, strict=True):
        begins = begins[words[begins + step] == known[word]]
    marked = np.zeros(len(words), np.bool_)
    for step in steps:
        marked[begins + step] = True
    return set(owners[marked].tolist())


def _fragments(
    held: _Held, weights: Mapping[str, int], shape: Shape
) -> list[tuple[Rank, Fragment]]:
    """Return the best fragments of one text, none overlapping another, with their ranks."""
    value, text, found = held
    chosen: list[tuple[int, int]] = []
    for first, stop in _windows(found, weights, shape.characters):
        start = found[first].start
        if any(begin <= start < end for begin, end in chosen):
            continue
        low = max((end for _, end in chosen if end <= start), default=0)
        high = min((begin for begin, _ in chosen if begin > start), default=len(text))
        ends = [one.end for one in found[first:stop] if one.end <= high]
        end = min(max(ends, default=high), start + shape.characters)
        chosen.append(_widened(text, (start, end), (low, high), shape.characters))
        if len(chosen) == shape.fragments:
            break
    made: list[tuple[Rank, Fragment]] = []
    for start, end in chosen:
        inside = [one for one in found if one.start < end and one.end > start]
        rank = -sum(weights[word] for word in {one.word for one in inside}), -len(inside)
        shown = _LONE_SURROGATES.sub("\ufffd", text[start:end])
        made.append((rank, Fragment(shown, value, start, _ranges(inside, start, end))))
    return made


def _windows(
    found: Sequence[_Found], weights: Mapping[str, int], characters: int
) -> list[tuple[int, int]]:
    """Return, of every word, it and those behind it that fit so many characters; the best first."""
    windows: list[tuple[int, int, int, int]] = []
    times: Counter[str] = Counter()
    weight = stop = 0
    for first, one in enumerate(found):
        while stop < len(found) and (stop <= first or found[stop].end <= one.start + characters):
            word = found[stop].word
            weight += 0 if times[word] else weights[word]
            times[word] += 1
            stop += 1
        windows.append((-weight, first - stop, first, stop))
        times[one.word] -= 1
        weight -= 0 if times[one.word] else weights[one.word]
    return [(first, stop) for _, _, first, stop in sorted(windows)]


def _widened(
    text: str, kept: tuple[int, int], room: tuple[int, int], characters: int
) -> tuple[int, int]:
    """Return a range around another that has so many characters, cut between words, in the room."""
    low, high = room
    start = max(low, kept[0] - (characters - kept[1] + kept[0]) // 2)
    end = min(high, start + characters)
    start = max(low, end - characters)
    if start and not text[start - 1].isspace():
        near = range(start, min(start + SNAP_CHARACTERS, kept[0]))
        start = next((at for at in near if text[at].isspace()), start)
    if end < len(text) and not text[end].isspace():
        near = range(end - 1, max(end - SNAP_CHARACTERS, kept[1]) - 1, -1)
        end = next((at for at in near if text[at].isspace()), end)
    while start < kept[0] and text[start].isspace():
        start += 1
    while end > kept[1] and text[end - 1].isspace():
        end -= 1
    return start, end


def _ranges(inside: Iterable[_Found], start: int, end: int) -> list[tuple[int, int]]:
    """Return the ranges of some words within a fragment, those that overlap as one."""
    ranges: list[tuple[int, int]] = []
    for one in inside:
        first, last = max(one.start, start) - start, min(one.end, end) - start
        if ranges and first < ranges[-1][1]:
            ranges[-1] = ranges[-1][0], max(ranges[-1][1], last)
        else:
            ranges.append((first, last))
    return ranges
