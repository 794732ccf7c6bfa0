"""A proxy before a real S3 server that does harm on command, once per request it is told to harm.

``with Faults(port) as proxy: proxy.harm(CutUpload(), method="PUT", times=2)``. One connection
serves one request, so each request meets its own fault. With ``tls`` it speaks TLS to clients.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from typing import Self

from .chunked import read_chunked

HOST = "127.0.0.1"
CHUNK = 65536


@dataclass(frozen=True)
class Answer:
    """Answer in the server's stead; the request never reaches it."""

    status: int
    code: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Hang:
    """Take the request, answer nothing."""


@dataclass(frozen=True)
class CutUpload:
    """Hand on half of the request's body, then cut both connections."""


@dataclass(frozen=True)
class CutDownload:
    """Hand on the answer's head and half of its body, then cut."""


@dataclass(frozen=True)
class LoseAnswer:
    """Let the server do its work, then cut without a word."""


@dataclass(frozen=True)
class SpoilDownload:
    """Change one byte of the answer's body."""


@dataclass(frozen=True)
class SpoilUpload:
    """Change one byte of the request's body."""


@dataclass(frozen=True)
class EmptyAnswer:
    """Let the server do its work, then tell 200 and nothing else."""


Fault = (
    Answer | Hang | CutUpload | CutDownload | LoseAnswer | SpoilDownload | SpoilUpload | EmptyAnswer
)
SLOW_DOWN = Answer(503, "SlowDown")
FULL = Answer(507, "InsufficientStorage")
OVER_QUOTA = Answer(403, "QuotaExceeded")


@dataclass
class Order:
    """A fault for the next ``left`` requests (``None``: all) of a method and a part of the path."""

    fault: Fault
    method: str
    path: str
    left: int | None


@dataclass(frozen=True)
class Request:
    """A request that came, and what was done to it."""

    method: str
    path: str
    headers: dict[str, str]
    fault: Fault | None


@dataclass
class Head:
    """A message's first line and headers, as they came."""

    lines: list[bytes]
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for line in self.lines[1:]:
            name, _, value = line.decode("latin-1").partition(":")
            self.headers[name.strip().lower()] = value.strip()

    @property
    def length(self) -> int:
        return int(self.headers.get("content-length") or 0)

    def closing(self) -> bytes:
        """The same, asking for the connection to end afterwards."""
        kept = [line for line in self.lines if not line.lower().startswith(b"connection:")]
        return b"\r\n".join([*kept, b"Connection: close", b"", b""])


class Faults:
    """The proxy; ``harm`` orders faults, ``requests`` tells what came."""

    def __init__(self, upstream: int, tls: ssl.SSLContext | None = None) -> None:
        self.upstream = upstream
        self.requests: list[Request] = []
        self._tls = tls
        self._orders: list[Order] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server((HOST, 0), backlog=128)
        self._listener.settimeout(0.2)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._listener.close()
        self.heal()
        self._thread.join(5)

    @property
    def endpoint(self) -> str:
        return f"{'https' if self._tls else 'http'}://{HOST}:{self.port}"

    def harm(self, fault: Fault, method: str = "", path: str = "", times: int | None = 1) -> None:
        """Harm the next ``times`` requests of ``method`` whose path with query holds ``path``."""
        with self._lock:
            self._orders.append(Order(fault, method, path, times))

    def heal(self) -> None:
        """Forget what was ordered and not yet done; let go of what hangs."""
        with self._lock:
            self._orders.clear()
            hanging = list(self._open)
        for connection in hanging:
            _shut(connection)

    def harmed(self) -> list[Request]:
        """The requests that met a fault."""
        return [request for request in self.requests if request.fault is not None]

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)
        client = connection
        try:
            connection.settimeout(120)
            if self._tls is not None:
                client = self._tls.wrap_socket(connection, server_side=True)
            self._relay(client)
        except (OSError, ValueError, EOFError):
            pass
        finally:
            with self._lock:
                self._open.discard(connection)
            _shut(client)
            client.close()
            connection.close()

    def _relay(self, client: socket.socket) -> None:
        reader = client.makefile("rb")
        head = _read_head(reader)
        method, path = head.lines[0].decode("latin-1").split(" ")[:2]
        fault = self._choose(method, path)
        self.requests.append(Request(method, path, head.headers, fault))
        if head.headers.get("expect", "").lower() == "100-continue":
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            head.lines = [one for one in head.lines if not one.lower().startswith(b"expect:")]
        if isinstance(fault, CutUpload):
            self._cut_upload(head, reader)
            return
        chunked = head.headers.get("transfer-encoding", "").lower() == "chunked"
        body = read_chunked(reader)[0] if chunked else reader.read(head.length)
        if isinstance(fault, Hang):
            self._wait_until_gone(client)
        elif isinstance(fault, Answer):
            client.sendall(_made(fault))
        else:
            self._pass_on(client, head, body, fault)

    def _pass_on(self, client: socket.socket, head: Head, body: bytes, fault: Fault | None) -> None:
        if isinstance(fault, SpoilUpload):
            body = _spoilt(body)
        with socket.create_connection((HOST, self.upstream), 120) as server:
            server.sendall(head.closing() + body)
            reader = server.makefile("rb")
            answer = _read_head(reader)
            text = reader.read()
        if isinstance(fault, LoseAnswer):
            return
        if isinstance(fault, EmptyAnswer):
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        if isinstance(fault, SpoilDownload):
            text = _spoilt(text)
        if isinstance(fault, CutDownload):
            text = text[: len(text) // 2]
        client.sendall(answer.closing() + text)

    def _cut_upload(self, head: Head, reader) -> None:
        half = reader.read(head.length // 2)
        with socket.create_connection((HOST, self.upstream), 120) as server:
            server.sendall(head.closing() + half)
            time.sleep(0.05)  # so that the server has begun with it

    def _wait_until_gone(self, client: socket.socket) -> None:
        while not self._ended.is_set():
            client.settimeout(0.2)
            try:
                if not client.recv(1):
                    return
            except TimeoutError:
                continue

    def _choose(self, method: str, path: str) -> Fault | None:
        with self._lock:
            for order in self._orders:
                if order.method in {"", method} and order.path in path and order.left != 0:
                    if order.left is not None:
                        order.left -= 1
                    return order.fault
        return None


def _read_head(reader) -> Head:
    lines: list[bytes] = []
    while True:
        line = reader.readline(CHUNK)
        if not line:
            raise EOFError
        line = line.rstrip(b"\r\n")
        if not line:
            head = Head(lines)
            if b" 100 " in lines[0]:  # "go on" before the real answer
                lines = []
                continue
            return head
        lines.append(line)


def _made(answer: Answer) -> bytes:
    text = f"<Error><Code>{answer.code}</Code><Message>made by the test</Message></Error>"
    extra = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
    head = f"HTTP/1.1 {answer.status} Fault\r\nContent-Type: application/xml\r\n{extra}"
    return f"{head}Content-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}".encode()


def _spoilt(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :] if body else body


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
