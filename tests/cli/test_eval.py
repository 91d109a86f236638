"""`vecdb eval`: figures that are known beforehand, what is written, and what bad input says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import pytest

from tests.embed import tiny
from tests.live import START_S, LiveServer
from vecdb.cli import main
from vecdb_client import Client, SparseSpace, TextField

TEXTS = {
    "a1": ("a", "the stock market fell"),
    "a2": ("a", "green air"),
    "b1": ("b", "the market rose"),
    "c1": ("c", "a cat sat on the mat"),
    "d1": ("d", "red air green air blue air"),
}
SPACES = {"": SparseSpace(True, "bm25"), "bare": SparseSpace()}
CHUNKED, PLAIN, BARE = "chunked", "plain", "bare"


class Ended(NamedTuple):
    status: int
    stdout: str
    stderr: str


Run = Callable[..., Ended]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server with models that need no weights: words as a sparse vector, and a tiny judge."""
    pytest.importorskip("onnx", reason="the judge's graph is made with onnx")
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("eval")
    own = folder / "own.toml"
    own.write_text(tiny.entry(folder, "judge", "onnx-rerank"))
    settings = {"embed.catalog": own, "embed.model": "bm25", "embed.models": "judge"}
    live = LiveServer(folder / "data", settings).start()
    with live.client() as client:
        client.wait_ready(START_S, service="vecdb.v1.Models")
        fill(client)
    yield live
    assert live.stop() == 0


def fill(client: Client) -> None:
    fields = [TextField("text")]
    chunked = client.create_collection(CHUNKED, spaces=SPACES, text_fields=fields)
    chunked.upsert(
        {"id": id, "text": text, "payload": {"document": document, "text": text}}
        for id, (document, text) in TEXTS.items()
    )
    # As the server keeps documents: a point of their own, without a text.
    chunked.upsert({"id": id, "payload": {"document": id}} for id in "abcd")
    plain = client.create_collection(PLAIN, text_fields=fields)
    plain.upsert({"id": id, "payload": {"text": text}} for id, (_, text) in TEXTS.items())
    client.create_collection(BARE, dim=2).upsert([{"id": "a1", "vector": [1, 0]}])


