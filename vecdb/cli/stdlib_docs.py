"""The documentation of Python's own standard library, read from its source.

With `ast`, since importing a module runs it. One entry per public module, class and function that
has a docstring; what is private, or a test of the library itself, is left out.
"""

from __future__ import annotations

import ast
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_NOT_LIBRARY = {"test", "tests", "site-packages", "dist-packages", "lib-dynload", "__pycache__"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One documented thing.

    name: dotted, such as ``csv.DictReader``. kind: module, class or function. signature: as in the
    source, "" for modules.
    """

    name: str
    module: str
    kind: str
    signature: str
    doc: str

    @property
    def text(self) -> str:
        """What stands for the entry when it is searched: its name in words, then its docstring."""
        return f"{self.name}{self.signature}\n{self.doc}"


def read_stdlib() -> Iterator[Entry]:
    """Yield the entries of the standard library of this Python, by file."""
    root = Path(sysconfig.get_path("stdlib"))
    seen: set[str] = set()  # a name may be defined twice, for two platforms say: the first stands
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        if not parts or any(part in _NOT_LIBRARY or "-" in part for part in parts):
            continue
        if any(part.startswith("_") for part in parts):
            continue
        for entry in _read_module(path, ".".join(parts)):
            if entry.name not in seen:
                seen.add(entry.name)
                yield entry


def _read_module(path: Path, module: str) -> Iterator[Entry]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what the library's source is warned for is not ours
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    doc = ast.get_docstring(tree)
    if doc:
        yield Entry(module, module, "module", "", doc)
    yield from _read_body(tree, module, module)


def _read_body(node: ast.Module | ast.ClassDef, prefix: str, module: str) -> Iterator[Entry]:
    for item in node.body:
        if not isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        if item.name.startswith("_"):
            continue
        name = f"{prefix}.{item.name}"
        kind = "class" if isinstance(item, ast.ClassDef) else "function"
        doc = ast.get_docstring(item)
        if doc:
            yield Entry(name, module, kind, _signature(item), doc)
        if isinstance(item, ast.ClassDef):
            yield from _read_body(item, name, module)


def _signature(item: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> str:
    if isinstance(item, ast.ClassDef):
        bases = ", ".join(ast.unparse(base) for base in item.bases)
        return f"({bases})" if bases else ""
    returns = f" -> {ast.unparse(item.returns)}" if item.returns else ""
    return f"({ast.unparse(item.args)}){returns}"
