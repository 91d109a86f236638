"""What a folder of Hugging Face says of its model, as an entry of the catalogue.

Reads what sentence-transformers and transformers write: of models that give a vector per text here,
of others in hf_heads.py. What it cannot run as they would it refuses, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vecdb.embed import hf_heads
from vecdb.embed.catalog import ModelSpec
from vecdb.embed.hf_layout import files_of, holds, patterns_of
from vecdb.embed.hf_settings import (
    BERT_TYPES,
    check_lower_case,
    license_of,
    max_tokens_of,
    modules_of,
    object_of,
    prompts_of,
)
from vecdb.embed.kinds import KINDS
from vecdb.embed.model_sources import Source
from vecdb.errors import FailedPrecondition

DECODER_TYPES = frozenset({"mistral", "qwen2", "mixtral"})
# What a model is for, and the kinds that are for that: from weights of the families above, which
# need no graph, of decoders, and from graphs.
_KINDS: Mapping[str, tuple[str, str, str]] = {
    "vector": ("bert-text", "torch-text", "onnx-text"),
    "words": ("bert-sparse", "", "onnx-sparse"),
    "pairs": ("bert-rerank", "", "onnx-rerank"),
    "images": ("", "", "onnx-clip"),
}
_POOLINGS = {
    "cls_token": "cls",
    "mean_tokens": "mean",
    "max_tokens": "max",
    "lasttoken": "last",
    "cls": "cls",
    "mean": "mean",
    "max": "max",
}
_MODULES = ("Transformer", "Pooling", "Normalize")


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
    config = object_of(source, "config.json")
    task = _task(source, config)
    remarks: list[str] = []
    kind = _kind(source, config, task)
    files = files_of(source, _roles(kind))
    entry = {"kind": kind, **_ENTRIES[task](source, config, remarks)}
    if kind == "torch-text":
        entry["options"] = _decoder_options(source, config, entry)
    return FolderModel({**entry, "license": license_of(source)}, files, remarks)


def complete(source: Source, spec: ModelSpec) -> dict[str, str]:
    """Return the files of an entry that has none yet, by role. Raises FailedPrecondition.

    What the folder says of dimension and pooling must be what the entry says.
    """
    files = files_of(source, _roles(spec.kind, spec.pooling))
    task = next((task for task, kinds in _KINDS.items() if spec.kind in kinds), "")
    found = _DIMS[task](object_of(source, "config.json")) if task else None
    if found not in (None, spec.dim):
        raise FailedPrecondition(
            f"{source.name} is of {found} dimensions, {spec.name} has {spec.dim}",
            hint=f"it comes from {spec.source}",
        )
    if task == "vector" and "modules.json" in source.sizes:
        pooling = _pooling(source, _modules(source)["Pooling"])["pooling"]
        if pooling != spec.pooling:
            raise FailedPrecondition(
                f"{source.name} pools by {pooling}, {spec.name} by {spec.pooling}",
                hint=f"it comes from {spec.source}",
            )
    if task == "words":
        hf_heads.check_splade(source)
    return files


def weight_patterns(source: Source, spec: ModelSpec | None) -> tuple[str, ...]:
    """Return which files hold the weights of a model of which only the settings are here yet.

    spec: the entry that it completes, if there is one.
    """
    if spec is not None:
        return patterns_of(source, _roles(spec.kind, spec.pooling))
    config = object_of(source, "config.json")
    return patterns_of(source, _roles(_kinds(config, _task(source, config))[0]))


# --- which kind


def _task(source: Source, config: Mapping[str, Any]) -> str:
    """Return what a model is for. What sentence-transformers puts behind it comes first.

    For config.json may still name what its weights began as: a masked language model.
    """
    modules = list(modules_of(source))
    named = config.get("architectures")
    architecture = str(named[0]) if isinstance(named, list) and named else ""
    if config.get("model_type") == "clip":
        return "images"
    if "SpladePooling" in modules or (not modules and architecture.endswith("ForMaskedLM")):
        return "words"
    if len(modules) < 2 and architecture.endswith("ForSequenceClassification"):
        return "pairs"
    return "vector"


def _kinds(config: Mapping[str, Any], task: str) -> list[str]:
    """Return the kinds that may run a model, those that need no graph first."""
    of_bert, of_decoders, of_graphs = _KINDS[task]
    model_type = config.get("model_type")
    found = [of_bert] * (model_type in BERT_TYPES) + [of_decoders] * (model_type in DECODER_TYPES)
    return [kind for kind in (*found, of_graphs) if kind]


def _kind(source: Source, config: Mapping[str, Any], task: str) -> str:
    for kind in _kinds(config, task):
        if holds(source, _roles(kind)):
            return kind
    if task != "images" and holds(source, {"weights"}):
        known = BERT_TYPES | (DECODER_TYPES if task == "vector" else frozenset())
        raise FailedPrecondition(
            f"{source.name} is of model_type {config.get('model_type')!r}; known are "
            f"{', '.join(sorted(known))}",
            hint="export it to onnx/model.onnx: then any architecture runs",
        )
    files_of(source, _roles("onnx-clip") if task == "images" else {"weights"})
    raise AssertionError("there are no weights, and that was not said")


def _roles(kind: str, pooling: str = "") -> frozenset[str]:
    poolings = KINDS[kind].poolings
    return (poolings[pooling] if pooling else next(iter(poolings.values())))[0]


# --- models that give a vector per text


def _vector(source: Source, config: Mapping[str, Any], remarks: list[str]) -> dict[str, Any]:
    modules = _modules(source)
    pooling = _pooling(source, modules["Pooling"])
    prompts, metric = prompts_of(source, remarks)
    if not pooling.pop("include_prompt") and any(prompts.values()):
        raise FailedPrecondition(
            f"{source.name} leaves the prompt out of the mean, which its kind of model does not do"
        )
    check_lower_case(source)
    dim = _hidden(config)
    if dim is None:
        raise FailedPrecondition(f"{source.name}: config.json has no hidden_size")
    return {
        "dim": dim,
        "metric": metric,
        "max_tokens": max_tokens_of(source, config, modules["Transformer"]),
        **pooling,
        "normalize": "Normalize" in modules,
        **prompts,
    }


def _modules(source: Source) -> dict[str, str]:
    """Return the path of each module by the name of its class: Transformer, Pooling, Normalize."""
    if "modules.json" not in source.sizes:
        raise FailedPrecondition(
            f"{source.name} has no modules.json, so nothing says how its tokens become one vector",
            hint="save it by sentence-transformers, or write its entry into the catalogue yourself",
        )
    found = modules_of(source)
    unknown = [name for name in found if name not in _MODULES]
    if unknown:
        raise FailedPrecondition(
            f"{source.name} has the module {unknown[0]}, known are {', '.join(_MODULES)}",
            hint="export the whole model to ONNX, if what it adds is only computed",
        )
    if list(found)[:2] != ["Transformer", "Pooling"]:
        raise FailedPrecondition(
            f"{source.name} has the modules {', '.join(found) or 'none'}, expected "
            f"{', '.join(_MODULES)} in this order, the last if its vectors have unit length"
        )
    return found


def _pooling(source: Source, folder: str) -> dict[str, Any]:
    path = f"{folder}/config.json"
    said = object_of(source, path)
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


def _hidden(config: Mapping[str, Any]) -> int | None:
    return hf_heads.number_of(config, "hidden_size", "dim")  # as DistilBERT calls it


_DIMS: Mapping[str, Callable[[Mapping[str, Any]], int | None]] = {
    "vector": _hidden,
    "words": hf_heads.words_of,
    "pairs": hf_heads.labels_of,
    "images": hf_heads.projected_of,
}
_ENTRIES: Mapping[str, Callable[[Source, Mapping[str, Any], list[str]], dict[str, Any]]] = {
    "vector": _vector,
    "words": hf_heads.splade,
    "pairs": hf_heads.cross_encoder,
    "images": hf_heads.clip,
}
