"""The formats of words and vectors: read bit for bit, and refused where something is wrong."""

import io
import pickle

import numpy as np
import pytest

from tests.embed.words import VECTORS, WORDS, binary_of, spec_of, text_of, write_npy
from vecdb.embed import catalog
from vecdb.embed.encoder import Execution
from vecdb.embed.static_words import StaticWords
from vecdb.embed.word_files import BLOCK, read_vectors
from vecdb.errors import Corrupt, InvalidArgument, NoModel

VOCABULARY = "".join(f"{word}\n" for word in WORDS).encode()
HEADER = b"%d 4\n" % len(WORDS)


def npy_of(array, **options) -> bytes:
    made = io.BytesIO()
    np.save(made, array, **options)
    return made.getvalue()


def read(folder, files):
    spec = spec_of(folder, files)
    return read_vectors(spec.files, catalog.resolve_files(spec), spec.dim)


@pytest.mark.parametrize(
    "files",
    [
        {"glove": text_of()},
        {"glove": text_of().rstrip(b"\n")},
        {"glove": text_of().replace(b"\n", b"\r\n")},
        {"word2vec": HEADER + text_of()},
        {"word2vec": HEADER + text_of().replace(b"\n", b" \n")},  # as word2vec itself writes it
        {"word2vec_binary": binary_of()},
        {"word2vec_binary": binary_of(newline=b"")},
        {"npy": npy_of(VECTORS), "vocabulary": VOCABULARY},
        {"npy": npy_of(np.asfortranarray(VECTORS)), "vocabulary": VOCABULARY},
        {"npy": npy_of(VECTORS.astype(">f8")), "vocabulary": VOCABULARY},
    ],
    ids=lambda files: "-".join(files),
)
def test_every_format_reads_the_same(tmp_path, files):
    words, vectors = read(tmp_path, files)
    assert tuple(words) == WORDS
    np.testing.assert_array_equal(vectors, VECTORS)


def test_more_than_a_block_of_lines(tmp_path):
    words = [f"w{number}" for number in range(2 * BLOCK + 3)]
    vectors = np.random.default_rng(1).normal(size=(len(words), 4)).astype(np.float32)
    found = read(tmp_path, {"glove": text_of(words, vectors)})
    assert found.words == words
    np.testing.assert_array_equal(found.vectors, vectors)
    broken = text_of(words, vectors).replace(b"w5000 ", b"w5000 x", 1)
    with pytest.raises(Corrupt, match="line 5001: expected a word and 4 numbers"):
        read(tmp_path, {"glove": broken})


def test_words_of_a_parquet_file(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="needs the parquet extra")
    from pyarrow import parquet

    path = tmp_path / "words.parquet"
    files = {"npy": write_npy(tmp_path / "v.npy"), "vocabulary": path}
    parquet.write_table(pa.table({"word": list(WORDS)}), path)
    assert tuple(read(tmp_path, files).words) == WORDS
    for table in ({"word": [1, 2]}, {"a": ["x"], "b": ["y"]}, {"word": [*WORDS[1:], None]}):
        parquet.write_table(pa.table(table), path)
        with pytest.raises(Corrupt, match=r"words\.parquet has (columns|nulls)"):
            read(tmp_path, files)
    path.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(Corrupt, match="not a Parquet file"):
        read(tmp_path, files)


def test_words_with_spaces(tmp_path):
    found = read(tmp_path, {"glove": b". . . 1 0 0 0\nat x@y.com 0 1 0 0\n"})
    assert found.words == [". . .", "at x@y.com"]
    assert found.vectors[:, :2].tolist() == [[1, 0], [0, 1]]


TEXT = text_of()
BINARY = binary_of()


