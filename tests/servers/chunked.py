"""Bodies in chunks: HTTP's own (``Transfer-Encoding``), and S3's inside them (``aws-chunked``)."""

from __future__ import annotations


def read_chunked(reader) -> tuple[bytes, bytes]:
    """A chunked body as it came, and what it holds."""
    raw, data = b"", b""
    while True:
        line = reader.readline()
        size = int(line.partition(b";")[0], 16)
        chunk, end = reader.read(size), reader.readline()
        raw, data = raw + line + chunk + end, data + chunk
        if size == 0:
            return raw, data


def unwrap(body: bytes) -> bytes:
    """The payload of an ``aws-chunked`` body, its trailer left away."""
    data, rest = b"", body
    while rest:
        line, _, rest = rest.partition(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        if size == 0:
            break
        data, rest = data + rest[:size], rest[size + 2 :]
    return data
