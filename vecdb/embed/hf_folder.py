"""What a folder of Hugging Face says of its model, as an entry of the catalogue.

Reads what sentence-transformers and transformers write: config.json, modules.json, the pooling, the
prompts, the tokenizer's settings. What it cannot run as they would it refuses, by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vecdb.embed.catalog import ModelSpec
from vecdb.embed.model_sources import Source
from vecdb.errors import FailedPrecondition

# Which architectures run from their weights alone: bert_graph.MODEL_TYPES, which needs onnx to ask.
BERT_TYPES = frozenset({"bert", "roberta", "xlm-roberta", "camembert", "bilingual"})
DECODER_TYPES = frozenset({"mistral", "qwen2", "mixtral"})
_POOLINGS = {
    "cls_token": "cls",
    "mean_tokens": "mean",
    "max_tokens": "max",
    "lasttoken": "last",
    "cls": "cls",
    "mean": "mean",
    "max": "max",
}
_METRICS = {"cosine": "cosine", "dot": "dot", "euclidean": "euclid", "manhattan": "manhattan"}
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")
# transformers' word for no bound is 10**30.
_TOKENS_MAX = 1 << 20
# XLM-R's tokenizer has 17 MB.
SETTINGS_BYTES_MAX = 64 << 20
_INDEX = "model.safetensors.index.json"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
# Where files of each role are looked for.
_PLACES: Mapping[str, tuple[str, ...]] = {
    "weights": ("model.safetensors",),
    "config": ("config.json",),
    "tokenizer": ("tokenizer.json",),
    "model": ("onnx/model.onnx", "model.onnx"),
    "text_model": ("onnx/text_model.onnx", "text_model.onnx"),
    "vision_model": ("onnx/vision_model.onnx", "vision_model.onnx"),
}


@dataclass(frozen=True, slots=True)
class FolderModel:
    """A model as its folder describes it.

    entry: keys and values of an entry, without its files. files: their paths in the source by what
    they are to the kind. remarks: what a person should know of what was taken, and what was not.
    """

    entry: dict[str, Any]
    files: dict[str, str]
    remarks: list[str] = field(default_factory=list)


def read_folder(source: Source) -> FolderModel:
    """Return the model of a folder. Raises FailedPrecondition that names what cannot be run."""
    config = _object(source, "config.json")
    modules = _modules(source)
    remarks: list[str] = []
    kind, files = _kind(source, config)
    pooling = _pooling(source, modules["Pooling"])
    prompts, metric = _prompts(source, remarks)
    if not pooling.pop("include_prompt") and any(prompts.values()):
        raise FailedPrecondition(
            f"{source.name} leaves the prompt out of the mean, which a model of kind {kind} does "
            "not do"
        )
    _check_lower_case(source)
    entry = {
        "kind": kind,
        "dim": _dim(source, config),
        "metric": metric,
        "max_tokens": _max_tokens(source, config, modules["Transformer"]),
        **pooling,
        "normalize": "Normalize" in modules,
        **prompts,
        "license": _license(source),
    }
    if kind == "torch-text":
        entry["options"] = _decoder_options(source, config, entry)
    return FolderModel(entry, files, remarks)


def complete(source: Source, spec: ModelSpec) -> dict[str, str]:
    """Return the files of an entry that has none yet, by role. Raises FailedPrecondition.

    What the folder says of dimension and pooling must be what the entry says.
    """
    roles = spec.of_kind.poolings[spec.pooling][0]
    files: dict[str, str] = {}
    for role in sorted(roles):
        files |= _of_role(source, role)
    if "config" in roles:
        found = _dim(source, _object(source, "config.json"))
        if found != spec.dim:
            raise FailedPrecondition(
                f"{source.name} is of {found} dimensions, {spec.name} has {spec.dim}",
                hint=f"it comes from {spec.source}",
            )
        if "modules.json" in source.sizes:
            pooling = _pooling(source, _modules(source)["Pooling"])["pooling"]
            if pooling != spec.pooling:
                raise FailedPrecondition(
                    f"{source.name} pools by {pooling}, {spec.name} by {spec.pooling}",
                    hint=f"it comes from {spec.source}",
                )
    return files


def weight_patterns(source: Source, spec: ModelSpec | None) -> tuple[str, ...]:
    """Return which files hold the weights of a model of which only the settings are here yet.

    spec: the entry that it completes, if there is one.
    """
    if spec is not None:
        roles = set(spec.of_kind.poolings[spec.pooling][0])
    else:
        known = _object(source, "config.json").get("model_type") in BERT_TYPES | DECODER_TYPES
        roles = {"weights" if known else "model"}
    found = {place for role in roles for place in _PLACES.get(role, ())}
    if "weights" in roles:
        found.add("model-*.safetensors")
    if "model" in roles:
        found |= {f"{place}_data" for place in _PLACES["model"]}
    return tuple(sorted(found))


# --- which kind, and which files


def _kind(source: Source, config: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    model_type = config.get("model_type")
    weights = "model.safetensors" in source.sizes or _INDEX in source.sizes
    graph = any(place in source.sizes for place in _PLACES["model"])
    for kind, fits, roles in (
        ("bert-text", weights and model_type in BERT_TYPES, ("weights", "config", "tokenizer")),
        ("torch-text", weights and model_type in DECODER_TYPES, ("weights", "config", "tokenizer")),
        ("onnx-text", graph, ("model", "tokenizer")),
    ):
        if fits:
            return kind, {
                part: path for role in roles for part, path in _of_role(source, role).items()
            }
    if weights:
        raise FailedPrecondition(
            f"{source.name} is of model_type {model_type!r}; known are "
            f"{', '.join(sorted(BERT_TYPES | DECODER_TYPES))}",
            hint="export it to onnx/model.onnx: then any architecture runs",
        )
    _of_role(source, "weights")
    raise AssertionError("there are no weights, and that was not said")


def _of_role(source: Source, role: str) -> dict[str, str]:
    """Return the path of a role's file, or those of its parts."""
    if role == "weights" and "model.safetensors" not in source.sizes and _INDEX in source.sizes:
        return _parts(source)
    for place in _PLACES.get(role, ()):
        if place in source.sizes:
            beside = f"{place}_data"
            return {role: place} | (
                {"model_data": beside} if role == "model" and beside in source.sizes else {}
            )
    pickles = [path for path in source.sizes if path.endswith(_PICKLES)]
    if role in ("weights", "model") and pickles:
        raise FailedPrecondition(
            f"{source.name} has its weights as a pickle ({pickles[0]}), which can run anything "
            "when it is read; nothing was loaded",
            hint="convert it to safetensors where you trust it: "
            "model.save_pretrained(folder, safe_serialization=True)",
        )
    hint = "save its fast tokenizer: tokenizer.save_pretrained(folder)" * (role == "tokenizer")
    raise FailedPrecondition(
        f"{source.name} has no {' or '.join(_PLACES.get(role, (role,)))}", hint=hint
    )


