"""What cannot be read is refused in one line; what needs a library says which."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from kontext_engine.errors import PictureError
from kontext_engine.picture import SUFFIXES, picture_facts
from kontext_engine.picture.jpegxl import jpegxl_size
from kontext_engine.picture.reading import open_picture
from tests.debian import needs_debian
from tests.reading.files import png, tiff
from tests.reading.table import COLOURS, GREYS, plugins, saved, spread, whole

NEEDS = {name: pytest.mark.skipif(name not in plugins(), reason=f"no plugin for {name}")
         for name in ("HEIF", "JXL")}  # fmt: skip


def grey(bits, **options):
    return tiff(spread(whole(GREYS, bits)[0]), bits, **{"photometric": 1, **options})


def colours(bits, photometric, **options):
    return tiff(spread(whole(COLOURS, bits)[0]), bits, photometric, **options)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (lambda: grey(8, sign=2), "signed pixels have no agreed white"),
        (lambda: grey(16, sign=2), "signed pixels have no agreed white"),
        (lambda: grey(32, sign=2), "signed pixels have no agreed white"),
        (lambda: grey(32, sign=3), "floating-point pixels have no agreed white"),
        (lambda: grey(12, photometric=0), "as TIFF: unknown pixel mode"),
        (lambda: grey(12, order=">"), "as TIFF: unknown pixel mode"),
        (lambda: grey(32, order=">"), "as TIFF: unknown pixel mode"),
        (lambda: grey(16, order=">", photometric=0), "as TIFF: unknown pixel mode"),
        (lambda: colours(32, 2), "as TIFF: unknown pixel mode"),
        (lambda: colours(16, 8), "as TIFF: unknown pixel mode"),
        (lambda: colours(16, 2, planar=2), "its channels of 16 bits lie apart"),
    ],
)
def test_samples_that_would_be_read_wrongly_are_refused(data, told):
    with pytest.raises(PictureError) as refused:
        open_picture(data(), "x.tif")
    assert str(refused.value).startswith("x.tif: ")
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)
    # What version 1 made wrong pixels of is not to be found again in a store.
    read_once = "signed" in told or "apart" in told
    assert picture_facts(data()).reading == (2 if read_once or "floating" in told else 1)


def test_what_pillow_cannot_convert_is_refused_like_what_it_cannot_decode(monkeypatch):
    def convert(self, *args, **options):
        raise ValueError("conversion from La to L not supported\nand more")

    data = tiff(spread(whole(np.stack([GREYS, GREYS], axis=1), 8)[0]), 8, 1, extra=[1])
    assert open_picture(data).mode == "RGB"
    monkeypatch.setattr(Image.Image, "convert", convert)
    with pytest.raises(PictureError, match=r"^x\.tif: this TIFF picture \(mode La, 8 bits\) cann"):
        open_picture(data, "x.tif")


def test_associated_alpha_of_half_on_white_is_mid_grey():
    held = np.array([[0, 128], [128, 128], [64, 128]])
    opened = open_picture(tiff(spread(held), 8, 1, extra=[1]))
    levels = [opened.getpixel((x, 8))[0] for x in (8, 24, 40)]
    assert levels == pytest.approx([127, 255, 191], abs=1)


@pytest.mark.parametrize("share", [0, 0.01, 0.1, 0.3, 0.6, 0.8])
@pytest.mark.parametrize("make", [
    lambda: png(spread(whole(COLOURS, 16)[0]), 16, 2),
    lambda: colours(16, 2),
    lambda: saved("RGB", whole(COLOURS, 8)[0], "JPEG2000"),
    *(pytest.param(lambda f=f: saved("RGB", whole(COLOURS, 8)[0], f), marks=NEEDS[f])
      for f in ("HEIF", "JXL")),
])  # fmt: skip
def test_what_is_cut_short_is_refused(make, share):
    with pytest.raises(PictureError) as refused:
        open_picture(make()[: int(share * len(make()))], "x")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("format_", [pytest.param(f, marks=NEEDS[f]) for f in NEEDS])
@pytest.mark.parametrize(("orientation", "corner"), [(1, 0), (3, 2), (6, 1), (8, 0)])
def test_orientation_is_applied_once(format_, orientation, corner):
    image = Image.new("RGB", (64, 32), (255, 0, 0))
    image.paste((0, 0, 255), (32, 0, 64, 32))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    exact = {"lossless": True} if format_ == "JXL" else {"quality": 100}
    image.save(stream, format_, exif=exif.tobytes(), **exact)
    opened = open_picture(stream.getvalue())
    assert opened.size == ((64, 32) if orientation in (1, 3) else (32, 64))
    assert opened.getpixel((4, 4))[0] > 200 if orientation in (1, 6) else True
    assert opened.getpixel((4, 4))[2] > 200 if orientation in (3, 8) else True


def test_deep_pictures_are_turned_too():
    image = whole(COLOURS, 16)[0]
    exif = Image.Exif()
    exif[0x0112] = 6
    from tests.reading.table import ADOBE

    plain = np.asarray(open_picture(png(spread(image), 16, 2, icc=ADOBE)))
    turned = np.asarray(open_picture(png(spread(image), 16, 2, icc=ADOBE, exif=exif.tobytes())))
    assert np.array_equal(np.rot90(plain, -1), turned)


@pytest.mark.parametrize(("module", "extra", "start"), [
    ("pillow_heif", "heif", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),
    ("pillow_jxl", "jxl", b"\xff\x0a\0\0\0\0"),
])  # fmt: skip
def test_a_missing_library_is_named_with_its_extra(monkeypatch, module, extra, start):
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(PictureError) as refused:
        open_picture(start + bytes(100), "a.img")
    assert f"install kontext-pipeline[{extra}], or export" in str(refused.value)


@NEEDS["JXL"]
@pytest.mark.parametrize("container", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (256, 256), (300, 200), (17, 1000), (1920, 1080)])
def test_the_size_of_a_jpeg_xl_file_is_known_before_it_is_decoded(size, container):
    stream = io.BytesIO()
    Image.new("L", size).save(stream, "JXL", use_container=container, effort=1)
    assert jpegxl_size(stream.getvalue()) == size
    with pytest.raises(PictureError, match="x: more than 0 million pixels, refused unopened"):
        open_picture(stream.getvalue(), "x", max_pixels=0)


@NEEDS["JXL"]
@needs_debian("libjxl-tools")
def test_samples_that_a_plugin_tears_apart_are_refused(tmp_path):
    pairs = whole(np.stack([GREYS, GREYS], axis=1), 16)[0]
    (tmp_path / "a.png").write_bytes(png(spread(pairs), 16, 4))
    made = tmp_path / "a.jxl"
    command = ["cjxl", tmp_path / "a.png", made, "-d", "0"]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(PictureError, match="its channels of 16 bits lie apart"):
        open_picture(made)


def test_every_name_of_jpeg_is_known():
    assert {".jpg", ".jpeg", ".jpe", ".jfif"} <= {s for s, f in SUFFIXES.items() if f == "JPEG"}
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in SUFFIXES)
