"""The questions on Debian's reference: how many, of which chapters, whether headings are real."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest

from tests.live import REPOSITORY

REFERENCE = Path("/usr/share/debian-reference")
LANGUAGES = {"en": ".en.html", "zh": ".zh-cn.html"}
HEADING = re.compile(r"<h[1-4][^>]*>(.*?)</h[1-4]>", re.DOTALL)
NUMBER = re.compile(r"^[A-Z]?[\d.]+\.\s+")


def questions(language: str) -> list[dict[str, str]]:
    file = REPOSITORY / "tests" / "rag" / f"debian_questions.{language}.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def headings(file: Path) -> set[str]:
    found = HEADING.findall(file.read_text(encoding="utf-8"))
    texts = (html.unescape(re.sub(r"<[^>]+>", "", one)) for one in found)
    return {NUMBER.sub("", " ".join(text.split())) for text in texts}


@pytest.mark.parametrize(("language", "suffix"), LANGUAGES.items())
def test_thirty_of_each_language_over_all_chapters(language: str, suffix: str) -> None:
    asked = questions(language)
    assert len({one["id"] for one in asked}) == len({one["question"] for one in asked}) == 30
    chapters = {one["document"].removesuffix(suffix) for one in asked}
    assert chapters == {"pr01", "apa", *(f"ch{number:02}" for number in range(1, 13))}
    # Whoever asks does not know the heading.
    assert [one for one in asked if one["section"].lower() in one["question"].lower()] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_heading_is_there(language: str) -> None:
    if not REFERENCE.is_dir():
        pytest.skip("needs the packages debian-reference-en and debian-reference-zh-cn")
    missing = [
        one
        for one in questions(language)
        if one["section"] not in headings(REFERENCE / one["document"])
    ]
    assert missing == []
