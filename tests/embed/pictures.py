"""Image files that tests make: of every format and mode, damaged ones, and bombs."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

# A left half of red and a right half of blue, a green stripe on top: it shows which way is up.
WIDTH, HEIGHT = 48, 32
RED, BLUE, GREEN = (220, 20, 30), (20, 30, 220), (20, 200, 40)


def flag(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:, : width // 2], pixels[:, width // 2 :] = RED, BLUE
    pixels[: height // 4] = GREEN
    return Image.fromarray(pixels)


def file_of(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    made = io.BytesIO()
    image.save(made, format, **options)
    return made.getvalue()


def noise(width: int = 64, height: int = 64, seed: int = 0) -> Image.Image:
    draw = np.random.RandomState(seed)
    return Image.fromarray(draw.randint(0, 256, (height, width, 3)).astype(np.uint8))


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def png_bomb(width: int, height: int, rows: int = 0) -> bytes:
    """Return a PNG of black that claims a size. rows: how many it has, as tightly as can be."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(width + 1)) for _ in range(rows)) + packer.flush()
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
        + _chunk(b"IDAT", packed)
        + _chunk(b"IEND", b"")
    )


def png_text_bomb() -> bytes:
    """Return a small PNG whose remark unpacks to 64 MiB."""
    whole = file_of(flag(8, 8))
    text = _chunk(b"zTXt", b"Comment\x00\x00" + zlib.compress(bytes(64 << 20), 9))
    return whole[:33] + text + whole[33:]  # behind IHDR


SVG = b"""<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>"""
HTML = b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>"


def foreign() -> dict[str, tuple[bytes, str]]:
    """Return what is no image that is taken, and what its refusal says."""
    return {
        "svg": (SVG, "an SVG drawing"),
        "html": (HTML, "an HTML page"),
        "pdf": (b"%PDF-1.7\n%abc", "a PDF document"),
        "tiff": (file_of(flag(), "TIFF"), "TIFF"),
        "ico": (file_of(flag(), "ICO"), "something else"),
        "ppm": (file_of(flag(), "PPM"), "something else"),
        "text": (b"just some words", "something else"),
        "zeros": (bytes(5000), "something else"),
        "png start": (b"\x89PNG\r\n\x1a\n", "a damaged PNG"),
        "jpeg start": (b"\xff\xd8\xff\xe0", "a damaged JPEG"),
    }


def damaged() -> dict[str, bytes]:
    """Return images that begin well and end too early, or are spoilt inside."""
    image = noise()
    whole = {
        "jpeg": file_of(image, "JPEG"),
        "png": file_of(image),
        "webp": file_of(image, "WEBP"),
        "gif": file_of(image.convert("P"), "GIF"),
        "bmp": file_of(image, "BMP"),
    }
    made = {f"half a {name}": content[: len(content) // 2] for name, content in whole.items()}
    spoilt = bytearray(whole["png"])
    spoilt[len(spoilt) // 2] ^= 0xFF
    return {**made, "spoilt png": bytes(spoilt)}
