"""Decoders that give a vector per token: Mistral, Mixtral and Qwen2, as transformers computes them.

The only file that knows transformers. What it builds comes from a configuration and weights that
were verified: nothing is looked up elsewhere, and no code comes with a model.
"""

from __future__ import annotations

import json
import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers

from vecdb.embed.catalog import ModelSpec
from vecdb.embed.encoder import I64, Execution
from vecdb.embed.memory import free_bytes
from vecdb.embed.safetensors_file import Tensors
from vecdb.errors import Corrupt, FailedPrecondition

log = logging.getLogger(__name__)

_CLASSES = {
    "mistral": ("MistralConfig", "MistralModel"),
    "mixtral": ("MixtralConfig", "MixtralModel"),
    "qwen2": ("Qwen2Config", "Qwen2Model"),
}
_DEVICES = ("cpu", "cuda")
_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_KINDS = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
# What else files of these models hold: the half that writes text, and constants that are computed.
_UNREAD = ("lm_head.", "rotary_emb.inv_freq")


class Decoder:
    """A decoder that is ready to run; any thread may call it, one at a time.

    config: the bytes of config.json, which lies at path. Raises Corrupt for files that cannot be,
    FailedPrecondition where files and entry do not go together, the device is not there or its
    memory does not suffice.
    """

    def __init__(
        self, spec: ModelSpec, config: bytes, path: Path, tensors: Tensors, execution: Execution
    ) -> None:
        self._bidirectional = spec.options.get("bidirectional", False)
        self.device = _device(spec, execution)
        precision = _precision(spec, execution)
        said = _configuration(config, path)
        settings = _settings(spec, said, path, self._bidirectional)
        self.vocabulary: int = settings.vocab_size
        _check_memory(spec, tensors, precision, self.device)
        torch.set_num_threads(execution.threads)
        model_class = getattr(transformers, _CLASSES[said["model_type"]][1])
        model = _loaded(spec, model_class, settings, tensors, precision)
        self._model = model.to(self.device).eval()

    def states(self, ids: I64, mask: I64) -> torch.Tensor:
        """Return a vector per token, (n, t, dim), of ids padded on the right, (n, t).

        mask: (n, t), 0 where an id is padding. No vector depends on padding: a causal model sees
        nothing behind a token, the other one is told.
        """
        seen = None
        if self._bidirectional:
            seen = torch.from_numpy(mask > 0).to(self.device)[:, None, None, :]
        found = self._model(
            input_ids=torch.from_numpy(ids).to(self.device), attention_mask=seen, use_cache=False
        )
        states: torch.Tensor = found.last_hidden_state
        return states


def _device(spec: ModelSpec, execution: Execution) -> torch.device:
    if execution.device not in _DEVICES:
        raise FailedPrecondition(
            f"model {spec.name} runs on {' or '.join(_DEVICES)}, not on {execution.device}",
            hint="set embed.device",
        )
    if execution.device == "cuda" and not torch.cuda.is_available():
        raise FailedPrecondition(
            f"model {spec.name}: torch {torch.__version__} finds no CUDA device",
            hint="install the build of torch for the driver of this machine, or set "
            "embed.device to cpu",
        )
    return torch.device(execution.device)


def _precision(spec: ModelSpec, execution: Execution) -> torch.dtype:
    if execution.precision not in _PRECISIONS:
        raise FailedPrecondition(
            f"model {spec.name} computes in {' or '.join(_PRECISIONS)}, not in "
            f"{execution.precision}",
            hint="set embed.precision",
        )
    return _PRECISIONS[execution.precision]


def _configuration(config: bytes, path: Path) -> dict[str, Any]:
    try:
        said = json.loads(config)
    except ValueError as error:
        raise Corrupt(f"{path} is no JSON: {error}", path=path) from None
    if not isinstance(said, dict):
        raise Corrupt(f"{path} is no JSON object", path=path)
    return said


