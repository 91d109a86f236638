"""A collection's schema as it is stored: with the numbers that records and files use, and changed.

Beside it stands what else every write has to know of the collection.

A number stands for one space, or one text field, for good: what was written under it is never taken
for another's, however old the file or the command. So a schema can change while both are in use.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from vecdb.errors import Corrupt, LimitExceeded
from vecdb.multi import MultiSpace
from vecdb.storage.multi import multi_of_plain, plain_multi
from vecdb.types import (
    AnySpace,
    Hnsw,
    Metric,
    ModelBinding,
    Schema,
    Shadow,
    Space,
    SparseSpace,
    TextField,
)

NUMBERS = 1 << 16
"""Spaces that a collection may have had, and text fields: records have 16 bits for a number."""


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """What is dropped from a schema, by name or path, and then added to it."""

    drop_spaces: tuple[str, ...] = ()
    drop_text_fields: tuple[str, ...] = ()
    add_spaces: tuple[Space, ...] = ()
    add_sparse_spaces: tuple[SparseSpace, ...] = ()
    add_text_fields: tuple[TextField, ...] = ()
    add_multi_spaces: tuple[MultiSpace, ...] = ()

    @property
    def added(self) -> tuple[AnySpace, ...]:
        """All spaces that are added."""
        return (*self.add_spaces, *self.add_sparse_spaces, *self.add_multi_spaces)


NO_CHANGE = SchemaChange()


@dataclass(frozen=True, slots=True)
class NumberedSchema:
    """A schema whose spaces and text fields have numbers.

    next_space, next_text: the numbers that come next. epoch: counts the changes, so that of two the
    later one is known. points_max: how many points the collection may hold, or 0.
    """

    schema: Schema
    next_space: int
    next_text: int
    epoch: int = 0
    points_max: int = 0

    @classmethod
    def of(cls, schema: Schema) -> NumberedSchema:
        """Return a new schema's numbering."""
        spaces, texts = len(schema.all_spaces), len(schema.text_fields)
        numbers, text_numbers = tuple(range(spaces)), tuple(range(texts))
        schema = replace(schema, numbers=numbers, text_numbers=text_numbers)
        return cls(schema, spaces, texts)

    @property
    def numbers(self) -> dict[str, int]:
        """The number of each space, by its name."""
        return numbers_of(self.schema)

    @property
    def numbering(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The numbers of all spaces and text fields: equal where no more than a setting changed."""
        return tuple(self.numbers.values()), tuple(self.schema.texts)

    @property
    def names(self) -> dict[int, str]:
        """Space number to name."""
        return {number: name for name, number in self.numbers.items()}

    @property
    def shown_names(self) -> dict[int, str]:
        """Space number to name, of those whose vectors and texts points are sent with."""
        hidden = {space.name for space in self.schema.spaces if space.shadow}
        return {number: name for number, name in self.names.items() if name not in hidden}

    @property
    def sparse_numbers(self) -> list[int]:
        """The numbers of sparse spaces."""
        numbers = self.numbers
        return [numbers[space.name] for space in self.schema.sparse_spaces]

    @property
    def multi_dims(self) -> dict[int, int]:
        """Number to dim of the multi-dense spaces."""
        numbers = self.numbers
        return {numbers[space.name]: space.dim for space in self.schema.multi_spaces}

    def changed(self, change: SchemaChange) -> NumberedSchema:
        """Return the schema after a change that fits it. Raises LimitExceeded.

        Spaces stand in the order of their names, as in a schema that was made at once, text fields
        in that of their coming.
        """
        schema, numbers = self.schema, self.numbers
        added, dropped = change.added, set(change.drop_spaces)
        spaces = [space for space in schema.spaces if space.name not in dropped]
        sparse = [space for space in schema.sparse_spaces if space.name not in dropped]
        multi = [space for space in schema.multi_spaces if space.name not in dropped]
        spaces = sorted((*spaces, *change.add_spaces), key=lambda space: space.name)
        sparse = sorted((*sparse, *change.add_sparse_spaces), key=lambda space: space.name)
        multi = sorted((*multi, *change.add_multi_spaces), key=lambda space: space.name)
        ordered: tuple[AnySpace, ...] = (*spaces, *sparse, *multi)
        numbers |= {space.name: self.next_space + at for at, space in enumerate(added)}
        texts = [
            (number, text)
            for number, text in schema.texts.items()
            if text.path not in change.drop_text_fields
        ]
        texts += enumerate(change.add_text_fields, self.next_text)
        after = NumberedSchema(
            Schema(
                tuple(spaces),
                tuple(sparse),
                tuple(text for _, text in texts),
                tuple(numbers[space.name] for space in ordered),
                tuple(number for number, _ in texts),
                tuple(multi),
            ),
            self.next_space + len(added),
            self.next_text + len(change.add_text_fields),
            self.epoch,
            self.points_max,
        )
        if max(after.next_space, after.next_text) > NUMBERS:
            raise LimitExceeded(
                f"the collection has had {NUMBERS:,} spaces or text fields",
                hint="make another collection, and move an alias to it",
            )
        return after

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON's types."""
        numbers = self.numbers
        return {
            "spaces": [
                {
                    "number": numbers[space.name],
                    "name": space.name,
                    "dim": space.dim,
                    "metric": int(space.metric),
                    "model": space.model
                    and {"name": space.model.name, "fingerprint": space.model.fingerprint},
                    "hnsw": asdict(space.hnsw),
                    "target_recall": space.target_recall,
                    **({"shadow": asdict(space.shadow)} if space.shadow else {}),
                }
                for space in self.schema.spaces
            ],
            "sparse_spaces": [
                {
                    "number": numbers[space.name],
                    "name": space.name,
                    "idf": space.idf,
                    **({"model": asdict(space.model)} if space.model else {}),
                }
                for space in self.schema.sparse_spaces
            ],
            "multi_spaces": plain_multi(self.schema.multi_spaces, numbers),
            "text_fields": [
                {
                    "number": number,
                    "path": text.path,
                    "language": text.language,
                    "k1": text.k1,
                    "b": text.b,
                }
                for number, text in self.schema.texts.items()
            ],
            "next_space": self.next_space,
            "next_text": self.next_text,
            "epoch": self.epoch,
            "points_max": self.points_max,
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> NumberedSchema:
        """Return the schema that to_plain gave. Raises Corrupt."""
        try:
            named = (*plain["spaces"], *plain["sparse_spaces"], *plain["multi_spaces"])
            schema = Schema(
                tuple(_space(item) for item in plain["spaces"]),
                tuple(_sparse_space(item) for item in plain["sparse_spaces"]),
                tuple(
                    TextField(item["path"], item["language"], item["k1"], item["b"])
                    for item in plain["text_fields"]
                ),
                tuple(item["number"] for item in named),
                tuple(item["number"] for item in plain["text_fields"]),
                multi_of_plain(plain["multi_spaces"]),
            )
            return cls(
                schema,
                plain["next_space"],
                plain["next_text"],
                plain["epoch"],
                plain["points_max"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise Corrupt(f"a schema cannot be read: {error!r}") from None


def numbers_of(schema: Schema) -> dict[str, int]:
    """Return the number of each space, by its name."""
    names = [space.name for space in schema.all_spaces]
    return dict(zip(names, schema.numbers or range(len(names)), strict=True))


def _sparse_space(item: dict[str, Any]) -> SparseSpace:
    model = item.get("model")
    return SparseSpace(item["name"], item["idf"], ModelBinding(**model) if model else None)


def _space(item: dict[str, Any]) -> Space:
    return Space(
        name=item["name"],
        dim=item["dim"],
        metric=Metric(item["metric"]),
        model=ModelBinding(**item["model"]) if item["model"] else None,
        hnsw=Hnsw(**item["hnsw"]),
        target_recall=item["target_recall"],
        shadow=Shadow(**item["shadow"]) if "shadow" in item else None,
    )
