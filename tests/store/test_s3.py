"""Objects in S3, on a real server and on one that ignores conditions."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from flows.settings import S3Settings
from flows.store import s3_place as s3_place_module
from flows.store.base import StoreError, StoreReadOnly, StoreUnfit
from flows.store.boto import client
from flows.store.s3 import S3Objects
from flows.store.s3_write import media_type
from flows.store.signed import get_object, put_object

from ..servers.careless import Careless
from ..servers.fixtures import Place, set_environment
from ..servers.seaweed import BUCKET, NOBODY, READER, admin_client

MEBI = 2**20
PART = 5 * MEBI  # S3's least
WRITERS = 8
ROUNDS = 15


@pytest.fixture(params=["seaweed", "careless"])
def objects(request) -> S3Objects:
    if request.param == "seaweed":
        return request.getfixturevalue("s3_place").objects(part_size=PART)
    place = request.getfixturevalue("careless_place")
    return place.objects(part_size=PART, unconditional="degrade")


def test_an_object_larger_than_a_part(objects):
    data = os.urandom(2 * PART + 123)
    assert objects.create("runs/r/big.png", data)
    assert not objects.create("runs/r/big.png", data[::-1])
    assert objects.get("runs/r/big.png").data == data
    objects.replace("runs/r/big.png", data[::-1])
    held = objects.get("runs/r/big.png")
    assert held.data == data[::-1]
    assert objects.stat("runs/r/big.png").version == held.version
    assert [entry.version for entry in objects.list("runs/")] == [held.version]
    assert list(objects.abandoned(-60)) == []


def test_what_is_large_is_created_whole_and_replaced_in_parts(s3_place):
    objects = s3_place.objects(part_size=PART)
    data = os.urandom(2 * PART + 123)
    for write, parts in ((objects.create, ""), (objects.replace, "3")):
        write("big.png", data)
        etag = objects.stat("big.png").version.partition("/")[0]
        assert etag.partition("-")[2] == parts  # S3 counts them there


def test_touching_makes_it_young_and_changes_nothing_else(objects):
    data = os.urandom(PART + 1)
    for name, content in {"small.png": b"one", "large.png": data}.items():
        objects.create(name, content)
        before = objects.stat(name)
        time.sleep(1.1)  # a server tells whole seconds
        assert objects.touch(name)
        after = objects.stat(name)
        assert after.modified > before.modified
        assert objects.get(name).data == content
        assert not objects.remove(name, before.version)  # as a clean-up would that looked before
        assert not objects.create(name, b"other")
    assert not objects.touch("none")


def test_touching_keeps_type_and_writer(s3_place, seaweed):
    objects = s3_place.objects()
    objects.create("a.png", b"one")
    key = {"Bucket": BUCKET, "Key": f"{s3_place.prefix}/a.png"}
    before = admin_client(seaweed).head_object(**key)
    objects.touch("a.png")
    after = admin_client(seaweed).head_object(**key)
    assert after["ContentType"] == before["ContentType"] == "image/png"
    assert after["Metadata"] == before["Metadata"]
    assert len(before["Metadata"]["kontext-writer"]) == 32


def test_a_copy_is_of_its_own_names_type_and_has_a_writer_of_its_own(s3_place, seaweed):
    objects = s3_place.objects()
    objects.create("blobs/a", b"\xff\xd8\xff is how a JPEG begins")
    kinds = {"runs/r/a.png": "image/png", "runs/r/x.html": "text/html; charset=utf-8"}
    for target, kind in {**kinds, "copies/a": "image/jpeg"}.items():
        assert objects.copy("blobs/a", target)
        ask = {"Bucket": BUCKET, "Key": f"{s3_place.prefix}/{target}"}
        head = admin_client(seaweed).head_object(**ask)
        assert head["ContentType"] == kind
        assert len(head["Metadata"]["kontext-writer"]) == 32
    assert not objects.create("copies/a", b"other")


def test_a_copy_asks_for_what_every_write_asks_for(careless, careless_place):
    kept = {"encryption": "AES256", "storage_class": "STANDARD_IA"}
    objects = careless_place.objects(unconditional="degrade", **kept)
    objects.create("blobs/a", b"one")
    careless.requests.clear()
    assert objects.copy("blobs/a", "runs/r/a.png")
    (request,) = careless.requests
    assert request.method == "PUT"
    assert request.headers["x-amz-copy-source"] == f"{careless.bucket}/home/blobs/a"
    assert request.headers["x-amz-server-side-encryption"] == "AES256"
    assert request.headers["x-amz-storage-class"] == "STANDARD_IA"


def test_where_copying_is_refused_a_copy_is_read_and_written(monkeypatch):
    with Careless(copies=False) as server:
        set_environment(monkeypatch, server.endpoint)
        objects = Place(server.endpoint, server.bucket, "h").objects(unconditional="degrade")
        objects.create("a", b"one")
        assert objects.copy("a", "b.png")
        assert objects.get("b.png").data == b"one"
        assert server.things["h/b.png"].headers["content-type"] == "image/png"
        assert not objects.copy("none", "c")
        before = objects.stat("a").modified
        time.sleep(1.1)
        assert objects.touch("a")
        assert objects.stat("a").modified > before
        assert objects.get("a").data == b"one"


def test_a_listing_goes_on_past_its_pages(objects, monkeypatch):
    monkeypatch.setattr(s3_place_module, "PAGE", 4)
    names = {f"blobs/{number:04d}" for number in range(14)}
    for name in names:
        objects.replace(name, b"x")
    found = [entry.name for entry in objects.list("blobs/")]
    assert len(found) == len(names)
    assert set(found) == names
    assert {entry.name for entry in objects.list("blobs/001")} == {
        f"blobs/001{number}" for number in range(4)
    }
    assert list(objects.list("records/")) == []
    for name in ("a", "b", "c", "d", "e"):
        objects.replace(f"runs/{name}/x", b"x")
    assert sorted(objects.folders("runs/")) == ["a", "b", "c", "d", "e"]


def test_a_neighbours_prefix_is_another_place(s3_place, seaweed):
    first = s3_place.objects()
    second = S3Objects(BUCKET, f"{s3_place.prefix}2", s3_place.settings())
    second.create("a", b"theirs")
    assert list(first.list("")) == []
    assert list(first.folders("")) == []
    assert not first.remove("a")
    assert second.get("a").data == b"theirs"


@pytest.mark.parametrize("prefix", ["../up", "a//b", "/a", "p" * 124])
def test_a_prefix_is_checked(s3_place, prefix):
    with pytest.raises(ValueError, match=r"cannot name an object|too long"):
        S3Objects(BUCKET, prefix, s3_place.settings())


def test_keys_that_are_no_names_are_passed_over(s3_place, seaweed):
    plain = admin_client(seaweed)
    plain.put_object(Bucket=BUCKET, Key=f"{s3_place.prefix}/runs/", Body=b"")
    plain.put_object(Bucket=BUCKET, Key=f"{s3_place.prefix}/runs/é ü&+%.png", Body=b"x")
    assert [entry.name for entry in s3_place.objects().list("")] == ["runs/é ü&+%.png"]
    assert s3_place.objects().get("runs/é ü&+%.png").data == b"x"


def test_the_whole_bucket_can_be_a_home(seaweed, s3_environment):
    bucket = seaweed.make_bucket()
    objects = Place(seaweed.endpoint, bucket, "").objects()
    objects.prepare()
    assert objects.where == f"s3://{bucket}"
    assert objects.create("in/a.png", b"x")
    assert [entry.name for entry in objects.list("in/")] == ["in/a.png"]


def test_a_link_lets_anybody_read_for_a_while(s3_place):
    objects = s3_place.objects()
    objects.create("runs/r/report.html", b"<p>hello")
    link = objects.link("runs/r/report.html", 60)
    with urllib.request.urlopen(link) as answer:  # noqa: S310
        assert answer.read() == b"<p>hello"
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
    with pytest.raises(ValueError, match="1 to 604800 seconds"):
        objects.link("runs/r/report.html", 8 * 24 * 3600)


def test_a_link_names_the_key_and_the_address_that_are_set_for_links(s3_place, become, tmp_path):
    profile = tmp_path / "credentials"
    profile.write_text(
        f"[links]\naws_access_key_id = {READER.key}\naws_secret_access_key = {READER.secret}\n"
    )
    become(AWS_SHARED_CREDENTIALS_FILE=str(profile))
    objects = s3_place.objects(link_profile="links")
    objects.create("runs/r/a b%é.html", b"<p>hello")  # with the key of the environment
    link = objects.link("runs/r/a b%é.html", 60)
    assert READER.key in link
    with urllib.request.urlopen(link) as answer:  # noqa: S310
        assert answer.read() == b"<p>hello"
    far = s3_place.objects(link_profile="links", link_endpoint_url="https://s3.example.com")
    assert far.link("runs/r/a.png", 60).startswith(f"https://s3.example.com/{BUCKET}/")
    with pytest.raises(StoreError, match="there is no such AWS profile; check AWS_PROFILE, "):
        s3_place.objects(link_profile="nobody").link("a", 60)


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("runs/r/a.png", b"", "image/png"),
        ("runs/r/a.JPG", b"", "image/jpeg"),
        ("runs/r/thumbs/a.webp", b"", "image/webp"),
        ("runs/r/report.html", b"", "text/html; charset=utf-8"),
        ("runs/r/recipe.yaml", b"", "text/plain; charset=utf-8"),
        ("runs/r/manifest.json", b"", "application/json"),
        ("blobs/00ff", b"\x89PNG\r\n\x1a\n...", "image/png"),
        ("blobs/00ff", b"\xff\xd8\xff...", "image/jpeg"),
        ("blobs/00ff", b"RIFF1234WEBP", "image/webp"),
        ("records/00ff", b'{"key": 1}', "application/json"),
        ("png", b"...", "image/png"),
        ("other", b"...", "application/octet-stream"),
    ],
)
def test_a_browser_is_told_what_an_object_is(name, data, kind):
    assert media_type(name, data) == kind


# Preparing


def test_a_server_that_ignores_conditions_is_refused(careless_place):
    objects = careless_place.objects()
    with pytest.raises(StoreUnfit) as caught:
        objects.prepare()
    assert str(caught.value) == (
        "s3://careless/home: this server ignores the condition of a write (If-None-Match), so two "
        "runs could overwrite each other's results; use another server, or set s3.unconditional: "
        "degrade (KONTEXT_S3__UNCONDITIONAL) where only one run at a time writes there"
    )
    with pytest.raises(StoreUnfit):  # nor does anybody write there who did not prepare
        objects.create("a", b"x")
    assert list(objects.list("")) == []


def test_a_server_that_looks_first_and_then_writes_is_refused(monkeypatch):
    with Careless(conditions="racy") as server:
        set_environment(monkeypatch, server.endpoint)
        place = Place(server.endpoint, server.bucket, "h")
        with pytest.raises(StoreUnfit, match="lets several writers at once pass the condition"):
            place.objects().prepare()
        assert list(place.objects().list("")) == []


def test_what_one_settles_for_another_still_refuses(careless_place):
    assert careless_place.objects(unconditional="degrade").create("a", b"x")
    with pytest.raises(StoreUnfit):
        careless_place.objects().create("b", b"x")


def test_going_on_without_conditions_is_told_loudly_and_once(careless_place, caplog):
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            careless_place.objects(unconditional="degrade").prepare()
    assert [record.getMessage() for record in caplog.records] == [
        "s3://careless/home: this server ignores the condition of a write (If-None-Match), so two "
        "runs could overwrite each other's results; going on as s3.unconditional says: degrade"
    ]


def test_a_server_that_drops_metadata_is_refused(monkeypatch):
    with Careless(metadata=False) as server:
        set_environment(monkeypatch, server.endpoint)
        objects = Place(server.endpoint, server.bucket, "h").objects(unconditional="degrade")
        with pytest.raises(StoreUnfit, match="does not keep the metadata of an object"):
            objects.prepare()


def test_without_multipart_large_objects_go_up_whole(monkeypatch):
    with Careless(multipart=False) as server:
        set_environment(monkeypatch, server.endpoint)
        place = Place(server.endpoint, server.bucket, "h")
        objects = place.objects(unconditional="degrade", part_size=PART)
        data = os.urandom(PART + 1)
        objects.replace("a", data)
        assert objects.get("a").data == data


def test_who_may_only_read_is_told_so(s3_place, become):
    s3_place.objects().create("a", b"x")
    become(READER)
    objects = s3_place.objects()
    assert objects.get("a").data == b"x"
    assert [entry.name for entry in objects.list("")] == ["a"]
    with pytest.raises(StoreReadOnly) as caught:
        objects.prepare()
    assert str(caught.value) == (
        f"{s3_place.url}: writing it failed: these credentials may not do that (AccessDenied, "
        "status 403); ask the bucket's owner for s3:PutObject and s3:GetObject, "
        "or use other credentials"
    )
    with pytest.raises(StoreReadOnly, match="s3:DeleteObject"):
        objects.remove("a")


def test_encryption_and_storage_class_go_with_every_write(monkeypatch):
    with Careless() as server:
        set_environment(monkeypatch, server.endpoint)
        place = Place(server.endpoint, server.bucket, "h")
        objects = place.objects(
            unconditional="degrade",
            part_size=PART,
            encryption="aws:kms",
            kms_key="key-1",
            storage_class="STANDARD_IA",
        )
        objects.create("a", b"x")
        objects.replace("a", b"y")
        objects.touch("a")
        objects.replace("big", bytes(PART + 1))
        writes = [
            one
            for one in server.requests
            if (one.method == "PUT" and "partNumber" not in one.query)
            or (one.method == "POST" and "uploads" in one.query)
        ]
        assert len(writes) >= 5
        for one in writes:
            assert one.headers["x-amz-server-side-encryption"] == "aws:kms", one
            assert one.headers["x-amz-server-side-encryption-aws-kms-key-id"] == "key-1", one
            assert one.headers["x-amz-storage-class"] == "STANDARD_IA", one


def test_a_real_server_encrypts_and_files_as_asked(s3_place, seaweed):
    objects = s3_place.objects(encryption="AES256", storage_class="STANDARD_IA", part_size=PART)
    for name, data in {"a": b"one", "big": os.urandom(PART + 1)}.items():
        objects.replace(name, data)
        told = admin_client(seaweed).head_object(Bucket=BUCKET, Key=f"{s3_place.prefix}/{name}")
        assert told["ServerSideEncryption"] == "AES256"
        assert objects.touch(name)
        assert objects.get(name).data == data


# Several at once


def _run_race(place: Place, rounds: int, size: int, **changes) -> None:
    """Each writer with objects of its own, all let loose at one moment, a name a round.

    Threads: what is raced for is the server's, and processes race in the contract's tests.
    """
    start = threading.Barrier(WRITERS)
    names = [f"race/{number}" for number in range(rounds)]

    def write(me: int) -> list[str]:
        objects, won = place.objects(**changes), []
        for name in names:
            start.wait()
            if objects.create(name, bytes([me]) * size):
                won.append(name)
        return won

    objects = place.objects(**changes)
    objects.prepare()
    with ThreadPoolExecutor(WRITERS) as pool:
        told = list(pool.map(write, range(WRITERS)))
    for name in names:
        winners = [me for me, won in enumerate(told) if name in won]
        assert len(winners) == 1, f"{name}: {winners}"
        assert objects.get(name).data == bytes(winners) * size
    assert list(objects.abandoned(-60)) == []


def test_of_many_writers_of_a_name_one_wins(s3_place):
    _run_race(s3_place, ROUNDS, 64)


def test_of_many_writers_of_a_large_object_one_wins(s3_place):
    # This server's uploads in parts race when they are completed: none is used here.
    _run_race(s3_place, 4, PART + 8, part_size=PART)


def test_many_threads_share_a_client(s3_place):
    objects = s3_place.objects()
    with ThreadPoolExecutor(24) as pool:
        made = list(pool.map(lambda number: objects.create(f"t/{number % 20}", b"x"), range(100)))
    assert sum(made) == 20
    assert client(s3_place.settings()) is client(s3_place.settings())


@pytest.mark.parametrize(
    ("settings", "bucket"),
    [
        ({}, "bucket"),
        ({"region": "eu-central-1"}, "my.bucket"),
        ({"addressing": "path"}, "bucket"),
        ({"endpoint_url": "https://h:9000", "addressing": "virtual"}, "bucket"),
        ({"endpoint_url": "https://h:9000", "addressing": "path"}, "bucket"),
    ],
)
def test_what_goes_past_boto3_goes_where_its_own_does(
    s3_environment, monkeypatch, settings, bucket
):
    sent: list[str] = []

    def stop(self, request):
        sent.append(request.url)
        raise InterruptedError

    monkeypatch.setattr("botocore.httpsession.URLLib3Session.send", stop)
    given = S3Settings(**settings)
    target = {"Bucket": bucket, "Key": "a/b ü+~%.png"}
    whole, boto3 = {**target, "Body": b"x", "Metadata": {}}, client(given)
    for ask in (
        lambda: boto3.put_object(**whole),
        lambda: put_object(given, whole),
        lambda: boto3.get_object(**target),
        lambda: get_object(given, target),
    ):
        with pytest.raises(InterruptedError):
            ask()
    assert len(set(sent)) == 1


def test_a_fork_makes_its_own_client(s3_place):
    objects = s3_place.objects()
    objects.create("a", b"parent")
    before = id(client(s3_place.settings()))
    context = multiprocessing.get_context("fork")
    answer = context.Queue()

    def child() -> None:
        answer.put((id(client(s3_place.settings())), objects.get("a").data))

    process = context.Process(target=child)
    process.start()
    other, data = answer.get(timeout=60)
    process.join(30)
    assert other != before
    assert data == b"parent"
    assert objects.get("a").data == b"parent"


def test_abandoned_uploads_are_found_and_given_up(s3_place, seaweed):
    plain = admin_client(seaweed)
    key = f"{s3_place.prefix}/runs/r/a.png"
    begun = plain.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    plain.upload_part(Bucket=BUCKET, Key=key, UploadId=begun, PartNumber=1, Body=b"x")
    plain.create_multipart_upload(Bucket=BUCKET, Key=f"{s3_place.prefix}2/other")
    objects = s3_place.objects()
    assert list(objects.abandoned(3600)) == []
    (found,) = objects.abandoned(-60)
    assert (found.name, found.id) == ("runs/r/a.png", begun)
    assert abs(found.started - time.time()) < 60
    for _ in range(2):
        objects.abort(found)
    assert list(objects.abandoned(-60)) == []


def test_nobody_may_do_nothing(s3_place, become):
    become(NOBODY)
    objects = s3_place.objects()
    for act in (
        lambda: objects.get("a"),
        lambda: objects.stat("a"),
        lambda: list(objects.list("")),
    ):
        with pytest.raises(
            Exception, match="these credentials may not do that \\(AccessDenied, status 403\\)"
        ):
            act()
