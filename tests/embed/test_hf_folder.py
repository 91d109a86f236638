"""What folders of Hugging Face say of their models, and what is refused of them."""

import dataclasses
import json
import zipfile
from pathlib import Path

import pytest

from tests.embed import checkpoints_bert as checkpoints
from vecdb.embed import hf_folder, hf_settings
from vecdb.embed.catalog import load_catalog
from vecdb.embed.model_sources import Folder, open_source
from vecdb.errors import FailedPrecondition, InvalidArgument, NotFound

pytest.importorskip("tokenizers")

BERT, XLM_R = checkpoints.CASES["bert"], checkpoints.CASES["xlm_roberta"]


@pytest.fixture
def folder(tmp_path):
    return checkpoints.write(tmp_path / "tiny", BERT)


def read(folder: Path):
    return hf_folder.read_folder(Folder(folder))


def change(path: Path, **changes):
    said = json.loads(path.read_text()) if path.exists() else {}
    said |= changes
    checkpoints.write_json(path, {key: value for key, value in said.items() if value != "gone"})


@pytest.mark.parametrize("name", checkpoints.CASES)
def test_a_folder_becomes_an_entry(tmp_path, name):
    case = checkpoints.CASES[name]
    found = read(checkpoints.write(tmp_path / name, case))
    assert found.entry == {
        "kind": "bert-text",
        "dim": checkpoints.HIDDEN,
        "metric": "cosine",
        "max_tokens": checkpoints.MOST,
        "pooling": case.pooling,
        "normalize": case.normalize,
        "query_prompt": checkpoints.QUERY_PROMPT,
        "document_prompt": "",
        "license": "unknown",
    }
    assert found.files == {
        "weights": "model.safetensors",
        "config": "config.json",
        "tokenizer": "tokenizer.json",
    }


def test_what_todays_sentence_transformers_writes_is_read_too(folder):
    """As saved by its release 6.2: other paths of modules, one word for the pooling."""
    module = "sentence_transformers.base.modules"
    checkpoints.write_json(
        folder / "modules.json",
        [
            {"idx": 0, "name": "0", "path": "", "type": f"{module}.transformer.Transformer"},
            {
                "idx": 1,
                "name": "1",
                "path": "1_Pooling",
                "type": "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
            },
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": f"{module}.normalize.Normalize"},
        ],
    )
    checkpoints.write_json(
        folder / "1_Pooling" / "config.json",
        {"embedding_dimension": 16, "pooling_mode": "mean", "include_prompt": True},
    )
    checkpoints.write_json(
        folder / "sentence_bert_config.json", {"transformer_task": "feature-extraction"}
    )
    change(folder / "tokenizer_config.json", model_max_length=20)
    entry = read(folder).entry
    assert (entry["pooling"], entry["normalize"], entry["max_tokens"]) == ("mean", True, 20)


def test_a_graph_beside_weights_of_another_architecture_is_taken(folder):
    change(folder / "config.json", model_type="mpnet")
    with pytest.raises(FailedPrecondition, match=r"model_type 'mpnet'; known are bert, .*onnx"):
        read(folder)
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(b"graph")
    found = read(folder)
    assert found.entry["kind"] == "onnx-text"
    assert found.files == {"model": "onnx/model.onnx", "tokenizer": "tokenizer.json"}
    (folder / "onnx" / "model.onnx_data").write_bytes(b"weights")
    assert read(folder).files["model_data"] == "onnx/model.onnx_data"


def decoder(folder: Path, **changes):
    change(folder / "config.json", model_type="mistral", eos_token_id=2, bos_token_id=1, **changes)
    change(
        folder / "1_Pooling" / "config.json",
        pooling_mode_mean_tokens=False,
        pooling_mode_lasttoken=True,
    )


def test_a_decoder_comes_in_parts(folder):
    decoder(folder)
    (folder / "model.safetensors").unlink()
    names = [f"model-{number:05}-of-00002.safetensors" for number in (1, 2)]
    for name in names:
        (folder / name).write_bytes(b"")
    checkpoints.write_json(
        folder / "model.safetensors.index.json",
        {"weight_map": {"a": names[1], "b": names[0], "c": names[1]}},
    )
    found = read(folder)
    assert found.entry["kind"] == "torch-text"
    assert found.entry["pooling"] == "last"
    assert found.entry["options"] == {"bidirectional": False, "begin_id": 1, "end_id": 2}
    assert {role: path for role, path in found.files.items() if "weights" in role} == {
        "weights-00001": names[0],
        "weights-00002": names[1],
    }
    (folder / names[1]).unlink()
    with pytest.raises(FailedPrecondition, match=f"index.json names {names[1]}, which is not"):
        read(folder)


def test_a_decoder_with_code_of_its_own_is_refused(folder):
    decoder(folder, auto_map={"AutoModel": "modeling.Model"})
    with pytest.raises(FailedPrecondition, match="code of its own"):
        read(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "m.pt"])
