"""Counts of tokens without the model, held against the tokenizer of all-MiniLM-L6-v2."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vecdb.embed import catalog
from vecdb.rag import token_counts
from vecdb.rag.token_counts import TEXTS_MAX, TokenCounter, estimate

ENGLISH = (Path(__file__).parents[2] / "ARCHITECTURE.md").read_text()
CHINESE = (
    "向量数据库存储嵌入\uff0c并找到最近的向量。服务器在断电之后重新启动、数据仍然完整。"
    "查询用了 12 毫秒\uff08p50\uff09。Python 3.11 起支持 gRPC 与 LMDB。"
) * 8


class Model:
    """A real tokenizer, that counts how often it is asked."""

    def __init__(self) -> None:
        from tokenizers import Tokenizer

        spec = catalog.load_catalog()["all-minilm-l6-v2"]
        if reason := catalog.missing(spec):
            pytest.skip(reason)
        self._tokenizer = Tokenizer.from_file(str(catalog.resolve_files(spec)["tokenizer"]))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.calls: list[int] = []

    def tokenize(self, texts: list[str]) -> list[int]:
        self.calls.append(len(texts))
        return [len(one.ids) for one in self._tokenizer.encode_batch(texts)]

    def tokens(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)


@pytest.fixture
def model():
    return Model()


@pytest.mark.parametrize("text", [ENGLISH, CHINESE], ids=["English", "Chinese"])
def test_a_text_has_the_tokens_of_the_model(model, text):
    count = TokenCounter(model.tokenize).learn(text)
    assert count(text) == model.tokens(text)
    choice = random.Random(1)
    for _ in range(500):
        start = choice.randrange(len(text))
        piece = text[start : start + choice.randrange(1, 1500)]
        # Words that were cut at either end are bounded from above.
        assert 0 <= count(piece) - model.tokens(piece) <= 24


def test_a_prompt_is_not_counted(model):
    prompted = TokenCounter(lambda texts: model.tokenize([f"passage: {one}" for one in texts]))
    assert prompted.learn(ENGLISH)(ENGLISH) == model.tokens(ENGLISH)


def test_each_word_is_asked_for_once(model):
    counter = TokenCounter(model.tokenize)
    count = counter.learn(ENGLISH)
    asked = len(model.calls)
    assert max(model.calls) <= TEXTS_MAX
    assert sum(model.calls) < len(set(ENGLISH.split())) * 3
    count(ENGLISH[100:2000])
    counter.learn(ENGLISH)
    assert len(model.calls) == asked


def test_counts_do_not_depend_on_documents_before(model):
    counter = TokenCounter(model.tokenize)
    piece = ENGLISH[3:900]
    before = counter.learn(ENGLISH[:1000])(piece)
    counter.learn(piece)
    assert counter.learn(ENGLISH[:1000])(piece) == before


def test_a_full_cache_is_emptied(model, monkeypatch):
    monkeypatch.setattr(token_counts, "CACHED_MAX", 50)
    counter = TokenCounter(model.tokenize)
    for at in range(20):
        text = " ".join(f"word{at}x{one}" for one in range(20))
        assert counter.learn(text)(text) == model.tokens(text)
    text = " ".join(f"w{one}" for one in range(200))
    assert counter.learn(text)(text) == model.tokens(text)
    assert len(counter._cached) <= 50


def test_many_threads_learn_at_once(model):
    counter = TokenCounter(model.tokenize)
    texts = [ENGLISH[at : at + 4000] for at in range(0, 40_000, 1000)]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda one: counter.learn(one)(one), texts))
    assert found == [model.tokens(one) for one in texts]


def test_gaps_count_where_the_model_counts_them():
    """As tokenizers of bytes do, which have tokens of white space."""

    def tokenize(texts: list[str]) -> list[int]:
        return [len(one.split()) + one.count("\n") for one in texts]

    text = "one two\nthree\n\nfour"
    assert TokenCounter(tokenize).learn(text)(text) >= tokenize([text])[0]


@pytest.mark.parametrize("text", [ENGLISH, CHINESE], ids=["English", "Chinese"])
def test_an_estimate_is_near(model, text):
    assert 0.9 < estimate(text) / model.tokens(text) < 1.3