def _settings(
    spec: ModelSpec, said: dict[str, Any], path: Path, bidirectional: bool
) -> transformers.PretrainedConfig:
    """Return the configuration as transformers has it, which goes with the entry."""
    if str(said.get("model_type")) not in _CLASSES:
        raise FailedPrecondition(
            f"model {spec.name}: {path} is of a model {said.get('model_type')!r}, known are "
            f"{', '.join(_CLASSES)}"
        )
    if said.get("quantization_config"):
        raise FailedPrecondition(
            f"model {spec.name}: {path} is of weights that are quantised",
            hint="take those in float32, bfloat16 or float16",
        )
    # What newer releases of transformers go by; this file says itself who sees whom.
    causal = said.pop("is_causal", not bidirectional)
    if causal is bidirectional:
        raise FailedPrecondition(
            f"model {spec.name}: {path} says is_causal {str(causal).lower()}, the catalogue says "
            f"bidirectional {str(bidirectional).lower()}",
            hint="take the file of the model's newest revision, or correct the entry",
        )
    config_class = getattr(transformers, _CLASSES[said["model_type"]][0])
    try:
        settings = config_class.from_dict(said)
    except Exception as error:
        raise FailedPrecondition(f"model {spec.name}: {path} cannot be: {error}") from None
    if settings.hidden_size != spec.dim or settings.max_position_embeddings < spec.max_tokens:
        raise FailedPrecondition(
            f"model {spec.name}: {path} is of {settings.hidden_size} dimensions and "
            f"{settings.max_position_embeddings} tokens, the catalogue says {spec.dim} and "
            f"{spec.max_tokens}"
        )
    return settings


def _check_memory(
    spec: ModelSpec, tensors: Tensors, precision: torch.dtype, device: torch.device
) -> None:
    """Raise FailedPrecondition where the weights do not fit: else something would be killed."""
    numbers = sum(math.prod(tensors.raw(name)[1]) for name in _read(tensors))
    needed = numbers * precision.itemsize
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_bytes()
    if free is not None and needed > free:
        halved = precision.itemsize == 4
        raise FailedPrecondition(
            f"model {spec.name} needs {needed / 1e9:.1f} GB in {precision}, "
            f"{free / 1e9:.1f} GB are free".replace("torch.", ""),
            hint=f"{'set embed.precision to bfloat16, which needs half; or ' * halved}run "
            "the worker on a machine with more memory",
        )


def _loaded(
    spec: ModelSpec,
    model_class: type[transformers.PreTrainedModel],
    settings: transformers.PretrainedConfig,
    tensors: Tensors,
    precision: torch.dtype,
) -> transformers.PreTrainedModel:
    """Return the model with its weights. Raises FailedPrecondition unless those are all."""
    transformers.utils.logging.disable_progress_bar()
    newer = int(transformers.__version__.partition(".")[0]) >= 5
    try:
        # Without a name to load by: from what is here, and nothing else. It knows how names and
        # shapes of weights differ between files and releases, such as of Mixtral's experts.
        model, report = model_class.from_pretrained(
            None,
            config=settings,
            state_dict=dict(_weights(tensors)),
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # of which the report tells, and is read below
            local_files_only=True,
            attn_implementation="sdpa",
            **{"dtype" if newer else "torch_dtype": precision},
        )
    except Exception as error:
        raise FailedPrecondition(
            f"model {spec.name}: {tensors.path} does not go with its configuration: {error}"
        ) from error
    _check_report(spec, tensors, report)
    return model


def _read(tensors: Tensors) -> list[str]:
    return [name for name in tensors if not any(unread in name for unread in _UNREAD)]


def _weights(tensors: Tensors) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the weights, by the names that they have without the half that writes text."""
    for name in _read(tensors):
        kind, shape, content = tensors.raw(name)
        if kind not in _KINDS:
            raise FailedPrecondition(
                f"{tensors.path}: {name} is {kind}, expected one of {', '.join(_KINDS)}",
                hint="take weights in float32, bfloat16 or float16",
            )
        with warnings.catch_warnings():
            # They lie in a file that is mapped to be read, and are not written to.
            warnings.filterwarnings("ignore", message=".*not writable.*")
            tensor = torch.from_numpy(content)
        yield name.removeprefix("model."), tensor.view(_KINDS[kind]).reshape(shape)


def _check_report(spec: ModelSpec, tensors: Tensors, report: Mapping[str, Any]) -> None:
    for key, what in (
        ("missing_keys", "misses"),
        ("unexpected_keys", "holds, what its configuration does not know,"),
        ("mismatched_keys", "holds in another shape than its configuration says"),
    ):
        found = report.get(key) or ()
        if names := sorted(one if isinstance(one, str) else one[0] for one in found):
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise FailedPrecondition(
                f"model {spec.name}: {tensors.path} {what} {', '.join(names[:3])}{more}",
                hint="name all parts of the weights in the catalogue, and the config.json that "
                "belongs to them",
            )
