"""The rows of a part as a filter asks for them: what their fields cannot tell, the store can."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from vecdb import kernel
from vecdb.errors import Corrupt, DeadlineExceeded
from vecdb.query.keyword import Sought, holding, sought
from vecdb.query.search import Part, rows_of
from vecdb.segment.bitmaps import all_rows
from vecdb.segment.fields import FieldSource, Json, NotIndexed, parse
from vecdb.segment.postings import GrowingText
from vecdb.storage.store import ReadTxn
from vecdb.types import Bitmap, KeywordQuery, MatchesText


class PartRows:
    """A part and a transaction that its records are read in. deadline: of time.monotonic."""

    def __init__(self, part: Part, txn: ReadTxn, deadline: float) -> None:
        self.rows = part.rows
        self.fields: FieldSource = part.fields
        self._part = part
        self._txn = txn
        self._deadline = deadline

    def of_ids(self, ids: Sequence[str]) -> Bitmap:
        """Return the rows of those points."""
        slots = np.array(list(self._txn.slots_of([name.encode() for name in ids]).values()), "<u8")
        return kernel.row_bits(rows_of(self._part, slots), self.rows)

    def having(self, space: str) -> Bitmap:
        """Return the rows that have a vector in a space."""
        having = self._part.having(space)
        return all_rows(self.rows) if having is None else having

    def holding_words(self, condition: MatchesText) -> Bitmap:
        """Return the rows whose text field holds the words. Raises NotIndexed."""
        source, asked = self._part.text(), self._sought(condition)
        if not asked.words.keys() <= set(source.fields):  # a field that was added since
            raise NotIndexed
        return holding(asked, source)

    def words_in(self, condition: MatchesText, payloads: Sequence[Json]) -> Bitmap:
        """Return which of some payloads hold the words in the text field."""
        asked = self._sought(condition)
        texts = GrowingText({number: asked.texts[number] for number in asked.words})
        for payload in payloads:
            texts.add(payload)
        return holding(asked, texts.read(len(payloads)))

    def _sought(self, condition: MatchesText) -> Sought:
        words = KeywordQuery(condition.text, 1, (condition.path,), condition.match)
        return sought(words, self._txn.numbered.schema)

    def payloads(self, rows: Sequence[int]) -> list[Json]:
        """Return the parsed payloads of some rows. Raises DeadlineExceeded.

        A row without a sound record is dead or damaged: it holds nothing.
        """
        if time.monotonic() > self._deadline:
            raise DeadlineExceeded(
                "what is asked for is in no index; the deadline passed while payloads were read",
                hint="allow more time, or add an indexed condition that few points match",
            )
        return [self._payload(row) for row in rows]

    def _payload(self, row: int) -> Json:
        try:
            record = self._txn.record(int(self._part.slots[row]))
        except Corrupt:
            return {}
        return {} if record is None else parse(record.payload)
