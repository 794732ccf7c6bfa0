"""What an S3 server may answer, without boto3: which troubles pass, and words for the others.

Messages name the bucket and prefix, never a key id, secret, token or signed URL: nothing of the
server's own text is repeated but its error code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from flows.settings import S3Settings
from flows.store.base import StoreError, StoreFull, StoreReadOnly


class CutAnswer(Exception):  # noqa: N818 - what happened, as people say it
    """An answer that arrived whole by HTTP's rules but lacks what it must have."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """An error by its code (S3's own, or one of ``_LOCAL``) and HTTP status (0: no answer).

    ``wait`` is for how many seconds the server asked to be left alone.
    """

    code: str
    status: int = 0
    wait: float = 0.0

    @property
    def shown(self) -> str:
        """The code, stripped of whatever is none, and the status."""
        code = re.sub(r"[^A-Za-z0-9._-]", "", self.code)[:60] or "unknown"
        if not self.status:
            return code
        status = f"status {self.status}"
        return status if code == str(self.status) else f"{code}, {status}"

    @property
    def passing(self) -> bool:
        """Whether the same request may succeed a little later."""
        if self.full:
            return False
        return self.code in _PASSING or self.status in {408, 429, 500, 502, 503, 504}

    @property
    def absent(self) -> bool:
        """There is no such object."""
        return self.code in {"NoSuchKey", "404", "NotFound"}

    @property
    def conflict(self) -> bool:
        """A condition did not hold, or another writer was at work: look who holds the name."""
        return self.status in {409, 412} or self.code in {"NoSuchUpload", "412", "409"}

    @property
    def unknown(self) -> bool:
        """The server does not offer what was asked for."""
        return self.status in {400, 405, 501} or self.code in {"NotImplemented", "MethodNotAllowed"}

    @property
    def full(self) -> bool:
        """No space or no quota left."""
        return self.status == 507 or self.code in _FULL


@dataclass(frozen=True, slots=True)
class Doing:
    """What was being done, in words, and the rights it needs."""

    words: str
    rights: str
    writes: bool = True


READING = Doing("reading", "s3:GetObject and s3:ListBucket", writes=False)
LISTING = Doing("listing", "s3:ListBucket", writes=False)
LINKING = Doing("linking", "s3:GetObject", writes=False)
WRITING = Doing("writing", "s3:PutObject and s3:GetObject")
TOUCHING = Doing("touching", "s3:PutObject and s3:GetObject")
REMOVING = Doing("removing", "s3:DeleteObject")
LISTING_UPLOADS = Doing("listing uploads of", "s3:ListBucketMultipartUploads", writes=False)
ABORTING = Doing("aborting an upload of", "s3:AbortMultipartUpload")


class Refused(Exception):  # noqa: N818 - an answer, not a fault of the caller
    """A request that came to nothing, after ``tries`` in ``seconds``.

    ``doubtful``: an earlier try ended without an answer, so the server may have carried it out.
    """

    def __init__(self, trouble: Trouble, tries: int, seconds: float, *, doubtful: bool) -> None:
        super().__init__(trouble.code)
        self.trouble = trouble
        self.tries = tries
        self.seconds = seconds
        self.doubtful = doubtful

    def explained(self, place: str, doing: Doing, settings: S3Settings) -> StoreError:
        """The error for people; ``place`` is ``s3://bucket/prefix/name``."""
        code = self.trouble.shown
        begin = f"{place}: {doing.words} it failed: "
        if self.trouble.full:
            return StoreFull(
                f"{begin}no space or quota left there ({code}); free some or raise the quota, "
                "then run again: everything stored so far is kept"
            )
        if self.trouble.code in _DENIED:
            kind = StoreReadOnly if doing.writes else StoreError
            return kind(
                f"{begin}these credentials may not do that ({code}); ask the bucket's owner for "
                f"{doing.rights}, or use other credentials"
            )
        tries = "1 try" if self.tries == 1 else f"{self.tries} tries"
        tried = f"{tries} in {self.seconds:.0f} s"
        known = _KNOWN.get(self.trouble.code)
        if known is None and self.trouble.passing:
            known = (
                "the server could not do it ({code}, {tried})",
                "run again later: everything stored so far is kept",
            )
        why, remedy = known or ("the server answered {code}", "check the settings under s3:")
        words = {
            "code": code,
            "tried": tried,
            "server": server_of(settings),
            "region": settings.region or "none is set",
            "bundle": settings.ca_bundle or "none is set",
        }
        return StoreError(begin + why.format(**words) + "; " + remedy.format(**words))


def server_of(settings: S3Settings) -> str:
    """The server's address without anything secret that its URL may hold."""
    if settings.endpoint_url is None:
        return "AWS"
    plain = re.sub(r"^(\w+://)[^/@]*@", r"\1", settings.endpoint_url)
    return re.split(r"[?#]", plain)[0].rstrip("/")


