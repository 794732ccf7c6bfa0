"""Copying an object within a server: to another name, or onto itself to make it young."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from flows.store.s3_errors import TOUCHING, WRITING, CutAnswer, Refused
from flows.store.s3_place import Place
from flows.store.s3_retry import CONFLICTS, attempt, wait_a_turn
from flows.store.s3_write import WRITER, kept_as, type_of

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_ANY = "application/octet-stream"


def copied(place: Place, source: str, target: str) -> bool | None:
    """Copy ``source`` over ``target``, as a write of its own, or onto itself, changed by its time.

    ``False`` without a source, ``None`` where the server or these credentials do not copy.

    Raises:
        StoreError: the server fails.
    """

    same: dict[str, Any] = {
        **place.target(target),
        "CopySource": place.target(source),
        "MetadataDirective": "REPLACE",  # without a change S3 refuses a copy onto itself
        **kept_as(place.settings),
    }

    def copy(client: S3Client) -> None:
        if "CopyObjectResult" not in client.copy_object(**{**same, **(changing or {})}):
            raise CutAnswer  # the server answers 200 before it has done the work

    for turn in range(CONFLICTS):
        changing = _changing(place, source, target)
        if changing is None:
            return False
        try:
            attempt(place.settings, copy)
        except Refused as refused:
            if refused.trouble.unknown or refused.trouble.status == 403:
                return None
            if refused.trouble.absent and place.head(source) is None:
                return False
            if not (refused.trouble.conflict or refused.trouble.absent):
                doing = TOUCHING if source == target else WRITING
                raise place.explained(refused, doing, target) from None
        else:
            return True
        wait_a_turn(turn)  # another write of the source was in the way
    raise place.contested(target)


def _changing(place: Place, source: str, target: str) -> dict[str, Any] | None:
    """Type and metadata of the copy; ``None`` without a source."""
    kind = type_of(target)
    if source != target and kind is not None:
        return {"ContentType": kind, "Metadata": {WRITER: uuid.uuid4().hex}}
    head = place.head(source)  # no picture's name: it is of its source's type
    if head is None:
        return None
    told = {"ContentType": head.get("ContentType", _ANY)}
    if source != target:
        return {**told, "Metadata": {WRITER: uuid.uuid4().hex}}
    return {**told, "CopySourceIfMatch": head["ETag"], "Metadata": head["Metadata"]}
