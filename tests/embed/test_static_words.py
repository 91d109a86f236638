"""Word vectors as a text model: which words a text has, and what their mean is."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.embed.words import VECTORS, WORDS, binary_of, model_of, text_of
from tests.examples import examples
from vecdb.embed import catalog
from vecdb.embed.encoder import Execution, Role
from vecdb.embed.static_words import SIF_A
from vecdb.errors import Corrupt, NotFinite


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return model_of(tmp_path_factory.mktemp("words"), {"glove": text_of()})


def words_of(model, text, role=Role.DOCUMENT):
    (tokens,) = model.prepare([text], role)
    return [WORDS[row] for row in tokens.input]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The cat!", ["the", "cat"]),
        ("THE\tCat's (the)", ["the", "cat", "the"]),
        ("a state-of-the-art cat", ["state-of-the-art", "cat"]),
        ("cat-the", ["cat", "the"]),
        ("the_cat", ["the", "cat"]),
        ("paris STRASSE Straße", ["Paris", "straße", "straße"]),
        ("数据库存", ["数据库"]),  # the longest first; what is left over is no word
        ("我的数据,库存the数据库", ["数据", "库存", "the", "数据库"]),
        ("यह हिन्दी है", ["हिन्दी"]),
        ("catalogue dog \x00 🤖", []),
        ("", []),
        (".,-'\u2019& ", []),
    ],
)
def test_the_words_of_a_text(tiny, text, words):
    assert words_of(tiny, text) == words


def test_case_counts_where_the_entry_does_not_fold_it(tmp_path):
    model = model_of(tmp_path, {"glove": text_of()}, casefold=False)
    assert words_of(model, "the The Paris paris straße STRASSE") == ["the", "Paris", "straße"]


def test_words_that_fold_to_one_are_the_most_frequent_of_them(tmp_path):
    content = b"US 1 0 0 0\nus 0 1 0 0\n"
    model = model_of(tmp_path, {"glove": content})
    assert model.prepare(["us US"], Role.DOCUMENT)[0].input.tolist() == [0, 0]


def test_a_composed_and_a_decomposed_letter_are_one(tmp_path):
    model = model_of(tmp_path, {"glove": "cafe\u0301 1 0 0 0\n".encode()})
    texts = ["caf\u00e9", "cafe\u0301"]
    assert [len(one.input) for one in model.prepare(texts, Role.DOCUMENT)] == [1, 1]


def mean_of(text_rows, weights):
    rows = list(text_rows)
    total = sum(weights[row] * VECTORS[row].astype(np.float64) for row in rows)
    return total / np.linalg.norm(total)


def sif():
    harmonic = sum(1 / rank for rank in range(1, len(WORDS) + 1))
    return [SIF_A / (SIF_A + 1 / rank / harmonic) for rank in range(1, len(WORDS) + 1)]


ROWS = st.lists(st.integers(0, len(WORDS) - 1), min_size=1, max_size=12)


@settings(
    deadline=None,
    max_examples=examples(50),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(ROWS, min_size=1, max_size=6))
def test_the_mean_is_the_references_alone_and_in_a_batch(tiny, texts):
    tokens = tiny.prepare([" ".join(WORDS[row] for row in rows) for rows in texts], Role.QUERY)
    assert [one.input.tolist() for one in tokens] == texts
    together = tiny.encode([one.input for one in tokens])
    assert together.dtype == np.float32
    for rows, one, vector in zip(texts, tokens, together, strict=True):
        np.testing.assert_allclose(vector, mean_of(rows, sif()), atol=1e-5)
        np.testing.assert_array_equal(vector, tiny.encode([one.input])[0])


def test_idf_weighs_words_by_its_file(tmp_path):
    idf = b"the 0.5\ncat\t2\nnot-in-the-vocabulary 3.5\nPARIS 1\n"
    model = model_of(tmp_path, {"glove": text_of(), "idf": idf}, pooling="idf")
    (tokens,) = model.prepare(["the cat paris 数据"], Role.DOCUMENT)
    expected = mean_of(tokens.input, {0: 0.5, 1: 2, 3: 1, 5: 3.5})  # 5 is as rare as the rarest
    np.testing.assert_allclose(model.encode([tokens.input])[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("idf", "said"),
    [
        (b"the\n", "line 1: no weight"),
        (b"the 1\ncat x\n", "line 2: no weight is 'x'"),
        (b"the nan\n", "'the' is nan"),
        (b"the 0\n", "'the' is 0, not above 0"),
        (b"the 1\nthe 2\n", "line 2: the word 'the' is empty or there already"),
        (b"\xff 1\n", "not UTF-8"),
        (b"", "is empty"),
    ],
)
def test_bad_weights_are_refused(tmp_path, idf, said):
    with pytest.raises(Corrupt, match=said):
        model_of(tmp_path, {"glove": text_of(), "idf": idf}, pooling="idf")


def test_a_text_is_cut_after_max_tokens_words(tmp_path):
    model = model_of(tmp_path, {"glove": text_of()}, max_tokens=4)
    fits, unknown, over = model.prepare(["cat " * 4, "cat " * 4 + "dog", "cat " * 5], Role.DOCUMENT)
    assert [(len(one.input), one.truncated) for one in (fits, unknown, over)] == [
        (4, False),
        (4, False),
        (4, True),
    ]


def test_a_prompt_is_words_of_its_role_alone(tmp_path):
    model = model_of(tmp_path, {"glove": text_of()}, query_prompt="the ")
    assert words_of(model, "cat", Role.QUERY) == ["the", "cat"]
    assert words_of(model, "cat") == ["cat"]


def test_a_word_without_a_direction_is_not_a_word(tmp_path):
    model = model_of(tmp_path, {"glove": b"<pad> 0 0 0 0\npad 0 0 0 0\ncat 1 0 0 0\n"})
    (tokens,) = model.prepare(["pad cat"], Role.DOCUMENT)
    assert tokens.input.tolist() == [2]


def test_words_that_cancel_are_an_error_and_no_zero_vector(tmp_path):
    idf = b"up 1\ndown 1\n"
    files = {"glove": b"up 1 0 0 0\ndown -1 0 0 0\n", "idf": idf}
    model = model_of(tmp_path, files, pooling="idf")
    (tokens,) = model.prepare(["up down"], Role.DOCUMENT)
    with pytest.raises(NotFinite, match="add up to nothing"):
        model.encode([tokens.input])


def test_a_megabyte_is_read_like_any_text(tiny):
    text = "dog " * 250_000
    (unknown, known) = tiny.prepare([text, text + "cat"], Role.DOCUMENT)
    assert (len(unknown.input), len(known.input)) == (0, 1)


# --- the real thing

LOAD = """
from vecdb.embed import catalog
from vecdb.embed.encoder import Execution
from vecdb.embed.static_words import StaticWords
spec = catalog.load_catalog()["glove-6b-50d"]
StaticWords(spec, catalog.resolve_files(spec), Execution(1))
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


