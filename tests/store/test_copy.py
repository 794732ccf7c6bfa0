"""Copying within a home: whole, over what was there, and nothing where there is no source."""

from __future__ import annotations


def test_a_copy_has_the_bytes_and_is_another_object(store):
    objects = store.objects
    objects.replace("runs/r/old.png", b"old")
    objects.replace("blobs/a", b"\x89PNG\r\n\x1a\nnew")
    assert objects.copy("blobs/a", "runs/r/old.png")
    assert objects.get("runs/r/old.png").data == b"\x89PNG\r\n\x1a\nnew"
    objects.replace("blobs/a", b"other")
    assert objects.get("runs/r/old.png").data == b"\x89PNG\r\n\x1a\nnew"


def test_names_may_hold_what_a_url_must_quote(store):
    objects = store.objects
    objects.replace("blobs/a b%20+ü#?", b"x")
    assert objects.copy("blobs/a b%20+ü#?", "runs/r/ö &=+%2F.png")
    assert objects.get("runs/r/ö &=+%2F.png").data == b"x"


def test_nothing_is_written_where_there_is_nothing_to_copy(store):
    objects = store.objects
    objects.replace("runs/r/there.png", b"there")
    assert not objects.copy("blobs/none", "runs/r/there.png")
    assert objects.get("runs/r/there.png").data == b"there"