def _parts(source: Source) -> dict[str, str]:
    index = _object(source, _INDEX).get("weight_map")
    names = sorted(set(index.values())) if isinstance(index, dict) else []
    absent = [name for name in names if name not in source.sizes]
    if not names or absent:
        raise FailedPrecondition(
            f"{source.name}: {_INDEX} names {', '.join(map(str, absent)) or 'no file'}, "
            "which is not there"
        )
    if len(names) == 1:
        return {"weights": names[0]}
    return {f"weights-{number:05}": name for number, name in enumerate(names, 1)}


# --- what sentence-transformers says


def _modules(source: Source) -> dict[str, str]:
    """Return the path of each module by the name of its class: Transformer, Pooling, Normalize."""
    if "modules.json" not in source.sizes:
        raise FailedPrecondition(
            f"{source.name} has no modules.json, so nothing says how its tokens become one vector",
            hint="save it by sentence-transformers, or write its entry into the catalogue yourself",
        )
    listed = _json(source, "modules.json")
    if not isinstance(listed, list):
        raise FailedPrecondition(f"{source.name}: modules.json is no list")
    try:
        found = {one["type"].rpartition(".")[2]: one["path"] for one in listed}
        foreign = [one["type"] for one in listed if one["type"].split(".")[0] != _PACKAGE]
    except (TypeError, KeyError, AttributeError):
        raise FailedPrecondition(f"{source.name}: modules.json is no list of modules") from None
    unknown = foreign + [name for name in found if name not in _MODULES]
    if unknown:
        raise FailedPrecondition(
            f"{source.name} has the module {unknown[0]}, known are {', '.join(_MODULES)}",
            hint="export the whole model to ONNX, if what it adds is only computed",
        )
    if list(found)[:2] != ["Transformer", "Pooling"] or len(found) != len(listed):
        raise FailedPrecondition(
            f"{source.name} has the modules {', '.join(found) or 'none'}, expected "
            f"{', '.join(_MODULES)} in this order, the last if its vectors have unit length"
        )
    return found


