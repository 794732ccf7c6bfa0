"""The size that a JPEG XL file states, read before its plugin decodes the whole picture.

ISO/IEC 18181-1, SizeHeader; 18181-2 for the boxes around it.
"""

from __future__ import annotations

import struct

from kontext_engine.geometry import Size

_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_LENGTHS = (9, 13, 18, 30)  # bits of a side's length


def jpegxl_size(data: bytes) -> Size:
    """A file's stated size; 0x0 where it has none, which the plugin will then refuse."""
    start = _codestream(data)
    bits = _Bits(data[start + 2 : start + 18])
    if start < 0 or data[start : start + 2] != b"\xff\x0a":
        return Size(0, 0)
    small = bits.take(1) == 1
    height = _side(bits, small)
    ratio = bits.take(3)
    if ratio == 0:
        return Size(_side(bits, small), height)
    wide, high = _RATIOS[ratio - 1]
    return Size(height * wide // high, height)


def _side(bits: _Bits, small: bool) -> int:
    if small:
        return 8 * (bits.take(5) + 1)
    return bits.take(_LENGTHS[bits.take(2)]) + 1


def _codestream(data: bytes) -> int:
    """Where the codestream begins: at once, or in the first box that holds it; -1 without one."""
    if data.startswith(b"\xff\x0a"):
        return 0
    start = 0
    while start + 16 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if length == 1:
            length, head = struct.unpack_from(">Q", data, start + 8)[0], 16
        if kind == b"jxlc":
            return start + head
        if kind == b"jxlp":
            return start + head + 4  # after the part's number
        if length < head:
            break
        start += length
    return -1


class _Bits:
    """Bits from the lowest of each byte upwards."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        taken = self._value & ((1 << count) - 1)
        self._value >>= count
        return taken
