"""Colour profiles: what an embedded ICC profile makes of samples in its own colour space."""

from __future__ import annotations

import io
import struct
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from kontext_engine.picture.samples import Bytes, Words

GRID = 17  # samples a side at which a profile is asked whether it says anything but sRGB
_STRIP = 1 << 20  # pixels interpolated at once
_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


class Profile:
    """A source's profile, and the way from its own colour space to sRGB by LittleCMS."""

    def __init__(self, content: bytes) -> None:
        """Parse ``content``; what is no profile has no space, and takes nothing to sRGB."""
        self._profile: ImageCms.ImageCmsProfile | None = None
        self.space = ""
        try:
            self._profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
            self.space = str(self._profile.profile.xcolor_space).strip()
        except (OSError, ImageCms.PyCMSError):
            return

    def to_srgb(self, image: Image.Image, *, exact: bool = False) -> Image.Image | None:
        """A picture (8 bits a channel, in this profile's space) in sRGB; ``None``: not possible.

        ``exact``: colour by colour. Otherwise LittleCMS first makes a table of the whole way, of
        33 steps for grey and L*a*b*, which is off by up to 14 levels where a curve is steep; for
        RGB there is no difference.
        """
        if self._profile is None:
            return None
        flags = ImageCms.Flags.NOOPTIMIZE if exact else ImageCms.Flags.NONE
        try:
            return ImageCms.profileToProfile(
                image, self._profile, _SRGB, outputMode="RGB", flags=flags
            )
        except (ValueError, ImageCms.PyCMSError):
            return None

    def grey_table(self, *, exact: bool = True) -> Bytes | None:
        """What each of the 256 greys becomes: (256, 3)."""
        ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
        made = self.to_srgb(ramp if self.space == "GRAY" else ramp.convert("RGB"), exact=exact)
        return None if made is None else np.asarray(made)[0]

    def is_smooth(self, greys: list[int]) -> bool:
        """Whether these greys come out the same, to one level, by LittleCMS's table."""
        exact, quick = self.grey_table(), self.grey_table(exact=False)
        return exact is None or quick is None or _near(exact[greys], quick[greys])

    def leaves_greys(self, greys: list[int]) -> bool:
        """Whether these greys stay as they are, to one level."""
        after = self.grey_table()
        return after is None or _near(np.repeat(np.array(greys)[:, None], 3, 1), after[greys])

    def is_srgb(self) -> bool:
        """Whether colours stay as they are, to one level."""
        steps = np.linspace(0, 255, GRID).round().astype(np.uint8)
        before: Bytes = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(GRID, -1, 3)
        made = self.to_srgb(Image.fromarray(before))
        return made is None or _near(before, np.asarray(made))

    def deep_to_srgb(self, samples: Words) -> Image.Image | None:
        """16-bit samples (height, width, 3) in sRGB.

        LittleCMS is reached with 8 bits only, so each colour is interpolated between the four of
        its neighbours in an 8-bit cube that span it (a tetrahedron). Each of these is right to
        half a level, so their mean is; and between neighbours profiles are all but straight.
        """
        height, width, _ = samples.shape
        made = np.empty((height, width, 3), np.uint8)
        rows = max(1, _STRIP // width)
        for top in range(0, height, rows):
            part = self._interpolated(samples[top : top + rows])
            if part is None:
                return None
            made[top : top + rows] = part
        return Image.fromarray(made)

    def _interpolated(self, samples: Words) -> Bytes | None:
        low = np.minimum(samples // 257, 254)
        # 0..257, of which the weights are made: together they are 257.
        rest: Words = (samples - low * np.uint16(257)).astype(np.uint16)
        one, two, three = rest[..., 0], rest[..., 1], rest[..., 2]
        most = np.maximum(np.maximum(one, two), three)
        least = np.minimum(np.minimum(one, two), three)
        middle = one + two + three - most - least
        corners = low, low + _first(rest, most), low + 1 - _first(rest, least), low + 1
        total = np.zeros(samples.shape, np.uint16)  # at most 255 * 257
        for corner, weight in zip(
            corners, (257 - most, most - middle, middle - least, least), strict=True
        ):
            made = self.to_srgb(Image.fromarray(corner.astype(np.uint8)))
            if made is None:
                return None
            total += np.asarray(made) * weight[..., None]
        levels: Bytes = ((total.astype(np.uint32) + 128) // 257).astype(np.uint8)
        return levels


def _first(values: Words, sought: Words) -> Bytes:
    """1 at the first of each three values that is the sought one, else 0."""
    same = np.equal(values, sought[..., None])
    same[..., 1] &= ~same[..., 0]
    same[..., 2] &= ~(same[..., 0] | same[..., 1])
    ones: Bytes = same.astype(np.uint8)
    return ones


def _near(before: Bytes, after: Bytes) -> bool:
    return int(np.abs(before.astype(int) - after.astype(int)).max()) <= 1


@lru_cache(maxsize=32)
def profile_of(content: bytes) -> Profile:
    """A profile, parsed once: pictures of one camera share theirs."""
    return Profile(content)


@lru_cache(maxsize=1)
def srgb() -> bytes:
    """The profile of sRGB that files carry: LittleCMS's own, without the time it was made at."""
    content = bytearray(_SRGB.tobytes())
    content[24:36] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
    content[84:100] = bytes(16)  # the digest of all this
    return bytes(content)


@lru_cache(maxsize=1)
def adobe_rgb() -> bytes:
    """Adobe RGB (1998), which EXIF can name without embedding it: a matrix and a gamma curve.

    Colorants adapted to D50 and the exponent 563/256 as Adobe's specification has them.
    """
    white, red = (0.95045, 1.0, 1.08905), (0.60974, 0.31111, 0.01947)
    green, blue = (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)
    curve = struct.pack(">4s4xIH2x", b"curv", 1, 563)
    name = b"compatible with Adobe RGB (1998)\0"
    described = struct.pack(">4s4xI", b"desc", len(name)) + name + bytes(78)
    free = b"text\0\0\0\0no copyright\0"
    tags = {
        b"desc": described, b"cprt": free, b"wtpt": _xyz(white), b"rXYZ": _xyz(red),
        b"gXYZ": _xyz(green), b"bXYZ": _xyz(blue), b"rTRC": curve, b"gTRC": curve, b"bTRC": curve,
    }  # fmt: skip
    table, body = struct.pack(">I", len(tags)), b""
    for tag, content in tags.items():
        offset = 128 + 4 + 12 * len(tags) + len(body)
        table += struct.pack(">4sII", tag, offset, len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4xI4s4s4s", 132 + len(table) - 4 + len(body), 0x02100000, b"mntr",
                       b"RGB ", b"XYZ ").ljust(36, b"\0") + b"acsp"  # fmt: skip
    head = head.ljust(68, b"\0") + struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)  # D50
    return head.ljust(128, b"\0") + table + body


def _xyz(values: tuple[float, float, float]) -> bytes:
    return struct.pack(">4s4x3i", b"XYZ ", *(round(value * 65536) for value in values))
