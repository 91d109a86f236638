#!/usr/bin/env python3
"""Makes the client's async modules from the sync ones: vecdb_client/*.py to vecdb_client/aio/.

What waits is found, not listed: async_wire.py says what is `async` at the bottom, and whatever
calls that becomes async itself, up to the public methods. So a method that is written for the sync
client is there for the async one after the next run of scripts/generate.sh. Text is edited in
place, at the positions that `ast` gives, so that comments, docstrings and layout stay.

Whether a call waits is told by the class of what it is called on: `self`, a variable that was made
by its class or is annotated with it, or one, or an attribute, that is named after its class
(self._transport). A function that is handed on waits where the parameter has its name. What is
forgotten all the same, mypy finds: a coroutine is not what was wanted.

    make_async.py [--check]     --check: change nothing, fail where something would change
"""

from __future__ import annotations

import ast
import itertools
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

PACKAGE = "vecdb_client"
SOURCES = Path(__file__).resolve().parent.parent / "clients/python/src" / PACKAGE
TARGET = "aio"
WIRE, ASYNC_WIRE = "wire", "async_wire"
RENAMED = {
    "Client": "AsyncClient",
    "Collection": "AsyncCollection",
    "Documents": "AsyncDocuments",
}
PROTOCOL = {"__enter__": "__aenter__", "__exit__": "__aexit__"}
WORDS = {
    "Threads may share it": "Tasks of one event loop may share it",
    "caller's thread": "caller's task",
    "another thread looks": "another task looks",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef
AWAITED, ITERATED, ENTERED = "await", "async for", "async with"
Key = tuple[str, str]
"""Class and name of a method; "" and name of a function or a class."""


@dataclass
class Module:
    """A source, and the async text that it is to become."""

    name: str
    text: str
    tree: ast.Module = field(init=False)
    parents: dict[ast.AST, ast.AST] = field(init=False)

    def __post_init__(self) -> None:
        self.tree = ast.parse(self.text)
        self.parents = {
            child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)
        }

    def functions(self) -> Iterator[tuple[Key, Function]]:
        """Yield all functions with the class that they are methods of, if any."""
        for node in ast.walk(self.tree):
            if isinstance(node, Function):
                parent = self.parents[node]
                yield (parent.name if isinstance(parent, ast.ClassDef) else "", node.name), node

    @cached_property
    def names(self) -> set[str]:
        """Return the functions and classes that it defines, and what it imports."""
        found = {name for (_, name), _ in self.functions()}
        for node in ast.walk(self.tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                found |= {alias.asname or alias.name for alias in node.names}
            elif isinstance(node, ast.ClassDef):
                found.add(node.name)
        return found

    def function_of(self, node: ast.AST) -> ast.AST:
        """Return the function around a node, or the module."""
        while not isinstance(node, (Function, ast.Module)):
            node = self.parents[node]
        return node

    def class_of_variable(self, variable: ast.Name) -> str:
        """Return the class that a variable was made by, or is annotated with; "" if neither."""
        function = self.function_of(variable)
        for node in own(function):
            target, value = getattr(node, "target", None), getattr(node, "value", None)
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                target = node.targets[0]
            elif isinstance(node, ast.withitem):
                target, value = node.optional_vars, node.context_expr
            if isinstance(node, ast.arg) and node.arg == variable.id:
                return name_of(node.annotation)
            if isinstance(target, ast.Name) and target.id == variable.id:
                made = name_of(value.func) if isinstance(value, ast.Call) else ""
                found = made or name_of(getattr(node, "annotation", None))
                if found:
                    return found
        return ""

    def class_of(self, node: ast.AST) -> str:
        """Return the class around a node, or ""."""
        while not isinstance(node, (ast.ClassDef, ast.Module)):
            node = self.parents[node]
        return node.name if isinstance(node, ast.ClassDef) else ""

    def imported(self) -> set[str]:
        """Return the modules of the package that it imports."""
        found: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                root, _, name = node.module.partition(".")
                if root == PACKAGE:
                    found |= {name.partition(".")[0]} if name else {a.name for a in node.names}
        return found


def name_of(node: ast.AST | None) -> str:
    """Return the name in an expression such as Name or Name[...], or ""."""
    if isinstance(node, ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def own(function: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a function, without those of functions inside it."""
    for child in ast.iter_child_nodes(function):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield child
            yield from own(child)


# --- what waits


@dataclass
class Waiting:
    """What is known to wait, and how it is called for that."""

    modules: set[str]
    kinds: dict[Key, str] = field(default_factory=dict)

    def read_wire(self, wire: Module) -> None:
        """Take from the async wire what is async there."""
        for (owner, name), node in wire.functions():
            if name == "__aenter__":
                self.kinds["", owner] = ENTERED
            elif isinstance(node, ast.AsyncFunctionDef):
                yields = any(isinstance(one, ast.Yield) for one in own(node))
                self.kinds[owner, name] = ITERATED if yields else AWAITED

    def spread(self, modules: list[Module]) -> None:
        """Find what else waits because of what it calls, until nothing new is found."""
        before = -1
        while before != len(self.kinds):
            before = len(self.kinds)
            for module in modules:
                for key, function in module.functions():
                    kind = self._kind(module, function)
                    if kind and key not in self.kinds:
                        self.kinds[key] = kind

    def of_call(self, module: Module, node: ast.AST | None) -> str | None:
        """Return how a call waits, None for what is none or does not wait."""
        if not isinstance(node, ast.Call):
            return None
        bare = name_of(node.func)
        if bare:
            return self.kinds.get(("", bare)) if self._sees(module, node, bare) else None
        called = node.func
        if not isinstance(called, ast.Attribute):
            return None
        on = called.value
        if isinstance(on, ast.Call):
            return self.kinds.get((name_of(on.func), called.attr))
        name = on.id if isinstance(on, ast.Name) else getattr(on, "attr", "")
        if name == "self":
            key = module.class_of(node), called.attr
            if self._defines(module, *key):
                return self.kinds.get(key)
            # Of a base, or of a class that this one is a part of: whichever has such a method.
            others = (kind for (owner, of), kind in self.kinds.items() if owner and of == key[1])
            return next(others, None)
        if isinstance(on, ast.Name) and name in self.modules and ("", called.attr) in self.kinds:
            return self.kinds["", called.attr]
        made = module.class_of_variable(on) if isinstance(on, ast.Name) else ""
        named = "".join(word.capitalize() for word in name.strip("_").split("_"))
        return self.kinds.get((made, called.attr)) or self.kinds.get((named, called.attr))

    @property
    def iterators(self) -> set[str]:
        """The names of what gives an iterator that waits."""
        return {name for (_, name), kind in self.kinds.items() if kind == ITERATED}

    def awaits(self, module: Module, function: ast.AST) -> bool:
        """Return whether a function has to be `async def`."""
        for node in own(function):
            kind = self.of_call(module, node)
            parent = module.parents.get(node)
            handed_on = kind == ITERATED and isinstance(parent, (ast.Return, ast.Call))
            if kind and not handed_on:
                return True
        return False

    def _kind(self, module: Module, function: Function) -> str | None:
        if not self.awaits(module, function):
            returned = (n.value for n in own(function) if isinstance(n, ast.Return))
            return next(filter(None, (self.of_call(module, value) for value in returned)), None)
        if context_decorator(function):
            return ENTERED
        yields = any(isinstance(node, (ast.Yield, ast.YieldFrom)) for node in own(function))
        return ITERATED if yields else AWAITED

    @staticmethod
    def _sees(module: Module, node: ast.AST, name: str) -> bool:
        function = module.function_of(node)
        given = arguments(function.args) if isinstance(function, Function) else []
        return name in module.names or any(one.arg == name for one in given)

    @staticmethod
    def _defines(module: Module, owner: str, name: str) -> bool:
        return any(key == (owner, name) for key, _ in module.functions())


def arguments(given: ast.arguments) -> list[ast.arg]:
    """Return all arguments of a function."""
    return [one for one in ast.walk(given) if isinstance(one, ast.arg)]


def context_decorator(function: Function) -> ast.expr | None:
    """Return the decorator that makes a function a context manager, if it has one."""
    named = (one for one in function.decorator_list if isinstance(one, ast.Name))
    return next((one for one in named if one.id == "contextmanager"), None)


# --- the text


class Edits:
    """Changes of a text at positions of its syntax tree."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.data = module.text.encode()
        lengths = (len(line) for line in self.data.splitlines(keepends=True))
        self.starts = [0, *itertools.accumulate(lengths)]
        self.changes: list[tuple[int, int, int, str]] = []

    def start(self, node: ast.expr | ast.stmt) -> int:
        """Return where a node begins, in bytes."""
        return self.starts[node.lineno - 1] + node.col_offset

    def end(self, node: ast.expr | ast.stmt) -> int:
        """Return where a node ends."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.starts[node.end_lineno - 1] + node.end_col_offset

    def replace(self, start: int, end: int, text: str) -> None:
        """Put a text in place of some bytes; changes at one place keep their order."""
        self.changes.append((start, end, len(self.changes), text))

    def source(self, node: ast.expr | ast.stmt) -> str:
        """Return a node's text, as it was."""
        return self.data[self.start(node) : self.end(node)].decode()

    def result(self) -> str:
        """Return the text with all changes."""
        at, parts = 0, []
        for start, end, _, text in sorted(self.changes):
            assert start >= at, f"{self.module.name}: changes overlap at byte {start}"
            parts += [self.data[at:start], text.encode()]
            at = end
        return b"".join([*parts, self.data[at:]]).decode()


def converted(module: Module, waiting: Waiting) -> str:
    """Return the async text of a module."""
    edits = Edits(module)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom):
            edit_import(edits, node, waiting.modules)
        elif isinstance(node, ast.Call):
            edit_call(edits, node, waiting)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.YieldFrom):
            edit_yield_from(edits, node, node.value.value, waiting)
    for key, function in module.functions():
        edit_function(edits, function, waiting, waiting.kinds.get(key))
    text = edits.result()
    for name in ("AsyncIterator", "Awaitable"):
        there = "from collections.abc import "
        text = text.replace(there, f"{there}{name}, " if f"{name}[" in text else there)
    for name, new in RENAMED.items():
        text = re.sub(rf"(?<![\w.]){name}\b", new, text)
    for words, new in WORDS.items():
        text = text.replace(words, new)
    return f"# Made from {module.name}.py by scripts/make_async.py. Do not edit.\n{text}"


def edit_import(edits: Edits, node: ast.ImportFrom, derived: set[str]) -> None:
    """Have an import name the async module, where there is one."""
    root, _, name = (node.module or "").partition(".")
    if root == "contextlib":
        names = ", ".join(f"async{a.name}" for a in node.names if a.name == "contextmanager")
        edits.replace(edits.end(node), edits.end(node), f", {names}" if names else "")
    if root != PACKAGE:
        return
    if name:
        new = ASYNC_WIRE if name == WIRE else f"{TARGET}.{name}" if name in derived else name
        text = edits.source(node).replace(f"from {node.module} ", f"from {PACKAGE}.{new} ", 1)
        edits.replace(edits.start(node), edits.end(node), text)
        return
    lines = []
    for place, wanted in ((PACKAGE, False), (f"{PACKAGE}.{TARGET}", True)):
        names = ", ".join(ast.unparse(a) for a in node.names if (a.name in derived) is wanted)
        lines += [f"from {place} import {names}"] * bool(names)
    edits.replace(edits.start(node), edits.end(node), "\n".join(lines))


def edit_call(edits: Edits, node: ast.Call, waiting: Waiting) -> None:
    """Have a call awaited, iterated or entered as it needs."""
    module = edits.module
    kind = waiting.of_call(module, node)
    parent = module.parents[node]
    where = f"{module.name}.py:{node.lineno}: {ast.unparse(node)[:60]}"
    if kind == AWAITED:
        around: ast.AST = node
        while not isinstance(around, (ast.stmt, ast.Lambda, ast.GeneratorExp)):
            around = module.parents[around]
        if not isinstance(around, ast.stmt):
            raise SystemExit(f"{where}: waits in a lambda or generator expression: use a function")
        wrapped = isinstance(parent, (ast.Attribute, ast.Subscript, ast.BinOp)) or (
            isinstance(parent, ast.Call) and parent.func is node
        )
        edits.replace(edits.start(node), edits.start(node), "(await " if wrapped else "await ")
        if wrapped:
            edits.replace(edits.end(node), edits.end(node), ")")
    elif kind == ITERATED:
        if isinstance(parent, (ast.For, ast.comprehension)) and parent.iter is node:
            at = edits.start(parent if isinstance(parent, ast.For) else parent.target)
            at -= 0 if isinstance(parent, ast.For) else len("for ")
            edits.replace(at, at, "async ")
        elif not isinstance(parent, (ast.Return, ast.YieldFrom)) and not handed_on(module, parent):
            raise SystemExit(
                f"{where}: an iterator that waits is for `for`, `yield from`, `return`"
            )
    elif kind == ENTERED:
        statement = module.parents[parent]
        if not (isinstance(parent, ast.withitem) and isinstance(statement, ast.With)):
            raise SystemExit(f"{where}: is for `with`")
        edits.replace(edits.start(statement), edits.start(statement), "async ")


def handed_on(module: Module, parent: ast.AST) -> bool:
    """Return whether what an iterator is given to is a function of ours, not a built-in one."""
    bare = name_of(parent.func) if isinstance(parent, ast.Call) else ""
    return isinstance(parent, ast.Call) and (not bare or bare in module.names)


def edit_yield_from(edits: Edits, node: ast.Expr, value: ast.expr, waiting: Waiting) -> None:
    """Write `yield from` as a loop, in functions that become async generators."""
    around: ast.AST = node
    while not isinstance(around, Function):
        around = edits.module.parents[around]
    if not waiting.awaits(edits.module, around):
        return
    loop = "async for" if waiting.of_call(edits.module, value) == ITERATED else "for"
    edits.replace(edits.start(node), edits.start(value), f"{loop} one in ")
    edits.replace(edits.end(node), edits.end(node), f":\n{' ' * node.col_offset}    yield one")


def edit_function(edits: Edits, function: Function, waiting: Waiting, kind: str | None) -> None:
    """Write a function's first line as it has to be."""
    start = edits.start(function)
    name = PROTOCOL.get(function.name, function.name)
    overload = kind == AWAITED and edits.module.class_of(function)  # waits as the one it is of
    if waiting.awaits(edits.module, function) or overload or function.name in PROTOCOL:
        edits.replace(start, start + len(f"def {function.name}"), f"async def {name}")
    for one in arguments(function.args):
        called = one.annotation
        handed = waiting.kinds.get(("", one.arg)) == AWAITED and name_of(called) == "Callable"
        if handed and isinstance(called, ast.Subscript) and isinstance(called.slice, ast.Tuple):
            gives = called.slice.elts[-1]
            edits.replace(edits.start(gives), edits.start(gives), "Awaitable[")
            edits.replace(edits.end(gives), edits.end(gives), "]")
        if one.annotation is not None and one.arg in waiting.iterators:
            for part in ast.walk(one.annotation):
                if isinstance(part, ast.Name) and part.id == "Iterator":
                    edits.replace(edits.start(part), edits.start(part), "Async")
    if kind not in (ITERATED, ENTERED):
        return
    if decorator := context_decorator(function):
        edits.replace(edits.start(decorator), edits.start(decorator), "async")
    if function.returns is not None:
        edits.replace(edits.start(function.returns), edits.start(function.returns), "Async")


def made(sources: Mapping[str, str]) -> dict[str, str]:
    """Return the async modules, by name, of the package's modules: those that can wait."""
    modules = {name: Module(name, text) for name, text in sources.items()}
    wire = modules.pop(ASYNC_WIRE)
    derived: set[str] = set()
    before = -1
    while before != len(derived):
        before = len(derived)
        waits = derived | {WIRE}
        derived |= {n for n, one in modules.items() if n != "__init__" and one.imported() & waits}
    waiting = Waiting(derived)
    waiting.read_wire(wire)
    chosen = [modules[name] for name in sorted(derived)]
    waiting.spread(chosen)
    texts = {module.name: converted(module, waiting) for module in chosen}
    texts["__init__"] = '"""The async client. Made by scripts/make_async.py. Do not edit."""\n'
    return texts


def main() -> int:
    """Write the modules, or with --check compare them; return the exit status."""
    wanted = made({path.stem: path.read_text() for path in SOURCES.glob("*.py")})
    folder = SOURCES / TARGET
    folder.mkdir(exist_ok=True)
    there = {path.stem: path.read_text() for path in folder.glob("*.py")}
    if "--check" in sys.argv[1:]:
        stale = {name for name in there.keys() | wanted if there.get(name) != wanted.get(name)}
        return bool(stale and sys.stderr.write(f"stale: {', '.join(sorted(stale))}\n"))
    for name in there.keys() - wanted:
        (folder / f"{name}.py").unlink()
    for name, text in wanted.items():
        (folder / f"{name}.py").write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
