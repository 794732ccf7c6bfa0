"""Cells in S3: one request each, the version is the ETag as ``If-Match`` wants it.

An ETag says only which bytes an object holds, so whoever writes must never write the same twice;
the words of a lease count.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, MutableSequence
from typing import TYPE_CHECKING, Any, TypeVar

from flows.settings import S3Settings
from flows.store.base import StoreAway, StoreError, StoreUnfit
from flows.store.cells import ANSWER, CONNECT, FREE, CellChanged, Sight
from flows.store.objects import Held
from flows.store.s3_errors import (
    READING,
    REMOVING,
    WRITING,
    CutAnswer,
    Doing,
    Refused,
    Trouble,
)
from flows.store.s3_guard import race
from flows.store.s3_place import Place
from flows.store.s3_retry import attempt
from flows.store.s3_write import kept_as, sum_of, told

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

RACES = 6  # of each kind when a server is tried
RIVALS = 2  # SeaweedFS 4.48 keeps a third waiting for a second

T = TypeVar("T")


class S3Cells:
    """``Cells`` under ``prefix`` of ``bucket``, with time-outs of their own."""

    def __init__(self, bucket: str, prefix: str, settings: S3Settings) -> None:
        short = {
            "attempts": 1,
            "patience": 0.0,
            "connect_timeout": min(settings.connect_timeout, CONNECT),
            "read_timeout": min(settings.read_timeout, ANSWER),
        }
        self._place = Place.of(bucket, prefix, settings.model_copy(update=short))
        self._deletes = False

    @property
    def where(self) -> str:
        """``s3://bucket/prefix``."""
        return self._place.url

    def prepare(self) -> None:
        """Try conditional PUT and DELETE on new names, also with rivals at one moment."""
        used: MutableSequence[str] = []
        try:
            self._try_writes(used)
            for _ in range(RACES):
                self._try_rivals(used)
            self._deletes = self._try_deletes(used)
        finally:
            for name in used:
                with contextlib.suppress(StoreAway, CellChanged):
                    self._remove(name)

    def read(self, name: str) -> Held | None:
        """GET; a cut or changed body is no answer."""
        target = self._place.target(name)

        def get(client: S3Client) -> Held:
            answer = told(client.get_object(**target), "ETag")
            with contextlib.closing(answer["Body"]) as body:
                return Held(body.read(), _version(answer["ETag"]))

        try:
            return self._ask(READING, name, get)
        except CellChanged:
            return None

    def write(self, name: str, data: bytes, version: str | None = None) -> str:
        """PUT with ``If-None-Match: *``, or with ``If-Match``."""
        settings = self._place.settings
        # Encrypted as everything else, but in the usual storage class: others cost by the write.
        kept = kept_as(settings)
        kept.pop("StorageClass", None)
        asked: dict[str, Any] = {
            **self._place.target(name),
            **kept,
            **({"IfNoneMatch": "*"} if version is None else {"IfMatch": version}),
            **sum_of(settings, data),
            "ContentType": "application/json",
            "Body": data,
        }
        answer = self._ask(WRITING, name, lambda client: told(client.put_object(**asked), "ETag"))
        return _version(answer["ETag"])

    def drop(self, name: str, version: str) -> None:
        """DELETE with ``If-Match`` where ``prepare`` saw that this is kept; else write ``FREE``."""
        if self._deletes:
            self._remove(name, version)
        else:
            self.write(name, FREE, version)

    def list(self, prefix: str) -> dict[str, Sight]:
        """LIST, a thousand at a time."""
        found: dict[str, Sight] = {}
        try:
            for page in self._place.pages({"Prefix": self._place.begin(prefix)}):
                for one in page.get("Contents", ()):
                    name = self._place.name(one["Key"])
                    if name is not None:
                        found[name] = Sight(_version(one["ETag"]), one["Size"])
        except (StoreError, CutAnswer) as why:
            raise StoreAway(str(why)) from None
        return found

    def _remove(self, name: str, version: str | None = None) -> None:
        asked: dict[str, Any] = self._place.target(name)
        if version is not None:
            asked["IfMatch"] = version
        self._ask(REMOVING, name, lambda client: client.delete_object(**asked))

    def _ask(self, doing: Doing, name: str, act: Callable[[S3Client], T]) -> T:
        """Once. Only what speaks of the object's state is an answer: a 403 may be a proxy's."""
        try:
            return attempt(self._place.settings, act)
        except Refused as refused:
            trouble = refused.trouble
            if trouble.conflict or trouble.code == "NoSuchKey":
                raise CellChanged(f"{self.where}/{name}: {trouble.shown}") from None
            words = str(self._place.explained(refused, doing, name))
            raise _Unanswered(words, trouble) from None

    def _unfit(self, what: str) -> StoreUnfit:
        return StoreUnfit(
            f"{self.where}: this server {what}, so two workers could hold one lease; several "
            "workers need a server that keeps If-None-Match and If-Match of a PUT; use another one"
        )

    def _try_writes(self, used: MutableSequence[str]) -> None:
        name = _new(used)
        try:
            old = self.write(name, b"1")
            new = self.write(name, b"2", old)
        except _Unanswered as answer:
            if answer.trouble.status in {405, 501}:
                code = answer.trouble.shown
                raise self._unfit(f"does not know conditions of a write ({code})") from None
            raise
        for condition, version in (("If-None-Match", None), ("If-Match", old)):
            if self._took(name, condition.encode(), version):
                raise self._unfit(f"ignores the condition of a write ({condition})")
        if self._there(name) != Held(b"2", new):
            raise StoreAway(f"{self.where}/{name}: what was just written is not there")

    def _there(self, name: str) -> Held:
        held = self.read(name)
        if held is None:
            raise StoreAway(f"{self.where}/{name}: what was just written is not there")
        return held

    def _try_rivals(self, used: MutableSequence[str]) -> None:
        """Some servers look first and write later: then several writers at once are told "yes"."""
        name = _new(used)
        version: str | None = None
        for condition in ("If-None-Match", "If-Match"):

            def rival(mark: str, about: str = condition, seen: str | None = version) -> bool:
                # The same bytes as before would leave the ETag as it was.
                return self._took(name, f"{mark}, {about}".encode(), seen)

            won = race(rival, RIVALS)
            if won > 1:
                raise self._unfit(
                    f"lets several writers at once pass the condition of a write ({condition})"
                )
            version = self._there(name).version

    def _took(self, name: str, data: bytes, version: str | None) -> bool:
        try:
            self.write(name, data, version)
        except CellChanged:
            return False
        return True

    def _try_deletes(self, used: MutableSequence[str]) -> bool:
        """Whether DELETE keeps ``If-Match``."""
        name = _new(used)
        old = self.write(name, b"1")
        new = self.write(name, b"2", old)
        try:
            if self._dropped(name, old):
                return False  # it ignores the condition
            return self._dropped(name, new) and self.read(name) is None
        except _Unanswered as answer:
            if answer.trouble.unknown and not answer.trouble.passing:
                return False
            raise

    def _dropped(self, name: str, version: str) -> bool:
        with contextlib.suppress(CellChanged):
            self._remove(name, version)
            return True
        return False


class _Unanswered(StoreAway):
    """``StoreAway`` with what the server said instead, if anything."""

    def __init__(self, words: str, trouble: Trouble) -> None:
        super().__init__(words)
        self.trouble = trouble


def _new(used: MutableSequence[str]) -> str:
    used.append(f"tmp/probe-{uuid.uuid4().hex}")
    return used[-1]


def _version(etag: str) -> str:
    """One spelling, whoever tells it: a PUT, a GET or a listing."""
    plain = etag.removeprefix("W/").strip('"')
    if not plain:
        raise CutAnswer
    return f'"{plain}"'
