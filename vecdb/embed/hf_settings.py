"""What the settings in a folder of Hugging Face say, whatever its model is for.

Reads what sentence-transformers and transformers write: modules, prompts, bounds, the tokenizer's
settings, the licence. What a setting means for a kind of model, hf_folder.py and hf_heads.py know.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from vecdb.embed.model_sources import Source
from vecdb.errors import FailedPrecondition

# Which architectures run from their weights alone: bert_graph.MODEL_TYPES, which needs onnx to ask.
BERT_TYPES = frozenset({"bert", "roberta", "xlm-roberta", "camembert", "bilingual"})
# XLM-R's tokenizer has 17 MB.
SETTINGS_BYTES_MAX = 64 << 20
_METRICS = {"cosine": "cosine", "dot": "dot", "euclidean": "euclid", "manhattan": "manhattan"}
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")
# transformers' word for no bound is 10**30.
_TOKENS_MAX = 1 << 20
_PACKAGE = "sentence_transformers"


def modules_of(source: Source) -> dict[str, str]:
    """Return the path of each module by the name of its class, in order; none without a list.

    Raises FailedPrecondition that names one which is not of sentence-transformers.
    """
    if "modules.json" not in source.sizes:
        return {}
    listed = json_of(source, "modules.json")
    if not isinstance(listed, list):
        raise FailedPrecondition(f"{source.name}: modules.json is no list")
    try:
        found = {one["type"].rpartition(".")[2]: one["path"] for one in listed}
        foreign = [one["type"] for one in listed if one["type"].split(".")[0] != _PACKAGE]
    except (TypeError, KeyError, AttributeError):
        raise FailedPrecondition(f"{source.name}: modules.json is no list of modules") from None
    if foreign:
        raise FailedPrecondition(
            f"{source.name} has the module {foreign[0]}, which is code of its own",
            hint="export the whole model to ONNX, if what it adds is only computed",
        )
    if len(found) != len(listed):
        raise FailedPrecondition(f"{source.name} has one of the modules {', '.join(found)} twice")
    return found


def prompts_of(source: Source, remarks: list[str]) -> tuple[dict[str, str], str]:
    """Return the prompts of both roles, and the metric."""
    said = optional_of(source, "config_sentence_transformers.json")
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


def max_tokens_of(source: Source, config: Mapping[str, Any], folder: str) -> int:
    """Return the least of what settings, tokenizer and positions say."""
    prefix = f"{folder}/" if folder else ""
    names = [
        name
        for name in source.sizes
        if re.fullmatch(re.escape(prefix) + r"sentence_[\w-]+_config\.json", name)
    ]
    said = [object_of(source, name).get("max_seq_length") for name in sorted(names)[:1]]
    tokenizer = optional_of(source, "tokenizer_config.json")
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


def check_lower_case(source: Source) -> None:
    """Raise FailedPrecondition where case is not what tokenizer.json alone makes of it."""
    try:
        normalizer = json.dumps(object_of(source, "tokenizer.json").get("normalizer")).lower()
    except RecursionError:
        normalizer = ""
    lowers = '"lowercase": true' in normalizer or '"type": "lowercase"' in normalizer
    for name in ("sentence_bert_config.json", "tokenizer_config.json"):
        said = optional_of(source, name)
        bert = str(said.get("tokenizer_class", "")).startswith("Bert")
        wanted = said.get("do_lower_case")
        if (wanted is True and not lowers) or (wanted is False and lowers and bert):
            raise FailedPrecondition(
                f"{source.name}: {name} says do_lower_case {str(wanted).lower()}, tokenizer.json "
                "does the other",
                hint="save the tokenizer again, so that both say the same",
            )


def license_of(source: Source) -> str:
    """Return what the README's head says, which is where the hub has it from."""
    if "README.md" in source.sizes:
        with source.open("README.md") as file:
            head = file.read(1 << 16).decode(errors="replace")
        found = re.match(r"---\n(?:(?!---\n).*\n)*?license(?:_name)?:[ ]*([\w.+-]+)", head)
        if found:
            return found.group(1)
    return "unknown"


def optional_of(source: Source, path: str) -> dict[str, Any]:
    """Return a file that is a JSON object, or an empty one where it is not there."""
    return object_of(source, path) if path in source.sizes else {}


def object_of(source: Source, path: str) -> dict[str, Any]:
    """Return a file that is a JSON object. Raises FailedPrecondition."""
    found = json_of(source, path)
    if not isinstance(found, dict):
        raise FailedPrecondition(f"{source.name}: {path} is no JSON object")
    return found


def json_of(source: Source, path: str) -> object:
    """Return what a file of JSON holds. Raises FailedPrecondition that names it."""
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
