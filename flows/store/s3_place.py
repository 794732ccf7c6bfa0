"""A prefix of a bucket: names to keys and back, requests tried again, errors in words."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from flows.settings import S3Settings
from flows.store.base import StoreError
from flows.store.objects import MAX_NAME, checked
from flows.store.s3_errors import LISTING, READING, CutAnswer, Doing, Refused
from flows.store.s3_retry import attempt
from flows.store.s3_write import WRITER, told

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import HeadObjectOutputTypeDef, ListObjectsV2OutputTypeDef

MAX_KEY = 1024  # bytes, S3's own limit

PAGE = 1000  # entries a request lists, S3's most

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """``folder`` is a key prefix: "" for the whole bucket, else it ends in a slash."""

    bucket: str
    folder: str
    settings: S3Settings

    @staticmethod
    def of(bucket: str, prefix: str, settings: S3Settings) -> Place:
        """``prefix`` with or without its last slash.

        Raises:
            ValueError: no prefix under which names would fit.
        """
        plain = prefix.removesuffix("/")
        if len(plain.encode("utf-8", "surrogatepass")) >= MAX_KEY - MAX_NAME:
            raise ValueError(
                f"the prefix {plain[:40]!r}… is too long; expected fewer than "
                f"{MAX_KEY - MAX_NAME} bytes"
            )
        return Place(bucket, f"{checked(plain)}/" if plain else "", settings)

    @property
    def url(self) -> str:
        """``s3://bucket/prefix``."""
        return f"s3://{self.bucket}/{self.folder}".rstrip("/")

    def target(self, name: str) -> dict[str, Any]:
        """The object ``name`` as requests want it."""
        return {"Bucket": self.bucket, "Key": self.folder + checked(name)}

    def begin(self, prefix: str) -> str:
        """The keys' beginning for a beginning of names."""
        if prefix:
            checked(prefix.removesuffix("/"))
        return self.folder + prefix

    def name(self, key: str, begin: str | None = None) -> str | None:
        """The name of a key of this place, ``None`` if it is no name (a browser's "folder")."""
        name = key[len(self.folder if begin is None else begin) :]
        try:
            return checked(name)
        except ValueError:
            return None

    def explained(self, refused: Refused, doing: Doing, name: str = "") -> StoreError:
        """The error for people."""
        return refused.explained(f"{self.url}/{name}".rstrip("/"), doing, self.settings)

    def contested(self, name: str) -> StoreError:
        """The error when a name changes hands under every try."""
        return StoreError(
            f"{self.url}/{name}: it is written and removed by others all the time; see what else "
            "works there, then run again"
        )

    def tried(self, doing: Doing, name: str, act: Callable[[S3Client], T]) -> T:
        """``attempt``, its refusal in words."""
        try:
            return attempt(self.settings, act)
        except Refused as refused:
            raise self.explained(refused, doing, name) from None

    def head(self, name: str) -> HeadObjectOutputTypeDef | None:
        """What is told of an object without its bytes; ``None`` when there is none."""
        target = self.target(name)
        try:
            return attempt(
                self.settings,
                lambda client: told(client.head_object(**target), "ETag", "LastModified"),
            )
        except Refused as refused:
            if refused.trouble.absent:
                return None
            # The answer to a HEAD has no body that could say why: ask again in a way that has.
            if refused.trouble.code.isdigit() and not refused.trouble.passing:
                self.tried(
                    READING, name, lambda client: client.get_object(**target, Range="bytes=0-0")
                )
            raise self.explained(refused, READING, name) from None

    def writer(self, name: str) -> str | None:
        """The mark of whoever wrote the object, "" without one; ``None`` when there is none."""
        head = self.head(name)
        return None if head is None else head["Metadata"].get(WRITER, "")

    def pages(self, asked: dict[str, Any]) -> Iterator[ListObjectsV2OutputTypeDef]:
        """A listing, page by page, each tried on its own."""
        asked = {"Bucket": self.bucket, "MaxKeys": PAGE, **asked}
        while True:
            page = self.tried(LISTING, "", lambda client: whole(client.list_objects_v2(**asked)))
            yield page
            if not page["IsTruncated"]:
                return
            following = page.get("NextContinuationToken")
            if not following or following == asked.get("ContinuationToken"):
                raise StoreError(f"{self.url}: the server's listing does not go on past a page")
            asked["ContinuationToken"] = following


Page = TypeVar("Page", bound=Mapping[str, Any])


def whole(page: Page) -> Page:
    """``page`` unless its text was lost on the way, which would look like an empty listing.

    Raises:
        CutAnswer: it does not even say whether it is the last.
    """
    if "IsTruncated" not in page:
        raise CutAnswer
    return page


def server_clock(answer: Mapping[str, Any]) -> float:
    """When it was answered, in seconds since 1970, by the server's clock where it tells."""
    try:
        told = answer["ResponseMetadata"]["HTTPHeaders"]["date"]
        return email.utils.parsedate_to_datetime(told).timestamp()
    except (KeyError, TypeError, ValueError):
        return time.time()
