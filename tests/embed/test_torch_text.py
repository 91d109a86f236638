"""Decoders on tiny random checkpoints: they agree with the reference implementations.

Recorded vectors are those of sentence-transformers, and of gritlm for its own models; where these
are installed they are asked again.
"""

import dataclasses
import hashlib
import json
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.embed import checkpoints_decoders as tiny
from tests.embed.checkpoints_bert import safetensors_bytes
from vecdb.embed import memory
from vecdb.embed.catalog import FileRef
from vecdb.embed.encoder import Execution, Role
from vecdb.errors import Corrupt, FailedPrecondition

pytest.importorskip("torch", reason="needs the extra torch", exc_type=ImportError)
transformers = pytest.importorskip(
    "transformers", reason="needs the extra torch", exc_type=ImportError
)

import torch  # noqa: E402

from vecdb.embed import decoder  # noqa: E402
from vecdb.embed.decoder_tokens import Prompted  # noqa: E402
from vecdb.embed.torch_text import TorchText  # noqa: E402

RECORDED = json.loads((Path(__file__).parent / "recorded" / "decoders.json").read_text())
CAUSAL = [
    name
    for name, case in tiny.CASES.items()
    if case.entry.endswith(("mistral", "mistral-7b-instruct"))
]
FAST = settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def load(spec, **execution):
    paths = {role: Path(ref.path) for role, ref in spec.files.items()}
    return TorchText(spec, paths, Execution(1, **execution))


def vectors(model, texts, role=Role.DOCUMENT):
    return model.encode([one.input for one in model.prepare(texts, role)])


@pytest.fixture(scope="module")
def specs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    return {name: tiny.write(folder / name, case) for name, case in tiny.CASES.items()}


@pytest.fixture(scope="module")
def models(specs):
    return {name: load(spec) for name, spec in specs.items()}


@pytest.fixture
def copied(specs, tmp_path):
    """A checkpoint that a test may spoil: copied(name) -> its entry."""

    def copy(name):
        files = {}
        for role, ref in specs[name].files.items():
            shutil.copy(ref.path, tmp_path)
            files[role] = FileRef(str(tmp_path / Path(ref.path).name), ref.sha256)
        return dataclasses.replace(specs[name], files=files)

    return copy


def rewritten(spec, role, content):
    """Return an entry one of whose files holds something else, and is meant to."""
    path = Path(spec.files[role].path)
    path.write_bytes(content)
    ref = FileRef(str(path), hashlib.sha256(content).hexdigest())
    return dataclasses.replace(spec, files={**spec.files, role: ref})


def reconfigured(spec, **changes):
    config = json.loads(Path(spec.files["config"].path).read_text())
    return rewritten(spec, "config", json.dumps(config | changes).encode())


# --- the same as the references


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("name", tiny.CASES)
def test_vectors_are_those_of_the_reference_as_recorded(models, name, role):
    found = vectors(models[name], tiny.TEXTS, role)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, RECORDED[name][role.name.lower()], atol=1e-4, rtol=0)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("padding", ["right", "left"])
@pytest.mark.parametrize("name", tiny.CASES)
def test_vectors_are_those_of_sentence_transformers(models, name, padding, tmp_path):
    pytest.importorskip("sentence_transformers")
    case = tiny.CASES[name]
    needs_transformers_5(name)
    if padding == "left" and case.gritlm:
        pytest.skip("its prompt is counted from the left")
    folder = tiny.write_plain(tmp_path / name, case)
    reference = tiny.sentence_transformers_of(folder, case, padding=padding)
    for role in Role:
        wanted = reference.encode(list(tiny.TEXTS), prompt_name=role.name.lower(), batch_size=3)
        found = vectors(models[name], tiny.TEXTS, role)
        np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["gritlm-7b", "gritlm-8x7b"])
def test_vectors_are_those_of_gritlm(models, name, tmp_path):
    pytest.importorskip("gritlm")
    needs_transformers_5(name)
    reference = tiny.gritlm_of(tiny.write_plain(tmp_path / name, tiny.CASES[name]))
    spec = tiny.catalog.load_catalog()[name]
    for role, prompt in ((Role.QUERY, spec.query_prompt), (Role.DOCUMENT, spec.document_prompt)):
        wanted = reference.encode(
            list(tiny.TEXTS), instruction=prompt, max_length=tiny.MOST, batch_size=3
        )
        found = vectors(models[name], tiny.TEXTS, role)
        np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=0)


