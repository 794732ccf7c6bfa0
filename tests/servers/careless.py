"""A small S3-like server that ignores conditions: ``If-None-Match`` and ``If-Match`` do nothing.

A fixture for what the program does on such a server, in memory, without checking signatures. Like
some real servers it can be told to keep conditions only of writers that come one after the other
(``racy``), those of a PUT and no others (``puts``), or ``If-None-Match`` alone (``creates``), to
reject boto3's default checksums (``old``), to drop metadata, to have no multipart, or not to copy.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import ssl
import sys
import threading
import time
import urllib.parse
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, Self
from xml.sax.saxutils import escape

from .chunked import read_chunked, unwrap

HOST = "127.0.0.1"
KEPT = ("content-type", "x-amz-server-side-encryption", "x-amz-storage-class")


@dataclass(frozen=True)
class Thing:
    """An object, or an upload that has begun (``data`` empty then)."""

    data: bytes
    headers: dict[str, str]
    modified: datetime
    etag: str
    parts: dict[int, bytes] = field(default_factory=dict)
    key: str = ""


@dataclass(frozen=True)
class Request:
    """What came, for tests that look at headers."""

    method: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]


class Careless:
    """One server with one bucket."""

    def __init__(
        self,
        bucket: str = "careless",
        *,
        conditions: Literal["ignored", "racy", "puts", "creates"] = "ignored",
        old: bool = False,
        metadata: bool = True,
        multipart: bool = True,
        copies: bool = True,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.bucket = bucket
        self.conditions = conditions
        self.old = old
        self.metadata = metadata
        self.multipart = multipart
        self.copies = copies
        self.things: dict[str, Thing] = {}
        self.uploads: dict[str, Thing] = {}
        self.requests: list[Request] = []
        self.lock = threading.RLock()
        self._server = _Server((HOST, 0), _Handler)
        self._server.careless = self
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if tls is None else "https"
        self.endpoint = f"{scheme}://{HOST}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    careless: Careless

    def handle_error(self, request, client_address) -> None:
        """A client that went away is not worth a traceback; a fault of this fixture is."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass

    def do_PUT(self) -> None:
        home, key, query, body = self._begin()
        if home.old and "x-amz-trailer" in self.headers:
            self._refuse(501, "NotImplemented")
        elif "uploadId" in query:
            upload = home.uploads.get(query["uploadId"])
            if upload is None:
                self._refuse(404, "NoSuchUpload")
                return
            upload.parts[int(query["partNumber"])] = body
            self._answer(200, headers={"ETag": f'"{_md5(body)}"'})
        elif "x-amz-copy-source" in self.headers:
            self._copy(home, key)
        else:
            self._put(home, key, body)

    def do_GET(self) -> None:
        home, key, query, _ = self._begin()
        if not key and "uploads" in query:
            self._list_uploads(home)
        elif not key:
            self._list(home, query)
        else:
            self._tell(home, key, body=True)

    def do_HEAD(self) -> None:
        home, key, _, _ = self._begin()
        self._tell(home, key, body=False)

    def do_POST(self) -> None:
        home, key, query, _ = self._begin()
        if not home.multipart:
            self._refuse(501, "NotImplemented")
        elif "uploads" in query:
            name = uuid.uuid4().hex
            home.uploads[name] = Thing(b"", self._kept(), _now(), "", key=key)
            self._answer(
                200,
                f"<InitiateMultipartUploadResult><UploadId>{name}</UploadId>"
                "</InitiateMultipartUploadResult>",
            )
        else:
            self._complete(home, key, query["uploadId"])

    def do_DELETE(self) -> None:
        home, key, query, _ = self._begin()
        with home.lock:
            if "uploadId" not in query:
                home.things.pop(key, None)
            elif home.uploads.pop(query["uploadId"], None) is None:
                self._refuse(404, "NoSuchUpload")
                return
        self._answer(204)

    def _begin(self) -> tuple[Careless, str, dict[str, str], bytes]:
        home = self.server.careless
        parts = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
        bucket, _, key = urllib.parse.unquote(parts.path).lstrip("/").partition("/")
        assert bucket == home.bucket, f"no bucket {bucket}"
        headers = {name.lower(): value for name, value in self.headers.items()}
        home.requests.append(Request(self.command, key, query, headers))
        if self.headers.get("transfer-encoding") == "chunked":
            _, body = read_chunked(self.rfile)
        else:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if "aws-chunked" in self.headers.get("content-encoding", ""):
            body = unwrap(body)
        return home, key, query, body

    def _kept(self) -> dict[str, str]:
        metadata = self.server.careless.metadata
        return {
            name.lower(): value
            for name, value in self.headers.items()
            if name.lower() in KEPT or (metadata and name.lower().startswith("x-amz-meta-"))
        }

    def _put(self, home: Careless, key: str, body: bytes) -> None:
        # A racy server looks whether the name is new, and writes a while later.
        asked = {name: self.headers.get(name) for name in ("if-none-match", "if-match")}
        with home.lock if home.conditions in {"puts", "creates"} else contextlib.nullcontext():
            found = home.things.get(key)
            if home.conditions == "racy" and asked["if-none-match"]:
                time.sleep(0.1)
            if home.conditions == "creates":
                asked["if-match"] = None
            spurned = (asked["if-none-match"] == "*" and found is not None) or (
                asked["if-match"] and (found is None or found.etag != asked["if-match"])
            )
            if home.conditions != "ignored" and spurned:
                self._refuse(412, "PreconditionFailed")
                return
            thing = self._keep(home, key, body, self._kept())
        self._answer(200, headers={"ETag": thing.etag})

    def _keep(self, home: Careless, key: str, data: bytes, headers: dict[str, str]) -> Thing:
        thing = Thing(data, headers, _now(), f'"{_md5(data)}"')
        with home.lock:
            home.things[key] = thing
        return thing

    def _copy(self, home: Careless, key: str) -> None:
        source = urllib.parse.unquote(self.headers["x-amz-copy-source"]).lstrip("/")
        found = home.things.get(source.partition("/")[2])
        if not home.copies:
            self._refuse(501, "NotImplemented")
        elif found is None:
            self._refuse(404, "NoSuchKey")
        else:
            thing = self._keep(home, key, found.data, self._kept())
            self._answer(
                200,
                f"<CopyObjectResult><ETag>{thing.etag}</ETag><LastModified>"
                f"{_iso(thing.modified)}</LastModified></CopyObjectResult>",
            )

    def _complete(self, home: Careless, key: str, upload_id: str) -> None:
        with home.lock:
            upload = home.uploads.pop(upload_id, None)
        if upload is None:
            self._refuse(404, "NoSuchUpload")
            return
        data = b"".join(part for _, part in sorted(upload.parts.items()))
        thing = self._keep(home, key, data, upload.headers)
        self._answer(
            200,
            f"<CompleteMultipartUploadResult><ETag>{thing.etag}</ETag>"
            "</CompleteMultipartUploadResult>",
        )

    def _tell(self, home: Careless, key: str, *, body: bool) -> None:
        thing = home.things.get(key)
        if thing is None:
            self._refuse(404, "NoSuchKey")
            return
        headers = thing.headers | {
            "ETag": thing.etag,
            "Last-Modified": format_datetime(thing.modified, usegmt=True),
        }
        self._answer(200, thing.data, headers)

    def _list(self, home: Careless, query: dict[str, str]) -> None:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        after = query.get("continuation-token", "")
        limit = int(query.get("max-keys", 1000))
        with home.lock:
            things = sorted(home.things.items())
        rows: dict[str, str] = {}  # by what the next page begins after
        for key, thing in things:
            rest = key.removeprefix(prefix)
            if not key.startswith(prefix):
                continue
            if delimiter and delimiter in rest:
                folder = prefix + rest.partition(delimiter)[0] + delimiter
                rows[folder] = f"<CommonPrefixes><Prefix>{_url(folder)}</Prefix></CommonPrefixes>"
            else:
                rows[key] = (
                    f"<Contents><Key>{_url(key)}</Key><Size>{len(thing.data)}</Size><ETag>"
                    f"{escape(thing.etag)}</ETag><LastModified>{_iso(thing.modified)}"
                    "</LastModified></Contents>"
                )
        left = [(at, row) for at, row in rows.items() if at > after]
        page = list(itertools.islice(left, limit))
        more = len(left) > limit
        last = _url(page[-1][0]) if page else ""
        token = f"<NextContinuationToken>{last}</NextContinuationToken>" if more else ""
        self._answer(
            200,
            f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated><EncodingType>url"
            f"</EncodingType>{''.join(row for _, row in page)}{token}"
            "</ListBucketResult>",
        )

    def _list_uploads(self, home: Careless) -> None:
        rows = "".join(
            f"<Upload><Key>{_url(upload.key)}</Key><UploadId>{name}</UploadId>"
            f"<Initiated>{_iso(upload.modified)}</Initiated></Upload>"
            for name, upload in list(home.uploads.items())
        )
        self._answer(
            200,
            "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated><EncodingType>url"
            f"</EncodingType>{rows}</ListMultipartUploadsResult>",
        )

    def _refuse(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code><Message>no</Message></Error>")

    def _answer(
        self, status: int, body: str | bytes = b"", headers: dict[str, str] | None = None
    ) -> None:
        text = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(text)


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _iso(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _url(text: str) -> str:
    return escape(urllib.parse.quote(text, safe="/"))
