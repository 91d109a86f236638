"""A space and its shadow: the same texts in two spaces, while one is moved to another model.

Pure functions of schemas. The shadow is a space like any other, and says in the schema whose it
is: that is all there is of a move on disk, so that nothing else can be lost, or contradict it. To
switch is to exchange the two names; numbers, and so all that was stored under them, stay.
"""

from __future__ import annotations

from dataclasses import replace

from vecdb.storage.numbered import numbers_of
from vecdb.types import Schema, Shadow, Space


def shadow_of(schema: Schema, name: str) -> Space | None:
    """Return the shadow of the space of that name, or None."""
    for space in schema.spaces:
        if space.shadow is not None and space.shadow.of == name:
            return space
    return None


def twins(schema: Schema) -> dict[str, str]:
    """Return for each space that has a shadow, and for each shadow, the name of the other."""
    found: dict[str, str] = {}
    for space in schema.spaces:
        if space.shadow is not None:
            found |= {space.name: space.shadow.of, space.shadow.of: space.name}
    return found


def is_switched(schema: Schema, shadow: Space) -> bool:
    """Return whether a shadow is the older of the two: its space has the new model's vectors."""
    assert shadow.shadow is not None
    numbers = numbers_of(schema)
    return numbers[shadow.name] < numbers[shadow.shadow.of]


def exchanged(schema: Schema, shadow: Space) -> Schema:
    """Return a schema in which a space and its shadow have exchanged their names.

    What is said of the name, and not of its vectors, stays with it.
    """
    assert shadow.shadow is not None
    space = schema.space(shadow.shadow.of)
    assert space is not None
    numbers = numbers_of(schema)
    numbers[space.name], numbers[shadow.name] = numbers[shadow.name], numbers[space.name]
    pair = {
        space.name: replace(
            shadow, name=space.name, target_recall=space.target_recall, shadow=None
        ),
        shadow.name: replace(space, name=shadow.name, shadow=Shadow(space.name)),
    }
    after = replace(schema, spaces=tuple(pair.get(one.name, one) for one in schema.spaces))
    return replace(after, numbers=tuple(numbers[one.name] for one in after.all_spaces))


def is_replaced(before: Schema, now: Schema) -> bool:
    """Return whether some space has a name now whose vectors of before are not kept any more."""
    numbers, then = numbers_of(now), numbers_of(before)
    kept = set(numbers.values())
    return any(name in numbers and number not in kept for name, number in then.items())


def without_shadows(schema: Schema) -> Schema:
    """Return a schema as its caller made it."""
    kept = tuple(space for space in schema.spaces if space.shadow is None)
    if len(kept) == len(schema.spaces):
        return schema
    numbers, after = numbers_of(schema), replace(schema, spaces=kept)
    return replace(after, numbers=tuple(numbers[space.name] for space in after.all_spaces))
