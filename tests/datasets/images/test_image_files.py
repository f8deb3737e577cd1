"""Image files of every kind become pixels of one size, or a few words that say why not."""

from __future__ import annotations

import io
import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from physode.datasets.images.image_files import decode
from physode.datasets.images.measured import UndecodableError, stretched

COLOURS = np.array([[[200, 30, 10], [20, 180, 40]], [[0, 60, 250], [240, 230, 220]]], dtype=np.uint8)
"""(row, column, channel) of a picture of four quarters."""


def quarters(side=16):
    return COLOURS.repeat(side // 2, axis=0).repeat(side // 2, axis=1)


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def corners(pixels):
    """Return the colours of the four corners, as `COLOURS`."""
    return pixels[:, [0, 0, -1, -1], [0, -1, 0, -1]].T.reshape(2, 2, 3)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_colours_of_a_file_without_loss_come_back(kind):
    pixels = decode(
        encoded(Image.fromarray(quarters()), kind, **({"lossless": True} if kind == "WEBP" else {})), size=16
    )
    assert pixels.dtype == np.uint8
    assert_array_equal(pixels, quarters().transpose(2, 0, 1))


@pytest.mark.parametrize("mode", ["CMYK", "RGB"])
def test_a_jpeg_is_close_to_its_original(mode):
    pixels = decode(encoded(Image.fromarray(quarters(32)).convert(mode), "JPEG", quality=95), size=32)
    assert_allclose(corners(pixels.astype(float)), COLOURS, atol=12)


@pytest.mark.parametrize("mode", ["P", "L", "1"])
def test_palettes_and_grey_become_three_channels(mode):
    image = Image.fromarray(quarters()).convert(mode)
    assert_array_equal(decode(encoded(image), size=16), np.asarray(image.convert("RGB")).transpose(2, 0, 1))


@pytest.mark.parametrize(("kind", "dtype"), [("PNG", "u2"), ("TIFF", "u2"), ("TIFF", "i4"), ("TIFF", "f4")])
def test_pixels_that_are_no_bytes_are_stretched(kind, dtype):
    counts = np.arange(256, dtype=dtype).reshape(16, 16) * 16  # 12 bits
    pixels = decode(encoded(Image.fromarray(counts), kind), size=16)
    assert_array_equal(pixels, [stretched(counts)] * 3)
    assert (pixels.min(), pixels.max()) == (0, 255)


def test_the_part_that_is_kept_has_the_limits_of_the_stretch():
    counts = np.zeros((16, 16), dtype=np.uint16)
    counts[4:12, 4:12] = np.arange(64).reshape(8, 8)
    counts[0] = 60_000  # a star outside
    file = encoded(Image.fromarray(counts))
    assert_array_equal(decode(file, size=8, centre=0.5)[0], stretched(counts[4:12, 4:12]))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_what_is_transparent_is_white(kind):
    clear = np.dstack([quarters(), np.full((16, 16), 255, dtype=np.uint8)])
    clear[:8, :8, 3] = 0
    options = {"lossless": True} if kind == "WEBP" else {}
    found = corners(decode(encoded(Image.fromarray(clear, "RGBA"), kind, **options), size=16))
    assert_array_equal(found[0, 0], [255, 255, 255])
    assert_array_equal(found[1], COLOURS[1])


def test_a_transparent_colour_of_a_palette_is_white():
    image = Image.new("P", (4, 4), 1)
    image.putpalette([9, 9, 9, 200, 0, 0])
    image.putpixel((0, 0), 0)
    pixels = decode(encoded(image, "GIF", transparency=0), size=4)
    assert_array_equal(pixels[:, 0, 0], [255, 255, 255])
    assert_array_equal(pixels[:, 3, 3], [200, 0, 0])


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [(1, lambda x: x), (2, np.fliplr), (3, lambda x: np.rot90(x, 2)), (6, lambda x: np.rot90(x, -1)), (8, np.rot90)],
)
def test_the_image_is_turned_as_its_camera_was_held(orientation, turned):
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decode(encoded(Image.fromarray(quarters()), exif=exif), size=16)
    assert_array_equal(corners(pixels), turned(COLOURS))


def test_of_an_animation_the_first_frame_is_taken():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    pixels = decode(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), size=4)
    assert_array_equal(pixels[:, 0, 0], [255, 0, 0])


def test_scaling_down_averages_over_fine_detail(rng):
    fine = np.zeros((64, 64, 3), dtype=np.uint8)
    fine[::2] = 255
    # A sampling of every eighth pixel would be all white.
    assert_allclose(decode(encoded(Image.fromarray(fine)), size=8), 127.5, atol=6)


def test_another_shape_becomes_a_square():
    pixels = decode(encoded(Image.fromarray(quarters()).resize((40, 10), Image.Resampling.NEAREST)), size=8)
    assert pixels.shape == (3, 8, 8)
    assert_array_equal(corners(pixels), COLOURS)


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_the_square_about_the_centre_keeps_its_shape(share):
    side = round(20 * share)
    pixels = np.full((20, 32, 3), 9, dtype=np.uint8)
    left, top = (32 - side) // 2, (20 - side) // 2
    pixels[top : top + side, left : left + side] = 200
    whole = decode(encoded(Image.fromarray(pixels)), size=8, centre=share)
    assert whole.min() == whole.max() == 200
    assert decode(encoded(Image.fromarray(pixels)), size=8).min() == 9


def bomb(width, height):
    """Return a PNG that says it is large, and has no pixels."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8_000, 12_000, 60_000])
def test_a_decompression_bomb_is_refused_before_it_is_unpacked(side):
    with pytest.raises(UndecodableError, match="more than 50000000"):
        decode(bomb(side, side), size=4)


def test_damaged_files_are_refused_in_a_few_words():
    jpeg = encoded(Image.fromarray(quarters(64)), "JPEG")
    with pytest.raises(UndecodableError, match="empty"):
        decode(b"", size=4)
    with pytest.raises(UndecodableError, match="not an image"):
        decode(b"no image at all", size=4)
    for end in (len(jpeg) // 2, -20):
        with pytest.raises(UndecodableError, match=r"damaged: .*(?i:truncated)"):
            decode(jpeg[:end], size=4)


def test_postscript_is_not_an_image_since_it_is_a_program():
    with pytest.raises(UndecodableError, match="not an image"):
        decode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n", size=4)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP"])
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about odd metadata
def test_a_file_with_a_wrong_byte_is_read_or_refused_and_nothing_else(kind, rng):
    whole = encoded(Image.fromarray(quarters()), kind)
    for _ in range(60):
        data = bytearray(whole[: rng.integers(8, len(whole) + 1)])
        data[rng.integers(len(data))] = rng.integers(256)
        with suppress(UndecodableError):
            assert decode(bytes(data), size=4).shape == (3, 4, 4)
