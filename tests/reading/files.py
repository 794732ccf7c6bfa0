"""PNG, TIFF and BMP files written sample by sample: also such as Pillow does not write."""

import struct
import zlib

import numpy as np


def packed(samples, bits, order=">"):
    """Rows (height, width, channels) of whole samples as bytes, each row on a byte's boundary."""
    rows = samples.reshape(samples.shape[0], -1)
    if bits in (8, 16, 32):
        return rows.astype(f"{order}u{bits // 8}").tobytes()
    every = (rows[..., None].astype(np.uint32) >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(every.reshape(rows.shape[0], -1).astype(np.uint8), axis=1).tobytes()


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(samples, bits, colour_type, *, icc=None, exif=None, chunks=()):
    height, width = samples.shape[:2]
    raw = packed(samples, bits)
    line = len(raw) // height
    filtered = b"".join(b"\0" + raw[y * line : (y + 1) * line] for y in range(height))
    parts = [chunk(b"IHDR", struct.pack(">IIBB3x", width, height, bits, colour_type))]
    if icc:
        parts.append(chunk(b"iCCP", b"icc\0\0" + zlib.compress(icc)))
    if exif:
        parts.append(chunk(b"eXIf", exif))
    parts += [chunk(kind, body) for kind, body in chunks]
    parts += [chunk(b"IDAT", zlib.compress(filtered)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(
    samples, bits, photometric, *, order="<", extra=(), sign=1, planar=1, deflated=False,
    icc=None, tags=(),
):  # fmt: skip
    """One strip. ``tags``: further (tag, type, values); types 3 short, 4 long, 5 rational."""
    height, width, channels = samples.shape
    planes = np.moveaxis(samples, -1, 0)[..., None] if planar == 2 else [samples]
    strips = [packed(np.asarray(plane), bits, order) for plane in planes]
    strips = [zlib.compress(strip) for strip in strips] if deflated else strips
    entries = [
        (256, 4, [width]), (257, 4, [height]), (258, 3, [bits] * channels),
        (259, 3, [8 if deflated else 1]), (262, 3, [photometric]), (277, 3, [channels]),
        (278, 4, [height]), (279, 4, [len(strip) for strip in strips]), (284, 3, [planar]),
        (339, 3, [sign] * channels), *tags,
    ]  # fmt: skip
    if extra:
        entries.append((338, 3, list(extra)))
    if icc:
        entries.append((34675, 7, icc))
    offset = 8 + 2 + 12 * (len(entries) + 1) + 4
    blobs = b""

    def placed(blob):
        nonlocal blobs
        start = offset + len(blobs)
        blobs += blob + bytes(len(blob) % 2)
        return start

    entries.append((273, 4, [placed(strip) for strip in strips]))
    table = b""
    for tag, type_, values in sorted(entries):
        if type_ == 7:
            count, blob = len(values), values
        elif type_ == 5:
            count, blob = len(values), b"".join(struct.pack(order + "II", *v) for v in values)
        else:
            count = len(values)
            blob = struct.pack(f"{order}{count}{'H' if type_ == 3 else 'I'}", *values)
        inline = blob.ljust(4, b"\0") if len(blob) <= 4 else struct.pack(order + "I", placed(blob))
        table += struct.pack(order + "HHI", tag, type_, count) + inline
    mark = b"II" if order == "<" else b"MM"
    head = mark + struct.pack(order + "HI", 42, 8) + struct.pack(order + "H", len(entries))
    return head + table + bytes(4) + blobs


def bmp5(samples, icc):
    """A 24-bit BMP of version 5 with an embedded profile."""
    height, width, _ = samples.shape
    rows = samples[::-1, :, ::-1].astype(np.uint8)
    padding = bytes(-3 * width % 4)
    pixels = b"".join(row.tobytes() + padding for row in rows)
    start = 14 + 124
    head = struct.pack("<IiiHHIIiiII", 124, width, height, 1, 24, 0, len(pixels), 0, 0, 0, 0)
    head += (
        bytes(16) + b"DEBM" + bytes(48) + struct.pack("<IIII", 4, 124 + len(pixels), len(icc), 0)
    )
    whole = start + len(pixels) + len(icc)
    return struct.pack("<2sIHHI", b"BM", whole, 0, 0, start) + head + pixels + icc


def jp2_with_profile(data, icc):
    """A JP2 file whose colour box is exchanged for one with a profile."""
    at = data.index(b"colr") - 4
    length = struct.unpack(">I", data[at : at + 4])[0]
    box = struct.pack(">I4sBBB", 11 + len(icc), b"colr", 2, 0, 0) + icc
    head = data.index(b"jp2h") - 4
    size = struct.unpack(">I", data[head : head + 4])[0] + len(box) - length
    return data[:head] + struct.pack(">I", size) + data[head + 4 : at] + box + data[at + length :]
