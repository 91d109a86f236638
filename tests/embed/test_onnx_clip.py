"""CLIP against transformers, on the same random weights: texts, images, and both in one batch."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL", reason="needs the image extra")
pytest.importorskip("onnx", reason="needs the image extra")
pytest.importorskip("onnxruntime", reason="needs the embed extra")
pytest.importorskip("tokenizers", reason="needs the embed extra")

from tests.embed import checkpoints_clip, pictures, tiny_clip
from vecdb.embed import catalog
from vecdb.embed.encoder import Execution, Role
from vecdb.embed.onnx_clip import OnnxClip
from vecdb.errors import Corrupt, FailedPrecondition, InvalidArgument

RECORDED = json.loads((Path(__file__).parent / "recorded" / "clip.json").read_text())
END = tiny_clip.vocabulary()[tiny_clip.END]


def load(folder, **given):
    spec = tiny_clip.spec_of(folder, **given)
    return OnnxClip(spec, catalog.resolve_files(spec), Execution(1))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return load(tmp_path_factory.mktemp("clip"), end_id=END)


def encode(model, items, role=Role.DOCUMENT):
    return model.encode([one.input for one in model.prepare(items, role)])


def test_vectors_are_those_of_transformers(clip):
    for kind, items in (("texts", tiny_clip.TEXTS), ("images", tiny_clip.images().values())):
        expected = np.array(list(RECORDED[kind].values()))
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        found = encode(clip, list(items))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-4)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
        # What is recorded tells its items apart, or it would prove nothing.
        between = expected @ expected.T - 2 * np.eye(len(expected))
        assert between.max() < 0.995


def test_what_is_seen_of_an_image_is_what_transformers_sees(clip):
    every = checkpoints_clip.EVERY
    for name, content in tiny_clip.images().items():
        (read,) = clip.prepare([content], Role.DOCUMENT)
        numbers = clip._pixels.numbers([read.input])[0]
        expected = np.array(RECORDED["pixels"][name])
        np.testing.assert_allclose(numbers[:, ::every, ::every].ravel(), expected, atol=1e-2)


def test_what_is_recorded_is_what_transformers_makes_today():
    pytest.importorskip("torch", reason="needs the torch extra")
    pytest.importorskip("transformers", reason="needs the torch extra")
    today = checkpoints_clip.reference()
    for kind, rows in RECORDED.items():
        assert today[kind].keys() == rows.keys()
        for name, row in rows.items():
            np.testing.assert_allclose(today[kind][name], row, atol=1e-4)


def test_an_item_has_one_vector_whatever_its_neighbours(clip):
    draw = np.random.default_rng(5)
    items = [*tiny_clip.TEXTS, *tiny_clip.images().values()]
    alone = np.concatenate([encode(clip, [item]) for item in items])
    for _ in range(10):
        order = draw.permutation(len(items))[: draw.integers(1, len(items) + 1)]
        together = encode(clip, [items[at] for at in order])
        np.testing.assert_allclose(together, alone[order], atol=1e-5, rtol=0)


def test_a_query_and_a_document_are_alike(clip):
    items = [tiny_clip.TEXTS[0], tiny_clip.images()["square"]]
    assert (encode(clip, items, Role.QUERY) == encode(clip, items, Role.DOCUMENT)).all()


def test_the_end_token_is_kept_when_a_text_is_cut(clip):
    fits, cut = clip.prepare(["x " * (tiny_clip.TOKENS - 2), "x " * 500], Role.QUERY)
    assert (len(fits.input), fits.truncated) == (tiny_clip.TOKENS, False)
    assert (len(cut.input), cut.truncated) == (tiny_clip.TOKENS, True)
    assert cut.input[-1] == fits.input[-1] == END


def test_an_image_costs_as_much_as_the_longest_text(clip):
    (read,) = clip.prepare([tiny_clip.images()["grey"]], Role.QUERY)
    assert (len(read.input), read.truncated) == (tiny_clip.TOKENS, False)


def test_an_image_that_cannot_be_read_is_named(clip):
    good = tiny_clip.images()["tall"]
    for bad in (b"", pictures.SVG, good[:80], pictures.png_bomb(50_000, 50_000)):
        with pytest.raises(InvalidArgument) as refused:
            clip.prepare(["a text", good, bad], Role.DOCUMENT)
        assert refused.value.field == "items[2]"


def test_a_text_without_a_word_has_a_vector(clip):
    assert np.isfinite(encode(clip, ["", "   "])).all()


# --- what is refused when it is loaded


def test_a_tokenizer_that_puts_no_end_is_refused(tmp_path):
    with pytest.raises(FailedPrecondition, match="the tokenizer file must add the end token"):
        load(tmp_path, tokenizer=tiny_clip.tokenizer(ends=False), end_id=END)


def test_another_end_token_than_the_entry_says_is_refused(tmp_path):
    with pytest.raises(FailedPrecondition, match=f"texts end with token {END}.*expected 7"):
        load(tmp_path, end_id=7)


def test_towers_that_do_not_go_with_the_entry_are_refused(tmp_path):
    with pytest.raises(FailedPrecondition, match="vision_model takes input_ids and gives text_em"):
        load(tmp_path, vision_model=tiny_clip.text_graph())
    with pytest.raises(FailedPrecondition, match="text_model takes pixel_values and gives image_"):
        load(tmp_path, text_model=tiny_clip.vision_graph())
    with pytest.raises(FailedPrecondition, match="gives pooled; expected pixel_values and image_"):
        load(tmp_path, vision_model=tiny_clip.vision_graph("pooled"))
    with pytest.raises(FailedPrecondition, match=r"image_embeds is \(1, 16\), expected \(n, 99\)"):
        load(tmp_path, dim=99)


@pytest.mark.parametrize("role", ["text_model", "vision_model", "tokenizer"])
def test_a_tampered_file_is_refused(tmp_path, role):
    spec = tiny_clip.spec_of(tmp_path)
    paths = catalog.resolve_files(spec)
    content = bytearray(paths[role].read_bytes())
    content[len(content) // 2] ^= 1
    paths[role].write_bytes(content)
    with pytest.raises(Corrupt, match=f"expects {spec.files[role].sha256}"):
        OnnxClip(spec, paths, Execution(1))


def test_the_entries_of_the_catalogue_say_what_clip_was_trained_on():
    known = catalog.load_catalog()
    for name, dim in (
        ("clip-vit-base-patch32", 512),
        ("clip-vit-base-patch16", 512),
        ("clip-vit-large-patch14", 768),
    ):
        spec = catalog.find(known.values(), f"openai/{name}")
        assert (spec.dim, spec.max_tokens, spec.license) == (dim, 77, "MIT")
        assert spec.unfetched
        assert (spec.query_prompt, spec.document_prompt) == ("", "")
        pixels = spec.options["pixels"]
        assert (pixels["resize"], pixels["crop"]) == (224, 224)
        np.testing.assert_allclose(pixels["mean"], tiny_clip.MEAN)
        np.testing.assert_allclose(pixels["std"], tiny_clip.STD)


def test_vectors_are_left_as_they_are_where_the_entry_says_so(tmp_path):
    spec = dataclasses.replace(tiny_clip.spec_of(tmp_path), normalize=False)
    model = OnnxClip(spec, catalog.resolve_files(spec), Execution(1))
    (vector,) = encode(model, [tiny_clip.TEXTS[0]])
    assert abs(np.linalg.norm(vector) - 1) > 1e-2
    model.close()
