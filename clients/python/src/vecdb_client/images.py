"""Image files in place of vectors: the server's model encodes them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TypeAlias

from vecdb_client.errors import InvalidArgument

ImageLike: TypeAlias = "bytes | os.PathLike[str]"
"""The bytes of an image file, or where it lies."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image in place of a vector, for a space whose model reads images.

    file: its bytes, JPEG, PNG, WebP, GIF or BMP, or a Path, which is read when the request is made.
    """

    file: ImageLike = field(repr=False)


def image_bytes(image: ImageLike) -> bytes:
    """Return an image's bytes. Raises InvalidArgument for what is no file, or is empty."""
    if isinstance(image, os.PathLike):
        try:
            with open(image, "rb") as file:
                content = file.read()
        except OSError as error:
            raise _bad(f"cannot read {os.fspath(image)}: {error.strerror}") from None
    elif isinstance(image, bytes):
        content = image
    else:
        raise _bad(f"an image is the bytes of a file, or a Path; got {type(image).__name__}")
    if not content:
        raise _bad("an image is empty")
    return content


def _bad(why: str) -> InvalidArgument:
    return InvalidArgument(why, reason="BAD_IMAGE")
