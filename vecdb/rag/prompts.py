"""What a language model is told: templates that an operator can replace, filled in.

A template is a text with places such as $question, where "$$" is a dollar sign. A line of "---"
parts what the system says from what the user says; without one the user says it all, for models
that know no system. What is filled in is never looked at for places: a document may hold them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import NamedTuple

from vecdb.errors import FailedPrecondition
from vecdb.rag.citations import without_citations
from vecdb.rag.condense import Speaker, Turn

LANGUAGES = ("en", "zh")
TEMPLATE_BYTES = 1 << 16
HISTORY_CHARS = 4_000
"""Of what was said before, the newest: so much goes to the model."""

_OWN = Path(__file__).with_name("templates")
_PARTED = re.compile(r"^---[ \t]*$\n?", re.MULTILINE)
_HAN = re.compile(r"[々〇\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_KANA = re.compile(r"[\u3040-\u30ff\uff66-\uff9f]")
_WORD = re.compile(r"[^\W\d_]+")
_NAMES = {
    "en": {Speaker.USER: "User", Speaker.ASSISTANT: "Assistant"},
    "zh": {Speaker.USER: "用户", Speaker.ASSISTANT: "助手"},
}
# Who asks for an answer in the other language than his question's has it named.
_ANSWERED_IN = {
    "en": ("the language of the question", "English"),
    "zh": ("问题所用的语言", "中文"),
}


class _Kind(NamedTuple):
    """Places that a template must have, and those that it may have."""

    needed: frozenset[str]
    allowed: frozenset[str] = frozenset()


_KINDS = {
    "answer": _Kind(frozenset({"question", "passages"}), frozenset({"language"})),
    "condense": _Kind(frozenset({"question", "history"})),
    "nothing": _Kind(frozenset()),
}


class Prompts:
    """The prompts of a server, read once.

    folder: where an operator has his own, all of them; "" for those of vecdb. Raises
    FailedPrecondition, which names the file, where one cannot be read or has a wrong place.
    """

    def __init__(self, folder: str) -> None:
        where = Path(folder) if folder else _OWN
        self._templates = {
            (kind, language): _read(where / f"{kind}.{language}.txt", _KINDS[kind])
            for kind in _KINDS
            for language in LANGUAGES
        }

    def messages(
        self, question: str, rendered: str, history: Sequence[Turn], language: str
    ) -> list[dict[str, str]]:
        """Return the chat that asks for an answer; the last of it is the user's.

        rendered: the passages, as one text. history: what was said before, oldest first, of which
        the newest goes between. language: of the instructions and the answer, "en" or "zh".
        """
        own, other = _ANSWERED_IN[language]
        chat = self._chat(
            "answer",
            language,
            question=question,
            passages=rendered,
            language=own if language_of(question) == language else other,
        )
        said = [{"role": turn.speaker.value, "content": turn.text} for turn in _newest(history)]
        return _alternating([*chat[:-1], *said, chat[-1]])

    def condense(self, question: str, history: Sequence[Turn]) -> list[dict[str, str]]:
        """Return the chat that asks for one question, made of the last and what came before."""
        language = language_of(question)
        names = _NAMES[language]
        said = "\n".join(f"{names[turn.speaker]}: {turn.text}" for turn in _newest(history))
        return self._chat("condense", language, question=question, history=said)

    def nothing(self, language: str) -> str:
        """Return what to say where no passage has to do with the question."""
        return self._templates["nothing", language][-1].substitute()

    def _chat(self, kind: str, language: str, /, **places: str) -> list[dict[str, str]]:
        texts = [part.substitute(places).strip() for part in self._templates[kind, language]]
        roles = ("system", "user")[-len(texts) :]
        return [
            {"role": role, "content": text} for role, text in zip(roles, texts, strict=True) if text
        ]


def language_of(question: str) -> str:
    """Return "zh" where half of a question's words or more are Chinese characters, else "en".

    A character counts as a word. Where there are kana it is Japanese, which has no templates.
    """
    han = len(_HAN.findall(question))
    if not han or _KANA.search(question):
        return "en"
    return "zh" if han >= len(_WORD.findall(_HAN.sub(" ", question))) else "en"


def _read(path: Path, kind: _Kind) -> tuple[Template, ...]:
    """Return the parts of a template: the system's and the user's, or the latter alone."""
    try:
        with path.open("rb") as file:
            content = file.read(TEMPLATE_BYTES + 1)
        text = content.decode("utf-8-sig").replace("\r\n", "\n").strip()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise FailedPrecondition(
            f"cannot read the template {path}: {why}",
            hint="answer.templates names a folder with answer, condense and nothing, each as "
            ".en.txt and .zh.txt; start from those of vecdb/rag/templates",
        ) from None
    if len(content) > TEMPLATE_BYTES:
        raise FailedPrecondition(f"the template {path} has more than {TEMPLATE_BYTES:,} bytes")
    parts = tuple(Template(part) for part in _PARTED.split(text, maxsplit=1))
    if not parts[-1].template.strip():
        raise FailedPrecondition(f"the template {path} says nothing to the model as its user")
    for part in parts:
        if not part.is_valid():
            raise FailedPrecondition(
                f"the template {path} has a $ that begins no name", hint="write $$ for a dollar"
            )
    places = {name for part in parts for name in part.get_identifiers()}
    if unknown := sorted(places - kind.needed - kind.allowed):
        known = ", ".join(f"${name}" for name in sorted(kind.needed | kind.allowed)) or "none"
        raise FailedPrecondition(
            f"the template {path} has ${unknown[0]}, which is no place of it",
            hint=f"there are: {known}; write $$ for a dollar",
        )
    if missing := sorted(kind.needed - places):
        raise FailedPrecondition(f"the template {path} has no place ${missing[0]}")
    return parts


def _newest(history: Sequence[Turn]) -> list[Turn]:
    """Return the last turns, up to HISTORY_CHARS; of one that is longer, how it begins.

    The citations of earlier answers are left out: their numbers would name other passages now.
    """
    newest: list[Turn] = []
    left = HISTORY_CHARS
    for turn in reversed(history):
        is_answer = turn.speaker is Speaker.ASSISTANT
        text = without_citations(turn.text) if is_answer else turn.text
        if left <= 0:
            break
        newest.append(Turn(turn.speaker, text[:left]))
        left -= len(text)
    return newest[::-1]


def _alternating(chat: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return a chat that user and assistant take turns in, the user first: some models ask it."""
    made: list[dict[str, str]] = []
    for message in chat:
        before = made[-1]["role"] if made else ""
        if before in ("", "system") and message["role"] == "assistant":
            continue
        if before == message["role"]:
            made[-1] = {"role": before, "content": f"{made[-1]['content']}\n\n{message['content']}"}
        else:
            made.append(message)
    return made
