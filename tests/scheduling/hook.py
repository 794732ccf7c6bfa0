"""A real webhook on loopback, and a block of Prefect's that calls it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.settings import PREFECT_API_URL, temporary_settings

SECRET = "hush-hush-hook"  # noqa: S105 - of a block of the tests
BLOCK = "custom-webhook/nights"


@pytest.fixture(scope="module")
def hook():
    """What a webhook on loopback was sent: subjects and texts, in a queue."""
    heard: Queue[tuple[str, str]] = Queue()

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self):
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.headers["X-Secret"] == SECRET
            heard.put((sent["subject"], sent["text"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        heard.port = server.server_port
        yield heard
        server.shutdown()


def make_block(api, port, name="nights"):
    """A block as people make it in the dashboard."""
    with temporary_settings({PREFECT_API_URL: api}):
        return CustomWebhookNotificationBlock(
            name="nights",
            url=f"http://127.0.0.1:{port}/hook",
            json_data={"subject": "{{subject}}", "text": "{{body}}"},
            headers={"X-Secret": "{{secret}}"},
            secrets={"secret": SECRET},
        ).save(name, overwrite=True)
