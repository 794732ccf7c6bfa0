"""What a server, the way to it or its credentials can do to objects: nothing is lost or halved."""

from __future__ import annotations

import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from flows.store import s3_guard, s3_retry
from flows.store.base import StoreError, StoreFull
from flows.store.boto import connection
from flows.store.s3_errors import Trouble

from ..servers.faults import (
    FULL,
    OVER_QUOTA,
    SLOW_DOWN,
    Answer,
    CutDownload,
    CutUpload,
    EmptyAnswer,
    Faults,
    Hang,
    LoseAnswer,
    SpoilDownload,
    SpoilUpload,
)
from ..servers.fixtures import Place, set_environment
from ..servers.seaweed import ADMIN, BUCKET, admin_client

PART = 5 * 2**20
ONCE = {"attempts": 1, "patience": 0.0}
THRICE = {"attempts": 3, "patience": 0.0}
FOUR = {"attempts": 4, "patience": 0.0, "read_timeout": 30.0}
BYTES = os.urandom(300_000)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(s3_retry, "FIRST_PAUSE", 0.005)
    monkeypatch.setattr(s3_retry, "LONGEST_PAUSE", 0.02)


@pytest.fixture
def objects(faulty_place, faults):
    """By way of the proxy, four tries; the server's abilities have been found out."""
    made = faulty_place.objects(**FOUR)
    made.create("ready", b"x")
    faults.requests.clear()
    return made


@pytest.fixture
def plain(s3_place):
    """The same objects without the proxy."""
    return s3_place.objects()


DEEDS = {
    "get": ("GET", lambda objects: objects.get("ready").data == b"x"),
    "stat": ("HEAD", lambda objects: objects.stat("ready").size == 1),
    "create": ("PUT", lambda objects: objects.create("new", b"y")),
    "lose": ("PUT", lambda objects: objects.create("ready", b"y") is False),
    "replace": ("PUT", lambda objects: objects.replace("ready", b"y") is None),
    "remove": ("DELETE", lambda objects: objects.remove("ready")),
    "touch": ("PUT", lambda objects: objects.touch("ready")),
    "copy": ("PUT", lambda objects: objects.copy("ready", "new.png")),
    "list": ("GET", lambda objects: [one.name for one in objects.list("")] == ["ready"]),
    "folders": ("GET", lambda objects: list(objects.folders("runs/")) == []),
    "abandoned": ("GET", lambda objects: list(objects.abandoned(-60)) == []),
}


@pytest.mark.parametrize("deed", DEEDS)
def test_a_busy_server_is_asked_again(objects, faults, deed):
    method, act = DEEDS[deed]
    for fault in (SLOW_DOWN, Answer(500, "InternalError"), Answer(429, "TooManyRequests")):
        faults.harm(fault, method)
    assert act(objects)
    assert len(faults.harmed()) == 3


@pytest.mark.parametrize(
    "deed", ["get", "stat", "create", "lose", "remove", "touch", "copy", "list"]
)
def test_an_answer_that_is_lost_changes_nothing_of_the_outcome(objects, faults, deed):
    method, act = DEEDS[deed]
    faults.harm(LoseAnswer(), method)
    assert act(objects)
    assert len(faults.harmed()) == 1


def test_the_winner_whose_answers_were_lost_knows_it_is_the_winner(objects, faults, plain):
    faults.harm(LoseAnswer(), "PUT", times=3)
    assert objects.create("new", BYTES)
    assert plain.get("new").data == BYTES
    assert not plain.create("new", BYTES)  # the same bytes, but somebody else's


@pytest.mark.parametrize(
    "answer", [Answer(409, "ConditionalRequestConflict"), Answer(412, "PreconditionFailed")]
)
def test_a_conflict_with_nobody_is_tried_again(objects, faults, plain, answer):
    faults.harm(answer, "PUT")
    assert objects.create("new", b"ours")
    assert plain.get("new").data == b"ours"


def test_a_conflict_with_a_holder_is_lost(objects, faults, plain):
    plain.create("new", b"theirs")
    faults.harm(Answer(409, "ConditionalRequestConflict"), "PUT")
    assert not objects.create("new", b"ours")


