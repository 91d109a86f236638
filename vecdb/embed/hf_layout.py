"""Where in a folder of Hugging Face the files of a model lie, by what they are to its kind.

Answers which of them to fetch, and which there are; does not read them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from vecdb.embed.hf_settings import object_of
from vecdb.embed.model_sources import Source
from vecdb.errors import FailedPrecondition

# In this order they are copied.
PLACES: Mapping[str, tuple[str, ...]] = {
    "weights": ("model.safetensors",),
    "model": ("onnx/model.onnx", "model.onnx"),
    "text_model": ("onnx/text_model.onnx", "text_model.onnx"),
    "vision_model": ("onnx/vision_model.onnx", "vision_model.onnx"),
    "config": ("config.json",),
    "tokenizer": ("tokenizer.json",),
}
_SETTINGS = frozenset({"config", "tokenizer"})
_INDEX = "model.safetensors.index.json"
_TOWERS = "export its two towers to ONNX, each projected already: text_embeds and image_embeds"
_HINTS = {
    "tokenizer": "save its fast tokenizer: tokenizer.save_pretrained(folder)",
    "text_model": _TOWERS,
    "vision_model": _TOWERS,
}
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def files_of(source: Source, roles: Collection[str]) -> dict[str, str]:
    """Return the path of each role's file, or those of its parts.

    Raises FailedPrecondition that names what is not there.
    """
    ordered = [role for role in PLACES if role in roles]
    return {
        part: path
        for role in (*ordered, *sorted(set(roles) - set(PLACES)))
        for part, path in _of_role(source, role).items()
    }


def holds(source: Source, roles: Collection[str]) -> bool:
    """Return whether there are files of the roles that hold weights, be they sound or not."""
    return all(
        any(place in source.sizes for place in PLACES[role])
        or (role == "weights" and _INDEX in source.sizes)
        for role in set(roles) - _SETTINGS
    )


def patterns_of(source: Source, roles: Collection[str]) -> tuple[str, ...]:
    """Return which files hold the weights of a model of which only the settings are here yet."""
    found = {place for role in set(roles) - _SETTINGS for place in PLACES.get(role, ())}
    if "weights" in roles:
        found |= {"model-*.safetensors", *_indexed(source)}
    if "model" in roles:
        found |= {f"{place}_data" for place in PLACES["model"]}
    return tuple(sorted(found))


def _of_role(source: Source, role: str) -> dict[str, str]:
    """Return the path of a role's file, or those of its parts."""
    if role == "weights" and "model.safetensors" not in source.sizes and _INDEX in source.sizes:
        return _parts(source)
    for place in PLACES.get(role, ()):
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
    raise FailedPrecondition(
        f"{source.name} has no {' or '.join(PLACES.get(role, (role,)))}", hint=_HINTS.get(role, "")
    )


def _parts(source: Source) -> dict[str, str]:
    names = _indexed(source)
    absent = [name for name in names if name not in source.sizes]
    if not names or absent:
        raise FailedPrecondition(
            f"{source.name}: {_INDEX} names {', '.join(absent) or 'no file'}, which is not there"
        )
    if len(names) == 1:
        return {"weights": names[0]}
    return {f"weights-{number:05}": name for number, name in enumerate(names, 1)}


def _indexed(source: Source) -> list[str]:
    """Return the parts that weights are in, none where they are in one file."""
    if _INDEX not in source.sizes:
        return []
    named = object_of(source, _INDEX).get("weight_map")
    return sorted(set(map(str, named.values()))) if isinstance(named, dict) else []
