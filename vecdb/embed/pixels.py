"""The bytes of an image file into the numbers that a network reads.

The only file that knows Pillow. Two halves, as of every model: callers' threads decode an image,
and cut it to the small square of bytes that the network sees; numbers are made of it when its batch
runs. An image is foreign: what it claims of itself is held against limits before it is decoded.
"""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from vecdb.embed.catalog import ModelSpec
from vecdb.embed.encoder import Prepared
from vecdb.errors import FailedPrecondition, InvalidArgument, LimitExceeded
from vecdb.types import F32

U8 = NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
EXPECTED = "JPEG, PNG, WebP, GIF or BMP"
# Past any camera's 50 million. A file of some hundred bytes may claim as many.
PIXELS_MAX = 1 << 26
# An image of more is decoded alone: 64 million pixels take up to half a gigabyte meanwhile.
LARGE_PIXELS = 1 << 22
# A strip longer than this many times its width is first cut and then resized: of one pixel by a
# million, the whole would be resized to some billions. Rounding makes a level or two of difference.
LONG = 8
# A progressive JPEG has some ten. Each goes over all the pixels again, and may take 100 bytes.
JPEG_SCANS_MAX = 256

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True, slots=True)
class PixelOptions:
    """The table ``options.pixels`` of an entry: what its network was trained to see.

    resize: pixels of the shorter edge, the other one in proportion (fit "shortest"), or of both
    (fit "stretch"). crop: pixels of the square that is cut from the middle. Then each number of 0
    to 255 is multiplied by scale, less its channel's mean, divided by its channel's std; mean and
    std are in the order of channels, "rgb" or "bgr". layout: "nchw", or "nhwc".
    """

    resize: int
    crop: int
    fit: str = "shortest"
    interpolation: str = "bicubic"
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    channels: str = "rgb"
    layout: str = "nchw"

    @classmethod
    def of(cls, spec: ModelSpec) -> PixelOptions:
        """Return those of an entry. Raises FailedPrecondition that names the key."""
        said: dict[str, Any] = dict(spec.options.get("pixels", {}))
        known = {one.name for one in fields(cls)}
        try:
            if unknown := sorted(set(said) - known):
                raise ValueError(f"unknown {unknown[0]!r}; known are {', '.join(sorted(known))}")
            for key in ("mean", "std"):
                if key in said:
                    said[key] = tuple(map(float, said[key]))
            options = cls(**said)
            options._check()
        except (TypeError, ValueError) as error:
            raise FailedPrecondition(
                f"model {spec.name}: options.pixels: {error}", field="options.pixels"
            ) from None
        return options

    def _check(self) -> None:
        for key, known in _WORDS.items():
            if getattr(self, key) not in known:
                raise ValueError(f"{key} is {getattr(self, key)!r}, known are {', '.join(known)}")
        if not 1 <= self.crop <= self.resize <= 4096:
            raise ValueError(
                f"crop is {self.crop} and resize {self.resize}, expected crop <= resize <= 4096"
            )
        if len(self.mean) != 3 or len(self.std) != 3 or not all(self.std):
            raise ValueError("mean and std are three numbers each, and std is not 0")