def test_an_upload_that_is_cut_is_tried_again(objects, faults, plain):
    faults.harm(CutUpload(), "PUT", times=2)
    assert objects.create("new", BYTES)
    assert plain.get("new").data == BYTES
    faults.harm(LoseAnswer(), "PUT")  # who lost and hears it late is no winner
    assert not objects.create("ready", BYTES)


def test_an_upload_that_is_cut_leaves_nothing_under_the_name(faulty_place, faults, objects, plain):
    faults.harm(CutUpload(), "PUT", times=None)
    hasty = faulty_place.objects(**ONCE)
    with pytest.raises(StoreError, match=r"the connection to .* was cut \(1 try in"):
        hasty.create("new", BYTES)
    assert plain.get("new") is None
    assert plain.stat("new") is None
    faults.heal()
    assert hasty.create("new", BYTES)
    assert plain.get("new").data == BYTES


def test_replacing_that_is_cut_leaves_the_old_object(faulty_place, faults, objects, plain):
    plain.replace("ready", b"old")
    faults.harm(CutUpload(), "PUT", times=None)
    with pytest.raises(StoreError):
        faulty_place.objects(**ONCE).replace("ready", BYTES)
    assert plain.get("ready").data == b"old"


def test_a_download_that_is_cut_is_tried_again(objects, faults, plain):
    plain.replace("ready", BYTES)
    faults.harm(CutDownload(), "GET", times=2)
    assert objects.get("ready").data == BYTES
    assert len(faults.harmed()) == 2


def test_a_listing_that_is_cut_is_not_a_short_one(objects, faults):
    faults.harm(CutDownload(), "GET")
    faults.harm(EmptyAnswer(), "GET")
    assert [entry.name for entry in objects.list("")] == ["ready"]
    assert len(faults.harmed()) == 2


def test_a_copy_without_a_word_of_success_is_done_again(objects, faults):
    faults.harm(EmptyAnswer(), "PUT")
    assert objects.touch("ready")
    assert len(faults.harmed()) == 1


def test_a_server_that_hangs_is_given_up_and_asked_again(faulty_place, faults, objects, plain):
    patient = faulty_place.objects(**FOUR | {"read_timeout": 1.5})
    faults.harm(Hang(), "PUT")
    assert patient.create("new", b"y")
    faults.harm(Hang(), "GET")
    assert patient.get("new").data == b"y"
    faults.harm(Hang(), "GET", times=None)
    with pytest.raises(StoreError) as caught:
        faulty_place.objects(**ONCE | {"read_timeout": 0.3}).get("new")
    assert re.fullmatch(
        f"{faulty_place.url}/new: reading it failed: {faults.endpoint} did not answer in time "
        r"\(1 try in \d+ s\); run again later: everything stored so far is kept",
        str(caught.value),
    )


def test_bytes_spoilt_on_their_way_are_noticed(objects, faults, plain):
    plain.replace("ready", BYTES)
    faults.harm(SpoilDownload(), "GET")
    assert objects.get("ready").data == BYTES
    faults.harm(SpoilUpload(), "PUT")
    assert objects.create("new", BYTES)
    assert plain.get("new").data == BYTES
    assert len(faults.harmed()) == 2


def test_bytes_that_never_fit_their_checksum_are_an_error(faulty_place, faults, objects, plain):
    plain.replace("ready", BYTES)
    faults.harm(SpoilDownload(), "GET", times=None)
    with pytest.raises(StoreError, match=r"its bytes are not those of its checksum \(3 tries"):
        faulty_place.objects(**THRICE).get("ready")


@pytest.mark.parametrize("answer", [FULL, OVER_QUOTA, Answer(507, "XMinioStorageFull")])
def test_a_full_server_is_told_at_once_and_a_rerun_completes(objects, faults, plain, answer):
    faults.harm(answer, "PUT", times=None)
    with pytest.raises(StoreFull) as caught:
        objects.create("new", BYTES)
    assert str(caught.value) == (
        f"{objects.where}/new: writing it failed: no space or quota left there ("
        f"{answer.code}, status {answer.status}); free some or raise the quota, "
        "then run again: everything stored so far is kept"
    )
    assert len(faults.harmed()) == 1
    assert plain.get("new") is None
    faults.heal()
    assert objects.create("new", BYTES)


