"""Images as networks see them: every format and mode, the way up, and what is refused."""

import dataclasses
import logging
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("PIL", reason="needs the image extra")

from PIL import Image

from tests.embed import pictures
from tests.examples import examples
from vecdb.embed import catalog
from vecdb.embed.pixels import PIXELS_MAX, Pixels
from vecdb.errors import FailedPrecondition, InvalidArgument, LimitExceeded

SEEN = {"resize": 32, "crop": 32, "fit": "stretch", "interpolation": "bilinear"}


def spec_of(**options):
    """Return an entry whose pixels are these."""
    known = catalog.load_catalog()["opennsfw-resnet50"]
    return dataclasses.replace(known, options={"output": "x", "pixels": options})


def pixels_of(**options):
    return Pixels(spec_of(**options), 2)


@pytest.fixture(scope="module")
def pixels():
    return pixels_of(**SEEN)


def corners(seen):
    """Return the colours of a flag: below left, below right, top."""
    return [tuple(int(one) for one in seen[at]) for at in ((28, 4), (28, 28), (2, 16))]


def near(found, expected, within=24):
    return all(
        abs(a - b) <= within for one, two in zip(found, expected, strict=True)
        for a, b in zip(one, two, strict=True)
    )  # fmt: skip


FLAG = [pictures.RED, pictures.BLUE, pictures.GREEN]


def modes():
    flag = pictures.flag()
    alpha = flag.copy()
    alpha.putalpha(255)
    animated = [pictures.noise(pictures.WIDTH, pictures.HEIGHT, seed) for seed in (1, 2)]
    palette = flag.quantize(8)
    ahead = {"save_all": True, "append_images": animated}
    return {
        "png": pictures.file_of(flag),
        "jpeg": pictures.file_of(flag, "JPEG", quality=95),
        "progressive jpeg": pictures.file_of(flag, "JPEG", quality=95, progressive=True),
        "cmyk jpeg": pictures.file_of(flag.convert("CMYK"), "JPEG", quality=95),
        "webp": pictures.file_of(flag, "WEBP", lossless=True),
        "bmp": pictures.file_of(flag, "BMP"),
        "gif": pictures.file_of(flag, "GIF"),
        "palette png": pictures.file_of(palette),
        "rgba png": pictures.file_of(alpha),
        "animated gif": pictures.file_of(flag, "GIF", **ahead),
        "animated webp": pictures.file_of(flag, "WEBP", lossless=True, **ahead),
        "animated png": pictures.file_of(flag, **ahead),
    }


