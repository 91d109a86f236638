import dataclasses
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.examples import examples
from vecdb.embed import catalog
from vecdb.embed.encoder import Execution, Role
from vecdb.errors import Corrupt, FailedPrecondition

CLS, SEP = 101, 102
KNOWN = "The quick brown fox jumps over the lazy dog."
KNOWN_START = [0.0418, 0.0587, 0.0513, 0.0754, 0.0258, -0.0375, 0.0002, -0.0606]

REAL = settings(
    deadline=None,
    max_examples=examples(40),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
SENTENCES = (
    "hi",
    "How do I reset my password?",
    "Die Katze sitzt auf der Matte.",
    "数据库存储向量。",
    "An invoice was sent twice, and the customer asks for a refund of the second payment.",
    "x" * 300,
    "naïve café ☕ 🤖",
    "one two three four five six seven eight nine ten " * 12,
)


def vectors(model, texts, role=Role.DOCUMENT):
    return model.encode([tokens.input for tokens in model.prepare(texts, role)])


def test_a_known_sentence_keeps_its_vector(minilm):
    (vector,) = vectors(minilm, [KNOWN])
    assert vector.dtype == np.float32
    assert vector.shape == (384,)
    np.testing.assert_allclose(vector[:8], KNOWN_START, atol=1e-3)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_a_paraphrase_is_nearer_than_another_topic(minilm):
    question, paraphrase, other = vectors(
        minilm,
        [
            "How do I reset my password?",
            "I forgot my login credentials and want new ones.",
            "The recipe needs two eggs and a cup of flour.",
        ],
    )
    assert question @ paraphrase > 0.4
    assert question @ other < 0.15


@REAL
@given(st.lists(st.sampled_from(SENTENCES) | st.text(max_size=80), min_size=1, max_size=10))
def test_a_text_has_one_vector_whatever_its_neighbours(minilm, texts):
    together = vectors(minilm, texts)
    alone = np.concatenate([vectors(minilm, [text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5, rtol=0)


def test_the_longest_text_that_fits_is_not_truncated(minilm, spec):
    fits, over = minilm.prepare(["word " * 254, "word " * 255], Role.DOCUMENT)
    assert (len(fits.input), fits.truncated) == (spec.max_tokens, False)
    assert (len(over.input), over.truncated) == (spec.max_tokens, True)
    assert (over.input == fits.input).all()
    assert (over.input[0], over.input[-1]) == (CLS, SEP)


def test_a_prompt_stands_in_front_of_its_role_alone(spec):
    from vecdb.embed.onnx_text import OnnxText

    prompted = dataclasses.replace(spec, query_prompt="query: ", max_tokens=16)
    model = OnnxText(prompted, catalog.resolve_files(spec), Execution(1))
    (query,) = model.prepare(["hello"], Role.QUERY)
    (spelled,) = model.prepare(["query: hello"], Role.DOCUMENT)
    assert query.input.tolist() == spelled.input.tolist()
    assert len(model.prepare(["hello"], Role.DOCUMENT)[0].input) == 3


@pytest.fixture(scope="module")
def short_sighted(spec):
    """The model cut to 16 tokens, so 128 characters are a long text; and the plain tokenizer."""
    from tokenizers import Tokenizer

    from vecdb.embed.onnx_text import OnnxText

    plain = Tokenizer.from_file(str(catalog.resolve_files(spec)["tokenizer"]))
    plain.no_truncation()
    plain.no_padding()
    cut = dataclasses.replace(spec, max_tokens=16)
    return OnnxText(cut, catalog.resolve_files(spec), Execution(1)), plain


# What takes characters and gives no token, joins words over a cut, or is matched before words are.
PIECES = st.sampled_from(
    ["word", "a", " ", "\n", "!", "\x00", "\u0301", "é", "中", "[SEP]", "[MAS", "K]", "ß", "\u2003"]
)


@REAL
@given(st.lists(st.tuples(PIECES, st.integers(1, 150)), max_size=8))
def test_a_long_text_reads_as_if_it_was_read_whole(short_sighted, pieces):
    model, plain = short_sighted
    text = "".join(piece * times for piece, times in pieces)
    (read,) = model.prepare([text], Role.DOCUMENT)
    whole = plain.encode(text).ids
    assert read.truncated == (len(whole) > 16)
    expected = [*whole[:15], SEP] if len(whole) > 16 else whole
    assert read.input.tolist() == expected


@pytest.mark.parametrize(
    ("text", "truncated"),
    [
        ("plain words " * 90_000, True),
        (" " * (1 << 20), False),
        (" " * (1 << 20) + "end", False),
        ("a" * (1 << 20), False),
        ("!" * (1 << 20), True),
        ("中" * (1 << 18), True),
    ],
    ids=["words", "spaces", "spaces and a word", "one word", "punctuation", "Chinese"],
)
def test_a_megabyte_is_read_like_any_text(minilm, text, truncated):
    (tokens,) = minilm.prepare([text], Role.DOCUMENT)
    assert tokens.truncated == truncated
    assert tokens.input[-1] == SEP


def own_spec(spec, folder: Path, change):
    """Return the spec over copies of its files in folder, after change(folder)."""
    for role, path in catalog.resolve_files(spec).items():
        shutil.copyfile(path, folder / role)
    change(folder)
    files = {
        role: catalog.FileRef(str(folder / role), ref.sha256) for role, ref in spec.files.items()
    }
    return dataclasses.replace(spec, files=files)


def flip(path: Path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("role", ["model", "tokenizer"])
def test_a_tampered_file_is_refused(spec, tmp_path, role):
    from vecdb.embed.onnx_text import OnnxText

    tampered = own_spec(spec, tmp_path, lambda folder: flip(folder / role))
    with pytest.raises(Corrupt, match=f"sha256 .* expects {spec.files[role].sha256}"):
        OnnxText(tampered, catalog.resolve_files(tampered), Execution(1))


def test_a_graph_that_quantises_activations_is_refused(spec, tmp_path):
    from vecdb.embed.onnx_text import OnnxText

    graph = tmp_path / "model"
    graph.write_bytes(b"...DynamicQuantizeLinear...")
    ref = catalog.FileRef(str(graph), hashlib.sha256(graph.read_bytes()).hexdigest())
    changed = dataclasses.replace(spec, files={**spec.files, "model": ref})
    with pytest.raises(FailedPrecondition, match="depend on the batch"):
        OnnxText(changed, catalog.resolve_files(changed), Execution(1))