# In parts


@pytest.fixture(scope="module")
def large() -> bytes:
    return os.urandom(PART + 1000)


@pytest.fixture
def in_parts(faulty_place, faults, monkeypatch):
    """Objects where what is larger than a part can be replaced in parts; one is there."""
    made = faulty_place.objects(**FOUR | {"part_size": PART})
    made.create("ready", b"x")
    server = (BUCKET, connection(faulty_place.settings(**FOUR)))
    monkeypatch.setitem(s3_guard._parts, server, True)
    faults.requests.clear()
    return made


@pytest.mark.parametrize(
    ("fault", "method", "path"),
    [
        (LoseAnswer(), "POST", "uploadId="),  # completing
        (LoseAnswer(), "PUT", "partNumber=1"),
        (CutUpload(), "PUT", "partNumber=2"),
        (SpoilUpload(), "PUT", "partNumber=1"),
        (EmptyAnswer(), "POST", "uploadId="),
        (SLOW_DOWN, "POST", ""),
    ],
)
def test_in_parts_too_harm_changes_nothing(in_parts, faults, plain, large, fault, method, path):
    faults.harm(fault, method, path)
    in_parts.replace("ready", large)
    assert len(faults.harmed()) == 1
    assert plain.get("ready").data == large
    assert list(plain.abandoned(-60)) == []


@pytest.mark.parametrize("path", ["partNumber=2", "uploadId="])
def test_an_upload_in_parts_that_fails_leaves_nothing(in_parts, faults, plain, large, path):
    faults.harm(FULL, "PUT" if "part" in path else "POST", path, times=None)
    with pytest.raises(StoreFull):
        in_parts.replace("ready", large)
    assert plain.get("ready").data == b"x"
    assert list(plain.abandoned(-60)) == []
    faults.heal()
    in_parts.replace("ready", large)
    assert plain.get("ready").data == large


@pytest.mark.parametrize("fault", [LoseAnswer(), CutUpload(), SpoilUpload(), SLOW_DOWN])
def test_creating_a_large_object_is_one_request(in_parts, faults, plain, large, fault):
    faults.harm(fault, "PUT")
    assert in_parts.create("new", large)
    assert len(faults.harmed()) == 1
    assert plain.get("new").data == large
    assert not in_parts.create("new", large[::-1])
    assert [one for one in faults.requests if "upload" in one.path] == []


# The server goes away


def test_no_acknowledged_object_is_lost_when_the_server_is_killed(own_seaweed, monkeypatch):
    set_environment(monkeypatch, own_seaweed.endpoint)
    place = Place(own_seaweed.endpoint, BUCKET, "home")
    objects = place.objects(read_timeout=20.0)
    objects.prepare()
    ended = threading.Event()
    made: dict[str, bytes] = {}

    def write(lane: int) -> None:
        number = 0
        while not ended.is_set():
            name, data = f"blobs/{lane}-{number}", os.urandom(2000)
            assert objects.create(name, data), f"{name} is nobody else's"
            made[name] = data
            number += 1

    with ThreadPoolExecutor(4) as pool:
        lanes = [pool.submit(write, lane) for lane in range(4)]
        for _ in range(2):
            _await_more(made, lanes)
            own_seaweed.kill9()
            own_seaweed.start()
        _await_more(made, lanes)
        ended.set()
        for lane in lanes:
            lane.result()
    assert {entry.name for entry in objects.list("blobs/")} == set(made)
    for name, data in made.items():
        assert objects.get(name).data == data


def _await_more(made: dict[str, bytes], lanes) -> None:
    enough = len(made) + 12
    while len(made) < enough and not any(lane.done() for lane in lanes):
        time.sleep(0.01)