_WORDS = {
    "fit": ("shortest", "stretch"),
    "interpolation": tuple(_INTERPOLATIONS),
    "channels": ("rgb", "bgr"),
    "layout": ("nchw", "nhwc"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An image as a network sees it: pixels (crop, crop, 3), red first. Its length is its cost."""

    pixels: U8
    cost: int

    def __len__(self) -> int:
        return self.cost


class Pixels:
    """The reading half of an image model; any thread may call it.

    at_once: how many images are decoded beside one another. An image costs the entry's max_tokens.
    """

    def __init__(self, spec: ModelSpec, at_once: int) -> None:
        self.options = PixelOptions.of(spec)
        self._cost = spec.max_tokens
        self._turns = threading.BoundedSemaphore(max(at_once, 1))
        self._large = threading.Lock()
        # It would write pieces of images into the log.
        logging.getLogger("PIL").setLevel(logging.INFO)

    def read(self, content: bytes) -> Picture:
        """Return what the network sees of an image file.

        Raises InvalidArgument for what is no image that can be read, LimitExceeded.
        """
        image = _opened(content)
        with self._large if image.width * image.height > LARGE_PIXELS else self._turns:
            return Picture(_cut(_decoded(image), self.options), self._cost)

    def blank(self) -> Picture:
        """Return an image to try a network on when it is loaded: of grey, growing lighter."""
        side = self.options.crop
        row = np.linspace(0, 255, side, dtype=np.uint8)
        return Picture(np.repeat(np.tile(row, (side, 1))[..., None], 3, axis=2), self._cost)

    def numbers(self, pictures: Sequence[Picture]) -> F32:
        """Return a batch of images as the network takes it, (n, 3, crop, crop) or channels last."""
        options = self.options
        pixels = np.stack([picture.pixels for picture in pictures])
        if options.channels == "bgr":
            pixels = pixels[..., ::-1]
        std = np.array(options.std)
        scale = (options.scale / std).astype(np.float32)
        numbers = pixels * scale - (np.array(options.mean) / std).astype(np.float32)
        if options.layout == "nchw":
            numbers = numbers.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(numbers, dtype=np.float32)


def read_images(
    pixels: Pixels, items: Sequence[Any], positions: Sequence[int] | None = None
) -> list[Prepared]:
    """Return what is seen of the items at those positions, all of them by default.

    Raises InvalidArgument whose field names the item.
    """
    read = []
    for at in range(len(items)) if positions is None else positions:
        try:
            read.append(Prepared(pixels.read(items[at]), False))
        except InvalidArgument as error:
            error.field = f"items[{at}]"
            raise
    return read


class _Window(NamedTuple):
    """What is seen of an image: size once resized, and where its cut begins in that."""

    width: int
    height: int
    left: int
    top: int


def _opened(content: bytes) -> Image.Image:
    """Return an image of which only the header has been read, and which is not too large."""
    if not content:
        raise InvalidArgument("the image is empty: there is nothing to encode")
    if content.startswith(b"\xff\xd8") and content.count(b"\xff\xda") > JPEG_SCANS_MAX:
        raise LimitExceeded(f"the JPEG has more than {JPEG_SCANS_MAX} scans")
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large("more") from None
    except Exception as error:
        # Whatever a decoder of foreign bytes stumbles over, the bytes are to blame.
        why = f": {error}" if not isinstance(error, UnidentifiedImageError) else ""
        raise InvalidArgument(
            f"no image that can be read: expected {EXPECTED}, got {_looks_like(content)}{why}"
        ) from None
    if image.width * image.height > PIXELS_MAX:
        raise _too_large(f"{image.width} x {image.height}")
    if image.width < 1 or image.height < 1:
        raise InvalidArgument(f"the image is {image.width} x {image.height} pixels")
    return image


def _too_large(size: str) -> LimitExceeded:
    return LimitExceeded(
        f"the image has {size} pixels, the limit is {PIXELS_MAX:,}", hint="send a smaller copy"
    )


_LOOKS = (
    (b"<svg", "an SVG drawing"),
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"%pdf-", "a PDF document"),
    (b"ftypavif", "AVIF"),
    (b"ftyphei", "HEIC"),
    (b"ftypmif1", "HEIC"),
    (b"ii*\x00", "TIFF"),
    (b"mm\x00*", "TIFF"),
    (b"\xff\xd8\xff", "a damaged JPEG"),
    (b"\x89png\r\n", "a damaged PNG"),
    (b"gif8", "a damaged GIF"),
    (b"webp", "a damaged WebP"),
)


def _looks_like(content: bytes) -> str:
    start = content[:1024].lower()
    for mark, name in _LOOKS:
        if mark in (start if mark.startswith(b"<") else start[:16]):
            return name
    return "something else"


def _decoded(image: Image.Image) -> Image.Image:
    """Return the image in red, green and blue, the way up that its camera says.

    Of an animation it is the first frame; what is transparent is white, as on a page.
    """
    try:
        image.load()
        if image.mode.startswith("I"):  # 16 bits of grey, of which conversion keeps the lowest 8
            image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
        turn = _turn(image)
        if image.has_transparency_data:
            seen = image.convert("RGBA")
            image = Image.new("RGBA", seen.size, "white")
            image.alpha_composite(seen)
        image = image.convert("RGB")
        return image.transpose(turn) if turn is not None else image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large("more") from None
    except MemoryError:
        raise
    except Exception as error:
        raise InvalidArgument(
            f"the {image.format or 'image'} is damaged or cut off: {error}"
        ) from None


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a remark beside the image that cannot be read leaves the image as it is
        return None


def _cut(image: Image.Image, options: PixelOptions) -> U8:
    """Return the square that is seen of an image, (crop, crop, 3)."""
    window = _window(image.width, image.height, options)
    how = _INTERPOLATIONS[options.interpolation]
    left, top, right, bottom = (
        *(window.left, window.top),
        *(window.left + options.crop, window.top + options.crop),
    )
    if window.width * window.height <= options.resize**2 * LONG:
        whole = image.resize((window.width, window.height), how)
        return np.asarray(whole.crop((left, top, right, bottom)))
    across, down = image.width / window.width, image.height / window.height
    box = (left * across, top * down, right * across, bottom * down)
    return np.asarray(image.resize((options.crop, options.crop), how, box))


def _window(width: int, height: int, options: PixelOptions) -> _Window:
    shorter = min(width, height)
    if options.fit == "stretch":
        width = height = options.resize
    else:
        width, height = options.resize * width // shorter, options.resize * height // shorter
    return _Window(width, height, (width - options.crop) // 2, (height - options.crop) // 2)
