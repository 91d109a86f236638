"""Images through a whole server: a model of images alone, CLIP, and a model of texts beside."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL", reason="needs the image extra")
pytest.importorskip("onnx", reason="needs the image extra")
pytest.importorskip("onnxruntime", reason="needs the embed extra")

from tests.embed import pictures, tiny_clip, words
from tests.embed.test_onnx_image import CHANNELS, SIDE, classifier
from tests.live import START_S, LiveServer
from vecdb.cli import main
from vecdb.embed import catalog
from vecdb.embed.encoder import Execution, Role
from vecdb.embed.onnx_clip import OnnxClip
from vecdb_client import (
    AsyncClient,
    Client,
    Collection,
    F,
    FailedPrecondition,
    ImageFile,
    InvalidArgument,
    Near,
    Recommend,
    Space,
)

IMAGE_BYTES = 200_000

CNN = f"""
[models.tiny-cnn]
kind = "onnx-image"
dim = {CHANNELS}
metric = "cosine"
max_tokens = 100
pooling = "tap"
normalize = true
license = "CC0-1.0"
options.output = "pooled"
options.pixels = {{ resize = {SIDE}, crop = {SIDE} }}
"""


def entries(folder: Path) -> str:
    graph = folder / "cnn.onnx"
    graph.write_bytes(classifier())
    digest = hashlib.sha256(graph.read_bytes()).hexdigest()
    cnn = f'{CNN}files.model = {{ path = "cnn.onnx", sha256 = "{digest}" }}\n'
    text = words.entry(folder, {"glove": words.text_of()}, name="tiny-words")
    return cnn + text + tiny_clip.entry(folder)


@pytest.fixture(scope="module")
def images_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("own")
    (folder / "own.toml").write_text(entries(folder))
    settings = {
        "embed.catalog": folder / "own.toml",
        "embed.model": "tiny-clip",
        "embed.models": "tiny-cnn,tiny-words",
        "limits.image_bytes": IMAGE_BYTES,
        "server.log_level": "debug",
    }
    live = LiveServer(folder / "data", settings).start()
    with live.client() as client:
        client.wait_ready(START_S, service="vecdb.v1.Models")
    yield live
    assert live.stop() == 0
    log = live.log.read_bytes()
    assert b"PNG" not in log.replace(b".png", b"")
    assert b"JFIF" not in log


@pytest.fixture
def db(images_server: LiveServer) -> Iterator[Client]:
    with images_server.client() as made:
        yield made


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> OnnxClip:
    spec = tiny_clip.spec_of(tmp_path_factory.mktemp("alone"))
    return OnnxClip(spec, catalog.resolve_files(spec), Execution(1))


def looks(seed: int) -> bytes:
    """Return one of many images of which no two look alike."""
    return pictures.file_of(pictures.noise(24 + seed % 7, 24, seed))


def test_images_are_stored_and_found(db: Client, clip: OnnxClip) -> None:
    made = db.create_collection("stored", model="tiny-clip")
    contents = {f"{seed}": looks(seed) for seed in range(20)}
    made.upsert([{"id": id, "image": content} for id, content in contents.items()])
    for id in ("0", "7", "19"):
        (hit,) = made.search(image=contents[id], k=1, with_vectors=True, with_texts=True)
        assert hit.id == id
        assert hit.score == pytest.approx(1, abs=1e-5)
        assert not hit.texts  # images are not stored
        (read,) = clip.prepare([contents[id]], Role.DOCUMENT)
        np.testing.assert_allclose(hit.vector, clip.encode([read.input])[0], atol=1e-5)


def test_texts_and_images_meet_in_one_space(db: Client, clip: OnnxClip) -> None:
    made = db.create_collection("both", model="tiny-clip")
    items = {"text": tiny_clip.TEXTS[0], "image": tiny_clip.images()["wide"]}
    made.upsert([{"id": kind, kind: item} for kind, item in items.items()])
    vectors = clip.encode([one.input for one in clip.prepare(list(items.values()), Role.QUERY)])
    expected = float(vectors[0] @ vectors[1])
    for query in ({"query": items["text"]}, {"image": items["image"]}):
        scores = {hit.id: hit.score for hit in made.search(**query)}  # type: ignore[arg-type]
        own, other = ("text", "image") if "query" in query else ("image", "text")
        assert scores[own] == pytest.approx(1, abs=1e-5)
        assert scores[other] == pytest.approx(expected, abs=1e-5)
    assert made.get("text", with_texts=True).points[0].texts[""] == items["text"]


def test_a_space_of_images_alone(db: Client) -> None:
    made = db.create_collection(
        "photos", spaces={"photo": Space(model="tiny-cnn"), "title": Space(model="tiny-words")}
    )
    for seed in range(6):
        made.upsert(
            [
                {
                    "id": f"{seed}",
                    "vectors": {"photo": ImageFile(looks(seed)), "title": "the cat"},
                    "payload": {"even": seed % 2 == 0},
                }
            ]
        )
    assert made.search(image=looks(3), space="photo", k=1)[0].id == "3"
    assert made.search(image=looks(3), space="photo", k=9, filter=F("even") == True)[0].id != "3"  # noqa: E712
    liked = made.search(legs=[Recommend([ImageFile(looks(2))], space="photo")], k=1)
    assert liked[0].id == "2"
    both = made.search(
        legs=[Near(ImageFile(looks(4)), "photo", weight=3.0), Near("the cat", "title")], k=1
    )
    assert both[0].id == "4"
    results = made.search_batch([{"image": looks(n), "space": "photo", "k": 1} for n in range(4)])
    assert [result[0].id for result in results] == ["0", "1", "2", "3"]


def test_a_patch_replaces_text_and_image(db: Client) -> None:
    made = db.create_collection("patched", model="tiny-clip")
    made.upsert([{"id": "a", "text": "a photo of a cat"}, {"id": "b", "image": looks(1)}])
    made.patch("a", image=looks(2), set={"seen": True})
    assert made.search(image=looks(2), k=1)[0].id == "a"
    assert not made.get("a", with_texts=True).points[0].texts  # of the vector that was replaced
    made.patch("b", text="a photo of a cat")
    assert made.get("b", with_texts=True).points[0].texts[""] == "a photo of a cat"
    report = made.patch_where(F("seen") == True, image=looks(3))  # noqa: E712
    assert report.written == 1
    assert made.search(image=looks(3), k=1)[0].score == pytest.approx(1, abs=1e-5)


def test_the_async_client_sends_images(images_server: LiveServer) -> None:
    async def run() -> str:
        async with AsyncClient(images_server.address) as client:
            made = await client.create_collection("async", model="tiny-clip")
            await made.upsert([{"id": f"{n}", "image": looks(n)} for n in range(4)])
            return (await made.search(image=looks(2), k=1))[0].id

    assert asyncio.run(run()) == "2"


# --- what is refused: nothing is lost beside it

BAD: dict[str, tuple[bytes, str]] = {
    "svg": (pictures.SVG, "an SVG drawing"),
    "html": (pictures.HTML, "an HTML page"),
    "cut off": (pictures.damaged()["half a jpeg"], "damaged or cut off"),
    "claims": (pictures.png_bomb(50_000, 50_000), "pixels, the limit is"),
    "claims less": (pictures.png_bomb(12_000, 12_000, 50), "pixels, the limit is"),
    "large": (b"\x89PNG\r\n\x1a\n" + bytes(IMAGE_BYTES), str(IMAGE_BYTES)),
}


@pytest.mark.parametrize("model", ["tiny-clip", "tiny-cnn"])
def test_what_is_no_image_fails_alone(db: Client, model: str) -> None:
    made = db.create_collection(f"bad-{model}", model=model)
    points = [{"id": name, "image": content} for name, (content, _) in BAD.items()]
    good = [{"id": f"good {n}", "image": looks(n)} for n in range(6)]
    mixed = [point for pair in zip(points, good, strict=True) for point in pair]
    report = made.upsert(mixed, on_error="collect")
    assert report.written == 6
    found = {one.id: one for one in report.failures}
    assert found.keys() == BAD.keys()
    for name, (_, said) in BAD.items():
        assert said in found[name].message, found[name]
        assert found[name].code == "INVALID_ARGUMENT"
    assert made.count() == 6
    for n in range(6):
        assert made.search(image=looks(n), k=1)[0].id == f"good {n}"


def test_a_query_by_what_is_no_image_is_refused(db: Client) -> None:
    made = db.create_collection("queried", model="tiny-clip")
    made.upsert([{"id": "a", "image": looks(1)}])
    for content, said in BAD.values():
        with pytest.raises(InvalidArgument, match=said):
            made.search(image=content)
        with pytest.raises(InvalidArgument, match=said):
            made.search(legs=[Recommend([ImageFile(content)])])
    assert made.search(image=looks(1))[0].id == "a"


def refused(made: Collection, code: type[Exception], said: str, **content: object) -> None:
    """Check that content is refused in a put, a patch and a query, by name."""
    ((kind, item),) = content.items()
    report = made.upsert(
        [{"id": "x", kind: item}, {"id": "kept", "vector": [1.0] * 6}], on_error="collect"
    )
    assert [one.id for one in report.failures] == ["x"]
    assert said in report.failures[0].message
    assert made.get("kept").points
    report = made.patch("kept", on_error="collect", **content)  # type: ignore[arg-type]
    assert said in report.failures[0].message
    query = {"image": item} if kind == "image" else {"query": item}
    with pytest.raises(code, match=said.replace("(", r"\(")):
        made.search(**query)  # type: ignore[arg-type]


def test_content_that_the_model_does_not_read_is_refused_by_name(db: Client) -> None:
    photos = db.create_collection("of-images", model="tiny-cnn")
    refused(photos, InvalidArgument, "takes image, not text: that is what its model", text="a cat")
    plain = db.create_collection("of-numbers", dim=6)
    refused(plain, FailedPrecondition, "it takes 6 numbers, not image", image=looks(1))


def test_an_image_for_a_model_of_texts_is_refused_by_name(db: Client) -> None:
    made = db.create_collection("of-texts", model="tiny-words")
    report = made.upsert(
        [{"id": "x", "image": looks(1)}, {"id": "kept", "text": "the cat"}], on_error="collect"
    )
    assert report.written == 1
    assert "takes text, not image: that is what its model tiny-words reads" in (
        report.failures[0].message
    )
    with pytest.raises(InvalidArgument, match="takes text, not image"):
        made.search(image=looks(1))
    assert made.search("a cat", k=1)[0].id == "kept"


def test_an_unknown_space_is_named(db: Client) -> None:
    made = db.create_collection("known", model="tiny-clip")
    report = made.upsert(
        [{"id": "x", "vectors": {"nowhere": ImageFile(looks(1))}}], on_error="collect"
    )
    assert "unknown space 'nowhere'" in report.failures[0].message


# --- the command line


def test_a_folder_of_images_is_imported_and_searched(
    images_server: LiveServer,
    db: Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def command(*words: str) -> tuple[object, str, str]:
        monkeypatch.setattr("sys.argv", ["vecdb", *words, "--address", images_server.address])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0, *capsys.readouterr()

    folder = tmp_path / "pictures"
    (folder / "inner").mkdir(parents=True)
    for seed in range(4):
        (folder / ("inner" if seed % 2 else ".") / f"{seed}.PNG").write_bytes(looks(seed))
    (folder / "notes.txt").write_text("no image")
    (folder / "bad.jpg").write_bytes(pictures.SVG)
    code, said, complained = command("import", str(folder), "imported", "--model", "tiny-cnn")
    assert code == 1
    assert "4 images imported" in said
    assert "bad.jpg: " in complained
    assert "an SVG drawing" in complained
    (folder / "bad.jpg").unlink()
    code, said, _ = command("import", str(folder), "imported")
    assert code == 0
    assert "0 images imported" in said
    assert "4 were there already" in said
    (point,) = db.collection("imported").get("inner/1.PNG").points
    assert point.payload == {"path": "inner/1.PNG"}
    words = ("--image", str(folder / "2.PNG"), "-c", "imported", "-k", "1", "--json")
    assert json.loads(command("search", *words)[1])["id"] == "2.PNG"
    code, _, complained = command("search", "words", *words)
    assert code == 1
    assert "--image stands for the query" in complained
    code, _, complained = command("import", str(folder), "imported", "--text", "title")
    assert code == 1
    assert "are of files, not of images" in complained
