"""Schemas in which a space has a shadow: exchanged, stored, read again."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from vecdb.check.walk import _follows
from vecdb.multi import MultiSpace
from vecdb.storage.numbered import NumberedSchema, SchemaChange, numbers_of
from vecdb.storage.shadows import exchanged, is_switched, shadow_of, twins, without_shadows
from vecdb.types import Metric, ModelBinding, Schema, Shadow, Space, SparseSpace

OLD, NEW = ModelBinding("old", "aa"), ModelBinding("new", "bb")

names = st.sampled_from(["", "a", "shadow", "title", "z"])


@st.composite
def moving(draw: st.DrawFn) -> tuple[NumberedSchema, str]:
    """Return a schema with a space that is being moved, and its name."""
    chosen = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    spaces = [Space(name, 4 + at, Metric.DOT, OLD) for at, name in enumerate(chosen)]
    made = NumberedSchema.of(
        Schema(
            tuple(sorted(spaces, key=lambda space: space.name)),
            (SparseSpace("words"),),
            multi_spaces=(MultiSpace("tokens", 3, Metric.DOT),),
        )
    )
    for name in draw(st.lists(st.sampled_from(["x", "y"]), unique=True)):
        made = made.changed(SchemaChange(add_spaces=(Space(name, 9, Metric.COSINE),)))
    name = draw(st.sampled_from(chosen))
    shadow = Space(
        draw(st.sampled_from(["-", "m", "zz"])),
        draw(st.sampled_from([4, 8])),
        Metric.COSINE,
        NEW,
        target_recall=0.9,
        shadow=Shadow(name, draw(st.booleans())),
    )
    return made.changed(SchemaChange(add_spaces=(shadow,))), name


@given(moving())
def test_names_are_exchanged_and_numbers_stay(made: tuple[NumberedSchema, str]) -> None:
    before, name = made
    shadow = shadow_of(before.schema, name)
    assert shadow is not None
    space = before.schema.space(name)
    assert space is not None
    assert not is_switched(before.schema, shadow)
    assert twins(before.schema) == {name: shadow.name, shadow.name: name}
    after = exchanged(before.schema, shadow)
    numbers, then = numbers_of(before.schema), numbers_of(after)
    assert then == numbers | {name: numbers[shadow.name], shadow.name: numbers[name]}
    assert [one.name for one in after.all_spaces] == [one.name for one in before.schema.all_spaces]
    now = after.space(name)
    assert now is not None
    assert (now.model, now.dim, now.metric, now.shadow) == (NEW, shadow.dim, shadow.metric, None)
    assert now.target_recall == space.target_recall  # of the name
    old = shadow_of(after, name)
    assert old is not None
    assert (old.name, old.model, old.dim) == (shadow.name, OLD, space.dim)
    assert old.shadow == Shadow(name)  # and it does not switch by itself again
    assert is_switched(after, old)
    back = exchanged(after, old)
    assert numbers_of(back) == numbers
    assert back.space(name) == space
    for one in before.schema.all_spaces:
        if one.name not in (name, shadow.name):
            assert one in after.all_spaces


@given(moving())
def test_it_is_stored_and_read_again(made: tuple[NumberedSchema, str]) -> None:
    before, name = made
    again = NumberedSchema.from_plain(before.to_plain())
    assert again == before
    assert again.numbers == before.numbers
    assert again.shown_names.keys() == before.names.keys() - {
        before.numbers[shadow_of(before.schema, name).name]  # type: ignore[union-attr]
    }


@given(moving())
def test_a_collection_is_as_it_was_made_but_for_shadows(made: tuple[NumberedSchema, str]) -> None:
    before, name = made
    shadow = shadow_of(before.schema, name)
    assert shadow is not None
    plain = without_shadows(before.schema)
    assert shadow.name not in {space.name for space in plain.all_spaces}
    assert numbers_of(plain).items() <= before.numbers.items()
    assert without_shadows(plain) is plain


@given(moving())
def test_a_store_follows_its_catalog(made: tuple[NumberedSchema, str]) -> None:
    """As `vecdb check` sees it: the store's schema is of its making, the catalog's counts."""
    before, name = made
    shadow = shadow_of(before.schema, name)
    assert shadow is not None
    switched = replace(before, schema=exchanged(before.schema, shadow), epoch=before.epoch + 1)
    assert _follows(switched, before)
    ended = switched.changed(SchemaChange(drop_spaces=(shadow.name,)))
    assert _follows(replace(ended, epoch=before.epoch + 2), before)
    other = replace(switched.schema.space(name), dim=99)  # type: ignore[type-var]
    broken = tuple(other if one.name == name else one for one in switched.schema.spaces)
    assert not _follows(replace(switched, schema=replace(switched.schema, spaces=broken)), before)


def test_what_was_stored_before_there_were_shadows_is_read() -> None:
    made = NumberedSchema.of(Schema((Space("", 4, Metric.DOT, OLD),)))
    plain = made.to_plain()
    assert "shadow" not in plain["spaces"][0]
    assert NumberedSchema.from_plain(plain) == made
