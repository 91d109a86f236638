"""A model of the operator's own through a whole server: in its catalogue, asked, and shown."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest

from tests.embed.words import VECTORS, entry, text_of
from tests.live import START_S, LiveServer
from vecdb.cli import main
from vecdb_client import Client, InvalidArgument, SearchResult

UNKNOWN = "model plain knows no word of the text"


@pytest.fixture(scope="module")
def words_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("own")
    own = folder / "own.toml"
    bad = text_of().replace(b"cat ", b"cat x")
    own.write_text(
        entry(folder, {"glove": text_of()}, max_tokens=8, query_prompt="the\\n")
        + entry(folder, {"glove": text_of()}, name="plain")
        + entry(folder, {"glove": bad}, name="broken")
    )
    settings = {"embed.catalog": own, "embed.model": "tiny", "embed.models": "plain,broken"}
    live = LiveServer(folder / "data", settings).start()
    with live.client() as client:
        client.wait_ready(START_S, service="vecdb.v1.Models")
    yield live
    assert live.stop() == 0


@pytest.fixture
def db(words_server: LiveServer) -> Iterator[Client]:
    with words_server.client() as made:
        yield made


def test_texts_of_words_are_stored_and_found(db: Client) -> None:
    made = db.create_collection("found", model="tiny-alias")
    made.upsert([{"id": "cat", "text": "the cat"}, {"id": "data", "text": "数据库"}])
    assert made.search("A cat!", k=1)[0].id == "cat"
    assert made.search("我的数据库", k=1)[0].id == "data"
    (embedding,) = db.embed(["数据库"])
    expected = VECTORS[6] / np.linalg.norm(VECTORS[6])
    np.testing.assert_allclose(embedding.vector, expected, atol=1e-6)
    assert (embedding.tokens, embedding.truncated) == (1, False)
    assert db.embed(["cat " * 9])[0].truncated


def test_a_text_without_a_known_word_fails_alone(db: Client) -> None:
    made = db.create_collection("alone", model="tiny")
    items = [{"id": f"{n}", "text": "dog" if n % 300 == 7 else "the cat"} for n in range(600)]
    report = made.upsert(items, on_error="collect")
    assert sorted(one.index for one in report.failures) == [7, 307]
    for one in report.failures:
        assert one.code == "INVALID_ARGUMENT"
        assert "model tiny knows no word of the text" in one.message
    assert (report.written, made.count()) == (598, 598)
    with pytest.raises(InvalidArgument, match="operation 7: model tiny knows no word"):
        made.upsert(items[:10], atomic=True)


def test_a_query_without_a_known_word_fails_alone(db: Client) -> None:
    made = db.create_collection("queries", model="plain")
    made.upsert([{"id": "1", "text": "cat"}])
    with pytest.raises(InvalidArgument, match=UNKNOWN):
        made.search("dog")
    wrong, right = made.search_batch([{"query": "dog"}, {"query": "cat"}], on_error="collect")
    assert isinstance(wrong, InvalidArgument)
    assert UNKNOWN in wrong.message
    assert isinstance(right, SearchResult)
    with pytest.raises(InvalidArgument, match=UNKNOWN) as caught:
        db.embed(["cat", "dog"], model="plain")
    assert [one.field for one in caught.value.violations] == ["texts[1]"]


def test_models_list(words_server: LiveServer, monkeypatch, capsys) -> None:
    shown = run(monkeypatch, capsys, words_server, "list")
    for word in ("tiny", "broken", "static-words", "ready"):
        assert word in shown
    lines = run(monkeypatch, capsys, words_server, "list", "--json").splitlines()
    tiny, _, broken = map(json.loads, lines)
    assert (tiny["name"], tiny["ready"], tiny["reason"]) == ("tiny", True, "")
    assert tiny["aliases"] == ["tiny-alias"]
    assert (tiny["query_prompt"], tiny["document_prompt"]) == ("the\n", "")
    assert (tiny["kind"], tiny["dim"], tiny["metric"]) == ("static-words", 4, "cosine")
    assert not broken["ready"]
    assert "line 2: expected a word and 4 numbers" in broken["reason"]


def test_models_show(words_server: LiveServer, monkeypatch, capsys) -> None:
    shown = run(monkeypatch, capsys, words_server, "show", "tiny-alias")
    for word in ("tiny", '"the\\n"', "tiny-alias", "CC0-1.0", "max tokens", "fingerprint"):
        assert word in shown
    broken = run(monkeypatch, capsys, words_server, "show", "broken", "--json")
    assert json.loads(broken)["name"] == "broken"
    said = run(monkeypatch, capsys, words_server, "show", "bert", status=1)
    assert "no model 'bert'" in said
    assert "tiny, plain, broken" in said


def run(monkeypatch, capsys, server: LiveServer, *words: str, status: int = 0) -> str:
    """Return what `vecdb models` prints, or says where it fails."""
    monkeypatch.setenv("VECDB_ADDRESS", server.address)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("sys.argv", ["vecdb", "models", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code or 0) == status
    printed = capsys.readouterr()
    return printed.err if status else printed.out
