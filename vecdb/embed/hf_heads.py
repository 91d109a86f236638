"""What a folder of Hugging Face says of a SPLADE, of a cross-encoder, and of a CLIP.

Each as the keys of an entry of the catalogue. What sentence-transformers would do by itself, such
as the sigmoid of a score, is written out; what is not done here is refused, by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vecdb.embed.hf_settings import (
    check_lower_case,
    max_tokens_of,
    modules_of,
    object_of,
    optional_of,
    prompts_of,
)
from vecdb.embed.model_sources import Source
from vecdb.errors import FailedPrecondition

_SETTINGS = "config_sentence_transformers.json"
_PREPROCESSOR = "preprocessor_config.json"
# As the enumeration of Pillow numbers them.
_INTERPOLATIONS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}


# --- SPLADE


def splade(source: Source, config: Mapping[str, Any], remarks: list[str]) -> dict[str, Any]:
    """Return an entry of a model that weighs the words of its vocabulary."""
    check_splade(source)
    if "modules.json" not in source.sizes:
        remarks.append(
            "taken as SPLADE, because it is a masked language model and nothing says otherwise; "
            "one that was not trained for that gives vectors that are not sparse"
        )
    if optional_of(source, _SETTINGS).get("similarity_fn_name") not in (None, "dot"):
        raise FailedPrecondition(f"{source.name}: sparse vectors are compared by dot product")
    prompts, _ = prompts_of(source, remarks)
    check_lower_case(source)
    return {
        "dim": _said(source, "vocab_size", words_of(config)),
        "metric": "dot",
        "max_tokens": max_tokens_of(source, config, ""),
        "pooling": "max",
        "normalize": False,
        **prompts,
    }


def check_splade(source: Source) -> None:
    """Raise FailedPrecondition where words are not weighed by log(1 + relu), the greatest kept."""
    modules = modules_of(source)
    if not modules:
        return
    # As they were called before release 6 of sentence-transformers, and since.
    if list(modules) not in ([one, "SpladePooling"] for one in ("MLMTransformer", "Transformer")):
        raise FailedPrecondition(
            f"{source.name} has the modules {', '.join(modules)}, expected Transformer and "
            "SpladePooling"
        )
    path = f"{modules['SpladePooling']}/config.json"
    said = object_of(source, path)
    for key, wanted in (("pooling_strategy", "max"), ("activation_function", "relu")):
        if said.get(key, wanted) != wanted:
            raise FailedPrecondition(
                f"{source.name}: {path} has {key} {said[key]!r}, known is {wanted!r}"
            )


def words_of(config: Mapping[str, Any]) -> int | None:
    """Return how many words there are, or None where nothing says."""
    return number_of(config, "vocab_size")


# --- cross-encoders


def cross_encoder(source: Source, config: Mapping[str, Any], remarks: list[str]) -> dict[str, Any]:
    """Return an entry of a model that scores pairs."""
    if (labels := labels_of(config)) != 1:
        raise FailedPrecondition(
            f"{source.name} tells {labels} classes apart, a re-ranker gives one score"
        )
    prompts, _ = prompts_of(source, remarks)
    if any(prompts.values()):
        raise FailedPrecondition(f"{source.name} has a prompt, which re-rankers here do without")
    check_lower_case(source)
    return {
        "dim": 1,
        "metric": "dot",
        "max_tokens": max_tokens_of(source, config, ""),
        "pooling": "score",
        "normalize": False,
        "options": {"sigmoid": _sigmoid(source, config)},
    }


def labels_of(config: Mapping[str, Any]) -> int | None:
    """Return how many scores it gives: two where nothing says, as transformers has it."""
    named = config.get("id2label")
    return len(named) if isinstance(named, dict) else number_of(config, "num_labels") or 2


def _sigmoid(source: Source, config: Mapping[str, Any]) -> bool:
    """Return whether scores are brought between 0 and 1, by default as sentence-transformers."""
    within = config.get("sentence_transformers")
    said = (
        optional_of(source, _SETTINGS).get("activation_fn")
        or (within.get("activation_fn") if isinstance(within, dict) else None)
        or config.get("sbert_ce_default_activation_function")
        or "Sigmoid"
    )
    name = str(said).rpartition(".")[2]
    if name not in ("Sigmoid", "Identity"):
        raise FailedPrecondition(f"{source.name} puts {said} behind its scores")
    return name == "Sigmoid"


# --- CLIP


def clip(source: Source, config: Mapping[str, Any], remarks: list[str]) -> dict[str, Any]:
    """Return an entry of a model for texts and images."""
    check_lower_case(source)
    tower = config.get("text_config")
    return {
        "dim": _said(source, "projection_dim", projected_of(config)),
        "metric": "cosine",
        "max_tokens": max_tokens_of(source, tower if isinstance(tower, dict) else {}, ""),
        "pooling": "projection",
        "normalize": True,
        "options": {"end_id": _end_id(source), "pixels": _pixels(source)},
    }


def projected_of(config: Mapping[str, Any]) -> int | None:
    """Return how long its vectors are, or None where nothing says."""
    return number_of(config, "projection_dim")


def _end_id(source: Source) -> int:
    """Return the end token's number, by its name: that in config.json is wrong of CLIP's own."""
    end = optional_of(source, "tokenizer_config.json").get("eos_token")
    end = end.get("content") if isinstance(end, dict) else end
    added = object_of(source, "tokenizer.json").get("added_tokens")
    for token in added if isinstance(added, list) else []:
        if isinstance(token, dict) and token.get("content") == end and type(token["id"]) is int:
            number: int = token["id"]
            return number
    raise FailedPrecondition(
        f"{source.name}: tokenizer.json has no token {end!r}, tokenizer_config.json's eos_token"
    )


def _pixels(source: Source) -> dict[str, Any]:
    """Return the options of pixels.py that do to images what preprocessor_config.json says."""
    said = object_of(source, _PREPROCESSOR)
    size, crop = _edge(source, said, "size"), _edge(source, said, "crop_size")
    stretched = isinstance(said.get("size"), dict) and "shortest_edge" not in said["size"]
    cropped = said.get("do_center_crop", True)
    how = _INTERPOLATIONS.get(said.get("resample", 3))
    if said.get("do_resize", True) is not True or not (cropped or stretched) or how is None:
        raise FailedPrecondition(
            f"{source.name}: {_PREPROCESSOR} does not make a square of an image by resizing "
            f"({', '.join(_INTERPOLATIONS.values())}) and cutting"
        )
    pixels: dict[str, Any] = {
        "resize": size,
        "fit": "stretch" if stretched else "shortest",
        "crop": crop if cropped else size,
        "interpolation": how,
        "scale": said.get("rescale_factor", 1 / 255) if said.get("do_rescale", True) else 1.0,
    }
    if said.get("do_normalize", True):
        for key in ("mean", "std"):
            pixels[key] = said.get(f"image_{key}")
            if not isinstance(pixels[key], list) or len(pixels[key]) != 3:
                raise FailedPrecondition(f"{source.name}: {_PREPROCESSOR} has no image_{key}")
    return pixels


def _edge(source: Source, said: Mapping[str, Any], key: str) -> int:
    """Return the one length that a size has: of the shorter edge, or of both."""
    size = said.get(key, 224)
    lengths = set(size.values()) if isinstance(size, dict) else {size}
    if len(lengths) != 1 or type(length := lengths.pop()) is not int:
        raise FailedPrecondition(f"{source.name}: {_PREPROCESSOR} has {key} {size!r}")
    return length


def number_of(config: Mapping[str, Any], *names: str) -> int | None:
    """Return the first of these settings that is a number of things, or None."""
    found = [config[name] for name in names if name in config][:1]
    return found[0] if found and type(found[0]) is int and found[0] > 0 else None


def _said(source: Source, name: str, number: int | None) -> int:
    if number is None:
        raise FailedPrecondition(f"{source.name}: config.json has no {name}")
    return number
