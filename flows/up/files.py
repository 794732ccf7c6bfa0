"""A folder's pictures and reports for the browser: ``python -m flows.up.files FOLDER PORT``.

Read only, on loopback only, and only what people are meant to open: the folder of runs. Beside it
are health and metrics, as every process of ours has them.
"""

from __future__ import annotations

import functools
import os
import sys
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from prometheus_client import REGISTRY, Counter, generate_latest

from flows.store.runfolder import RUNS
from flows.up.ports import HOST

ASKED = Counter("kontext_files_requests", "Requests, by how they were answered.", ("code",))


class Handler(SimpleHTTPRequestHandler):
    """Answers GET and HEAD of files below ``runs/``; lists nothing, follows no link out of it."""

    timeout = 30  # seconds; whoever says nothing must not keep a thread

    def send_head(self) -> BytesIO | BinaryIO | None:
        """The file that is asked for, or what there is instead."""
        host, _, _ = self.headers.get("Host", HOST).rpartition(":")
        if host not in {"", HOST, "localhost"}:  # a page of elsewhere whose name points here
            self.send_error(HTTPStatus.FORBIDDEN, f"expected {HOST} as the host")
            return None
        path = self.path.partition("?")[0]
        if path in {"/health/live", "/health/ready"}:
            there = Path(self.directory).is_dir()
            well = there or path == "/health/live"
            text = b'{"unready": ""}\n' if there else b'{"unready": "the folder is gone"}\n'
            return self._page(HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE, text)
        if path == "/metrics":
            return self._page(HTTPStatus.OK, generate_latest(REGISTRY))
        root = os.path.realpath(Path(self.directory) / RUNS)
        file = os.path.realpath(self.translate_path(path))
        if not file.startswith(root + os.sep) or not Path(file).is_file():
            self.send_error(HTTPStatus.NOT_FOUND, "expected /runs/<run>/report.html")
            return None
        return super().send_head()

    def end_headers(self) -> None:
        """A page of pictures needs nothing from elsewhere."""
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def _page(self, code: HTTPStatus, text: bytes) -> BytesIO:
        self.send_response(code)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        return BytesIO(text)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Counted, not written: one line for each thumbnail tells nobody anything."""
        del size
        ASKED.labels(str(int(code) if isinstance(code, HTTPStatus) else code)).inc()


def server(folder: Path, port: int) -> ThreadingHTTPServer:
    """One that is not serving yet; port 0: any.

    Raises:
        OSError: the port cannot be had.
    """
    made = ThreadingHTTPServer((HOST, port), functools.partial(Handler, directory=str(folder)))
    made.daemon_threads = True
    return made


if __name__ == "__main__":
    with server(Path(sys.argv[1]), int(sys.argv[2])) as serving:
        sys.stdout.write(f"files of {sys.argv[1]} at http://{HOST}:{serving.server_address[1]}\n")
        sys.stdout.flush()
        serving.serve_forever()
