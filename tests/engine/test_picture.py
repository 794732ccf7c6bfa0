import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from kontext_engine.geometry import Fit, Placement, Size, place
from kontext_engine.picture import (
    PictureError,
    picture_digest,
    picture_facts,
    place_picture,
)
from kontext_engine.picture.formats import open_image
from kontext_engine.picture.reading import open_picture

RED, BLUE = (255, 0, 0), (0, 0, 255)


def encoded(image, format_="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, format_, **options)
    return stream.getvalue()


def two_halves():
    image = Image.new("RGB", (4, 2), RED)
    image.paste(BLUE, (2, 0, 4, 2))
    return image


def test_rgb_comes_back_pixel_for_pixel_without_metadata(tmp_path):
    path = tmp_path / "plain.png"
    image = two_halves()
    image.info["Comment"] = "secret"
    path.write_bytes(encoded(image))
    opened = open_picture(path)
    assert opened.mode == "RGB"
    assert opened.info == {}
    assert opened.tobytes() == two_halves().tobytes()


@pytest.mark.parametrize(
    ("orientation", "size", "corner"),
    [(1, (4, 2), RED), (3, (4, 2), BLUE), (6, (2, 4), RED), (8, (2, 4), BLUE)],
)
def test_exif_orientation_is_applied(orientation, size, corner):
    exif = Image.Exif()
    exif[0x0112] = orientation
    opened = open_picture(encoded(two_halves(), exif=exif))
    assert opened.size == size
    assert opened.getpixel((0, 0)) == corner


def test_transparency_is_flattened_on_white():
    image = Image.new("RGBA", (2, 1), (*RED, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    assert list(np.asarray(open_picture(encoded(image)))[0, :, 0]) == [255, 255]
    assert open_picture(encoded(image)).getpixel((1, 0)) == (255, 255, 255)
    half = Image.new("RGBA", (1, 1), (0, 0, 0, 128))
    assert open_picture(encoded(half)).getpixel((0, 0)) == (127, 127, 127)


def test_a_palette_with_transparency_is_flattened_too():
    image = Image.new("P", (2, 1), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    opened = open_picture(encoded(image, transparency=1))
    assert [opened.getpixel((x, 0)) for x in (0, 1)] == [RED, (255, 255, 255)]


def test_a_profile_is_converted_to_srgb():
    # A profile with the red and blue primaries exchanged: conversion must exchange them back.
    swapped = swapped_primaries()
    opened = open_picture(encoded(Image.new("RGB", (2, 2), RED), icc_profile=swapped))
    red, _, blue = opened.getpixel((0, 0))
    assert blue > 200
    assert red < 60
    alpha = Image.new("RGBA", (2, 2), (*RED, 255))
    red, _, blue = open_picture(encoded(alpha, icc_profile=swapped)).getpixel((0, 0))
    assert blue > 200
    assert red < 60


def swapped_primaries():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    count = int.from_bytes(srgb[128:132], "big")
    tags = [bytearray(srgb[132 + 12 * i : 144 + 12 * i]) for i in range(count)]
    for tag in tags:
        tag[:4] = {b"rXYZ": b"bXYZ", b"bXYZ": b"rXYZ"}.get(bytes(tag[:4]), tag[:4])
    return srgb[:132] + b"".join(bytes(tag) for tag in tags) + srgb[132 + 12 * count :]


@pytest.mark.parametrize("profile", [b"not a profile", None])
def test_cmyk_becomes_rgb(profile):
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    options = {"icc_profile": profile} if profile else {}
    red, green, blue = open_picture(encoded(cyan, "JPEG", **options)).getpixel((4, 4))
    assert red < 10
    assert min(green, blue) > 245


def test_sixteen_bit_grey_is_scaled_not_clipped():
    levels = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    opened = open_picture(encoded(Image.fromarray(levels)))
    assert [opened.getpixel((x, 0))[0] for x in range(4)] == [0, 1, 128, 255]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "YCbCr", "LAB", "I;16"])
def test_every_mode_becomes_rgb(mode):
    format_ = "TIFF" if mode in ("YCbCr", "LAB") else "PNG"
    image = Image.new(mode, (3, 2))
    opened = open_picture(encoded(image, format_))
    assert (opened.mode, opened.size) == ("RGB", (3, 2))


@pytest.mark.parametrize(("mode", "kind"), [("F", "floating-point"), ("I", "signed")])
def test_samples_without_an_agreed_white_are_refused(mode, kind):
    with pytest.raises(PictureError, match=rf"^x\.tif: {kind} pixels have no agreed white"):
        open_picture(encoded(Image.new(mode, (2, 2)), "TIFF"), "x.tif")


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation_is_taken(format_):
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE)]
    data = encoded(frames[0], format_, save_all=True, append_images=frames[1:], duration=100)
    red, _, blue = open_picture(data).getpixel((4, 4))
    assert red > 200
    assert blue < 50