def test_pickles_are_refused_and_never_opened(folder, name, monkeypatch):
    (folder / "model.safetensors").rename(folder / name)
    monkeypatch.setattr(Folder, "open", refuse_pickles(Folder.open, name))
    with pytest.raises(FailedPrecondition, match=r"as a pickle \(.*nothing was loaded.*convert it"):
        read(folder)


def refuse_pickles(plain, name):
    def opened(self, path):
        assert path != name
        return plain(self, path)

    return opened


PARTS = [
    {"idx": at, "name": str(at), "path": f"{at}_{part}" if at else "", "type": f"{package}.{part}"}
    for at, (package, part) in enumerate(
        [
            ("sentence_transformers.models", "Transformer"),
            ("sentence_transformers.models", "Pooling"),
            ("sentence_transformers.models", "Dense"),
            ("own_code.models", "Normalize"),
        ]
    )
]


@pytest.mark.parametrize(
    ("modules", "said"),
    [
        (PARTS[:3], "module Dense, known are Transformer, Pooling, Normalize"),
        ([*PARTS[:2], PARTS[3]], r"module own_code\.models\.Normalize"),
        (PARTS[:1], "modules Transformer, expected"),
        (PARTS[1::-1], "modules Pooling, Transformer, expected"),
        ([PARTS[0], PARTS[1], PARTS[1]], "one of the modules Transformer, Pooling twice"),
        ([], "modules none, expected"),
        ({}, r"modules\.json is no list"),
        ([1], r"modules\.json is no list"),
        ([{"type": None, "path": ""}], r"modules\.json is no list"),
        ([{"type": "sentence_transformers.models.Transformer"}], r"modules\.json is no list"),
    ],
)
def test_modules_that_are_not_known_are_named(folder, modules, said):
    checkpoints.write_json(folder / "modules.json", modules)
    with pytest.raises(FailedPrecondition, match=said):
        read(folder)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("modules.json", r"no modules\.json, so nothing says"),
        ("config.json", r"has no config\.json"),
        ("tokenizer.json", r"no tokenizer\.json.*fast tokenizer"),
        ("1_Pooling/config.json", r"has no 1_Pooling/config\.json"),
        ("model.safetensors", r"no model\.safetensors"),
    ],
)
def test_what_is_missing_is_named(folder, file, said):
    (folder / file).unlink()
    with pytest.raises(FailedPrecondition, match=said):
        read(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"\xff\xfe", b"[]", b"1", b"null"])
@pytest.mark.parametrize("file", ["config.json", "modules.json", "tokenizer.json"])
def test_a_file_that_is_no_json_is_named(folder, file, content):
    (folder / file).write_bytes(content)
    with pytest.raises(FailedPrecondition, match=file.replace(".", r"\.") + "|modules none"):
        read(folder)


@pytest.mark.parametrize(
    ("file", "changes", "said"),
    [
        ("1_Pooling/config.json", {"pooling_mode_cls_token": True}, "by mean_tokens and cls_token"),
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": False}, "pools by nothing"),
        ("1_Pooling/config.json", {"pooling_mode": "weightedmean"}, "by weightedmean, known are"),
        ("1_Pooling/config.json", {"pooling_mode": ["mean", "cls"]}, "by mean and cls"),
        ("1_Pooling/config.json", {"pooling_mode": 7}, "pools by 7"),
        ("1_Pooling/config.json", {"include_prompt": False}, "leaves the prompt out"),
        ("config_sentence_transformers.json", {"prompts": {"query": 1}}, "prompts are not names"),
        ("config_sentence_transformers.json", {"default_prompt_name": "x"}, "'x' is no prompt"),
        ("config_sentence_transformers.json", {"similarity_fn_name": "l7"}, "is 'l7'"),
        ("config.json", {"hidden_size": "gone"}, "no hidden_size"),
        ("sentence_bert_config.json", {"do_lower_case": False, "tokenizer_class": "Bert"}, "false"),
    ],
)
def test_what_would_give_other_vectors_is_refused(folder, file, changes, said):
    change(folder / file, **changes)
    with pytest.raises(FailedPrecondition, match=said):
        read(folder)


def test_lower_case_that_no_tokenizer_makes_is_refused(tmp_path):
    folder = checkpoints.write(tmp_path / "tiny", XLM_R)
    change(folder / "sentence_bert_config.json", do_lower_case=True)
    with pytest.raises(
        FailedPrecondition, match=r"do_lower_case true, tokenizer\.json does the oth"
    ):
        read(folder)


def test_the_least_bound_of_tokens_counts(tmp_path):
    folder = checkpoints.write(tmp_path / "tiny", XLM_R)
    change(folder / "sentence_bert_config.json", max_seq_length=512)
    assert read(folder).entry["max_tokens"] == checkpoints.MOST  # its positions
    change(folder / "sentence_bert_config.json", max_seq_length=None)
    change(folder / "tokenizer_config.json", model_max_length=10**30)
    assert read(folder).entry["max_tokens"] == checkpoints.MOST
    change(folder / "config.json", max_position_embeddings="gone")
    with pytest.raises(FailedPrecondition, match="does not say how many tokens"):
        read(folder)


