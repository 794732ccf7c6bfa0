"""What was found out about a server, once per process and bucket; what is said of an unfit one."""

from __future__ import annotations

import logging
from collections.abc import Container

from flows.settings import S3Settings
from flows.store.base import StoreUnfit
from flows.store.s3_place import Place
from flows.store.s3_probe import Failed, Guard, probe, probe_parts

WORKING = frozenset({Guard.KEPT, Guard.IGNORED, Guard.RACY})  # parts do, whatever of conditions

log = logging.getLogger(__name__)

_puts: dict[tuple[str, S3Settings], Guard] = {}
_parts: dict[tuple[str, S3Settings], Guard] = {}


def find_out(place: Place, settings: S3Settings) -> Guard:
    """Try how a PUT fares there, anew.

    Raises:
        StoreUnfit: not well enough, and the settings do not say "degrade".
        StoreError: it cannot be tried.
    """
    try:
        guard = probe(settings, place.bucket, place.folder)
    except Failed as failed:
        raise place.explained(failed.refused, failed.doing) from None
    if guard is not Guard.KEPT:
        _refuse_or_warn(place, guard)
    _puts[place.bucket, place.settings] = guard
    return guard


def is_guarded(place: Place) -> bool:
    """Whether one writer only creates a name; tried by whoever did not prepare."""
    return (
        _puts.get((place.bucket, place.settings)) or find_out(place, place.settings)
    ) is Guard.KEPT


def goes_in_parts(place: Place, data: bytes, fit: Container[Guard] = WORKING) -> bool:
    """Whether data go up in parts: too large for one, and the server does ``fit`` things."""
    if len(data) <= place.settings.part_size:
        return False
    bucket = place.bucket, place.settings
    if bucket not in _parts:
        try:
            _parts[bucket] = probe_parts(place.settings, place.bucket, place.folder)
        except Failed as failed:
            raise place.explained(failed.refused, failed.doing) from None
        log.info("%s: multipart there: %s", place.url, _parts[bucket].value)
    return _parts[bucket] in fit


def _refuse_or_warn(place: Place, guard: Guard) -> None:
    what = f"{place.url}: this server {guard.value}, so "
    if guard is Guard.UNMARKED:
        raise StoreUnfit(f"{what}nobody could tell whose one is; use another server")
    what += "two runs could overwrite each other's results"
    if place.settings.unconditional == "refuse":
        raise StoreUnfit(
            f"{what}; use another server, or set s3.unconditional: degrade "
            "(KONTEXT_S3__UNCONDITIONAL) where only one run at a time writes there"
        )
    if (place.bucket, place.settings) not in _puts:
        log.warning("%s; going on as s3.unconditional says: degrade", what)