_PACKAGE = "sentence_transformers"
_MODULES = ("Transformer", "Pooling", "Normalize")


def _pooling(source: Source, folder: str) -> dict[str, Any]:
    path = f"{folder}/config.json"
    said = _object(source, path)
    modes = said.get("pooling_mode")
    if modes is None:
        start = "pooling_mode_"
        modes = [name.removeprefix(start) for name in said if name.startswith(start) and said[name]]
    modes = [modes] if isinstance(modes, str) else modes
    if not isinstance(modes, list) or len(modes) != 1 or modes[0] not in _POOLINGS:
        found = " and ".join(map(str, modes or ["nothing"])) if isinstance(modes, list) else modes
        raise FailedPrecondition(
            f"{source.name}: {path} pools by {found}, known are "
            f"{', '.join(sorted(set(_POOLINGS.values())))}"
        )
    return {
        "pooling": _POOLINGS[modes[0]],
        "include_prompt": said.get("include_prompt", True) is not False,
    }


def _prompts(source: Source, remarks: list[str]) -> tuple[dict[str, str], str]:
    """Return the prompts of both roles, and the metric."""
    said = _optional(source, "config_sentence_transformers.json")
    prompts = said.get("prompts") or {}
    default = said.get("default_prompt_name")
    if not isinstance(prompts, dict) or not all(isinstance(one, str) for one in prompts.values()):
        raise FailedPrecondition(f"{source.name}: prompts are not names and texts")
    if default is not None and default not in prompts:
        raise FailedPrecondition(f"{source.name}: default_prompt_name {default!r} is no prompt")
    document = next((name for name in _DOCUMENT_PROMPTS if name in prompts), default)
    query = "query" if "query" in prompts else default
    left = [name for name in prompts if name not in (query, document)]
    if left:
        remarks.append(
            f"prompts that were left out: {', '.join(left)}; set query_prompt and document_prompt "
            "in the entry if you need another"
        )
    metric = said.get("similarity_fn_name") or "cosine"
    if metric not in _METRICS:
        raise FailedPrecondition(f"{source.name}: similarity_fn_name is {metric!r}")
    found = {
        "query_prompt": prompts.get(query, ""),
        "document_prompt": prompts.get(document, ""),
    }
    return found, _METRICS[metric]


