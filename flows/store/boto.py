"""The one file that imports boto3: a client per process and settings, its exceptions as data."""

from __future__ import annotations

import base64
import os
import re
import threading
import zlib
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flows.settings import S3Settings
from flows.store.s3_errors import CutAnswer, Trouble

if TYPE_CHECKING:
    from botocore.session import Session
    from types_boto3_s3 import S3Client

CONNECTIONS = 64  # kept open at most; more threads than that wait for each other

PROGRAM = "kontext-pipeline"  # boto3's own words for itself take a tenth of a request's time

Put = Callable[[dict[str, Any]], None]
Sign = Callable[[str, int], str]  # an object's key, and for how many seconds

_clients: dict[Hashable, S3Client] = {}
_sessions: dict[Hashable, Session] = {}
_puts: dict[tuple[Hashable, str], Put] = {}
_signs: dict[tuple[Hashable, str], Sign] = {}
_making = threading.Lock()


class BadSetting(Exception):  # noqa: N818
    """A client cannot be made of these settings; the code says why."""


def connection(settings: S3Settings) -> Hashable:
    """Of the settings those that make a client what it is."""
    return (
        settings.endpoint_url,
        settings.region,
        settings.addressing,
        settings.checksums,
        settings.ca_bundle,
        settings.connect_timeout,
        settings.read_timeout,
    )


def client(settings: S3Settings) -> S3Client:
    """This process's client for these settings; safe for threads.

    Credentials are those that boto3's chain finds when it is first asked for.
    """
    key = connection(settings)
    found = _clients.get(key)
    if found is not None:
        return found
    with _making:
        if key not in _clients:
            _clients[key], _sessions[key] = _make(settings)
        return _clients[key]


def forget_clients() -> None:
    """The next use makes its client anew, and so looks for credentials anew."""
    _clients.clear()
    _sessions.clear()
    _puts.clear()
    _signs.clear()


def _after_fork() -> None:
    # A connection shared with the parent would mix up two conversations.
    global _making  # noqa: PLW0603
    _making = threading.Lock()
    forget_clients()


os.register_at_fork(after_in_child=_after_fork)


def _make(settings: S3Settings, profile: str | None = None) -> tuple[S3Client, Session]:
    """A client and its session; ``profile`` is one of ~/.aws, whatever the environment holds."""
    import boto3
    import botocore.session
    from botocore.config import Config

    if settings.ca_bundle is not None and not os.access(Path(settings.ca_bundle), os.R_OK):
        raise BadSetting("NoBundle")
    # Its own: boto3's default session is not for threads.
    found = botocore.session.Session(profile=profile)
    session = boto3.session.Session(botocore_session=found)
    config = Config(
        signature_version="s3v4",
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        max_pool_connections=CONNECTIONS,
        tcp_keepalive=True,
        # Trying again is done in one place, s3_retry: it also covers bodies, and knows how long.
        retries={"total_max_attempts": 1, "mode": "standard"},
        request_checksum_calculation=settings.checksums,
        response_checksum_validation=settings.checksums,
        s3={"addressing_style": settings.addressing},
        user_agent=PROGRAM,
    )
    try:
        made = session.client(
            "s3",
            endpoint_url=settings.endpoint_url,
            region_name=settings.region or session.region_name or "us-east-1",
            verify=settings.ca_bundle,
            config=config,
        )
    except ValueError:
        raise BadSetting("BadEndpoint") from None
    return made, found


def sign(settings: S3Settings, bucket: str, key: str, seconds: int) -> str:
    """A URL that lets its holder read an object for so long; nothing is asked of the server.

    Signed with the key, and for the address, that the settings name for links. What is the same
    for all objects of a bucket is asked of boto3 once, as in ``put_object``.
    """
    of = (connection(settings), settings.link_profile, settings.link_endpoint_url), bucket
    if of not in _signs:
        _signs[of] = _signer(settings, bucket)
    return _signs[of](key, seconds)


def _signer(settings: S3Settings, bucket: str) -> Sign:
    from botocore.auth import S3SigV4QueryAuth
    from botocore.awsrequest import AWSRequest

    where = settings.link_endpoint_url or settings.endpoint_url
    boto, session = _make(
        settings.model_copy(update={"endpoint_url": where}), settings.link_profile
    )
    begin, region = _begin(boto, bucket), boto.meta.region_name
    credentials = session.get_credentials()
    assert credentials is not None  # noqa: S101 - ``_begin`` was signed with them

    def signed(key: str, seconds: int) -> str:
        request = AWSRequest("GET", begin + quote(key, safe="/~"))
        now = credentials.get_frozen_credentials()
        S3SigV4QueryAuth(now, "s3", region, expires=seconds).add_auth(request)
        return str(request.url)

    return signed


def _begin(boto: S3Client, bucket: str) -> str:
    """What the address of every object of a bucket begins with; needs credentials."""
    link = boto.generate_presigned_url("list_objects_v2", Params={"Bucket": bucket})
    return link.partition("?")[0].rstrip("/") + "/"


_HEADERS = {
    "ContentType": "content-type",
    "ContentMD5": "content-md5",
    "IfMatch": "if-match",
    "IfNoneMatch": "if-none-match",
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
    "StorageClass": "x-amz-storage-class",
}


def put_object(settings: S3Settings, asked: dict[str, Any]) -> None:
    """``client(settings).put_object(**asked)`` in half of the processor's time.

    Most of what boto3 does for a request is the same for all objects of a bucket: where it is, how
    one speaks to it. That is asked once; each object is then signed and sent by itself.
    """
    key = connection(settings), asked["Bucket"]
    if key not in _puts:
        _puts[key] = _way_into(settings, asked["Bucket"])
    _puts[key](asked)


