"""Filters: what is a valid one, and which rows of a part it matches."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from vecdb.config import LimitsConfig
from vecdb.errors import BadFilter, LimitExceeded
from vecdb.segment.fields import PATH_CHARACTERS_MAX, FieldSource, Interval, Mask
from vecdb.types import U32, And, Equals, Filter, In, Not, Or, Range, Scalar


def check_filter(filter: Filter, limits: LimitsConfig) -> None:
    """Raise BadFilter or LimitExceeded unless a filter means something and is of bounded cost."""
    nodes = 0
    stack: list[tuple[Filter, int]] = [(filter, 1)]
    while stack:
        node, depth = stack.pop()
        nodes += 1 + (len(node.values) if isinstance(node, In) else 0)
        if nodes > limits.filter_nodes:
            raise LimitExceeded(
                f"the filter has more than {limits.filter_nodes} conditions and values",
                field="filter",
                hint="raise limits.filter_nodes, or ask in several queries",
            )
        if depth > limits.filter_depth:
            raise LimitExceeded(
                f"the filter is nested deeper than {limits.filter_depth} levels", field="filter"
            )
        if isinstance(node, (And, Or)):
            if not node.filters:
                raise BadFilter("'and' and 'or' need at least one filter inside", field="filter")
            stack.extend((inner, depth + 1) for inner in node.filters)
        elif isinstance(node, Not):
            stack.append((node.filter, depth + 1))
        else:
            _check_condition(node)


def _check_condition(node: Equals | In | Range) -> None:
    if len(node.path) > PATH_CHARACTERS_MAX:
        raise BadFilter(
            f"a path has at most {PATH_CHARACTERS_MAX} characters, got {len(node.path)}: "
            f"{node.path[:40]!r}",
            field="filter",
        )
    if isinstance(node, Equals):
        _check_value(node.path, node.value)
    elif isinstance(node, In):
        if not node.values:
            raise BadFilter(f"'in' on {node.path!r} has no values", field="filter")
        for value in node.values:
            _check_value(node.path, value)
    else:
        bounds = [bound for bound in (node.gt, node.gte, node.lt, node.lte) if bound is not None]
        if not bounds:
            raise BadFilter(f"the range on {node.path!r} has no bound", field="filter")
        if None not in (node.gt, node.gte) or None not in (node.lt, node.lte):
            raise BadFilter(
                f"the range on {node.path!r} has two bounds on one side", field="filter"
            )
        for bound in bounds:
            if isinstance(bound, (bool, str)):
                raise BadFilter(f"the range on {node.path!r} expects numbers", field="filter")
            _check_value(node.path, bound)


def _check_value(path: str, value: Scalar) -> None:
    if isinstance(value, float) and math.isnan(value):
        raise BadFilter(f"the condition on {path!r} compares with NaN", field="filter")


def matching(filter: Filter, source: FieldSource) -> Mask:
    """Return which rows of a part match. Raises NotIndexed where its index cannot tell."""
    mask: Mask
    if isinstance(filter, (And, Or)):
        join = np.logical_and if isinstance(filter, And) else np.logical_or
        mask = join.reduce([matching(inner, source) for inner in filter.filters])
        return mask
    if isinstance(filter, Not):
        return ~matching(filter.filter, source)
    mask = np.zeros(source.rows, np.bool_)
    for rows in _rows(filter, source):
        mask[rows] = True
    return mask


def _rows(condition: Equals | In | Range, source: FieldSource) -> Iterable[U32]:
    if isinstance(condition, Equals):
        return [source.equal_any(condition.path, (condition.value,))]
    if isinstance(condition, In):
        return [source.equal_any(condition.path, condition.values)]
    low = condition.gte if condition.gt is None else condition.gt
    high = condition.lte if condition.lt is None else condition.lt
    interval = Interval(low, high, condition.gt is not None, condition.lt is not None)
    return [source.between(condition.path, interval)]