def _max_tokens(source: Source, config: Mapping[str, Any], folder: str) -> int:
    """Return the least of what settings, tokenizer and positions say."""
    prefix = f"{folder}/" if folder else ""
    names = [
        name
        for name in source.sizes
        if re.fullmatch(re.escape(prefix) + r"sentence_[\w-]+_config\.json", name)
    ]
    said = [_object(source, name).get("max_seq_length") for name in sorted(names)[:1]]
    tokenizer = _optional(source, "tokenizer_config.json")
    if said in ([], [None]):
        said = [tokenizer.get("model_max_length")]
    positions = config.get("max_position_embeddings")
    if config.get("model_type") in BERT_TYPES - {"bert"} and isinstance(positions, int):
        positions -= int(config.get("pad_token_id", 1)) + 1
    bounds = [int(one) for one in (*said, positions) if isinstance(one, (int, float)) and one > 0]
    most = min(bounds, default=_TOKENS_MAX + 1)
    if most > _TOKENS_MAX:
        raise FailedPrecondition(
            f"{source.name} does not say how many tokens it reads",
            hint="set max_seq_length in its sentence_bert_config.json",
        )
    return most


def _check_lower_case(source: Source) -> None:
    """Raise FailedPrecondition where case is not what tokenizer.json alone makes of it."""
    try:
        normalizer = json.dumps(_object(source, "tokenizer.json").get("normalizer")).lower()
    except RecursionError:
        normalizer = ""
    lowers = '"lowercase": true' in normalizer or '"type": "lowercase"' in normalizer
    for name in ("sentence_bert_config.json", "tokenizer_config.json"):
        said = _optional(source, name)
        bert = str(said.get("tokenizer_class", "")).startswith("Bert")
        wanted = said.get("do_lower_case")
        if (wanted is True and not lowers) or (wanted is False and lowers and bert):
            raise FailedPrecondition(
                f"{source.name}: {name} says do_lower_case {str(wanted).lower()}, tokenizer.json "
                "does the other",
                hint="save the tokenizer again, so that both say the same",
            )


def _decoder_options(
    source: Source, config: Mapping[str, Any], entry: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what a decoder needs beside: its begin and end tokens, and who sees whom."""
    if config.get("auto_map"):
        raise FailedPrecondition(
            f"{source.name} comes with code of its own (auto_map in config.json), which is not run",
            hint="an entry that says what that code does must be in the catalogue: pull it by the "
            "entry's name",
        )
    options: dict[str, Any] = {"bidirectional": config.get("is_causal") is False}
    for option, name in (("begin_id", "bos_token_id"), ("end_id", "eos_token_id")):
        token = config.get(name)
        if isinstance(token, int) and (option == "end_id" or config["model_type"] != "qwen2"):
            options[option] = token
    if entry["pooling"] == "last" and "end_id" not in options:
        raise FailedPrecondition(f"{source.name}: config.json has no eos_token_id")
    return options


def _dim(source: Source, config: Mapping[str, Any]) -> int:
    dim = config.get("hidden_size", config.get("dim"))  # as DistilBERT calls it
    if type(dim) is not int or dim < 1:
        raise FailedPrecondition(f"{source.name}: config.json has no hidden_size")
    return dim


def _license(source: Source) -> str:
    """Return what the README's head says, which is where the hub has it from."""
    if "README.md" in source.sizes:
        with source.open("README.md") as file:
            head = file.read(1 << 16).decode(errors="replace")
        found = re.match(r"---\n(?:(?!---\n).*\n)*?license(?:_name)?:[ ]*([\w.+-]+)", head)
        if found:
            return found.group(1)
    return "unknown"


def _optional(source: Source, path: str) -> dict[str, Any]:
    return _object(source, path) if path in source.sizes else {}


def _object(source: Source, path: str) -> dict[str, Any]:
    found = _json(source, path)
    if not isinstance(found, dict):
        raise FailedPrecondition(f"{source.name}: {path} is no JSON object")
    return found


def _json(source: Source, path: str) -> object:
    if path not in source.sizes:
        raise FailedPrecondition(f"{source.name} has no {path}")
    if source.sizes[path] > SETTINGS_BYTES_MAX:
        raise FailedPrecondition(f"{source.name}: {path} is longer than {SETTINGS_BYTES_MAX} bytes")
    try:
        with source.open(path) as file:
            found: object = json.loads(file.read())
    except (ValueError, RecursionError) as error:
        raise FailedPrecondition(f"{source.name}: {path} is not JSON: {error}") from None
    return found