def test_a_server_that_cannot_be_reached_is_named(s3_place):
    with Faults(1) as gone:
        place = replace(s3_place, endpoint=gone.endpoint)
    told = refusal(place.objects(**THRICE))
    assert re.fullmatch(
        f"{place.url}/a: reading it failed: {gone.endpoint} cannot be reached "
        r"\(3 tries in \d+ s\); check s3.endpoint_url \(KONTEXT_S3__ENDPOINT_URL\) and the "
        "network, then run again",
        told,
    )


def test_a_person_hears_why_it_takes_long(objects, faults, monkeypatch, caplog):
    monkeypatch.setattr(s3_retry, "SILENCE", 0.0)
    monkeypatch.setattr(s3_retry, "_told", 0.0)
    faults.harm(SLOW_DOWN, "GET", times=3)
    objects.get("ready")
    assert [record.getMessage() for record in caplog.records] == [
        f"{faults.endpoint} does not answer well (SlowDown): trying on"
    ]


def test_patience_goes_on_past_the_attempts(faulty_place, objects, faults):
    faults.harm(SLOW_DOWN, "GET", times=12)
    assert faulty_place.objects(attempts=2, patience=60.0).get("ready").data == b"x"
    assert len(faults.harmed()) == 12


def test_pauses_grow_are_jittered_and_obey_the_server(monkeypatch):
    monkeypatch.setattr(s3_retry, "FIRST_PAUSE", 0.1)
    monkeypatch.setattr(s3_retry, "LONGEST_PAUSE", 8.0)
    plain, asked = Trouble("SlowDown", 503), Trouble("SlowDown", 503, wait=7.0)
    for tries, most in ((1, 0.2), (3, 0.8), (30, 8.0)):
        pauses = [s3_retry._pause(tries, plain) for _ in range(400)]
        assert 0 <= min(pauses) < most / 4
        assert most * 3 / 4 < max(pauses) <= most
    assert 7.0 <= s3_retry._pause(1, asked) <= 7.2
    assert s3_retry._pause(1, Trouble("SlowDown", 503, wait=1e9)) <= 60.2


def test_a_mistake_of_the_program_is_not_taken_for_trouble(s3_place):
    with pytest.raises(ZeroDivisionError):
        s3_retry.attempt(s3_place.settings(), lambda client: 1 / 0)


# Refusals, in words


def refusal(objects, name="a") -> str:
    with pytest.raises(StoreError) as caught:
        objects.get(name)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
            "no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "AWS_PROFILE, or give this machine a role",
        ),
        (
            {"AWS_SECRET_ACCESS_KEY": None},
            "the credentials are incomplete; set both AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or complete the profile",
        ),
        (
            {"AWS_PROFILE": "nightly"},
            "there is no such AWS profile; check AWS_PROFILE, s3.link_profile and the AWS config "
            "file",
        ),
        (
            {"AWS_ACCESS_KEY_ID": "AKIANOBODYKNOWSTHIS1"},
            "the server {server} does not know these credentials; check that they are for this "
            "server, and not others that come first (AWS_* variables, then AWS_PROFILE)",
        ),
    ],
)
def test_credentials_that_will_not_do(s3_place, become, changes, words):
    become(**changes)
    words = words.format(server=s3_place.endpoint)
    assert refusal(s3_place.objects()) == f"{s3_place.url}/a: reading it failed: {words}"
    with pytest.raises(StoreError) as caught:  # a write goes another way
        s3_place.objects().prepare()
    assert str(caught.value) == f"{s3_place.url}: writing it failed: {words}"


def test_a_wrong_secret(s3_place, become):
    become(AWS_SECRET_ACCESS_KEY="not-the-secret-of-anybody")  # noqa: S106
    objects = s3_place.objects()
    expected = (
        "the secret key is not the one of its key id; check AWS_SECRET_ACCESS_KEY or the profile "
        "(or a proxy that changes requests)"
    )
    assert refusal(objects) == f"{s3_place.url}/a: reading it failed: {expected}"
    with pytest.raises(StoreError) as caught:  # a HEAD has no body that tells why
        objects.stat("a")
    assert str(caught.value) == f"{s3_place.url}/a: reading it failed: {expected}"
    with pytest.raises(StoreError) as caught:
        objects.prepare()
    assert str(caught.value) == f"{s3_place.url}: writing it failed: {expected}"


