"""`vecdb models bench`: figures add up, and what cannot be measured is said."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from vecdb.cli import application, model_bench
from vecdb.embed import catalog
from vecdb.errors import FailedPrecondition, InvalidArgument, NoModel, NotFound

pytest.importorskip("onnxruntime", reason="needs the embed extra")
MODEL = "all-minilm-l6-v2"
FAST = ("--seconds", "0", "--threads", "1")


def bench(*words: str):
    return CliRunner(env={"COLUMNS": "200"}).invoke(application(), ["models", "bench", *words])


@pytest.fixture(scope="module")
def installed() -> None:
    if reason := catalog.missing(catalog.load_catalog()[MODEL]):
        pytest.skip(reason)


def test_it_prints_how_fast_a_model_is(installed: None) -> None:
    ended = bench(MODEL, *FAST, "--lengths", "8,32", "--batches", "1,2", "--json")
    assert ended.exit_code == 0, ended.exception
    loaded, *rows = (json.loads(line) for line in ended.stdout.splitlines())
    assert (loaded["model"], loaded["device"], loaded["threads"]) == (MODEL, "cpu", 1)
    assert loaded["load_s"] > 0
    assert [row["batch"] for row in rows] == [1, 2, 1, 2]
    for row in rows:
        assert 0 < row["prepare_ms"] < row["batch_ms"]
        expected = row["tokens"] * row["items_per_s"]
        assert row["tokens_per_s"] == pytest.approx(expected)
    assert all(5 < row["tokens"] <= 8 for row in rows[:2])
    assert all(25 < row["tokens"] <= 32 for row in rows[2:])


def test_it_shows_a_table(installed: None) -> None:
    ended = bench("all-MiniLM-L6-v2", *FAST, "--lengths", "8", "--batches", "2")
    assert ended.exit_code == 0, ended.exception
    assert f"{MODEL} on cpu in float32, 1 threads: loaded in" in ended.output
    for title in ("tokens/s", "items/s", "ms a batch"):
        assert title in ended.output


def test_items_are_of_the_sort_that_a_model_takes() -> None:
    class Words:
        def prepare(self, items, role):
            texts = [item.text if isinstance(item, tuple) else item for item in items]
            return [catalog_prepared(text.split()) for text in texts]

    def catalog_prepared(words):
        from vecdb.embed.encoder import Prepared

        return Prepared(words, False)

    words = [f"w{number}" for number in range(10)]
    made = model_bench._items(Words(), words, 4, pairs=True)  # type: ignore[arg-type]
    found = [next(made) for _ in range(3)]
    assert [pair.text for pair in found] == ["w0 w1 w2 w3", "w4 w5 w6 w7", "w8 w9 w0 w1"]


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (["gpt-5"], NotFound, "no model"),
        (["gemini-embedding-001"], InvalidArgument, "runs at a service"),
        (["gte-qwen2-7b-instruct"], NoModel, "cannot run"),
        ([MODEL, "--device", "tpu"], InvalidArgument, "embed.device is 'tpu', expected one of cpu"),
        ([MODEL, "--precision", "int8"], InvalidArgument, "embed.precision is 'int8'"),
        ([MODEL, "--lengths", "16,many"], InvalidArgument, "--lengths expects numbers"),
        ([MODEL, "--batches", "0"], InvalidArgument, "--batches expects numbers"),
    ],
)
def test_what_cannot_be_measured_is_said(words: list[str], error: type, said: str) -> None:
    ended = bench(*words)
    assert ended.exit_code != 0
    assert isinstance(ended.exception, error)
    assert said in str(ended.exception)


def test_a_precision_that_is_not_there_is_refused(installed: None) -> None:
    ended = bench(MODEL, "--precision", "bfloat16")
    assert isinstance(ended.exception, FailedPrecondition)
    assert "no bfloat16 on cpu" in str(ended.exception)
