"""Records: what they hold, and which bytes are not one."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from flows.store.record import RecordError, decode_record, encode_record

from .samples import digest, make_record

KEY = digest("a")


def test_a_record_comes_back_equal():
    record = make_record(KEY, b"x")
    assert decode_record(encode_record(record), KEY) == record


def edited(**changes) -> bytes:
    whole = json.loads(encode_record(make_record(KEY, b"x")))
    return json.dumps(whole | changes).encode()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "is not a kontext.record"),
        (encode_record(make_record(KEY, b"x"))[:-40], "is not JSON"),
        (encode_record(make_record(KEY, b"x")).replace(b"beach[", b"bench["), "own checksum"),
        (edited(version=99), "has version 99, expected 1"),
        (edited(record=None), "own checksum"),
        (encode_record(make_record(digest("b"), b"x")), "belongs to key"),
        (encode_record(make_record(KEY, b"x", seconds="1")), "no right 'seconds'"),
        (encode_record(replace(make_record(KEY, b"x"), blob="../../x")), "no right 'blob'"),
    ],
)
def test_these_bytes_are_not_a_record(data, why):
    with pytest.raises(RecordError, match=why):
        decode_record(data, KEY)