def test_no_such_bucket(s3_place):
    objects = replace(s3_place, bucket="no-such-bucket").objects()
    expected = f"there is no such bucket on {s3_place.endpoint}; check its name and the endpoint, "
    for act in (objects.prepare, lambda: objects.get("a"), lambda: list(objects.list(""))):
        with pytest.raises(StoreError) as caught:
            act()
        assert str(caught.value).startswith("s3://no-such-bucket/")
        assert str(caught.value).endswith(f"{expected}or create the bucket")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            Answer(403, "RequestTimeTooSkewed"),
            "this machine's clock and the server's differ too much; set this machine's clock",
        ),
        (
            Answer(301, "PermanentRedirect"),
            "the bucket is in another region (PermanentRedirect; region: us-east-1); "
            "set s3.region (KONTEXT_S3__REGION) to the bucket's",
        ),
        (
            Answer(400, "AuthorizationHeaderMalformed"),
            "the bucket is in another region (AuthorizationHeaderMalformed, status 400; region: "
            "us-east-1); set s3.region (KONTEXT_S3__REGION) to the bucket's",
        ),
        (
            Answer(400, "ExpiredToken"),
            "the credentials have expired; log in again, or check AWS_PROFILE and the role of "
            "this machine",
        ),
        (
            Answer(501, "NotImplemented"),
            "the server does not offer what was asked of it (NotImplemented, status 501); an older "
            "server may want s3.checksums: when_required (KONTEXT_S3__CHECKSUMS)",
        ),
        (
            Answer(403, "AccessDenied"),
            "these credentials may not do that (AccessDenied, status 403); ask the bucket's owner "
            "for s3:GetObject and s3:ListBucket, or use other credentials",
        ),
        (
            Answer(418, "<b>teapot &amp; {secret}"),
            "the server answered status 418; check the settings under s3:",
        ),
        (
            Answer(500, "InternalError"),
            "the server could not do it (InternalError, status 500, 1 try in N s); run again "
            "later: everything stored so far is kept",
        ),
    ],
)
def test_what_servers_answer_in_words(faulty_place, faults, answer, words):
    faults.harm(answer, times=None)
    told = refusal(faulty_place.objects(**ONCE))
    told = re.sub(r"in \d+ s\)", "in N s)", told)
    assert told == f"{faulty_place.url}/a: reading it failed: {words}"


def test_no_error_tells_a_secret(faulty_place, faults, caplog):
    secrets = [*ADMIN.environment.values(), "X-Amz", "Signature", "Authorization"]
    caplog.set_level("INFO", logger="flows")
    objects = faulty_place.objects(**ONCE | {"read_timeout": 0.3})
    for fault in (FULL, Hang(), LoseAnswer(), Answer(403, "AccessDenied")):
        faults.harm(fault, times=None)
        for act in (objects.prepare, lambda: objects.get("a"), lambda: list(objects.list(""))):
            with pytest.raises(StoreError) as caught:
                act()
            shown = f"{caught.value!r} {caught.value.__cause__!r} {caplog.text}"
            assert not [secret for secret in secrets if secret in shown]
        faults.heal()


def test_a_link_is_refused_without_credentials(s3_place, become):
    become(AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None)
    with pytest.raises(StoreError, match="linking it failed: no credentials were found"):
        s3_place.objects().link("a", 60)


def test_credentials_in_an_endpoint_are_not_shown(s3_place):
    from flows.store.s3_errors import server_of

    settings = s3_place.settings().model_copy(
        update={"endpoint_url": "https://me:secret@host:9000/?key=secret"}
    )
    assert server_of(settings) == "https://host:9000"


def test_the_proxy_is_no_shortcut(objects, faults, seaweed):
    objects.create("new", b"y")
    assert [request.method for request in faults.requests] == ["PUT"]
    told = admin_client(seaweed).list_objects_v2(Bucket=BUCKET, Prefix=objects.where[5:][14:])
    assert told["KeyCount"] == 2
