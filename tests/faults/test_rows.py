"""That every test exists which rows.py names."""

from __future__ import annotations

import ast
from functools import cache

import pytest

from tests.faults.rows import ATTACKS, FAULTS
from tests.live import REPOSITORY


@cache
def functions_of(file: str) -> frozenset[str]:
    tree = ast.parse((REPOSITORY / file).read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("row", [*FAULTS, *ATTACKS])
def test_a_row_has_its_tests(row: str) -> None:
    named = (FAULTS | ATTACKS)[row]
    assert named
    for node in named:
        file, _, function = node.partition("::")
        assert function in functions_of(file), node