@pytest.mark.parametrize(
    ("role", "content", "said"),
    [
        ("glove", b"", "is empty"),
        ("glove", b"\n", "line 1: expected a word and 4 numbers"),
        ("glove", TEXT + b"dog 1 2 3\n", "line 10: expected a word and 4 numbers"),
        ("glove", TEXT + b"dog 1 2 3 4 5\n", "line 10: expected a word and 4 numbers"),
        ("glove", TEXT + b"dog 1 2 3 four\n", "line 10: expected a word and 4 numbers"),
        ("glove", TEXT + b"dog 1 2  4\n", "line 10: expected a word and 4 numbers"),
        ("glove", TEXT + b"\xff\xfe 1 2 3 4\n", "line 10: .* is not UTF-8"),
        ("glove", HEADER + TEXT, "line 1: expected a word and 4 numbers"),
        ("word2vec", TEXT, "does not begin with two numbers"),
        ("word2vec", b"9 5\n" + TEXT, "has vectors of 5 numbers, the catalogue says 4"),
        ("word2vec", b"10 4\n" + TEXT, "says that it has 10 words, and has 9"),
        ("word2vec", b"8 4\n" + TEXT, "line 10: there is more than the 8 words"),
        ("word2vec", b"999999999999 4\n" + TEXT, "too short for them"),
        ("word2vec", b"0 4\n", "has no word"),
        ("word2vec_binary", BINARY[:-3], "(ends, or is broken, in word 9 of 9|too short)"),
        ("word2vec_binary", BINARY[: len(BINARY) // 2], "too short for them"),
        ("word2vec_binary", BINARY + b"more", "goes on after the 9 words"),
        ("word2vec_binary", b"1 4\n" + b"x" * 5000, "broken, in word 1 of 1"),
        ("word2vec_binary", BINARY.replace(b"cat ", b"c\xfft "), "word 2: .* is not UTF-8"),
        ("word2vec_binary", b"999999999999 4\n" + BINARY, "too short for them"),
        ("word2vec_binary", b"-1 4\n", "does not begin with two numbers"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, role, content, said):
    spec = spec_of(tmp_path, {role: content})
    with pytest.raises(Corrupt, match=said):
        StaticWords(spec, catalog.resolve_files(spec), Execution(1))


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (npy_of(VECTORS)[:-1], "not an array of vectors"),
        (npy_of(VECTORS)[:40], "not an array of vectors"),
        (b"PK\x03\x04 a zip", "not an array of vectors"),
        (npy_of(VECTORS[:, :3]), r"\(9, 3\) float32, expected \(n, 4\)"),
        (npy_of(VECTORS.astype(np.int64)), "int64, expected"),
        (npy_of(VECTORS.ravel()), "expected"),
        (npy_of(VECTORS[:-1]), "has 9 words, .* 8 vectors"),
        (npy_of(VECTORS * np.float64(1e300)), "the vector of 'the' is not finite"),
        (pickle.dumps(VECTORS), "not an array of vectors"),
        (b"", "is empty"),
    ],
)
def test_a_wrong_array_is_refused(tmp_path, array, said):
    spec = spec_of(tmp_path, {"npy": array, "vocabulary": VOCABULARY})
    with pytest.raises(Corrupt, match=said):
        StaticWords(spec, catalog.resolve_files(spec), Execution(1))


class Bomb:
    """What runs code when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("a file was unpickled",))


def test_nothing_is_unpickled(tmp_path):
    array = npy_of(np.array([[Bomb()] * 4]), allow_pickle=True)
    spec = spec_of(tmp_path, {"npy": array, "vocabulary": b"one\n"})
    with pytest.raises(Corrupt, match="object, expected"):
        StaticWords(spec, catalog.resolve_files(spec), Execution(1))


@pytest.mark.parametrize("number", [b"nan", b"inf", b"-inf", b"1e39"])
@pytest.mark.parametrize("role", ["glove", "word2vec_binary"])
def test_a_vector_that_is_not_finite_is_refused(tmp_path, role, number):
    vectors = VECTORS.copy()
    if role == "glove":
        content = b"the 1 2 3 4\ncat 1 2 3 " + number + b"\n"
    else:
        vectors[1, 3] = float(number) if number != b"1e39" else np.inf
        content = binary_of(vectors=vectors)
    spec = spec_of(tmp_path, {role: content})
    with pytest.raises(Corrupt, match="the vector of 'cat' is not finite"):
        StaticWords(spec, catalog.resolve_files(spec), Execution(1))


@pytest.mark.parametrize(
    "files",
    [
        {"glove": TEXT + b"cat 1 2 3 4\n"},
        {"word2vec_binary": binary_of(("cat", "the", "cat"), VECTORS[:3])},
        {"npy": npy_of(VECTORS[:3]), "vocabulary": b"cat\nthe\ncat\n"},
    ],
    ids=lambda files: "-".join(files),
)
def test_a_word_that_is_there_twice_is_refused(tmp_path, files):
    spec = spec_of(tmp_path, files)
    with pytest.raises(Corrupt, match="the word 'cat' is there twice"):
        StaticWords(spec, catalog.resolve_files(spec), Execution(1))


@pytest.mark.parametrize("role", ["glove", "npy", "vocabulary"])
def test_a_tampered_file_is_refused(tmp_path, role):
    files = {"npy": npy_of(VECTORS), "vocabulary": VOCABULARY}
    spec = spec_of(tmp_path, {"glove": TEXT} if role == "glove" else files)
    path = catalog.resolve_files(spec)[role]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(Corrupt, match=f"sha256 .* expects {spec.files[role].sha256}"):
        StaticWords(spec, catalog.resolve_files(spec), Execution(1))


def test_a_file_that_is_gone_is_said(tmp_path):
    spec = spec_of(tmp_path, {"glove": TEXT})
    catalog.resolve_files(spec)["glove"].unlink()
    assert "no file" in catalog.missing(spec)
    with pytest.raises(NoModel, match="no file"):
        catalog.resolve_files(spec)


@pytest.mark.parametrize(
    ("files", "options", "said"),
    [
        ({"npy": b"x"}, {}, "files must be glove; or word2vec; or word2vec_binary; or npy, voc"),
        ({"glove": b"x", "idf": b"x"}, {}, "files must be glove; or"),
        ({"glove": b"x"}, {"pooling": "idf"}, "files must be glove, idf; or"),
        ({"glove": b"x"}, {"pooling": "mean"}, "known are idf, sif"),
    ],
)
def test_an_entry_names_one_set_of_files(tmp_path, files, options, said):
    with pytest.raises(InvalidArgument, match=said):
        spec_of(tmp_path, files, **options)