def needs_transformers_5(name):
    if name not in CAUSAL and int(transformers.__version__.split(".")[0]) < 5:
        pytest.skip("transformers sees both ways from release 5 on; recorded vectors are checked")


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("gte-1.5b", {"bidirectional": False}),
        ("sfr", {"bidirectional": True}),
        ("gritlm-7b", {"prompt_pooled": True}),
        ("linq", {"begin_id": None}),
    ],
)
def test_what_an_entry_says_of_a_model_makes_its_vectors(specs, models, name, changes):
    options = {**specs[name].options, **changes}
    options = {key: value for key, value in options.items() if value is not None}
    other = load(dataclasses.replace(specs[name], options=options))
    far = np.abs(vectors(other, tiny.TEXTS) - vectors(models[name], tiny.TEXTS)).max(axis=1)
    assert far.min() > 1e-2, far


def test_the_window_of_a_configuration_is_kept(copied, models):
    wide = load(reconfigured(copied("e5-mistral"), sliding_window=None))
    short, long = tiny.TEXTS[2], tiny.TEXTS[4]
    far = np.abs(vectors(wide, [short, long]) - vectors(models["e5-mistral"], [short, long]))
    assert far[0].max() < 1e-6
    assert far[1].max() > 1e-2


@FAST
@given(
    name=st.sampled_from(list(tiny.CASES)),
    texts=st.lists(
        st.sampled_from(tiny.TEXTS) | st.text(min_size=1, max_size=60), min_size=1, max_size=6
    ),
    role=st.sampled_from(Role),
)
def test_a_text_has_one_vector_whatever_its_neighbours(models, name, texts, role):
    model = models[name]
    inputs = [one.input for one in model.prepare(texts, role) if len(one.input)]
    if not inputs:
        return
    alone = np.concatenate([model.encode([one]) for one in inputs])
    np.testing.assert_allclose(model.encode(inputs), alone, atol=1e-5, rtol=0)


def test_bfloat16_stays_near_float32(specs, models):
    for name in ("linq", "gte-7b", "gritlm-8x7b"):
        rounded = vectors(load(specs[name], precision="bfloat16"), tiny.TEXTS)
        assert rounded.dtype == np.float32
        cosines = (rounded * vectors(models[name], tiny.TEXTS)).sum(axis=1)
        assert cosines.min() > 0.99, (name, cosines)
        assert cosines.min() < 1 - 1e-6, "computed in float32"


# --- tokens


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("name", tiny.CASES)
def test_a_text_begins_and_ends_as_its_entry_says_cut_or_not(models, specs, name, role):
    begin, end = (specs[name].options.get(key) for key in ("begin_id", "end_id"))
    texts = ["", *tiny.TEXTS, "a" * 10_000]
    for text, one in zip(texts, models[name].prepare(texts, role), strict=True):
        ids = list(one.input.ids if isinstance(one.input, Prompted) else one.input)
        assert not one.truncated or len(ids) == tiny.MOST
        if ids:
            assert begin is None or (ids[0], ids.count(begin)) == (begin, 1)
            typed = 0 if tiny.CASES[name].qwen else text.count("</s>")
            assert end is None or (ids[-1], ids.count(end)) == (end, 1 + typed)


def test_the_longest_text_that_fits_is_not_cut(models):
    for model in (models["sfr"], models["gte-7b"]):
        (shorter,) = model.prepare(["q"], Role.DOCUMENT)
        fits = "q" * (tiny.MOST - len(shorter.input) + 1)
        whole, over = model.prepare([fits, fits + "q"], Role.DOCUMENT)
        assert (len(whole.input), whole.truncated) == (tiny.MOST, False)
        assert (len(over.input), over.truncated) == (tiny.MOST, True)
        assert (whole.input == over.input).all()


def test_without_words_of_its_own_a_text_has_no_vector_where_the_prompt_is_not_pooled(models):
    for role in Role:
        (nothing, something) = models["gritlm-7b"].prepare(["", "a"], role)
        assert len(nothing.input) == 0
        assert len(something.input) == something.input.prompt + 1
        (empty,) = models["e5-mistral"].prepare([""], role)
        assert np.isfinite(models["e5-mistral"].encode([empty.input])).all()


