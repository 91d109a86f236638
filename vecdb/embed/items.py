"""What may be encoded: texts, images, pairs; checked before anything is sent to the worker."""

from __future__ import annotations

from collections.abc import Sequence

from vecdb.embed.encoder import Item, Pair
from vecdb.errors import InvalidArgument, LimitExceeded


def checked_sizes(items: Sequence[Item], text_bytes: int, image_bytes: int) -> list[int]:
    """Return the bytes of each item. text_bytes, image_bytes: the most that one may have.

    Raises InvalidArgument whose field is ``texts[i]`` or ``images[i]``, for none, an empty one, one
    that is not Unicode, and kinds that do not go together; LimitExceeded for one that is too large.
    """
    if not items:
        raise InvalidArgument("nothing to encode", field="texts")
    kinds = {type(item) for item in items}
    if len(kinds) > 1:
        raise InvalidArgument("texts and images do not go in one call", field="items")
    if kinds == {Pair} and len({item.query for item in items if isinstance(item, Pair)}) > 1:
        raise InvalidArgument("pairs of one call have one query", field="items")
    return [
        _image_size(item, at, image_bytes)
        if isinstance(item, bytes)
        else _text_size(item, at, text_bytes)
        for at, item in enumerate(items)
    ]


def _text_size(item: str | Pair, at: int, most: int) -> int:
    if isinstance(item, Pair):
        return _text_size(item.query, at, most) + _text_size(item.text, at, most)
    try:
        size = len(item) if item.isascii() else len(item.encode())
    except UnicodeEncodeError as error:
        raise InvalidArgument(
            f"texts[{at}] is not Unicode: a lone surrogate at character {error.start}",
            field=f"texts[{at}]",
        ) from None
    return _checked(size, f"texts[{at}]", most, "limits.text_bytes")


def _image_size(item: bytes, at: int, most: int) -> int:
    return _checked(len(item), f"images[{at}]", most, "limits.image_bytes")


def _checked(size: int, what: str, most: int, key: str) -> int:
    if size == 0:
        raise InvalidArgument(f"{what} is empty", field=what)
    if size > most:
        raise LimitExceeded(
            f"{what} has {size} bytes, at most {most} are allowed", field=what, key=key
        )
    return size