def _way_into(settings: S3Settings, bucket: str) -> Put:
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.exceptions import ClientError
    from botocore.httpsession import URLLib3Session
    from botocore.utils import get_environ_proxies

    boto = client(settings)
    begin = _begin(boto, bucket)
    session = _sessions[connection(settings)]
    credentials = session.get_credentials()
    assert credentials is not None  # noqa: S101 - the link was signed with them
    http = URLLib3Session(
        verify=settings.ca_bundle or session.get_config_variable("ca_bundle") or True,  # type: ignore[arg-type]
        proxies=get_environ_proxies(begin),
        timeout=(settings.connect_timeout, settings.read_timeout),  # type: ignore[arg-type]
        max_pool_connections=CONNECTIONS,
    )

    def put(asked: dict[str, Any]) -> None:
        headers = {_HEADERS[name]: asked[name] for name in _HEADERS.keys() & asked.keys()}
        headers |= {f"x-amz-meta-{name}": text for name, text in asked["Metadata"].items()}
        headers["user-agent"] = PROGRAM
        body = asked["Body"]
        if "ContentMD5" not in asked:
            checksum = zlib.crc32(body).to_bytes(4, "big")
            headers["x-amz-checksum-crc32"] = base64.b64encode(checksum).decode()
        url = begin + quote(asked["Key"], safe="/~")
        request = AWSRequest("PUT", url, headers=headers, data=body)
        now = credentials.get_frozen_credentials()  # they may be of those that end
        S3SigV4Auth(now, "s3", boto.meta.region_name).add_auth(request)
        prepared = request.prepare()
        boto.meta.events.emit("before-send.s3.PutObject", request=prepared)
        answer = http.send(prepared)
        status = answer.status_code
        if status == 400 or 300 <= status < 400:  # a bucket elsewhere: boto3 knows how to follow
            boto.put_object(**asked)
        elif status != 200:
            code = re.search(rb"<Code>([^<]*)</Code>", answer.content)
            told: Any = {
                "Error": {"Code": code[1].decode("ascii", "replace") if code else str(status)},
                "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": answer.headers},
            }
            raise ClientError(told, "PutObject")

    return put


def trouble_of(error: Exception) -> Trouble | None:
    """What went wrong, or ``None`` when it was not the server, the way to it or the settings."""
    from botocore import exceptions as of_boto
    from botocore.parsers import ResponseParserError

    if isinstance(error, of_boto.ClientError):
        return _answered(error.response)
    if isinstance(error, BadSetting):
        return Trouble(str(error))
    if _came_of_recursion(error):
        return Trouble("PermanentRedirect")
    untrusted = isinstance(error, of_boto.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error)
    kinds: tuple[tuple[str, tuple[type[Exception], ...]], ...] = (
        *((("Certificate", (of_boto.SSLError,)),) if untrusted else ()),
        ("Tls", (of_boto.SSLError,)),
        ("Unreachable", (of_boto.EndpointConnectionError, of_boto.ConnectTimeoutError)),
        ("Proxy", (of_boto.ProxyConnectionError,)),
        ("TimedOut", (of_boto.ReadTimeoutError,)),
        ("Damaged", (of_boto.FlexibleChecksumError,)),
        ("Garbled", (ResponseParserError,)),
        ("NoCredentials", (of_boto.NoCredentialsError,)),
        ("PartialCredentials", (of_boto.PartialCredentialsError,)),
        ("NoProfile", (of_boto.ProfileNotFound,)),
        (
            "CredentialsFailed",
            (
                of_boto.CredentialRetrievalError,
                of_boto.TokenRetrievalError,
                of_boto.UnknownCredentialError,
                of_boto.SSOError,
                of_boto.LoginError,
                of_boto.MetadataRetrievalError,
            ),
        ),
        ("Cut", (of_boto.HTTPClientError, of_boto.ConnectionError, of_boto.IncompleteReadError)),
        ("Cut", (CutAnswer,)),
    )
    for code, classes in kinds:
        if isinstance(error, classes):
            return Trouble(code)
    if isinstance(error, of_boto.BotoCoreError):
        return Trouble(type(error).__name__)
    return None


def _came_of_recursion(error: BaseException) -> bool:
    """Whether Python's stack came to its end below it.

    boto3 asks where a bucket is whose server says "elsewhere", again and again. Where that ends
    depends on the caller's own depth: in the middle of a request it is told as a cut connection.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, RecursionError):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _answered(response: Mapping[str, Any]) -> Trouble:
    metadata = response.get("ResponseMetadata") or {}
    status = int(metadata.get("HTTPStatusCode") or 0)
    code = str((response.get("Error") or {}).get("Code") or status)
    asked = str((metadata.get("HTTPHeaders") or {}).get("retry-after") or "")
    return Trouble(code, status, float(asked) if asked.isdigit() else 0.0)


def credential_source() -> str | None:
    """Where boto3's chain finds credentials, by name and never by value; ``None``: nowhere."""
    import boto3
    from botocore import exceptions as of_boto

    try:
        session = boto3.session.Session()
        found = session.get_credentials()
    except of_boto.BotoCoreError as error:
        return f"not usable ({type(error).__name__})"
    if found is None:
        return None
    method = str(found.method)
    if method in {"shared-credentials-file", "config-file", "sso", "assume-role"}:
        return f"profile '{session.profile_name}' ({method})"
    return {"env": "environment"}.get(method, method)
