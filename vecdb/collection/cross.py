"""A second look by a model that reads texts: those of candidates are read from their records."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from vecdb.errors import Corrupt, DeadlineExceeded
from vecdb.query.maxsim import Scored
from vecdb.segment.fields import nodes_at, parse
from vecdb.storage.codec import RecordView
from vecdb.storage.numbered import NumberedSchema
from vecdb.storage.store import ReadTxn

Judge: TypeAlias = Callable[[Sequence[str]], tuple[Sequence[float], int]]
"""From texts to a score of each, and how many tokens were read."""


class CrossEncoding(NamedTuple):
    """The best candidates of what legs found, in the order in which a model judges their texts.

    candidates: how many are looked at. path: of the payload, where their text is; or space: that
    whose stored text it is.
    """

    judge: Judge
    candidates: int
    path: str = ""
    space: str | None = None

    @property
    def how(self) -> str:
        """What it is called in a plan."""
        return "cross-encoder"

    @property
    def lacking(self) -> str:
        """What candidates have not that are left out."""
        if self.space is None:
            return f"text at {self.path!r}"
        return f"stored text of space {self.space!r}"


class TextScorer:
    """Scores stored points of a transaction by their texts. deadline: of time.monotonic."""

    def __init__(
        self, txn: ReadTxn, schema: NumberedSchema, asked: CrossEncoding, deadline: float
    ) -> None:
        self._txn = txn
        self._asked = asked
        self._number = None if asked.space is None else schema.numbers.get(asked.space, -1)
        self._deadline = deadline
        self.tokens = 0

    def score(self, slots: Sequence[int]) -> Scored:
        """Return the scores of those that have a text. Raises DeadlineExceeded."""
        scored = Scored([], [], [], 0, [])
        texts: list[str] = []
        for at, slot in enumerate(slots):
            try:
                record = self._txn.record(slot)
                if record is None:
                    raise Corrupt(f"slot {slot} of a segment has no record")
                text = self._text(record)
            except Corrupt:
                scored.damaged.append(slot)
                continue
            if text:
                scored.slots.append(slot)
                scored.places.append(at)
                texts.append(text)
        if time.monotonic() > self._deadline:
            raise DeadlineExceeded(
                f"the deadline passed when the texts of {len(slots)} points were read",
                hint="allow more time, or ask for fewer candidates",
            )
        if texts:
            scores, tokens = self._asked.judge(texts)
            scored.scores.extend(scores)
            self.tokens += tokens
        absent = len(slots) - len(texts) - len(scored.damaged)
        return scored._replace(absent=absent)

    def _text(self, record: RecordView) -> str:
        if self._number is not None:
            return record.texts().get(self._number, "")
        nodes = nodes_at(parse(record.payload), self._asked.path)
        text = "\n".join([node for node in nodes if isinstance(node, str)])
        return text.encode("utf-8", "replace").decode()  # half a surrogate pair may be stored
