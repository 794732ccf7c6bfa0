"""Something that answers like a Prefect server in trouble: what it is told to, in turn."""

from __future__ import annotations

import json
import threading
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


@dataclass(frozen=True)
class Answer:
    """``ahead``: what its clock says, in seconds before ours. ``cut``: no answer at all."""

    status: int = 200
    body: object = True
    ahead: float = 0.0
    cut: bool = False


class Scripted:
    """``with Scripted(Answer(500), Answer())``: one answer a request, the last one for ever."""

    def __init__(self, *answers: Answer) -> None:
        self.asked: list[str] = []
        left = deque(answers)
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                answer = left.popleft() if len(left) > 1 else left[0]
                if answer.cut:
                    self.close_connection = True
                    return
                body = json.dumps(answer.body).encode()
                self.send_response_only(answer.status)
                now = datetime.now(UTC) + timedelta(seconds=answer.ahead)
                self.send_header("Date", format_datetime(now, usegmt=True))
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05])

    def api(self, user: str = "") -> str:
        """Its address, with ``user:password`` in it if given."""
        at = f"{user}@" if user else ""
        return f"http://{at}127.0.0.1:{self._server.server_address[1]}/api"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *ended: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