@pytest.fixture
def run(
    server: LiveServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Return a function that evaluates in this process."""
    monkeypatch.setenv("VECDB_ADDRESS", server.address)
    monkeypatch.setenv("COLUMNS", "100")

    def call(file: Path, collection: str, *words: str) -> Ended:
        capsys.readouterr()
        asked = ["vecdb", "eval", str(file), "--collection", collection, *words]
        monkeypatch.setattr("sys.argv", asked)
        with pytest.raises(SystemExit) as ended:
            main()
        status = ended.value.code or 0
        assert isinstance(status, int)
        return Ended(status, *capsys.readouterr())

    return call


def lines(folder: Path, *questions: object) -> Path:
    file = folder / "questions.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in questions), encoding="utf-8")
    return file


def asked(text: str, *relevant: str, **more: object) -> dict[str, object]:
    return {"question": text, "relevant": list(relevant), **more}


def failed(ended: Ended, *words: str) -> None:
    assert ended.status == 1, ended
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    said = " ".join(ended.stderr.split())
    for word in words:
        assert word in said, said


def figures(folder: Path, ended: Ended) -> dict[str, Any]:
    """Return what --json wrote, by configuration."""
    assert ended.status == 0, ended.stderr
    written = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    return {one["name"]: one for one in written["configurations"]} | {"": written}


def mean(found: dict[str, Any], name: str, metric: str) -> float:
    return float(found[name]["metrics"][metric]["mean"])


def test_figures_of_points(run: Run, tmp_path: Path) -> None:
    """Two questions, one answered at the first place and one at the second of two."""
    file = lines(tmp_path, asked("stock market", "a1", id="first"), asked("stock market", "b1"))
    ended = run(file, PLAIN, "--config", "bm25", "--json", str(tmp_path / "out.json"))
    found = figures(tmp_path, ended)
    assert mean(found, "bm25", "MRR@10") == pytest.approx((1 + 1 / 2) / 2)
    assert mean(found, "bm25", "recall@10") == 1
    assert mean(found, "bm25", "nDCG@10") == pytest.approx((1 + 0.63093) / 2, abs=1e-5)
    assert found[""]["by"] == "point"
    questions = found["bm25"]["questions"]
    assert [(one["id"], one["MRR@10"]) for one in questions] == [("first", 1.0), ("2", 0.5)]
    assert questions[0]["found"] == ["a1", "b1"]
    assert "plain: 2 questions of questions.jsonl, by point" in ended.stdout
    assert "0.750*" in ended.stdout
    assert "warning" not in ended.stderr


def test_documents_are_found_by_their_best_chunk(run: Run, tmp_path: Path) -> None:
    """Of `a` two chunks are found, and it is one document; what k says is in documents."""
    file = lines(tmp_path, {"question": "green air market", "relevant": {"b": 2, "d": 1, "c": 0}})
    words = ["--config", "bm25", "-k", "2", "--json", str(tmp_path / "out.json")]
    found = figures(tmp_path, run(file, CHUNKED, *words))
    assert found[""]["by"] == "document"
    (one,) = found["bm25"]["questions"]
    assert sorted(one["found"]) == ["a", "b", "d"]
    assert one["recall@2"] == len({"b", "d"} & set(one["found"][:2])) / 2
    assert 0 < one["nDCG@10"] < 1
    points = figures(tmp_path, run(file, CHUNKED, *words, "--by", "point", "--config", "dense"))
    assert points[""]["by"] == "point"  # the documents' own points, which no words are found in
    assert points["dense"]["questions"][0]["recall@2"] == 0


def test_configurations_stand_side_by_side(run: Run, tmp_path: Path) -> None:
    file = lines(tmp_path, asked("market fell", "a"), asked("the cat", "c"), asked("air", "d"))
    ended = run(file, CHUNKED, "--json", str(tmp_path / "out.json"), "--parallel", "2")
    found = figures(tmp_path, ended)
    assert [*found] == ["bm25", "dense", "hybrid", ""]
    words = [f"--config={name}" for name in ("hybrid", "bm25", "hybrid", "rerank=judge")]
    ended = run(file, CHUNKED, *words, "--json", str(tmp_path / "out.json"))
    found = figures(tmp_path, ended)
    assert [*found] == ["hybrid", "bm25", "rerank=judge", ""]
    assert "over hybrid" in ended.stdout
    difference = found["bm25"]["metrics"]["MRR@10"]["difference"]
    expected = mean(found, "bm25", "MRR@10") - mean(found, "hybrid", "MRR@10")
    assert difference["mean"] == pytest.approx(expected)
    assert all(found[name]["ms"]["p50"] > 0 for name in ("hybrid", "bm25", "rerank=judge"))


def test_the_picture_and_the_bars(run: Run, tmp_path: Path) -> None:
    file = lines(tmp_path, asked("market fell", "a1"), asked("cat & <mat>", "b1"))
    picture = tmp_path / "out.svg"
    ended = run(file, PLAIN, "--plot", str(picture))
    assert ended.status == 0, ended.stderr
    root = ElementTree.fromstring(picture.read_text(encoding="utf-8"))
    shown = ["".join(one.itertext()) for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"bm25", "recall@10", "nDCG@10", "MRR@10"} <= set(shown)
    assert len([*root.iter("{http://www.w3.org/2000/svg}circle")]) == 3
    assert "prefers-color-scheme: dark" in picture.read_text(encoding="utf-8")
    assert "http" not in picture.read_text(encoding="utf-8").replace(
        "http://www.w3.org/2000/svg", ""
    )
    assert "▓▓▓" in run(file, PLAIN, "--plot", "-").stdout


def test_ids_that_are_not_there(run: Run, tmp_path: Path) -> None:
    file = lines(tmp_path, asked("market", "a1", "zz"), asked("cat", "c1"))
    ended = run(file, PLAIN)
    assert ended.status == 0
    assert "1 of 3 relevant ids are no points of plain, such as 'zz'" in ended.stderr
    many = [f"n{n}" for n in range(1_200)]
    ended = run(lines(tmp_path, asked("market", "a", *many)), CHUNKED)
    assert "1,200 of 1,201 relevant ids are no documents" in ended.stderr
    failed(run(lines(tmp_path, asked("market", "zz")), PLAIN), "none of the 1 relevant ids")
    failed(run(file, PLAIN, "--by", "document"), "is a document of plain", "--by")


BAD = [
    (b"", ["has no questions", '"relevant"']),
    (b"\n  \n", ["has no questions"]),
    (b'{"question": "x", "relevant": ["a"]}\n{"question"\n', ["line 2: is not JSON"]),
    (b"\n[1]\n", ["line 2: is not a JSON object"]),
    (b'{"question": "\xff", "relevant": ["a"]}', ["line 1: is not JSON"]),
    (b"[" * 100_000, ["line 1: is not JSON"]),
    (b'{"relevant": ["a"]}', ['line 1: "question" is a text']),
    (b'{"question": " ", "relevant": ["a"]}', ['"question" is a text']),
    (b'{"question": "x"}', ["line 1: no id is relevant", "leave it out"]),
    (b'{"question": "x", "relevant": []}', ["no id is relevant"]),
    (b'{"question": "x", "relevant": {"a": 0}}', ["no id is relevant"]),
    (b'{"question": "x", "relevant": "a"}', ['"relevant" is a list of ids']),
    (b'{"question": "x", "relevant": [7]}', ['"relevant" is a list of ids']),
    (b'{"question": "x", "relevant": [""]}', ['"relevant" is a list of ids']),
    (b'{"question": "x", "relevant": {"a": true}}', ['"relevant" is a list of ids']),
    (b'{"question": "x", "relevant": {"a": -1}}', ["grades, 0 to 100"]),
    (b'{"question": "x", "relevant": {"a": NaN}}', ["grades, 0 to 100"]),
]


@pytest.mark.parametrize(("content", "said"), BAD)
def test_bad_files_are_named_by_line(
    run: Run, tmp_path: Path, content: bytes, said: list[str]
) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_bytes(content)
    failed(run(file, PLAIN), "bad.jsonl", *said)


@pytest.mark.parametrize(
    ("collection", "words", "said"),
    [
        (PLAIN, ["--config", "fast"], ["--config 'fast': expected bm25, dense, hybrid"]),
        (PLAIN, ["--config", "rerank"], ["expected bm25"]),
        (PLAIN, ["--config", "bm25=x"], ["expected bm25"]),
        (PLAIN, ["--config", "dense"], ["no model fills a space of plain", "--add-space"]),
        (PLAIN, ["--config", "hybrid"], ["no model fills a space of plain"]),
        (PLAIN, ["--config", "bm25", "--config", "rerank=nobody"], ["rerank=nobody", "nobody"]),
        (PLAIN, ["--space", "s"], ["has no space 's'"]),
        (CHUNKED, ["--space", "bare", "--config", "dense"], ["no model fills a space"]),
        (BARE, [], ["neither text fields nor a space with a model"]),
        (BARE, ["--config", "bm25"], ["has no text fields", "--add-text"]),
        ("nobody", [], ["nobody"]),
    ],
)
def test_what_cannot_be_is_refused(
    run: Run, tmp_path: Path, collection: str, words: list[str], said: list[str]
) -> None:
    failed(run(lines(tmp_path, asked("market", "a1")), collection, *words), *said)


def test_words_alone_can_be_re_ranked(run: Run, tmp_path: Path) -> None:
    """The judge counts the words that are in both, and so prefers the whole phrase."""
    file = lines(tmp_path, asked("the market fell", "a1"))
    words = ["--config", "rerank=judge", "--json", str(tmp_path / "out.json")]
    assert mean(figures(tmp_path, run(file, PLAIN, *words)), "rerank=judge", "MRR@10") == 1
    ended = run(file, PLAIN, *words, "--field", "nothing")
    assert ended.status == 0
    assert "have no" in ended.stderr  # what has no text there is left out, and that is said


def test_files_that_cannot_be_written(run: Run, tmp_path: Path) -> None:
    file = lines(tmp_path, asked("market", "a1"))
    failed(run(file, PLAIN, "--json", str(tmp_path / "no" / "x.json")), "there is no folder")
    ended = run(file, PLAIN, "--plot", str(tmp_path))  # a folder
    assert ended.status == 1
    assert "cannot be written: Is a directory" in ended.stderr
