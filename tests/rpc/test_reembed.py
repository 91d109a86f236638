"""A space moves to another model on a real server: filled, switched, rolled back, never lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from tests.live import START_S, LiveServer
from tests.rpc.moves import (
    FEW,
    MINI,
    RARE,
    WORDS,
    check,
    fill,
    nearest,
    sentence,
    write_catalog,
)
from vecdb.cli import main
from vecdb_client import (
    Client,
    Collection,
    F,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    VecdbError,
    WriteFailed,
)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    pytest.importorskip("onnxruntime", reason="needs the embed extra")
    folder = tmp_path_factory.mktemp("moves")
    models = f"{MINI},{WORDS},{FEW},bm25"
    settings = {"embed.catalog": write_catalog(folder), "embed.models": models}
    server = LiveServer(folder / "data", settings | {"storage.tail_points": 64}).start()
    with server.client() as client:
        client.wait_ready(START_S, service="vecdb.v1.Models")
    yield server
    assert server.stop() == 0


@pytest.fixture
def db(live: LiveServer) -> Iterator[Client]:
    with live.client() as made:
        yield made


# --- the way it goes


def test_a_space_moves_and_comes_back(db: Client) -> None:
    made = db.create_collection("way", model=MINI)
    texts = fill(made, 80)
    before = [(hit.id, hit.score) for hit in made.search("a cat in the rain")]
    assert made.reembed().state == "none"
    seen: list[tuple[int, int | None]] = []
    move = made.reembed(WORDS, wait=True, progress=lambda *now: seen.append(now))
    assert (move.state, move.total, move.done, move.error) == ("ready", 80, 80, "")
    assert (move.model, move.dim, move.shadow_model, move.shadow_dim) == (MINI, 384, WORDS, 8)
    assert seen[-1] == (80, 80)
    assert seen == sorted(seen)
    assert move.overlap is not None
    assert move.overlap.queries == 80
    assert not move.overlap.by_vectors
    assert 0 <= move.overlap.low <= move.overlap.share <= move.overlap.high <= 1
    spaces = made.info().spaces
    assert spaces[move.shadow].shadow_of == ""  # type: ignore[union-attr]
    assert list(made.info().own_spaces) == [""]
    # Until it is switched, nothing has changed for those who do not ask the shadow.
    assert [(hit.id, hit.score) for hit in made.search("a cat in the rain")] == before
    best = nearest(db, WORDS, texts, "cat rain")
    assert made.search("cat rain", space=move.shadow)[0].score == pytest.approx(best, abs=1e-5)
    check(db, made, MINI, texts)

    assert made.reembed(step="switch").state == "switched"
    assert made.reembed(step="switch").state == "switched"
    assert made.search("cat rain")[0].score == pytest.approx(best, abs=1e-5)
    check(db, made, WORDS, texts)
    made.upsert([{"id": "later", "text": "tea cup"}])
    made.patch("p0", text="stone river")
    made.delete(["p1"])
    texts |= {"later": "tea cup", "p0": "stone river"}
    del texts["p1"]
    assert made.search("tea cup", k=1)[0].id == "later"
    check(db, made, WORDS, texts)

    assert made.reembed(step="roll_back").state == "ready"
    check(db, made, MINI, texts)
    assert made.search("tea cup", k=1)[0].id == "later"
    assert made.reembed(step="switch").state == "switched"
    ended = made.reembed(step="finish")
    assert (ended.state, ended.model, ended.shadow) == ("none", WORDS, "")
    assert made.reembed(step="finish").state == "none"
    check(db, made, WORDS, texts)
    assert list(made.info().spaces) == [""]
    assert made.estimate_recall(samples=5).now.recall == 1.0


def test_cancelled_it_never_was(db: Client) -> None:
    made = db.create_collection("never", model=WORDS)
    texts = fill(made, 40)
    made.reembed(FEW, wait=True)
    assert made.reembed(step="cancel").state == "none"
    assert made.reembed(step="cancel").state == "none"
    check(db, made, WORDS, texts)
    assert list(made.info().spaces) == [""]
    assert made.reembed(FEW, wait=True).state == "ready"  # and can be begun again


def test_writes_go_on_and_both_spaces_have_them(db: Client) -> None:
    made = db.create_collection("meanwhile", model=WORDS)
    texts = fill(made, 200)
    move = made.reembed(MINI, switch=True)
    assert move.state == "filling"
    assert move.switch_when_ready
    rng = np.random.default_rng(5)
    while made.reembed().state == "filling":
        write_some(made, texts, rng)
    settled = made.reembed(wait=True)
    assert (settled.state, settled.model) == ("switched", MINI)
    check(db, made, MINI, texts)
    for _ in range(5):
        write_some(made, texts, rng)
    check(db, made, MINI, texts)
    assert made.reembed(step="roll_back", wait=True).state == "ready"
    check(db, made, WORDS, texts)
    made.patch_where(F.has_id(["p7"]), text="the red road")
    if "p7" in texts:
        texts["p7"] = "the red road"
    assert made.reembed(step="switch").state == "switched"
    check(db, made, MINI, texts)


def write_some(made: Collection, texts: dict[str, str], rng: np.random.Generator) -> None:
    """Put, patch and delete some points, and do the same to a dict."""
    for _ in range(3):
        name, text = f"p{rng.integers(250)}", sentence(rng)
        made.upsert([{"id": name, "text": text}])
        texts[name] = text
    name, text = str(rng.choice(list(texts))), sentence(rng)
    made.patch(name, text=text)
    texts[name] = text
    name = str(rng.choice(list(texts)))
    made.delete([name])
    del texts[name]
    made.patch(str(rng.choice(list(texts))), set={"seen": True})


# --- what cannot be moved


def test_points_without_a_text_are_counted(db: Client) -> None:
    made = db.create_collection("numbers", model=WORDS)
    fill(made, 20)
    made.upsert([{"id": f"n{n}", "vector": [1.0] * 8} for n in range(3)])
    move = made.reembed(FEW, wait=True)
    assert (move.state, move.total, move.done, move.missing_text) == ("incomplete", 23, 20, 3)
    with pytest.raises(FailedPrecondition, match="3 points have no text"):
        made.reembed(step="switch")
    made.upsert([{"id": "n0", "text": "cat"}])
    made.delete(["n1"])
    move = made.reembed(wait=True)
    assert (move.total, move.done, move.missing_text) == (22, 21, 1)
    assert made.reembed(step="switch", allow_missing=True).state == "switched"
    assert made.count() == 22
    assert len(made.search("cat", k=50)) == 21  # n2 has no vector now
    assert made.reembed(step="roll_back", allow_missing=True).state == "incomplete"
    assert len(made.search("cat", k=50)) == 22


def test_texts_that_the_model_refuses_are_named(db: Client) -> None:
    made = db.create_collection("refused", model=WORDS)
    fill(made, 10)
    made.upsert([{"id": "odd", "text": RARE}])
    move = made.reembed(FEW, wait=True)
    assert (move.state, move.done, move.failed) == ("incomplete", 10, 1)
    assert "knows no word" in move.error
    with pytest.raises(FailedPrecondition, match="1 a text that the model refuses"):
        made.reembed(step="switch")
    made.patch("odd", text=f"{RARE} cat")
    move = made.reembed(wait=True)
    assert (move.state, move.done, move.failed, move.error) == ("ready", 11, 0, "")
    # And what is written while it moves is stored, whatever the new model says.
    made.upsert([{"id": "odder", "text": RARE}])
    assert made.search(RARE, k=1)[0].id == "odder"


def test_what_is_refused(db: Client) -> None:
    made = db.create_collection("wrong", model=WORDS, text_fields=[])
    fill(made, 5)
    plain = db.create_collection("plain", dim=8)
    with pytest.raises(NotFound, match="nobody"):
        made.reembed("nobody")
    with pytest.raises(NotFound):
        db.collection("nowhere").reembed(WORDS)
    with pytest.raises(FailedPrecondition, match="bm25 makes no dense vectors") as caught:
        made.reembed("bm25")
    assert caught.value.reason == "SCHEMA_MISMATCH"
    with pytest.raises(FailedPrecondition, match="has no model") as caught:
        plain.reembed(WORDS)
    assert caught.value.reason == "NO_MODEL"
    with pytest.raises(FailedPrecondition, match="is of words with 8 dimensions already"):
        made.reembed(WORDS)
    with pytest.raises(InvalidArgument, match="makes 4 dimensions, got 3"):
        made.reembed(FEW, dim=3)
    with pytest.raises(InvalidArgument, match="unknown space 'there'"):
        made.reembed(FEW, space="there")
    for step in ("switch", "roll_back"):
        with pytest.raises(FailedPrecondition, match="is not being moved"):
            made.reembed(step=step)  # type: ignore[arg-type]
    for wrong in ({"step": "start"}, {"model": FEW, "step": "cancel"}, {"step": "sideways"}):
        with pytest.raises(InvalidArgument):
            made.reembed(**wrong)  # type: ignore[arg-type]


def test_what_is_refused_while_it_moves(db: Client) -> None:
    made = db.create_collection("moving", model=WORDS)
    texts = fill(made, 5)
    shadow = made.reembed(FEW, wait=True).shadow
    assert made.reembed(FEW).shadow == shadow  # the same move
    with pytest.raises(FailedPrecondition, match=f"is being moved to {FEW}"):
        made.reembed(MINI)
    with pytest.raises(FailedPrecondition, match="is the shadow of space ''"):
        made.reembed(MINI, space=shadow)
    with pytest.raises(FailedPrecondition, match="was not switched"):
        made.reembed(step="finish")
    for wrong in (
        {"vectors": {shadow: [1.0] * 4}},
        {"vectors": {"": "cat", shadow: "cat"}},
    ):
        with pytest.raises(WriteFailed, match=f"space '{shadow}' is the shadow of ''"):
            made.upsert([{"id": "x", **wrong}])
        with pytest.raises(WriteFailed, match=f"space '{shadow}' is the shadow of ''"):
            made.patch("p0", **wrong)
    with pytest.raises(WriteFailed, match="is the shadow of ''"):
        made.patch("p0", vectors={shadow: None})
    for dropped in ("", shadow):
        with pytest.raises(FailedPrecondition, match="one being moved to another model"):
            db.update_collection("moving", drop_spaces=[dropped])
    made.reembed(step="switch")
    with pytest.raises(FailedPrecondition, match="was switched"):
        made.reembed(step="cancel")
    check(db, made, FEW, texts)


def test_what_else_is_done_with_a_collection_goes_on(db: Client) -> None:
    made = db.create_collection("else", model=WORDS)
    texts = fill(made, 30)
    made.reembed(FEW, wait=True)
    assert db.create_collection("else", model=WORDS, if_not_exists=True).count() == 30
    copy = db.clone_collection("else", "copy")
    assert copy.reembed(wait=True).state == "ready"
    copy.reembed(step="switch")
    check(db, copy, FEW, texts)
    check(db, made, WORDS, texts)
    made.compact()
    assert made.reembed(wait=True).state == "ready"
    assert {name for point in made.list(with_texts=True) for name in point.texts} == {""}
    assert db.truncate_collection("else").points == 30
    texts = fill(made, 12, seed=9)
    assert made.reembed(wait=True).done == 12
    made.reembed(step="switch")
    check(db, made, FEW, texts)
    db.delete_collection("else")
    db.delete_collection("copy")


# --- nobody notices


def test_searches_never_see_anything_but_answers(db: Client, live: LiveServer) -> None:
    made = db.create_collection("busy", model=WORDS)
    fill(made, 60)
    made.reembed(FEW, wait=True)
    over, failures, answers = threading.Event(), list[str](), [0]

    def search() -> None:
        with live.client() as client:
            busy = client.collection("busy")
            while not over.is_set():
                try:
                    found = [busy.search("cat tea", k=10)]
                    found += busy.search_batch([{"query": "cat", "k": 10}, {"query": "sun"}])
                except VecdbError as error:
                    failures.append(f"{type(error).__name__}: {error}")
                    return
                answers[0] += 1
                failures.extend("too few" for one in found if len(one) != 10)

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(12):
        made.reembed(step="switch")
        made.reembed(step="roll_back")
    over.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert answers[0] > 10


# --- the command line


def test_the_command_line(db: Client, live: LiveServer, monkeypatch, capsys) -> None:
    made = db.create_collection("typed", model=WORDS)
    fill(made, 30)
    shown = run(monkeypatch, capsys, live, "typed", FEW, "--watch")
    for word in ("typed: words (8 dimensions)", "ready: 30 of 30", "overlap@10", "--switch"):
        assert word in shown
    assert "switched: 30 of 30" in run(monkeypatch, capsys, live, "typed", "--switch")
    assert "overlap@10" in run(monkeypatch, capsys, live, "typed", "--status")
    assert "ready: 30" in run(monkeypatch, capsys, live, "typed", "--roll-back")
    assert "not being moved" in run(monkeypatch, capsys, live, "typed", "--cancel")
    shown = run(monkeypatch, capsys, live, "typed", FEW, "--switch", "--watch")
    assert "switched: 30 of 30" in shown
    assert "not being moved" in run(monkeypatch, capsys, live, "typed", "--finish")
    assert made.info().spaces[""].model == FEW  # type: ignore[union-attr]
    said = run(monkeypatch, capsys, live, "typed", FEW, "--cancel", status=1)
    assert "one step at a time" in said


def run(monkeypatch, capsys, server: LiveServer, *words: str, status: int = 0) -> str:
    """Return what `vecdb models reembed` prints, or says where it fails."""
    monkeypatch.setenv("VECDB_ADDRESS", server.address)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("sys.argv", ["vecdb", "models", "reembed", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert (ended.value.code or 0) == status, printed.err
    return printed.err if status else printed.out
