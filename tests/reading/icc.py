"""ICC profiles made for the table, and the same colours by plain arithmetic."""

import struct

import numpy as np

D50 = np.array([0.9642, 1.0, 0.8249])
# Columns: the primaries' XYZ, adapted to D50.
SRGB = np.array(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
)
ADOBE = np.array(
    [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]
)
PROPHOTO = np.array([[0.79767, 0.13519, 0.03134], [0.28804, 0.71188, 0.00009], [0.0, 0.0, 0.82491]])


def profile(space, tags, kind=b"mntr", pcs=b"XYZ "):
    body, table = b"", struct.pack(">I", len(tags))
    start = 132 + 12 * len(tags)
    for name, content in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4xI4s4s4s", start + len(body), 0x02100000, kind, space, pcs)
    head = head.ljust(36, b"\0") + b"acsp"
    head = head.ljust(68, b"\0") + struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    return head.ljust(128, b"\0") + table + body


def described(name):
    text = name.encode() + b"\0"
    return {
        b"desc": struct.pack(">4s4xI", b"desc", len(text)) + text + bytes(78),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": xyz(D50),
    }


def xyz(values):
    return struct.pack(">4s4x3i", b"XYZ ", *(round(value * 65536) for value in values))


def gamma(exponent):
    return struct.pack(">4s4xIH2x", b"curv", 1, round(exponent * 256))


def rgb_profile(matrix, exponent):
    tags = described(f"rgb {exponent}")
    for index, name in enumerate("rgb"):
        tags[f"{name}XYZ".encode()] = xyz(matrix[:, index])
        tags[f"{name}TRC".encode()] = gamma(exponent)
    return profile(b"RGB ", tags)


def grey_profile(exponent):
    return profile(b"GRAY", {**described(f"grey {exponent}"), b"kTRC": gamma(exponent)})


def cmyk_profile():
    """A press whose inks are impure: a table of 5 steps an ink, to L*a*b*."""
    steps = np.linspace(0, 1, 5)
    c, m, y, k = np.meshgrid(steps, steps, steps, steps, indexing="ij")
    paper = np.stack([1 - 0.9 * c, 1 - 0.15 * c - 0.75 * m, 1 - 0.2 * m - 0.7 * y], axis=-1)
    rgb = np.clip(paper, 0.02, 1) * (1 - 0.95 * k)[..., None]
    lab = lab_of(rgb**2.2 @ SRGB.T)
    eight = np.stack([lab[..., 0] * 2.55, lab[..., 1] + 128, lab[..., 2] + 128], axis=-1)
    table = np.clip(np.rint(eight), 0, 255).astype(np.uint8).tobytes()
    curve = bytes(range(256))
    unit = struct.pack(">9i", *(65536 * int(i % 4 == 0) for i in range(9)))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 5, 0]) + unit + curve * 4 + table + curve * 3
    return profile(b"CMYK", {**described("press"), b"A2B0": lut}, b"prtr", b"Lab ")


def lab_of(values):
    ratio = values / D50
    root = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def xyz_of(lab):
    y = (lab[..., 0] + 16) / 116
    root = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    cube = root**3
    return np.where(cube > 216 / 24389, cube, (116 * root - 16) * 27 / 24389) * D50


def to_srgb(values):
    """XYZ (D50) to sRGB, 0..1; what lies outside is clipped."""
    linear = np.clip(values @ np.linalg.inv(SRGB).T, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def by_matrix(units, matrix, exponent):
    """RGB (0..1) of a matrix profile in sRGB."""
    return to_srgb(units ** (round(exponent * 256) / 256) @ matrix.T)


def by_grey(units, exponent):
    """Greys (0..1) of a grey profile in sRGB."""
    light = units ** (round(exponent * 256) / 256)
    return to_srgb(light[..., None] * D50)
