"""Small objects to and from a bucket in half of the time that boto3 takes of a processor.

Most of what boto3 does for a request is the same for all objects of a bucket: where it is, how one
speaks to it. That is asked once; each request is then signed and sent by itself, with botocore's
own parts. Where a bucket turns out to be elsewhere, boto3 is asked, which knows how to follow.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flows.settings import S3Settings
from flows.store import boto
from flows.store.s3_errors import CutAnswer

if TYPE_CHECKING:
    from botocore.awsrequest import AWSResponse
    from types_boto3_s3 import S3Client

_HEADERS = {
    "ContentType": "content-type",
    "ContentMD5": "content-md5",
    "IfMatch": "if-match",
    "IfNoneMatch": "if-none-match",
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
    "StorageClass": "x-amz-storage-class",
}

# What a server may tell of a body; other kinds it may, boto3 alone does not know either.
_SUMS: Mapping[str, Callable[[bytes], bytes]] = {
    "crc32": lambda body: zlib.crc32(body).to_bytes(4, "big"),
    "sha1": lambda body: hashlib.sha1(body, usedforsecurity=False).digest(),
    "sha256": lambda body: hashlib.sha256(body).digest(),
}

# Into buckets, of a process's clients: those are made anew after a fork.
_ways: dict[tuple[S3Client, str], _Way] = {}


def put_object(settings: S3Settings, asked: dict[str, Any]) -> None:
    """``client(settings).put_object(**asked)``."""
    headers = {_HEADERS[name]: asked[name] for name in _HEADERS.keys() & asked.keys()}
    headers |= {f"x-amz-meta-{name}": text for name, text in asked["Metadata"].items()}
    body = asked["Body"]
    if "ContentMD5" not in asked:
        headers["x-amz-checksum-crc32"] = _sum("crc32", body)
    way = _way(settings, asked["Bucket"])
    if way.ask("PutObject", "PUT", asked["Key"], headers, body) is None:
        way.client.put_object(**asked)


def get_object(settings: S3Settings, target: dict[str, Any]) -> dict[str, Any]:
    """``client(settings).get_object(**target)``, its ``Body`` as bytes.

    Raises:
        FlexibleChecksumError: they are not those that the server has a sum of.
        CutAnswer: it is cut short, or lacks what every such answer tells.
    """
    verified = settings.checksums == "when_supported"
    way = _way(settings, target["Bucket"])
    asked = {"x-amz-checksum-mode": "ENABLED"} if verified else {}
    answer = way.ask("GetObject", "GET", target["Key"], asked)
    if answer is None:
        found: dict[str, Any] = {**way.client.get_object(**target)}
        return found | {"Body": found["Body"].read()}
    told = answer.headers
    if not (told.get("etag") and told.get("last-modified")):
        raise CutAnswer
    body: bytes = answer.content
    if len(body) != int(told.get("content-length", len(body))):  # urllib3 takes what it gets
        raise CutAnswer
    if verified:
        _verify(body, told)
    changed = parsedate_to_datetime(told["last-modified"])
    return {"Body": body, "ETag": told["etag"], "LastModified": changed}


def sign(settings: S3Settings, bucket: str, key: str, seconds: int) -> str:
    """A URL that lets its holder read an object for so long; nothing is asked of the server.

    Signed with the key, and for the address, that the settings name for links.
    """
    from botocore.auth import S3SigV4QueryAuth
    from botocore.awsrequest import AWSRequest

    where = settings.link_endpoint_url or settings.endpoint_url
    there = settings.model_copy(update={"endpoint_url": where})
    way = _way(there, bucket, settings.link_profile)
    request = AWSRequest("GET", way.begin + quote(key, safe="/~"))
    now = way.credentials.get_frozen_credentials()
    region = way.client.meta.region_name
    S3SigV4QueryAuth(now, "s3", region, expires=seconds).add_auth(request)
    return str(request.url)


@dataclass(frozen=True, slots=True)
class _Way:
    """Into a bucket: ``begin`` is what all its URLs begin with."""

    client: S3Client
    begin: str
    http: Any
    credentials: Any

    def ask(
        self, operation: str, method: str, key: str, headers: Mapping[str, str], body: bytes = b""
    ) -> AWSResponse | None:
        """The answer of 200; ``None``: boto3 is to be asked.

        Raises:
            ClientError: any other answer.
        """
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import ClientError

        url = self.begin + quote(key, safe="/~")
        given = {**headers, "user-agent": boto.PROGRAM}
        request = AWSRequest(method, url, headers=given, data=body)
        now = self.credentials.get_frozen_credentials()  # they may be of those that end
        S3SigV4Auth(now, "s3", self.client.meta.region_name).add_auth(request)
        prepared = request.prepare()
        self.client.meta.events.emit(f"before-send.s3.{operation}", request=prepared)
        answer: AWSResponse = self.http.send(prepared)
        status = answer.status_code
        if status == 400 or 300 <= status < 400:
            return None
        if status != 200:
            code = re.search(rb"<Code>([^<]*)</Code>", answer.content)
            told: Any = {
                "Error": {"Code": code[1].decode("ascii", "replace") if code else str(status)},
                "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": answer.headers},
            }
            raise ClientError(told, operation)
        return answer


def _way(settings: S3Settings, bucket: str, profile: str | None = None) -> _Way:
    client = boto.client(settings, profile)
    if (client, bucket) not in _ways:
        _ways[client, bucket] = _way_into(settings, bucket, profile)
    return _ways[client, bucket]


def _way_into(settings: S3Settings, bucket: str, profile: str | None) -> _Way:
    from botocore.httpsession import URLLib3Session
    from botocore.utils import get_environ_proxies

    client, session = boto.client(settings, profile), boto.session(settings, profile)
    link = client.generate_presigned_url("list_objects_v2", Params={"Bucket": bucket})
    begin = link.partition("?")[0].rstrip("/") + "/"
    credentials = session.get_credentials()
    assert credentials is not None  # noqa: S101 - the link was signed with them
    http = URLLib3Session(
        verify=settings.ca_bundle or session.get_config_variable("ca_bundle") or True,  # type: ignore[arg-type]
        proxies=get_environ_proxies(begin),
        timeout=(settings.connect_timeout, settings.read_timeout),  # type: ignore[arg-type]
        max_pool_connections=boto.CONNECTIONS,
    )
    return _Way(client, begin, http, credentials)


def _verify(body: bytes, told: Mapping[str, str]) -> None:
    from botocore.exceptions import FlexibleChecksumError

    for kind in _SUMS:
        expected = told.get(f"x-amz-checksum-{kind}")
        if expected is None or "-" in expected:  # of an object in parts: a sum of sums
            continue
        if (found := _sum(kind, body)) != expected:
            raise FlexibleChecksumError(error_msg=f"{kind} is {found}, expected {expected}")


def _sum(kind: str, body: bytes) -> str:
    return base64.b64encode(_SUMS[kind](body)).decode()