SPELT = st.text(st.sampled_from("aceht  m▁\n<>|/sé数😀Q"), max_size=24)


@FAST
@given(
    st.lists(SPELT | st.sampled_from(("the cat", "</s>", "Query ", " ", "cat" * 9)), max_size=40)
)
def test_of_a_long_text_only_its_beginning_is_read_and_nothing_differs(specs, parts):
    text = "".join(parts)
    for name in ("sfr", "gte-7b"):
        short = dataclasses.replace(specs[name], max_tokens=8)
        looked = decoder_tokens(short)
        whole = [
            *looked.tokenizer.encode(text, add_special_tokens=False).ids,
            specs[name].options["end_id"],
        ]
        begin = specs[name].options.get("begin_id")
        whole = whole if begin is None else [begin, *whole]
        (found,) = looked.prepare([text], Role.DOCUMENT)
        assert found.truncated == (len(whole) > 8)
        assert list(found.input) == (whole if len(whole) <= 8 else [*whole[:7], whole[-1]])


def decoder_tokens(spec):
    from vecdb.embed.text_tokens import TextTokens

    begin, end = (spec.options.get(key) for key in ("begin_id", "end_id"))
    around = (() if begin is None else (begin,)), (end,)
    return TextTokens(spec, Path(spec.files["tokenizer"].path), around=around)


def test_megabytes_of_text_cost_what_their_beginning_does(specs, monkeypatch):
    looked = decoder_tokens(specs["sfr"])
    seen = []
    look = looked._look
    monkeypatch.setattr(
        looked, "_look", lambda text, **said: seen.append(len(text)) or look(text, **said)
    )
    (found,) = looked.prepare(["the cat sat. " * 1_000_000], Role.DOCUMENT)
    assert found.truncated
    assert sum(seen) < 10_000


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"options": {"begin_id": 1}}, "last token"),
        ({"options": {"begin_id": 1, "end_id": 9999}}, "no token 9999"),
        ({"max_tokens": 56}, "a prompt alone is"),
        ({"max_tokens": 100_000}, "320 tokens, the catalogue says 32 and 100000"),
        ({"dim": 64}, "of 32 dimensions"),
    ],
)
def test_an_entry_that_does_not_go_with_its_files_is_refused(specs, changes, said):
    with pytest.raises(FailedPrecondition, match=said):
        load(dataclasses.replace(specs["sfr"], **changes))


def test_a_tokenizer_of_another_model_is_refused(copied, specs):
    spec = copied("gte-7b")
    foreign = Path(specs["sfr"].files["tokenizer"].path).read_bytes()
    with pytest.raises(FailedPrecondition, match=r"has ids up to \d+, the model knows"):
        load(rewritten(spec, "tokenizer", foreign))


# --- files