# Codes of this program's own for what never got an answer of the server (see boto.trouble_of).
_PASSING = {
    "Unreachable",
    "TimedOut",
    "Cut",
    "Tls",
    "Proxy",
    "Damaged",
    "Garbled",
    # The server's own
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
    "TooManyRequests",
    "RequestTimeout",
    "RequestTimeoutException",
    "InternalError",
    "ServiceUnavailable",
    "OperationAborted",
    "IncompleteBody",
    "BadDigest",  # damaged on its way up
    "InvalidDigest",
    "XAmzContentChecksumMismatch",
    "XAmzContentSHA256Mismatch",
}
_FULL = {
    "InsufficientStorage",
    "QuotaExceeded",
    "XMinioStorageFull",
    "XMinioAdminBucketQuotaExceeded",
    "StorageFull",
    "NoSpaceLeft",
    "EDQUOT",
}
_DENIED = {"AccessDenied", "AllAccessDisabled", "AccountProblem", "403", "Forbidden"}

_LATER = "run again later: everything stored so far is kept"
_WRONG_REGION = (
    "the bucket is in another region ({code}; region: {region})",
    "set s3.region (KONTEXT_S3__REGION) to the bucket's",
)
_LOGIN = "log in again, or check AWS_PROFILE and the role of this machine"
_KNOWN: dict[str, tuple[str, str]] = {
    "NoCredentials": (
        "no credentials were found",
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give this machine a "
        "role",
    ),
    "PartialCredentials": (
        "the credentials are incomplete",
        "set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or complete the profile",
    ),
    "NoProfile": (
        "there is no such AWS profile",
        "check AWS_PROFILE, s3.link_profile and the AWS config file",
    ),
    "CredentialsFailed": ("the credentials could not be obtained", _LOGIN),
    "InvalidAccessKeyId": (
        "the server {server} does not know these credentials",
        "check that they are for this server, and not others that come first "
        "(AWS_* variables, then AWS_PROFILE)",
    ),
    "SignatureDoesNotMatch": (
        "the secret key is not the one of its key id",
        "check AWS_SECRET_ACCESS_KEY or the profile (or a proxy that changes requests)",
    ),
    "ExpiredToken": ("the credentials have expired", _LOGIN),
    "TokenRefreshRequired": ("the credentials have expired", _LOGIN),
    "InvalidToken": ("the session token is not valid", _LOGIN),
    "NoSuchBucket": (
        "there is no such bucket on {server}",
        "check its name and the endpoint, or create the bucket",
    ),
    "RequestTimeTooSkewed": (
        "this machine's clock and the server's differ too much",
        "set this machine's clock",
    ),
    "PermanentRedirect": _WRONG_REGION,
    "AuthorizationHeaderMalformed": _WRONG_REGION,
    "IllegalLocationConstraintException": _WRONG_REGION,
    "IncorrectEndpoint": _WRONG_REGION,
    "301": _WRONG_REGION,
    "NotImplemented": (
        "the server does not offer what was asked of it ({code})",
        "an older server may want s3.checksums: when_required (KONTEXT_S3__CHECKSUMS)",
    ),
    "EntityTooLarge": ("the object is too large for one request", "use a server with multipart"),
    "InvalidStorageClass": ("the server has no such storage class", "check s3.storage_class"),
    "BadEndpoint": (
        "the endpoint {server} is no address",
        "set s3.endpoint_url (KONTEXT_S3__ENDPOINT_URL) to https://host:port",
    ),
    "NoBundle": ("there is no readable file {bundle}", "set s3.ca_bundle to a PEM file"),
    "Certificate": (
        "the certificate of {server} is not trusted",
        "set s3.ca_bundle (KONTEXT_S3__CA_BUNDLE) to the PEM file of its authority",
    ),
    "Unreachable": (
        "{server} cannot be reached ({tried})",
        "check s3.endpoint_url (KONTEXT_S3__ENDPOINT_URL) and the network, then run again",
    ),
    "Proxy": ("the proxy refuses to connect ({tried})", "check HTTPS_PROXY and NO_PROXY"),
    "Tls": ("no TLS connection to {server} ({tried})", "check s3.endpoint_url: http or https?"),
    "TimedOut": ("{server} did not answer in time ({tried})", _LATER),
    "Cut": ("the connection to {server} was cut ({tried})", _LATER),
    "Garbled": (
        "{server} did not answer as an S3 server does ({tried})",
        "check s3.endpoint_url (KONTEXT_S3__ENDPOINT_URL)",
    ),
    "Damaged": (
        "its bytes are not those of its checksum ({tried})",
        "the object is damaged there: remove it, then run again",
    ),
    "BadDigest": ("its bytes arrived changed ({tried})", "check the network and proxies"),
}
