"""Copying an object within a server: to another name, or onto itself to make it young."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from flows.store.s3_errors import TOUCHING, WRITING, CutAnswer, Doing, Refused
from flows.store.s3_place import Place
from flows.store.s3_retry import CONFLICTS, attempt, wait_a_turn
from flows.store.s3_write import WRITER, kept_as, type_of

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_ANY = "application/octet-stream"

About = Callable[[], dict[str, Any] | None]


def copied(place: Place, source: str, target: str) -> bool | None:
    """Copy ``source`` over ``target``, as a write of its own.

    ``False`` without a source, ``None`` where the server or these credentials do not copy.

    Raises:
        StoreError: the server fails.
    """
    known = type_of(target)

    def about() -> dict[str, Any] | None:
        kind = known
        if kind is None:  # no picture's name: it is of its source's type
            head = place.head(source)
            if head is None:
                return None
            kind = head.get("ContentType", _ANY)
        return {"ContentType": kind, "Metadata": {WRITER: uuid.uuid4().hex}}

    return _copied(place, about, source, target, WRITING)


def touched(place: Place, name: str) -> bool | None:
    """Copy ``name`` onto itself, nothing changed but its time; otherwise as ``copied``."""

    def about() -> dict[str, Any] | None:
        head = place.head(name)
        return head and {
            "CopySourceIfMatch": head["ETag"],
            "ContentType": head.get("ContentType", _ANY),
            "Metadata": head["Metadata"],
        }

    return _copied(place, about, name, name, TOUCHING)


def _copied(place: Place, about: About, source: str, target: str, doing: Doing) -> bool | None:
    same = {
        **place.target(target),
        "CopySource": place.target(source),
        "MetadataDirective": "REPLACE",  # without a change S3 refuses a copy onto itself
        **kept_as(place.settings),
    }
    for turn in range(CONFLICTS):
        asked = about()
        if asked is None:
            return False
        try:
            attempt(place.settings, partial(_copy, {**same, **asked}))
        except Refused as refused:
            if refused.trouble.unknown or refused.trouble.status == 403:
                return None
            if refused.trouble.absent and place.head(source) is None:
                return False
            if not (refused.trouble.conflict or refused.trouble.absent):
                raise place.explained(refused, doing, target) from None
        else:
            return True
        wait_a_turn(turn)  # another write of the source was in the way
    raise place.contested(target)


def _copy(asked: dict[str, Any], client: S3Client) -> None:
    if "CopyObjectResult" not in client.copy_object(**asked):
        raise CutAnswer  # the server answers 200 before it has done the work