def test_the_pixel_limit_is_the_callers():
    data = encoded(Image.new("RGB", (400, 300)))
    with pytest.raises(PictureError, match=r"big\.png: more than 0\.1 million pixels, refused"):
        open_picture(data, "big.png", max_pixels=100_000)
    assert open_picture(data, max_pixels=120_000).size == (400, 300)


def test_a_limit_above_pillows_own_holds():
    data = encoded(Image.new("1", (20_000, 9_000)))  # Pillow refuses 179 million by itself
    assert picture_facts(data).reading == 1
    with pytest.raises(PictureError, match=r"big\.png: more than 179 million pixels"):
        open_picture(data, "big.png", max_pixels=179_000_000)
    with open_image(data, "big.png", max_pixels=180_000_000) as image:
        assert image.size == (20_000, 9_000)


def test_a_decompression_bomb_is_refused():
    header = encoded(Image.new("1", (1, 1)))
    # The same file claiming 60000 x 60000: width and height lie at bytes 16..24, then a checksum.
    import zlib

    claimed = (60000).to_bytes(4, "big") * 2
    chunk = b"IHDR" + claimed + header[24:29]
    bomb = header[:12] + chunk + zlib.crc32(chunk).to_bytes(4, "big") + header[33:]
    with pytest.raises(PictureError, match=r"bomb\.png: more than 80 million pixels"):
        open_picture(bomb, "bomb.png")


def test_what_is_not_a_picture_is_named(tmp_path):
    path = tmp_path / "notes.png"
    path.write_text("not a picture at all")
    with pytest.raises(PictureError, match=r"notes\.png: not a picture that can be read"):
        open_picture(path)
    with pytest.raises(PictureError, match=r"absent\.png: no such file"):
        open_picture(tmp_path / "absent.png")
    with pytest.raises(PictureError, match="cannot be read"):
        open_picture(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(PictureError, match=r"notes\.png: the file is empty"):
        open_picture(path)


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP"])
def test_a_truncated_picture_is_refused(format_):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), format_)
    with pytest.raises(PictureError, match=r"cut\.img: (damaged|not a picture)"):
        open_picture(data[: len(data) // 2], "cut.img")


def test_postscript_is_never_opened():
    with pytest.raises(PictureError, match="not a picture"):
        open_picture(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "page.eps")


def test_placing_crops_the_centre():
    image = Image.new("RGB", (6, 2), RED)
    image.paste(BLUE, (2, 0, 4, 2))
    placed = place_picture(image, place(Size(6, 2), Size(2, 2), Fit.CROP))
    assert placed.tobytes() == Image.new("RGB", (2, 2), BLUE).tobytes()


def test_placing_pads_with_the_edge_and_keeps_the_content():
    image = two_halves()
    placement = place(Size(4, 2), Size(4, 4), Fit.PAD)
    placed = place_picture(image, placement)
    assert placed.size == (4, 4)
    assert placed.crop(placement.content).tobytes() == image.tobytes()
    assert placed.getpixel((0, 0)) == RED
    assert placed.getpixel((3, 3)) == BLUE


def test_a_picture_of_the_right_size_is_not_touched():
    image = two_halves()
    placement = Placement(Size(4, 2), Size(4, 2), (0, 0, 4, 2), Fit.CROP)
    assert place_picture(image, placement) is image


def test_a_digest_names_pixels_and_shape():
    wide, tall = Image.new("RGB", (4, 2)), Image.new("RGB", (2, 4))
    assert picture_digest(wide) != picture_digest(tall)
    assert picture_digest(wide) == picture_digest(wide.copy())
    assert picture_digest(wide) != picture_digest(Image.new("RGB", (4, 2), (1, 0, 0)))
