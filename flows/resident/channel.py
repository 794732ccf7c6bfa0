"""How messages cross the socket between a worker and an engine process.

A frame is a count, the lengths, the message pickled without its pictures, and the pictures' raw
pixels, which are neither pickled nor copied on the way. Pickle is safe here: both ends are the
same user's processes running the same code over a socket pair that nobody else can open.
"""

from __future__ import annotations

import pickle
import socket
import struct
import threading
from typing import Any

_COUNT = struct.Struct("<I")
_LENGTH = struct.Struct("<Q")
_MOST_BUFFERS = 1 << 20
_KERNEL_BUFFER = 4 << 20  # bytes; a picture of a megapixel passes in few turns


class Channel:
    """One end of a socket pair; any thread may send, one receives."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BUFFER)
        self._sending = threading.Lock()

    def send(self, message: object) -> None:
        """Hand over a message.

        Raises:
            OSError: the other end is gone.
        """
        buffers: list[pickle.PickleBuffer] = []
        head = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
        parts = [memoryview(head), *(buffer.raw() for buffer in buffers)]
        sizes = b"".join(_LENGTH.pack(part.nbytes) for part in parts)
        with self._sending:
            self._socket.sendall(_COUNT.pack(len(parts)) + sizes)
            for part in parts:
                self._socket.sendall(part)

    def receive(self) -> Any:
        """The next message.

        Raises:
            EOFError, OSError: the other end is gone.
        """
        (count,) = _COUNT.unpack(self._exactly(_COUNT.size))
        if not 1 <= count <= _MOST_BUFFERS:
            raise ValueError(f"a frame of {count} parts")
        sizes = self._exactly(_LENGTH.size * count)
        head, *buffers = [self._exactly(size) for (size,) in _LENGTH.iter_unpack(sizes)]
        return pickle.loads(head, buffers=buffers)  # noqa: S301 - see the module's docstring

    def close(self) -> None:
        """Nothing further will be sent or received."""
        with self._sending:
            self._socket.close()

    def _exactly(self, size: int) -> bytearray:
        data = bytearray(size)
        rest = memoryview(data)
        while rest:
            read = self._socket.recv_into(rest)
            if read == 0:
                raise EOFError
            rest = rest[read:]
        return data
