"""Questions whose answers are known: how a file says them, and which ids a collection has."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from vecdb.errors import InvalidArgument
from vecdb_client import Collection, F

DOCUMENT = "document"
"""Where the payload of a chunk names its document."""
IDS_AT_ONCE = 500
GRADE_MAX = 100


class JudgedQuestion(NamedTuple):
    """A question, and how relevant which ids are: 0 for not at all. id: its line without one."""

    id: str
    text: str
    grades: dict[str, float]


class Known(NamedTuple):
    """Which of some ids are points of a collection, and which are documents that points name."""

    points: frozenset[str]
    documents: frozenset[str]


def read_questions(file: Path) -> list[JudgedQuestion]:
    """Return the questions of a file of JSON lines.

    Raises InvalidArgument, which names the line, and for a file without any.
    """
    with file.open("rb") as lines:
        found = [
            _question(file, number, line) for number, line in enumerate(lines, 1) if line.strip()
        ]
    if not found:
        raise InvalidArgument(
            f"{file} has no questions",
            hint='a line of it is such as {"question": "...", "relevant": ["ID", "ID"]}',
        )
    return found


def known_ids(collection: Collection, ids: Iterable[str]) -> Known:
    """Return which ids a collection has."""
    asked = list(dict.fromkeys(ids))
    points = {point.id for point in collection.get(asked, with_payload=False).points}
    documents: set[str] = set()
    rest = iter(asked)
    while some := list(islice(rest, IDS_AT_ONCE)):
        named = collection.aggregate(F(DOCUMENT).isin(some), facets={DOCUMENT: len(some)})
        documents.update(str(value) for value in named.facets[DOCUMENT].counts)
    return Known(frozenset(points), frozenset(documents.intersection(asked)))


def _question(file: Path, number: int, line: bytes) -> JudgedQuestion:
    def bad(why: str, hint: str = "") -> InvalidArgument:
        return InvalidArgument(f"{file}, line {number}: {why}", hint=hint)

    try:
        read = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise bad(f"is not JSON: {error}") from None
    if not isinstance(read, dict):
        raise bad("is not a JSON object")
    text = read.get("question")
    if not isinstance(text, str) or not text.strip():
        raise bad('"question" is a text, and not empty')
    grades = _grades(read.get("relevant"))
    if grades is None:
        raise bad('"relevant" is a list of ids, or an object of ids and their grades, 0 to 100')
    if not any(grades.values()):
        raise bad("no id is relevant", "a question without one cannot be judged: leave it out")
    return JudgedQuestion(str(read.get("id", number)), text, grades)


def _grades(relevant: Any) -> dict[str, float] | None:  # noqa: ANN401 - it is JSON
    """Return the grade of each id, or None where it is said in no known way."""
    if relevant is None:
        return {}
    if isinstance(relevant, list):
        all_ids = all(isinstance(id, str) for id in relevant)
        relevant = dict.fromkeys(relevant, 1) if all_ids else None
    if not isinstance(relevant, dict) or "" in relevant:
        return None
    known = all(map(_is_grade, relevant.values()))
    return {id: float(grade) for id, grade in relevant.items()} if known else None


def _is_grade(grade: Any) -> bool:  # noqa: ANN401
    number = isinstance(grade, int | float) and not isinstance(grade, bool)
    return number and math.isfinite(grade) and 0 <= grade <= GRADE_MAX
