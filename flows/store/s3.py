"""A home for objects in a bucket of S3, or of a server that speaks its language.

Creating is a PUT on the condition that the name is new. Its answer may be lost and the request
repeated, which then meets its own object: so each write carries a mark of its own in the object's
metadata, and whoever finds a name taken looks whose it is.

``version`` is the ETag and the second of the last change: an ETag alone is the same again when
the same bytes are written anew (and is no digest of the bytes, where parts or KMS keys are used).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

from flows.settings import S3Settings
from flows.store.objects import Entry, Held
from flows.store.s3_copy import copied
from flows.store.s3_errors import (
    ABORTING,
    LINKING,
    LISTING_UPLOADS,
    READING,
    REMOVING,
    WRITING,
    Refused,
)
from flows.store.s3_guard import find_out, goes_in_parts, is_guarded
from flows.store.s3_place import Place, server_clock, whole
from flows.store.s3_retry import CONFLICTS, attempt, wait_a_turn
from flows.store.s3_write import Upload, seconds_of, write
from flows.store.signed import get_object, sign

SETTLE = 0.25  # seconds in which a rival's write shows, on a server without conditions
LONGEST_LINK = 7 * 24 * 3600  # seconds; S3 signs for no longer


class S3Objects:
    """``Objects`` under ``prefix`` of ``bucket``; safe for threads, and after a fork.

    On a server that ignores conditions ``prepare`` refuses, unless the settings say "degrade":
    then a name is looked at, written, and looked at again; two writers at the same moment may
    both be told that they made it, and the later one's bytes stay.
    """

    def __init__(self, bucket: str, prefix: str, settings: S3Settings) -> None:
        self._place = Place.of(bucket, prefix, settings)
        self._settings = settings

    @property
    def where(self) -> str:
        """``s3://bucket/prefix``."""
        return self._place.url

    def prepare(self) -> None:
        """Try that it can be written, by one of several at once; leaves nothing behind."""
        find_out(self._place, hasty=True)

    def get(self, name: str) -> Held | None:
        """The whole object, its checksum verified where the server gives one."""
        target = self._place.target(name)

        try:
            answer = attempt(self._settings, lambda _: get_object(self._settings, target))
        except Refused as refused:
            if refused.trouble.absent:
                return None
            raise self._place.explained(refused, READING, name) from None
        changed = seconds_of(answer["LastModified"])
        return Held(answer["Body"], _version(answer["ETag"], changed))

    def stat(self, name: str) -> Entry | None:
        """Size, last change and version by a HEAD."""
        head = self._place.head(name)
        if head is None:
            return None
        changed = seconds_of(head["LastModified"])
        return Entry(name, head["ContentLength"], changed, _version(head["ETag"], changed))

    def create(self, name: str, data: bytes) -> bool:
        """PUT it whole on the condition that it is new; whether it is this call's."""
        mark = uuid.uuid4().hex
        if not is_guarded(self._place):
            if self._place.head(name) is not None:
                return False
            self._sent(name, data, mark)
            time.sleep(SETTLE)
            return self._place.writer(name) in {None, mark}
        for turn in range(CONFLICTS):
            if self._sent(name, data, mark, only_new=True):
                return True
            writer = self._place.writer(name)
            if writer is not None:
                return writer == mark
            wait_a_turn(turn)  # whoever was in the way has gone
        raise self._place.contested(name)

    def replace(self, name: str, data: bytes) -> None:
        """PUT it over whatever is there, in parts where it is large."""
        mark = uuid.uuid4().hex
        is_guarded(self._place)  # nobody writes where it is refused
        in_parts = goes_in_parts(self._place, data)
        for turn in range(CONFLICTS):
            # Its own may have been completed by a try whose answer was lost.
            if self._sent(name, data, mark, in_parts=in_parts) or self._place.writer(name) == mark:
                return
            wait_a_turn(turn)
        raise self._place.contested(name)

    def _sent(self, name: str, data: bytes, mark: str, **how: bool) -> bool:
        """Write it once; ``False``: another one's is in the way, or a try of this call was."""
        target = self._place.target(name)
        try:
            write(self._settings, target, data, mark, **how)
        except Refused as refused:
            if refused.trouble.conflict:
                return False
            raise self._place.explained(refused, WRITING, name) from None
        return True

    def remove(self, name: str, version: str | None = None) -> bool:
        """DELETE it while its version is this one.

        The last change is compared first, the ETag by the server in the same act (``If-Match``).
        So the same bytes, written or touched anew in between, do not save the object; and on a
        server that ignores the condition other bytes written in between go too.
        """
        asked, doubtful, condition = self._place.target(name), False, True
        for turn in range(CONFLICTS):
            entry = self.stat(name)
            if entry is None:
                return doubtful  # gone by a try of this call whose answer was lost
            if version is not None and entry.version != version:
                return False
            matching: dict[str, Any] = (
                {"IfMatch": f'"{entry.version.rpartition("/")[0]}"'} if condition else {}
            )
            try:
                attempt(self._settings, lambda client: client.delete_object(**asked, **matching))  # noqa: B023
            except Refused as refused:
                condition = condition and not refused.trouble.unknown
                known = refused.trouble.conflict or refused.trouble.absent
                if not (known or (matching and not condition)):
                    raise self._place.explained(refused, REMOVING, name) from None
                doubtful = doubtful or refused.doubtful
            else:
                return True
            wait_a_turn(turn)
        raise self._place.contested(name)

    def copy(self, source: str, target: str) -> bool:
        """Copy it within the server; where that is refused, read it and write it.

        Then whoever writes the target between reading and writing is overwritten.
        """
        is_guarded(self._place)  # nobody writes where it is refused
        done = copied(self._place, source, target)
        if done is None:
            held = self.get(source)
            if held is not None:
                self.replace(target, held.data)
            return held is not None
        return done

    def touch(self, name: str) -> bool:
        """Copy it onto itself."""
        return self.copy(name, name)

    def list(self, prefix: str) -> Iterator[Entry]:
        """Everything whose name begins with ``prefix``, a page at a time."""
        for page in self._place.pages({"Prefix": self._place.begin(prefix)}):
            for found in page.get("Contents", ()):
                name = self._place.name(found["Key"])
                if name is not None:
                    changed = seconds_of(found["LastModified"])
                    yield Entry(name, found["Size"], changed, _version(found["ETag"], changed))

    def folders(self, prefix: str) -> Iterator[str]:
        """The folders directly below ``prefix``."""
        begin = self._place.begin(prefix)
        for page in self._place.pages({"Prefix": begin, "Delimiter": "/"}):
            for found in page.get("CommonPrefixes", ()):
                name = self._place.name(found["Prefix"].removesuffix("/"), begin)
                if name is not None:
                    yield name

    def link(self, name: str, seconds: int) -> str:
        """A presigned GET; it ends sooner where the credentials themselves do.

        It holds the id of the access key that signed it (``s3.link_profile``), never the secret.
        """
        if not 0 < seconds <= LONGEST_LINK:
            raise ValueError(f"{seconds} s: a link holds for 1 to {LONGEST_LINK} seconds")
        at = self._place.target(name)
        return self._place.tried(
            LINKING, name, lambda _: sign(self._settings, at["Bucket"], at["Key"], seconds)
        )

    def abandoned(self, older_than: float) -> Iterator[Upload]:
        """Multipart uploads under the prefix, begun more than ``older_than`` seconds ago."""
        asked: dict[str, Any] = {"Bucket": self._place.bucket, "Prefix": self._place.folder}
        while True:
            page = self._place.tried(
                LISTING_UPLOADS, "", lambda client: whole(client.list_multipart_uploads(**asked))
            )
            now = server_clock(page)
            for found in page.get("Uploads", ()):
                name, started = self._place.name(found["Key"]), seconds_of(found["Initiated"])
                if name is not None and now - started > older_than:
                    yield Upload(name, found["UploadId"], started, now - started)
            if not page["IsTruncated"]:
                return
            asked["KeyMarker"] = page["NextKeyMarker"]
            asked["UploadIdMarker"] = page["NextUploadIdMarker"]

    def abort(self, upload: Upload) -> None:
        """Give an abandoned upload up; its parts are freed. Nothing happens when it is gone."""
        target = {**self._place.target(upload.name), "UploadId": upload.id}
        try:
            attempt(self._settings, lambda client: client.abort_multipart_upload(**target))
        except Refused as refused:
            if not (refused.trouble.absent or refused.trouble.code == "NoSuchUpload"):
                raise self._place.explained(refused, ABORTING, upload.name) from None


def _version(etag: str, changed: float) -> str:
    plain = etag.removeprefix("W/").strip('"')
    return f"{plain}/{changed:.0f}"
