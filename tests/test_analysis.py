"""What the words of a text are, by examples; and that it is the same wherever it is asked."""

from __future__ import annotations

import threading

import hypothesis.strategies as st
import pytest
from hypothesis import given

from vecdb import analysis
from vecdb.analysis import LANGUAGES, WORD_CHARACTERS_MAX, analyze, locate


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" ...!? ", []),
        ("Hello, World", ["hello", "world"]),
        ("snake_case kebab-case a.b", ["snake", "case", "kebab", "case", "a", "b"]),
        ("it's l\u2019avion", ["it", "s", "l", "avion"]),
        ("v1.2 3,000", ["v1", "2", "3", "000"]),
        ("Straße STRASSE", ["strasse", "strasse"]),
        ("ﬁne Ⅷ ｆｕｌｌ", ["fine", "viii", "full"]),  # noqa: RUF001 - compatibility forms
        ("cafe\u0301 caf\u00e9", ["café", "café"]),
        ("naïve ключ ΣΊΣΥΦΟΣ", ["naïve", "ключ", "σίσυφοσ"]),
        ("हिन्दी में", ["हिन्दी", "में"]),  # vowels are marks, and inside words
        ("soft\u00adhyphen می\u200cخواهم", ["softhyphen", "میخواهم"]),  # noqa: RUF001
        ("مرحبا بالعالم", ["مرحبا", "بالعالم"]),
        ("東京都", ["東京", "京都"]),
        ("森", ["森"]),
        ("ﾃｽﾄ", ["テス", "スト"]),
        ("서울특별시 강남구", ["서울", "울특", "특별", "별시", "강남", "남구"]),
        ("ひらがなとカタカナ", ["ひら", "らが", "がな", "なと", "とカ", "カタ", "タカ", "カナ"]),
        ("iPhone手机壳2024年", ["iphone", "手机", "机壳", "2024", "年"]),
        ("\ud800x\udfff", ["x"]),  # halves of characters, which JSON may hold
        ("🙂a🙂b", ["a", "b"]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert analyze(text, "").words == words


def test_stems() -> None:
    assert analyze("Running the runs", "english").words == ["run", "the", "run"]
    assert analyze("Häuser laufend", "german").words == ["haus", "laufend"]
    assert analyze("東京 running", "english").words == ["東京", "run"]
    assert analyze("running", "").words == ["running"]


def test_positions_leave_room_where_a_pair_is_missing() -> None:
    assert analyze("中国 人民 x 森", "").positions == [0, 2, 3, 4]
    assert analyze("中国人民", "").positions == [0, 1, 2]
    # Else "中国 国人" would hold the phrase 中国人.
    assert analyze("中国 国人", "").positions == [0, 2]


def test_long_words_are_cut() -> None:
    (word,) = analyze("a" * 10_000, "").words
    assert word == "a" * WORD_CHARACTERS_MAX
    assert analyze("é" * 10_000, "").words == ["é" * WORD_CHARACTERS_MAX]


@given(st.text(max_size=60), st.sampled_from(["", "english", "russian"]))
def test_any_text_has_words_at_ascending_positions(text: str, language: str) -> None:
    words, positions = analyze(text, language)
    assert len(words) == len(positions)
    assert positions == sorted(set(positions))
    assert all(words)
    for word in words:
        word.encode()
    # Folded once, a text stays as it is.
    plain = analyze(text, "").words
    assert analyze(" ".join(plain), "").words == plain or not text.isascii()


def test_ascii_is_cut_as_any_text_is(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "The quick_brown fox's 3.5 e-mail\tJUMPED\n--over/the dog"
    words, positions, firsts = analysis._split(analysis._folded(text))
    assert (words, positions) == analyze(text, "")
    assert firsts == [start for start, _ in locate(text, "").ranges]


def test_every_language_stems() -> None:
    assert {"english", "german", "russian", "arabic"} <= LANGUAGES
    for language in LANGUAGES:
        assert len(analyze("word слово κόσμος 東京", language).words) == 4


def test_threads_stem_alike() -> None:
    analysis._stem.cache_clear()
    text = " ".join(f"running{n} houses{n} nationally{n}" for n in range(400))
    wanted = analyze(text, "english")
    analysis._stem.cache_clear()
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(5):
            if analyze(text, "english") != wanted:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@given(st.text(max_size=40), st.sampled_from(["", "english"]))
def test_words_are_located_where_they_stand(text: str, language: str) -> None:
    found, words = locate(text, language), analyze(text, language)
    assert (found.words, found.positions) == words
    assert found.ranges == sorted(found.ranges)
    for start, end in found.ranges:
        assert 0 <= start < end <= len(text)


@pytest.mark.takes_turns
def test_characters_fold_alone_as_they_do_beside_others() -> None:
    """What normalization makes one of several is located as one, for every character."""
    for char in map(chr, range(0x250, 0x20000)):
        for text in (f"a{char}b", f"{char}\u0301", f"か{char}", f"\u1100{char}\u11a8"):
            assert locate(text, "").words == analyze(text, "").words, ascii(text)


def test_ranges_are_of_the_text_as_it_stands() -> None:
    text = "Running: cafe\u0301, stra\u00dfe ﬁne \u216b 東京都 so\u00adft"
    found = locate(text, "english")
    shown = [text[start:end] for start, end in found.ranges]
    assert list(zip(found.words, shown, strict=True)) == [
        ("run", "Running"),
        ("café", "cafe\u0301"),
        ("strass", "stra\u00dfe"),
        ("fine", "ﬁne"),
        ("xii", "\u216b"),
        ("東京", "東京"),
        ("京都", "京都"),
        ("soft", "so\u00adft"),
    ]
