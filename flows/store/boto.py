"""The one file that imports boto3: a client per process and settings, its exceptions as data.

Small objects go past the client (``signed``), which asks here for session and credentials.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.settings import S3Settings
from flows.store.s3_errors import CutAnswer, Trouble

if TYPE_CHECKING:
    from botocore.session import Session
    from types_boto3_s3 import S3Client

CONNECTIONS = 64  # kept open at most; more threads than that wait for each other

PROGRAM = "kontext-pipeline"  # boto3's own words for itself take a tenth of a request's time

_clients: dict[Hashable, S3Client] = {}
_sessions: dict[Hashable, Session] = {}
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


def client(settings: S3Settings, profile: str | None = None) -> S3Client:
    """This process's client for these settings; safe for threads.

    Credentials are those that boto3's chain finds when it is first asked for, or those of a
    ``profile`` in ~/.aws, whatever the environment holds.
    """
    key = connection(settings), profile
    found = _clients.get(key)
    if found is not None:
        return found
    with _making:
        if key not in _clients:
            _clients[key], _sessions[key] = _make(settings, profile)
        return _clients[key]


def session(settings: S3Settings, profile: str | None = None) -> Session:
    """What the client of these settings was made from."""
    client(settings, profile)
    return _sessions[connection(settings), profile]


def forget_clients() -> None:
    """The next use makes its client anew, and so looks for credentials anew."""
    _clients.clear()
    _sessions.clear()


def _after_fork() -> None:
    # A connection shared with the parent would mix up two conversations.
    global _making  # noqa: PLW0603
    _making = threading.Lock()
    forget_clients()


os.register_at_fork(after_in_child=_after_fork)


def _make(settings: S3Settings, profile: str | None) -> tuple[S3Client, Session]:
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