def test_nothing_is_looked_up_elsewhere(specs, monkeypatch):
    def refuse(*_):
        raise AssertionError("asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    vectors(load(specs["linq"]), ["a"])


def test_a_tampered_file_is_refused(copied):
    for role in ("weights-00002", "config", "tokenizer"):
        spec = copied("linq")
        path = Path(spec.files[role].path)
        path.write_bytes(path.read_bytes()[:-1] + b"\x01")
        with pytest.raises(Corrupt, match="has sha256"):
            load(spec)


def test_a_part_that_is_not_named_is_missed(specs):
    files = {role: ref for role, ref in specs["gte-7b"].files.items() if role != "weights-00002"}
    with pytest.raises(FailedPrecondition, match=r"misses .*layers\.0\.") as refused:
        load(dataclasses.replace(specs["gte-7b"], files=files))
    assert "name all parts" in refused.value.hint


def weights_with(spec, name, dtype, array):
    case = tiny.CASES["e5-mistral"]
    vocabulary = tiny.tokenizer_of(case).get_vocab_size()
    arrays = {one: ("F32", made) for one, made in tiny.random_weights(case, vocabulary).items()}
    return rewritten(spec, "weights", safetensors_bytes({**arrays, name: (dtype, array)}))


@pytest.mark.parametrize(
    ("name", "dtype", "array", "said"),
    [
        ("layers.7.norm.weight", "F32", np.ones(32, "<f4"), r"does not know, layers\.7\.norm"),
        ("norm.weight", "F32", np.ones(31, "<f4"), r"another shape .* norm\.weight"),
        ("norm.weight", "I8", np.ones(32, "i1"), r"norm\.weight is I8"),
    ],
)
def test_weights_that_do_not_go_with_the_configuration_are_refused(
    copied, name, dtype, array, said
):
    with pytest.raises(FailedPrecondition, match=said):
        load(weights_with(copied("e5-mistral"), name, dtype, array))


def test_what_is_no_number_is_never_a_vector(copied):
    from vecdb.errors import NotFinite

    broken = load(
        weights_with(copied("e5-mistral"), "norm.weight", "F32", np.full(32, np.nan, "<f4"))
    )
    with pytest.raises(NotFinite, match="e5-mistral"):
        vectors(broken, ["a"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "gpt_bigcode"}, "known are mistral, mixtral, qwen2"),
        ({"model_type": ["mistral"]}, "known are mistral, mixtral, qwen2"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "quantised"),
        ({"is_causal": False}, "is_causal false, the catalogue says bidirectional false"),
        ({"hidden_size": 48}, "of 48 dimensions"),
        ({"num_hidden_layers": 3}, "misses .*layers.2"),
        ({"num_attention_heads": "many"}, "cannot be|does not go"),
    ],
)
def test_a_configuration_of_something_else_is_refused(copied, changes, said):
    with pytest.raises(FailedPrecondition, match=said):
        load(reconfigured(copied("e5-mistral"), **changes))


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe"])
def test_a_configuration_that_is_none_is_corrupt(copied, content):
    with pytest.raises(Corrupt, match=r"config\.json is no JSON"):
        load(rewritten(copied("e5-mistral"), "config", content))


# --- the machine


def test_a_model_that_does_not_fit_into_memory_is_not_loaded(specs, monkeypatch):
    monkeypatch.setattr(decoder, "free_bytes", lambda: 50_000)
    with pytest.raises(FailedPrecondition, match=r"needs 0\.0 GB in float32") as refused:
        load(specs["sfr"])
    assert "embed.precision to bfloat16" in refused.value.hint
    with pytest.raises(FailedPrecondition) as refused:
        load(specs["sfr"], precision="bfloat16")
    assert refused.value.hint == "run the worker on a machine with more memory"


@pytest.mark.parametrize(
    ("execution", "said"),
    [
        ({"device": "openvino"}, "cpu or cuda, not on openvino"),
        ({"precision": "float16"}, "float32 or bfloat16, not in float16"),
    ],
)
def test_a_device_that_it_cannot_use_is_refused(specs, execution, said):
    with pytest.raises(FailedPrecondition, match=said):
        load(specs["sfr"], **execution)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_cuda_device_that_is_not_there_is_refused(specs):
    with pytest.raises(FailedPrecondition, match="finds no CUDA device") as refused:
        load(specs["sfr"], device="cuda")
    assert "embed.device to cpu" in refused.value.hint


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_device_gives_the_same_vectors(specs, models):
    for name, spec in specs.items():
        found = vectors(load(spec, device="cuda"), tiny.TEXTS)
        np.testing.assert_allclose(found, vectors(models[name], tiny.TEXTS), atol=1e-3, rtol=0)


def test_free_memory_is_the_machine_s_or_what_the_container_leaves(tmp_path):
    meminfo = tmp_path / "meminfo"
    assert memory.free_bytes(meminfo, tmp_path) is None
    meminfo.write_text("MemTotal: 100 kB\nMemAvailable:   50 kB\n")
    assert memory.free_bytes(meminfo, tmp_path) == 50 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free_bytes(meminfo, tmp_path) == 50 * 1024
    (tmp_path / "memory.max").write_text("30000\n")
    (tmp_path / "memory.current").write_text("20000\n")
    (tmp_path / "memory.stat").write_text("anon 15000\ninactive_file 4000\n")
    assert memory.free_bytes(meminfo, tmp_path) == 14_000
    assert memory.free_bytes() > 1 << 20
