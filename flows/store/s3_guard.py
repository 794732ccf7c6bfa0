"""What was found out about a server, once per process and bucket; what is said of an unfit one."""

from __future__ import annotations

import logging
from collections.abc import Container, Hashable

from flows.settings import S3Settings
from flows.store.base import StoreUnfit
from flows.store.boto import connection
from flows.store.s3_place import Place
from flows.store.s3_probe import Failed, Guard, probe, probe_parts

WORKING = frozenset({Guard.KEPT, Guard.IGNORED, Guard.RACY})  # parts do, whatever of conditions

log = logging.getLogger(__name__)

_puts: dict[Hashable, Guard] = {}
_parts: dict[Hashable, Guard] = {}
_warned: set[Hashable] = set()


def find_out(place: Place, settings: S3Settings) -> None:
    """Try how a PUT fares there, anew; ``settings`` may have less patience than the place's.

    Raises:
        StoreUnfit: not well enough, and the place's settings do not say "degrade".
        StoreError: it cannot be tried.
    """
    try:
        _puts[_server(place)] = probe(settings, place.bucket, place.folder)
    except Failed as failed:
        raise place.explained(failed.refused, failed.doing) from None
    is_guarded(place)


def is_guarded(place: Place) -> bool:
    """Whether one writer only creates a name; tried by whoever did not prepare.

    Raises:
        StoreUnfit, StoreError: as ``find_out``.
    """
    if _server(place) not in _puts:
        find_out(place, place.settings)
    guard = _puts[_server(place)]
    if guard is not Guard.KEPT:
        _refuse_or_warn(place, guard)
    return guard is Guard.KEPT


def goes_in_parts(place: Place, data: bytes, fit: Container[Guard] = WORKING) -> bool:
    """Whether data go up in parts: too large for one, and the server does ``fit`` things."""
    if len(data) <= place.settings.part_size:
        return False
    server = _server(place)
    if server not in _parts:
        try:
            _parts[server] = probe_parts(place.settings, place.bucket, place.folder)
        except Failed as failed:
            raise place.explained(failed.refused, failed.doing) from None
        log.info("%s: multipart there: %s", place.url, _parts[server].value)
    return _parts[server] in fit


def _server(place: Place) -> Hashable:
    return place.bucket, connection(place.settings)


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
    if _server(place) not in _warned:
        _warned.add(_server(place))
        log.warning("%s; going on as s3.unconditional says: degrade", what)