@pytest.mark.parametrize(
    ("said", "query", "document", "left"),
    [
        ({}, "", "", ""),
        ({"prompts": None}, "", "", ""),
        ({"prompts": {"query": "q: ", "passage": "p: "}}, "q: ", "p: ", ""),
        ({"prompts": {"a": "A ", "b": "B "}, "default_prompt_name": "a"}, "A ", "A ", "b"),
        ({"prompts": {"web_search_query": "W "}}, "", "", "web_search_query"),
    ],
)
def test_prompts(folder, said, query, document, left):
    checkpoints.write_json(folder / "config_sentence_transformers.json", said)
    found = read(folder)
    assert (found.entry["query_prompt"], found.entry["document_prompt"]) == (query, document)
    assert len(found.remarks) == bool(left)
    assert all(f"left out: {left};" in remark for remark in found.remarks)


def test_the_licence_is_what_the_readme_says(folder):
    (folder / "README.md").write_text("---\ntags:\n- x\nlicense: apache-2.0\n---\nlicense: mit\n")
    assert read(folder).entry["license"] == "apache-2.0"
    (folder / "README.md").write_text("---\ntags: x\n---\nlicense: mit\n")
    assert read(folder).entry["license"] == "unknown"


# --- folders that complete an entry


def unfetched(**changes):
    spec = load_catalog()["multilingual-e5-large-instruct"]
    return dataclasses.replace(spec, dim=checkpoints.HIDDEN, **changes)


def test_a_folder_completes_an_entry(tmp_path):
    source = Folder(checkpoints.write(tmp_path / "tiny", XLM_R))
    assert set(hf_folder.complete(source, unfetched())) == {"weights", "config", "tokenizer"}
    with pytest.raises(FailedPrecondition, match=r"pools by mean, .* by cls .*it comes from"):
        hf_folder.complete(source, unfetched(pooling="cls"))
    (tmp_path / "tiny" / "modules.json").unlink()  # the entry says it
    assert hf_folder.complete(Folder(tmp_path / "tiny"), unfetched())


def test_another_models_folder_does_not(tmp_path):
    source = Folder(checkpoints.write(tmp_path / "tiny", XLM_R))
    spec = dataclasses.replace(unfetched(), dim=1024)
    with pytest.raises(
        FailedPrecondition, match=r"is of 16 dimensions, multilingual-e5-.* has 1024"
    ):
        hf_folder.complete(source, spec)


# --- wheels


def wheel(path: Path, members: dict[str, bytes], links=()) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            member = zipfile.ZipInfo(name)
            if name in links:
                member.external_attr = 0o120777 << 16
            archive.writestr(member, content)
    return path


def test_a_wheel_is_read_where_its_model_is(folder, tmp_path):
    members = {
        f"package/model_files/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    source = open_source(str(wheel(tmp_path / "p-1-py3-none-any.whl", members)))
    try:
        assert hf_folder.read_folder(source).entry == read(folder).entry
        with source.open("config.json") as file:
            assert file.read() == (folder / "config.json").read_bytes()
    finally:
        source.close()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/etc/config.json", "leads out"),
        ("a/../../config.json", "leads out"),
        ("..\\config.json", "leads out"),
        ("link/config.json", "is a link"),
    ],
)
def test_a_wheel_that_leads_elsewhere_is_refused(tmp_path, name, said):
    path = wheel(tmp_path / "p.whl", {"config.json": b"{}", name: b"x"}, links=["link/config.json"])
    with pytest.raises(InvalidArgument, match=said):
        open_source(str(path))


def test_what_is_no_source_is_refused(folder, tmp_path):
    with pytest.raises(NotFound, match="there is no"):
        open_source(str(tmp_path / "nowhere"))
    (tmp_path / "p.whl").write_bytes(b"PK" + b"x" * 100)
    with pytest.raises(InvalidArgument, match="is not a package wheel"):
        open_source(str(tmp_path / "p.whl"))
    with pytest.raises(InvalidArgument, match="neither a folder nor a package wheel"):
        open_source(str(folder / "config.json"))
    with pytest.raises(InvalidArgument, match=r"has no config\.json"):
        open_source(str(wheel(tmp_path / "q.whl", {"a.txt": b""})))
    two = wheel(tmp_path / "r.whl", {"a/config.json": b"{}", "b/config.json": b"{}"})
    with pytest.raises(InvalidArgument, match="has a, b: which is it"):
        open_source(str(two))


def test_the_families_are_those_of_the_graph():
    pytest.importorskip("onnx")
    from vecdb.embed.bert_graph import MODEL_TYPES

    assert hf_settings.BERT_TYPES == MODEL_TYPES
