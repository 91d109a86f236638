"""A patch of a vector takes the vector of the space's shadow along: that is of another text."""

from __future__ import annotations

import numpy as np
import pytest

from vecdb.config import LimitsConfig
from vecdb.storage.command import Patches, WriteCommand
from vecdb.storage.numbered import NumberedSchema
from vecdb.storage.shadows import exchanged
from vecdb.types import Metric, ModelBinding, Op, Patch, PayloadEdits, Schema, Shadow, Space
from vecdb.write.prepare import prepare

LIMITS = LimitsConfig()
MODEL = ModelBinding("a", "aa")
SCHEMA = NumberedSchema.of(
    Schema(
        (
            Space("", 2, Metric.DOT, MODEL),
            Space("other", 2, Metric.DOT, MODEL),
            Space("shadow", 3, Metric.DOT, ModelBinding("b", "bb"), shadow=Shadow("")),
        )
    )
).schema
TWO, THREE = np.ones(2, "<f4").tobytes(), np.ones(3, "<f4").tobytes()
SET = PayloadEdits(set=b'{"a":1}')


def changes(op: Op, schema: Schema = SCHEMA, *, in_step: bool = True) -> dict[int, tuple]:
    """Return what a patch does to vectors, by the number of their space."""
    command = prepare([op], schema, LIMITS, in_step=in_step)
    assert WriteCommand.decode(command.encode()) == command
    (run,) = command.runs
    assert isinstance(run, Patches)
    return {one.space: (one.cell, one.text) for one in run.vectors[0]}


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        (Patch("p", SET), {}),
        (Patch("p", SET, {"other": TWO}), {1: (TWO, "")}),
        (Patch("p", SET, {"": TWO}, {"": "text"}), {0: (TWO, "text"), 2: (b"", "")}),
        (Patch("p", SET, unset_vectors=("",)), {0: (b"", ""), 2: (b"", "")}),
        (
            Patch("p", SET, {"": TWO, "shadow": THREE}, {"": "text", "shadow": "text"}),
            {0: (TWO, "text"), 2: (THREE, "text")},
        ),
    ],
    ids=["payload", "another space", "a text", "unset", "both"],
)
def test_what_a_patch_does(op: Op, expected: dict[int, tuple]) -> None:
    assert changes(op) == expected


def test_it_is_the_same_once_the_two_have_exchanged_their_names() -> None:
    shadow = SCHEMA.space("shadow")
    assert shadow is not None
    switched = exchanged(SCHEMA, shadow)
    assert changes(Patch("p", SET, {"": THREE}, {"": "t"}), switched) == {
        2: (THREE, "t"),
        0: (b"", ""),
    }


def test_what_fills_a_shadow_leaves_its_space_alone() -> None:
    fill = Patch("p", PayloadEdits(), {"shadow": THREE}, {"shadow": "text"}, if_version=1)
    assert changes(fill, in_step=False) == {2: (THREE, "text")}
