"""Citations in the words of a language model: which there are, and out with those of nothing.

A citation is a bracket with nothing but numbers in it: [1], [1, 2], [1-3], also with the brackets
of Chinese texts and of some models: 【1】, 【1†source】, and those of full width. It is sent on as
[1] or [1, 2]. A number that no passage has is taken out, and so is the bracket where none is left.

All else stays as it is: [x], [text](address), and numbers that no passage can have, which are 0 and
those of four digits and more: [2024], [0-9]. So does all that stands in `code`.
"""

from __future__ import annotations

import re

HELD_CHARS = 128
"""No longer bracket is taken for a citation: so much is held back at most."""

# As models write them: \uff is the width of Chinese characters.
_OPENING, _CLOSING = "[【\uff3b", "]】\uff3d"
_NUMBER = r"[1-9\uff11-\uff19][0-9\uff10-\uff19]{0,2}"
_COMMA = r",;、\uff0c\uff1b"
_DASH = r"\-\u2010-\u2014~\uff5e"
_PART = re.compile(rf"\s*({_NUMBER})(?:\s*[{_DASH}]\s*({_NUMBER}))?\s*(?:[{_COMMA}]|$)")
_BEGUN = re.compile(rf"[0-9\uff10-\uff19 \t{_COMMA}{_DASH}]*(?:†[^\n]*)?")
_FENCE = 3
"""So many backticks begin code of several lines."""


class Citations:
    """A filter over the text of an answer, which comes in pieces, cut wherever.

    markers: passages are 1 to markers. used: those that were cited, in the order of their first
    citation. removed: numbers that were taken out.
    """

    def __init__(self, markers: int) -> None:
        self.used: list[int] = []
        self.removed = 0
        self._markers = markers
        # Held back: spaces, a bracket that may be a citation yet, and those that it stands in. They
        # go on where it is taken out, or "[[9]9]" would leave one that names nothing.
        self._spaces = self._bracket = self._around = ""
        # Backticks that began the code we are in, and those that came just now.
        self._code = self._ticks = 0

    def feed(self, delta: str) -> str:
        """Return what may be sent on after one more piece."""
        return "".join(map(self._next, delta))

    def end(self) -> str:
        """Return what was held back when no more pieces come."""
        return self._after_spaces(self._let_go())

    def _next(self, letter: str) -> str:
        if self._bracket:
            return self._inside(letter)
        if letter == "`":
            self._ticks += 1
            return self._after_spaces(letter)
        if self._ticks:
            self._end_ticks()
        if letter == "\n" and self._code < _FENCE:
            self._code = 0  # a backtick alone spoils no more than its line
        if letter == " ":
            self._spaces += letter
            return ""
        if letter in _OPENING and not self._code:
            self._bracket = letter
            return ""
        return self._after_spaces(letter)

    def _inside(self, letter: str) -> str:
        if letter in _CLOSING:
            return self._closed(letter)
        if len(self._around) + len(self._bracket) < HELD_CHARS:
            if letter in _OPENING:
                self._around, self._bracket = self._around + self._bracket, letter
                return ""
            if _BEGUN.fullmatch(self._bracket[1:] + letter):
                self._bracket += letter
                return ""
        return self._after_spaces(self._let_go()) + self._next(letter)

    def _closed(self, letter: str) -> str:
        numbers = _numbers(self._bracket[1:].partition("†")[0])
        if not numbers:
            return self._after_spaces(self._let_go() + letter)
        known: list[int] = []
        for first, last in numbers:
            ends = dict.fromkeys((first, last))
            good = [number for number in ends if number <= self._markers]
            self.removed += len(ends) - len(good)
            known += range(first, last + 1) if len(good) == 2 and first < last else good
        known = list(dict.fromkeys(known))
        self.used += [number for number in known if number not in self.used]
        self._bracket = ""
        if known:
            return self._after_spaces(f"{self._let_go()}[{', '.join(map(str, known))}]")
        if self._around:
            outer = max(map(self._around.rfind, _OPENING))
            self._around, self._bracket = self._around[:outer], self._around[outer:]
        else:
            self._spaces = ""
        return ""

    def _end_ticks(self) -> None:
        closes = self._ticks >= self._code if self._code >= _FENCE else self._ticks == self._code
        if not self._code:
            self._code = self._ticks
        elif closes:
            self._code = 0
        self._ticks = 0

    def _let_go(self) -> str:
        held, self._around, self._bracket = self._around + self._bracket, "", ""
        return held

    def _after_spaces(self, text: str) -> str:
        spaces, self._spaces = self._spaces, ""
        return spaces + text


def without_citations(text: str) -> str:
    """Return a text without any: those of an earlier answer name passages that are gone."""
    citations = Citations(0)
    return citations.feed(text) + citations.end()


def _numbers(inside: str) -> list[tuple[int, int]]:
    """Return the first and last number of each part of a list, or [] where it is none."""
    found: list[tuple[int, int]] = []
    at = 0
    while at < len(inside):
        match = _PART.match(inside, at)
        if match is None:
            return []
        first = int(match[1])
        found.append((first, int(match[2] or first)))
        at = match.end()
    return found
