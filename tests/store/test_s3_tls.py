"""S3 over TLS: an authority of one's own, and servers that reject boto3's default checksums."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from flows.store.base import StoreError

from ..servers.careless import Careless
from ..servers.certificate import Certificate, make_certificate
from ..servers.faults import Faults, SpoilDownload
from ..servers.fixtures import Place, set_environment

PART = 5 * 2**20


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def front(seaweed, certificate):
    """TLS ends here; behind it is the real server."""
    with Faults(seaweed.ports["s3"], certificate.context()) as proxy:
        yield proxy


@pytest.fixture
def place(s3_place, front) -> Place:
    return replace(s3_place, endpoint=front.endpoint)


@pytest.mark.parametrize("checksums", ["when_supported", "when_required"])
def test_objects_over_tls(place, front, certificate, checksums):
    objects = place.objects(ca_bundle=str(certificate.bundle), checksums=checksums, part_size=PART)
    data = os.urandom(PART + 100)
    objects.prepare()
    assert objects.create("a.png", b"one")
    assert not objects.create("a.png", b"two")
    assert objects.get("a.png").data == b"one"
    assert objects.create("large", data[::-1])
    objects.replace("large", data)
    assert objects.get("large").data == data
    assert objects.touch("a.png")
    assert [entry.size for entry in objects.list("a")] == [3]
    assert objects.remove("a.png", objects.stat("a.png").version)
    writes = [one.headers for one in front.requests if one.method == "PUT" and "/a.png" in one.path]
    sums = {name for headers in writes for name in headers if "crc" in name or "md5" in name}
    sort = "x-amz-checksum-crc32" if checksums == "when_supported" else "content-md5"
    assert sums == {sort}


def test_a_checksum_finds_what_was_spoilt_behind_tls(place, front, certificate):
    objects = place.objects(ca_bundle=str(certificate.bundle))
    objects.create("a", b"one" * 1000)
    front.harm(SpoilDownload(), "GET")
    assert objects.get("a").data == b"one" * 1000
    assert len(front.harmed()) == 1


def test_a_certificate_of_nobody_known_is_refused(place, front):
    with pytest.raises(StoreError) as caught:
        place.objects().get("a")
    assert str(caught.value) == (
        f"{place.url}/a: reading it failed: the certificate of {front.endpoint} is not trusted; "
        "set s3.ca_bundle (KONTEXT_S3__CA_BUNDLE) to the PEM file of its authority"
    )
    assert front.requests == []


def test_a_bundle_that_is_not_there(place, tmp_path):
    missing = tmp_path / "none.pem"
    with pytest.raises(StoreError) as caught:
        place.objects(ca_bundle=str(missing)).get("a")
    assert str(caught.value) == (
        f"{place.url}/a: reading it failed: there is no readable file {missing}; set s3.ca_bundle "
        "to a PEM file"
    )


@pytest.mark.parametrize("checksums", ["when_supported", "when_required"])
def test_a_server_that_rejects_checksums_after_the_bytes(certificate, monkeypatch, checksums):
    with Careless(old=True, tls=certificate.context()) as server:
        set_environment(monkeypatch, server.endpoint)
        objects = Place(server.endpoint, server.bucket, "home").objects(
            ca_bundle=str(certificate.bundle),
            unconditional="degrade",
            checksums=checksums,
            part_size=PART,
        )
        data = os.urandom(PART + 100)
        assert objects.create("a", b"one")
        assert objects.create("large", data[::-1])
        objects.replace("large", data)
        assert objects.get("large").data == data
