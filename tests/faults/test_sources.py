"""What the server is made of: nothing in it makes code of what a client sent."""

from __future__ import annotations

import ast

import google.protobuf
from google.protobuf.internal import api_implementation

from tests.live import REPOSITORY

MENDED = (6, 33, 5)
FORBIDDEN_MODULES = {"pickle", "shelve", "marshal", "dill", "joblib", "cloudpickle"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "ParseDict"}


def test_what_a_client_sends_is_never_code() -> None:
    found = []
    for path in sorted((REPOSITORY / "vecdb").rglob("*.py")):
        if path.parent.name == "pb":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names: set[str] = set()
            if isinstance(node, ast.Import):
                names = {alias.name.partition(".")[0] for alias in node.names} & FORBIDDEN_MODULES
            elif isinstance(node, ast.ImportFrom):
                names = {(node.module or "").partition(".")[0]} & FORBIDDEN_MODULES
            elif isinstance(node, ast.Call):
                called = node.func
                if isinstance(called, ast.Name):
                    names = {called.id} & FORBIDDEN_CALLS
                elif isinstance(called, ast.Attribute) and called.attr == "ParseDict":
                    names = {"ParseDict"}
            elif isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
                names = {"trust_remote_code"} - {str(getattr(node.value, "value", None))}
                names = set() if getattr(node.value, "value", None) is False else names
            found += [f"{path.relative_to(REPOSITORY)}: {name}" for name in names]
    assert found == []


def test_protobuf_is_one_that_is_mended() -> None:
    version = tuple(int(part) for part in google.protobuf.__version__.split(".")[:3])
    assert version >= MENDED
    assert api_implementation.Type() == "upb"
    assert "protobuf>=6.33.5" in (REPOSITORY / "pyproject.toml").read_text()