@pytest.mark.parametrize("name", modes())
def test_every_format_and_mode_is_seen_alike(pixels, name):
    picture = pixels.read(modes()[name])
    assert picture.pixels.shape == (32, 32, 3)
    assert picture.pixels.dtype == np.uint8
    assert len(picture) == 400  # what it costs is the entry's max_tokens
    assert near(corners(picture.pixels), FLAG, 40 if "cmyk" in name else 24), corners(
        picture.pixels
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_the_way_up_that_its_camera_says(pixels, orientation):
    back = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"}
    back |= {6: "ROTATE_90", 7: "TRANSVERSE", 8: "ROTATE_270"}
    stored = pictures.flag()
    if orientation > 1:
        stored = stored.transpose(Image.Transpose[back[orientation]])
    exif = Image.Exif()
    exif[0x0112] = orientation
    for format in ("JPEG", "PNG", "WEBP"):
        content = pictures.file_of(stored, format, exif=exif)
        assert near(corners(pixels.read(content).pixels), FLAG, 40), format


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_remark_that_cannot_be_read_leaves_the_image_as_it_is(pixels):
    content = pictures.file_of(pictures.flag(), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    assert near(corners(pixels.read(content).pixels), FLAG, 40)


def test_what_is_transparent_is_white(pixels):
    hidden = np.zeros((32, 32, 4), np.uint8)
    hidden[:, 16:] = (*pictures.BLUE, 255)
    for image in (
        Image.fromarray(hidden),
        Image.fromarray(hidden).quantize(8),
        Image.fromarray(hidden).convert("LA"),
    ):
        for format in ("PNG", "WEBP", "GIF") if image.mode == "RGBA" else ("PNG",):
            seen = pixels.read(pictures.file_of(image, format)).pixels
            assert (seen[16, 2] > 240).all(), (image.mode, format)
            assert seen[16, 30, 0] < 60, (image.mode, format)


def test_sixteen_bits_of_grey_keep_the_upper_eight(pixels):
    ramp = np.tile(np.linspace(0, 65535, 32).astype(np.uint16), (32, 1))
    seen = pixels.read(pictures.file_of(Image.fromarray(ramp))).pixels
    assert np.abs(seen[0, :, 0].astype(int) - (ramp[0] >> 8)).max() <= 1


@pytest.mark.parametrize(
    ("mode", "expected"), [("1", 255), ("L", 200)], ids=["black and white", "grey"]
)
def test_what_has_one_channel_has_three_alike(pixels, mode, expected):
    image = Image.new("L", (9, 7), 200).convert(mode, dither=Image.Dither.NONE)
    assert (pixels.read(pictures.file_of(image)).pixels == expected).all()


# --- what is refused


@pytest.mark.parametrize("name", pictures.foreign())
def test_what_is_no_image_is_refused_by_what_it_looks_like(pixels, name):
    content, looks = pictures.foreign()[name]
    with pytest.raises(InvalidArgument, match=f"expected JPEG, PNG, .* got {looks}"):
        pixels.read(content)


def test_nothing_is_no_image(pixels):
    with pytest.raises(InvalidArgument, match="the image is empty"):
        pixels.read(b"")


@pytest.mark.parametrize("name", pictures.damaged())
def test_a_damaged_image_is_refused(pixels, name):
    with pytest.raises(InvalidArgument):
        pixels.read(pictures.damaged()[name])


def test_an_image_that_claims_too_many_pixels_is_not_decoded(pixels):
    for width, height in ((50_000, 50_000), (10_000, 6_800), (2**31 - 1, 1), (1, PIXELS_MAX + 1)):
        with pytest.raises(LimitExceeded, match="pixels, the limit is 67,108,864"):
            pixels.read(pictures.png_bomb(width, height))


def test_remarks_that_unpack_to_much_are_refused(pixels):
    content = pictures.png_text_bomb()
    assert len(content) < 100_000
    with pytest.raises(InvalidArgument):
        pixels.read(content)


def test_a_jpeg_of_many_scans_is_refused(pixels):
    content = pictures.file_of(pictures.flag(), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    with pytest.raises(LimitExceeded, match="scans"):
        pixels.read(content[:last] + content[last:-2] * 300 + content[-2:])


BOMB = """
import resource, sys
from tests.embed import pictures
from tests.embed.test_pixels import pixels_of, SEEN
from vecdb.errors import VecdbError
pixels, bomb = pixels_of(**SEEN), open(sys.argv[1], "rb").read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    print("seen", pixels.read(bomb).pixels.shape, end=" ")
except VecdbError as error:
    print(type(error).__name__, end=" ")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_is_bounded_whatever_a_file_unpacks_to(tmp_path):
    bombs = {
        "claims": (pictures.png_bomb(50_000, 50_000), "LimitExceeded", 16),
        "holds": (pictures.png_bomb(8_192, 8_192, 8_192), "seen (32, 32, 3)", 700),
    }
    for name, (content, expected, mebibytes) in bombs.items():
        path = tmp_path / name
        path.write_bytes(content)
        assert len(content) < 100_000
        ran = subprocess.run(
            [sys.executable, "-c", BOMB, str(path)],
            capture_output=True, text=True, check=True, timeout=120,
            cwd=Path(__file__).resolve().parents[2],
        )  # fmt: skip
        said, grown_kib = ran.stdout.strip().rsplit(" ", 1)
        assert said == expected
        assert int(grown_kib) < mebibytes << 10


def test_pieces_of_an_image_never_reach_the_log(pixels, caplog):
    secret = b"tEXt" + b"Comment\x00who is in the picture"
    whole = pictures.file_of(pictures.flag())
    content = whole[:33] + pictures._chunk(b"tEXt", secret[4:]) + whole[33:]
    with caplog.at_level(logging.DEBUG):
        pixels.read(content)
        for damaged in pictures.damaged().values():
            with pytest.raises(InvalidArgument):
                pixels.read(damaged)
    assert not caplog.records


@settings(deadline=None, max_examples=examples(100))
@given(st.data())
def test_whatever_is_wrong_with_a_file_is_an_invalid_argument(data):
    pixels = pixels_of(**SEEN)
    name = data.draw(st.sampled_from(sorted(modes())))
    content = bytearray(modes()[name])
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    with suppress(InvalidArgument):
        assert pixels.read(bytes(content)).pixels.shape == (32, 32, 3)


# --- what the network sees


@pytest.mark.parametrize("fit", ["shortest", "stretch"])
@pytest.mark.parametrize(("width", "height"), [(64, 48), (49, 77), (100, 37), (500, 333), (9, 9)])
def test_what_is_seen_is_the_middle_of_the_resized_image(fit, width, height):
    image = pictures.noise(width, height)
    seen = pixels_of(resize=40, crop=32, fit=fit).read(pictures.file_of(image)).pixels
    if fit == "stretch":
        size = (40, 40)
    else:
        size = (40 * width // min(width, height), 40 * height // min(width, height))
    whole = np.asarray(image.resize(size, Image.Resampling.BICUBIC))
    left, top = (size[0] - 32) // 2, (size[1] - 32) // 2
    assert (seen == whole[top : top + 32, left : left + 32]).all()


@pytest.mark.parametrize(("width", "height"), [(3000, 3), (1, 900), (1, 1_000_000)])
def test_a_strip_costs_no_more_than_any_image(width, height):
    image = Image.new("RGB", (width, height), pictures.BLUE)
    seen = pixels_of(resize=40, crop=32).read(pictures.file_of(image)).pixels
    assert (seen == pictures.BLUE).all()


def test_a_long_image_is_cut_first_and_looks_the_same():
    image = pictures.noise(900, 30)  # 30 times as long as it is wide
    seen = pixels_of(resize=40, crop=32).read(pictures.file_of(image)).pixels
    whole = np.asarray(image.resize((1200, 40), Image.Resampling.BICUBIC))[4:36, 584:616]
    assert np.abs(seen.astype(int) - whole).max() <= 8


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_numbers_are_scaled_and_ordered_as_the_entry_says(channels, layout):
    mean, std = (1.0, 2.0, 3.0), (2.0, 4.0, 8.0)
    pixels = pixels_of(
        **SEEN, scale=0.5, mean=mean, std=std, channels=channels, layout=layout
    )  # fmt: skip
    seen = pixels.read(pictures.file_of(Image.new("RGB", (5, 5), (10, 20, 30))))
    numbers = pixels.numbers([seen, seen])
    order = (10, 20, 30) if channels == "rgb" else (30, 20, 10)
    expected = [(0.5 * one - m) / s for one, m, s in zip(order, mean, std, strict=True)]
    assert numbers.dtype == np.float32
    assert numbers.shape == ((2, 3, 32, 32) if layout == "nchw" else (2, 32, 32, 3))
    axis = 1 if layout == "nchw" else 3
    for channel, value in enumerate(expected):
        np.testing.assert_allclose(np.take(numbers, channel, axis), value, atol=1e-6)


def test_images_are_read_by_many_threads_at_once(pixels):
    contents = [pictures.file_of(pictures.noise(seed=seed)) for seed in range(8)]
    large = pictures.file_of(pictures.flag(2400, 1800))
    expected = [pixels.read(content).pixels for content in (*contents, large)]
    wrong = []

    def read(at):
        for content, seen in zip((*contents, large), expected, strict=True):
            if not (pixels.read(content).pixels == seen).all():
                wrong.append(at)

    threads = [threading.Thread(target=read, args=(at,)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"crop": 8}, "resize"),
        ({"resize": 8, "crop": 9}, "crop is 9 and resize 8"),
        ({**SEEN, "fit": "cover"}, "fit is 'cover', known are shortest, stretch"),
        ({**SEEN, "layout": "chw"}, "layout is 'chw'"),
        ({**SEEN, "interpolation": "best"}, "interpolation is 'best'"),
        ({**SEEN, "mean": [1.0]}, "mean and std are three numbers"),
        ({**SEEN, "std": [1.0, 0.0, 1.0]}, "std is not 0"),
        ({**SEEN, "sharpen": 1}, "unknown 'sharpen'; known are channels"),
    ],
)
def test_a_wrong_table_is_refused_by_key(options, said):
    with pytest.raises(FailedPrecondition, match=f"options.pixels: .*{said}"):
        pixels_of(**options)
