"""The Cranfield collection: abstracts, questions, and which abstracts were judged to fit which."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from machine import REPOSITORY
from vecdb.rag.judging import Grades

FOLDER = REPOSITORY.parent / "shared" / "data" / "cranfield"


@dataclass(frozen=True, slots=True)
class Abstract:
    """One document. id: its number."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """One query and the abstracts that fit it: those judged 1 to 4, each counts the same."""

    text: str
    grades: Grades


def abstracts() -> list[Abstract]:
    """Return all 1,400."""
    records = _records(FOLDER / "cran.all.1400")
    return [Abstract(one[".I"], one.get(".T", ""), one.get(".W", "")) for one in records]


def questions() -> list[Question]:
    """Return all 225, numbered by the judgements from 1 in the order of the file."""
    grades: dict[int, dict[str, float]] = {}
    for line in _lines(FOLDER / "cranqrel"):
        number, abstract, grade = line.split()
        if int(grade) > 0:
            grades.setdefault(int(number), {})[abstract] = 1
    texts = [one[".W"] for one in _records(FOLDER / "cran.qry")]
    return [Question(text, grades[at]) for at, text in enumerate(texts, 1)]


def _lines(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8-sig")
    return [line.strip() for line in text.splitlines() if line.strip()]


def _records(path: Path) -> list[dict[str, str]]:
    """Return the records of a file: .I begins one and numbers it, .T, .A, .B, .W are parts."""
    records: list[dict[str, str]] = []
    part = ""
    for line in _lines(path):
        if line.startswith(".I "):
            records.append({".I": line[3:].strip()})
        elif re.fullmatch(r"\.[TABW]", line):
            part = line
        else:
            records[-1][part] = f"{records[-1].get(part, '')} {line}".strip()
    return records
