"""A worker's page for whoever watches over it.

``/health/live``: whether a restart of the worker would help. ``/health/ready``: whether it takes
work. ``/metrics``: figures for Prometheus.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from flows.engines.stats import EngineStats
from flows.scheduling.workers.metrics import CONTENT_TYPE

STANDSTILL_SECONDS = 60.0  # after which the worker's own loop counts as stuck


@dataclass(frozen=True, slots=True)
class Health:
    """``ailment`` is what only a restart may cure, ``unready`` why it takes no work; else empty."""

    worker: str
    state: str
    in_hand: int
    scheduler_silence_seconds: float | None
    ailment: str = ""
    unready: str = ""

    @property
    def live(self) -> int:
        """The HTTP status of ``/health/live``."""
        return 503 if self.ailment else 200

    @property
    def ready(self) -> int:
        """The HTTP status of ``/health/ready``: who has to be restarted takes no work either."""
        return 503 if self.ailment or self.unready else 200

    def body(self) -> bytes:
        """The answer."""
        return json.dumps(asdict(self)).encode() + b"\n"


class HealthPage:
    """Serves in a thread of its own; port 0 is any that is free. ``with`` starts and ends it.

    Raises:
        OSError: this host and port cannot be had.
    """

    def __init__(
        self, host: str, port: int, health: Callable[[], Health], metrics: Callable[[], bytes]
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = 10  # seconds; whoever says nothing must not keep a thread

            def do_GET(self) -> None:
                match self.path.partition("?")[0]:
                    case "/health/live" | "/health/ready" as path:
                        now = health()
                        code = now.live if path == "/health/live" else now.ready
                        self._answer(code, "application/json", now.body())
                    case "/metrics":
                        self._answer(200, CONTENT_TYPE, metrics())
                    case _:
                        there = b"/health/live, /health/ready or /metrics\n"
                        self._answer(404, "text/plain", there)

            def _answer(self, code: int, kind: str, body: bytes) -> None:
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass  # one line for each scrape tells nobody anything

        class Server(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

        self._host = f"[{host}]" if ":" in host else host
        self._server = Server((host, port), Handler)
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"http://{self._host}:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()
        return self

    def __exit__(self, *ended: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def ailment_of(still: float) -> str:
    """What ails a worker whose loop has been ``still`` for so many seconds; nothing if well."""
    if still > STANDSTILL_SECONDS:
        return f"the worker's own loop has stood still for {still:.0f} s"
    return ""


def unready_of(engines: Sequence[EngineStats], *, draining: bool, quarantine: str = "") -> str:
    """Why a worker takes no work; nothing if it does. ``quarantine``: why it was set apart.

    Engines that merely start again after a death are no reason; without any engine there is none.
    """
    if draining:
        return "draining: what is in hand is handed back"
    if quarantine:
        return f"quarantined: {quarantine}"
    if engines and all(one.hopeless for one in engines):
        return f"no engine can be started: {engines[0].last_death}"
    return ""