@pytest.fixture(scope="module")
def glove():
    spec = catalog.load_catalog()["glove-6b-50d"]
    if reason := catalog.missing(spec):
        pytest.skip(reason)
    from vecdb.embed.static_words import StaticWords

    return StaticWords(spec, catalog.resolve_files(spec), Execution(1))


def test_glove_knows_what_is_near(glove):
    texts = [
        "The king spoke to his queen.",
        "A monarch talked with the princess",
        "Frogs and toads",
    ]
    tokens = glove.prepare(texts, Role.DOCUMENT)
    king, monarch, frogs = glove.encode([one.input for one in tokens])
    assert np.linalg.norm(king) == pytest.approx(1, abs=1e-6)
    assert king @ monarch > 0.6 > king @ frogs


def test_glove_loads_in_300_megabytes(glove):
    ended = subprocess.run([sys.executable, "-c", LOAD], check=True, capture_output=True)
    assert int(ended.stdout) < 300_000  # KiB at its peak; 224 MiB when this was written


def test_binary_and_text_give_the_same_vectors(tiny, tmp_path):
    other = model_of(tmp_path, {"word2vec_binary": binary_of()})
    ids = [np.arange(len(WORDS))]
    np.testing.assert_array_equal(tiny.encode(ids), other.encode(ids))
