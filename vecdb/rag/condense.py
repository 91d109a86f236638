"""A question that leans on what was said before, as one that can be searched for.

By rule, or by the language model, which falls back on the rule. The rule: a question leans on the
conversation when

- it has a word for what was named before: it, they, this, those ...; 它, 这个, 那些, 前者 ...
- it goes on: it begins with "and", "but", "what about"; 那, 还有 ..., or ends with 呢
- it is short: at most two words, or three Chinese characters

Then what the user asked before is put in front of it, back to the last question that leans on
nothing, at most three of them. What the assistant said is left out: it would be found again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from vecdb.errors import VecdbError

if TYPE_CHECKING:
    from vecdb.rag.chat import LanguageModel
    from vecdb.rag.prompts import Prompts

QUESTIONS_BEFORE, CHARS_BEFORE = 3, 1_000
"""Of what was asked before: so much is put in front at most."""
CONDENSE_TOKENS = 128
CONDENSE_S = 20.0
CONDENSED_CHARS = 1_000

_LEANS = re.compile(
    r"""
    \b(?: its? | itself | they | them | their | theirs | he | him | his | she | hers? | this
        | these | those | ones? | former | latter | above | same
        | that (?= \s* (?: [^\w\s] | $ | (?: one | case | is | was | does | did | mean ) \b ) ) )\b
    | ^\W* (?: and | but | or | so | then | also | else | instead | otherwise
        | (?: what | how ) \s+ (?: about | else ) | why \s+ not | which \s+ of )\b
    | [它她牠] | (?<!其)他
    | [这那這] (?: 个 | 個 | 些 | 样 | 樣 | 种 | 種 | 里 | 裡 | 儿 | 时 | 一 | 是 | 会 )
    | (?<![尤何极与]) 其 (?![他它实實余餘次]) | (?<![应應]) 该 (?! 如何 | 怎 | 不 | 做 | 用 )
    | 前者 | 后者 | 後者 | 上述 | 刚才 | 剛才
    | ^\W* (?: 那 | 还有 | 還有 | 然后 | 然後 | 而且 | 但是 | 另外 | 除此 | 如果不 | 为什么不 )
    | 呢 \W* $
    """,
    re.IGNORECASE | re.VERBOSE,
)
_HAN_RANGES = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_HAN = re.compile(f"[{_HAN_RANGES}]")
_WORD = re.compile(rf"[{_HAN_RANGES}]|[^\W{_HAN_RANGES}]+")
SHORT_WORDS, SHORT_HAN = 2, 3
_LABEL = re.compile(
    r"^(?:(?:last|standalone|rewritten|condensed)\s+)?question\s*[:\uff1a]\s*"
    r"|^(?:改写后的|最后一个)?问题\s*[:\uff1a]\s*",
    re.IGNORECASE,
)


class Speaker(StrEnum):
    """Who said something, as chats name it."""

    USER = "user"
    ASSISTANT = "assistant"


class Turn(NamedTuple):
    """What one of them said."""

    speaker: Speaker
    text: str


def condense(question: str, history: Sequence[Turn]) -> str:
    """Return what to search for, by the rule. history: oldest first."""
    asked = [question]
    left = CHARS_BEFORE
    before = [turn.text.strip() for turn in history if turn.speaker is Speaker.USER]
    for text in reversed([text for text in before if text]):
        if left <= 0 or len(asked) > QUESTIONS_BEFORE or not leans(asked[-1]):
            break
        asked.append(text[-left:])
        left -= len(text)
    return "\n".join(reversed(asked))


def leans(question: str) -> bool:
    """Return whether a question cannot be understood without what was said before, by the rule."""
    if _LEANS.search(question):
        return True
    words = _WORD.findall(question)
    return len(words) <= (SHORT_HAN if _HAN.search(question) else SHORT_WORDS)


def condense_by(
    model: LanguageModel,
    prompts: Prompts,
    question: str,
    history: Sequence[Turn],
    timeout_s: float,
    is_wanted: Callable[[], bool],
) -> tuple[str, list[str]]:
    """Return what to search for, by the language model, and warnings.

    Where the model fails, or says what is no question, it is by the rule, and a warning says so.
    """
    try:
        pieces = model.stream(
            prompts.condense(question, history),
            CONDENSE_TOKENS,
            min(timeout_s, CONDENSE_S),
            is_wanted,
        )
        said = "".join(piece for piece in pieces if isinstance(piece, str))
    except VecdbError as error:
        return condense(question, history), [_warning(error.message)]
    line = _LABEL.sub("", " ".join(said.split())).strip('"“”「」 ')
    if not line or len(line) > CONDENSED_CHARS:
        return condense(question, history), [_warning("its answer is no question")]
    return line, []


def _warning(why: str) -> str:
    return f"the question was condensed by rule, not by the language model: {why}"
