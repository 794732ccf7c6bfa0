"""Inputs from a real S3 server: found, limited, read once, and never more than a recipe may."""

from __future__ import annotations

import glob
import hashlib
import io
import json
import multiprocessing
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from flows.plan.step import SourceImage
from flows.recipe.errors import RecipeError
from flows.run.pictures import open_source
from flows.settings import InputSettings, S3Settings, Settings
from flows.sources import remote
from flows.sources.cache import ContentCache, identity
from flows.sources.place import S3Object, Seen
from flows.sources.remote import find_objects, matches, read_all
from flows.store import boto
from flows.store.base import StoreError
from kontext_engine.errors import PictureError
from kontext_engine.picture import SUFFIXES
from tests.recipe.workspace import PRODUCTS, plan_text
from tests.run.conftest import SCRIPT
from tests.servers.seaweed import NOBODY, admin_client

HEAD = "version: 1\ninputs:\n"
STEP = "steps:\n  s: {op: edit, image: p, prompt: '{p}'}\n"


def picture(colour: object = "white", size: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(buffer, "PNG")
    return buffer.getvalue()


class Bucket:
    """A prefix of the test server's bucket, and settings under which recipes may read it."""

    def __init__(self, place, client, cache: Path) -> None:
        self.place, self._client, self.cache = place, client, cache

    def put(self, name: str, data: bytes) -> bytes:
        self._client.put_object(Bucket=self.place.bucket, Key=self.key(name), Body=data)
        return data

    def remove(self, name: str) -> None:
        self._client.delete_object(Bucket=self.place.bucket, Key=self.key(name))

    def key(self, name: str) -> str:
        return f"{self.place.prefix}/{name}"

    def url(self, name: str) -> str:
        return f"{self.place.url}/{name}"

    def settings(self, s3: dict | None = None, store: str | None = None, **inputs) -> Settings:
        quick = {"attempts": 2, "patience": 0.0}
        return Settings(
            store=store or f"s3://{self.place.bucket}/store",
            s3=self.place.settings(**(quick | (s3 or {}))),
            inputs=InputSettings(**({"cache": self.cache} | inputs)),
        )

    def recipe(self, *entries: str) -> str:
        return HEAD + "  p:\n" + "".join(f"    - {entry}\n" for entry in entries) + STEP


@pytest.fixture
def bucket(seaweed, s3_place, folder):
    return Bucket(s3_place, admin_client(seaweed), folder / "cache")


@pytest.fixture
def products(bucket):
    return {
        name: bucket.put(f"in/{name}.png", picture((index, 5, 9)))
        for index, name in enumerate(PRODUCTS)
    }


@pytest.fixture
def requests(monkeypatch):
    """What is asked of the server: every name that is read, stat'ed or listed."""
    asked: list[tuple[str, str]] = []
    opened = remote.open_bucket

    class Watched:
        def __init__(self, objects) -> None:
            self._objects = objects

        def __getattr__(self, method):
            def call(name, *rest):
                asked.append((method, name))
                return getattr(self._objects, method)(name, *rest)

            return call

    monkeypatch.setattr(remote, "open_bucket", lambda *of: Watched(opened(*of)))
    return asked


def plan(bucket, text, folder, **inputs):
    return plan_text(text, folder, settings=bucket.settings(**inputs))


def sources(planned) -> dict[str, SourceImage]:
    found = [ref for step in planned.steps.values() for ref in step.contexts]
    return {ref.path.name: ref for ref in found}


def wrong(bucket, text, folder, **inputs) -> list[str]:
    with pytest.raises(RecipeError) as error:
        plan(bucket, text, folder, **inputs)
    return [line.replace(f"{folder}/", "") for line in str(error.value).splitlines()]


# Finding


PATTERNS = (
    "*.png", "**/*.png", "a/*.png", "a/**", "a/**/*.png", "**/b/*.png", "a/?.png", "a/[xy].png",
    "a/[!x].png", "**/**/*.png", ".h/*.png", "a/.*", "a/[[]1].png", "*/b/*", "**/x.png",
)  # fmt: skip
TREE = (
    "x.png", "y.jpg", ".hid.png", "a/x.png", "a/y.png", "a/zz.png", "a/b/x.png", "a/b/c/x.png",
    "a/.h.png", ".h/x.png", "b/x.png", "a/[1].png", "a/X.PNG",
)  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_means_in_s3_what_it_means_on_disk(pattern, tmp_path):
    for name in TREE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    on_disk = {
        name
        for name in glob.glob(pattern, root_dir=tmp_path, recursive=True)  # noqa: PTH207
        if (tmp_path / name).is_file()
    }
    assert on_disk
    assert {name for name in TREE if matches(pattern, name)} == on_disk


def test_a_spiteful_pattern_ends(tmp_path):
    assert not matches("**/" * 200 + "*a" * 100 + "b", "/".join(["a" * 20] * 40))


def test_a_glob_an_object_and_a_file_stand_side_by_side(bucket, products, folder):
    bucket.put("in/deep/hat.png", picture("red"))
    bucket.put("in/notes.txt", b"no picture")
    bucket.put("in/.hidden.png", picture())
    text = bucket.recipe(
        f"{{file: '{bucket.url('in/shoe.png')}', name: sneaker}}",
        f"'{bucket.url('in/**/*.png')}'",
        "{file: samples/shoe.png, name: local}",
    )
    planned = plan(bucket, text, folder)
    assert [v.id for v in planned.variants] == ["sneaker", "camera", "handbag", "hat", "local"]
    found = sources(planned)
    hidden = find_objects(bucket.url("in/.*"), bucket.settings(), SUFFIXES)[0]
    assert [item.name for item in hidden] == [".hidden.png"]
    for name, data in products.items():
        if name != "shoe":
            assert found[f"{name}.png"].digest == hashlib.sha256(data).hexdigest()


def test_the_same_bytes_have_the_same_key_wherever_they_are(bucket, folder):
    data = (folder / "samples" / "shoe.png").read_bytes()
    bucket.put("elsewhere/shoe.png", data)
    there = plan(bucket, bucket.recipe(f"'{bucket.url('elsewhere/shoe.png')}'"), folder)
    here = plan(bucket, bucket.recipe("samples/shoe.png"), folder)
    assert list(there.steps) == list(here.steps)


def test_many_objects_are_listed_over_many_pages(bucket, folder):
    data = picture("blue")
    for index in range(40):
        bucket.put(f"many/{index:03}.png", data)
    found = find_objects(bucket.url("many/*.png"), bucket.settings(), SUFFIXES)[0]
    assert [item.name for item in found] == [f"{index:03}.png" for index in range(40)]


# Reading once


def read(requests) -> list[str]:
    """The objects that were read since this was asked the last time."""
    names = sorted(name for method, name in requests if method == "get")
    requests.clear()
    return names


def test_an_object_is_read_once_and_again_when_it_changed(bucket, products, folder, requests):
    text = bucket.recipe(f"'{bucket.url('in/*.png')}'")
    first = plan(bucket, text, folder)
    assert read(requests) == [bucket.key(f"in/{name}.png") for name in PRODUCTS]
    assert plan(bucket, text, folder).digest == first.digest
    assert [method for method, _ in requests] == ["list"]
    data = bucket.put("in/shoe.png", picture("green"))
    third = plan(bucket, text, folder)
    assert read(requests) == [bucket.key("in/shoe.png")]
    assert sources(third)["shoe.png"].digest == hashlib.sha256(data).hexdigest()
    assert sources(first)["camera.png"] == sources(third)["camera.png"]


def test_only_inputs_that_a_step_uses_are_read(bucket, products, folder, requests):
    text = bucket.recipe(f"'{bucket.url('in/shoe.png')}'").replace(
        "steps:", f"  q: '{bucket.url('in/camera.png')}'\nsteps:"
    )
    plan(bucket, text, folder)
    assert read(requests) == [bucket.key("in/shoe.png")]


def test_the_cache_keeps_within_its_bounds_and_forgets_no_digest(
    bucket, products, folder, requests
):
    text = bucket.recipe(f"'{bucket.url('in/*.png')}'")
    size, kept = len(products["shoe"]), bucket.cache / "content"
    first = plan(bucket, text, folder, cache_bytes=2 * size)
    assert 0 < sum(path.stat().st_size for path in kept.iterdir()) <= 2 * size
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700  # the user's alone
    requests.clear()
    assert plan(bucket, text, folder, cache_bytes=2 * size).digest == first.digest
    assert [method for method, _ in requests] == ["list"]
    for ref in sources(first).values():  # also what is not kept can be had for the run
        assert open_source(ref).size == (8, 8)


@pytest.mark.parametrize("harm", ["empty", "other"])
def test_damage_in_the_cache_is_found_and_read_over(harm, bucket, products, folder):
    text = bucket.recipe(f"'{bucket.url('in/shoe.png')}'")
    (ref,) = sources(plan(bucket, text, folder)).values()
    content = bucket.cache / "content" / ref.digest
    index = bucket.cache / "index" / identity(ref.path)
    for path in (content, index):
        path.write_bytes(b"" if harm == "empty" else picture("red"))
    assert open_source(ref).getpixel((0, 0)) == (2, 5, 9)
    assert content.read_bytes() == products["shoe"]
    (again,) = sources(plan(bucket, text, folder)).values()
    assert again.digest == ref.digest
    assert json.loads(index.read_text())["digest"] == ref.digest


def test_how_an_objects_kind_is_read_is_in_its_key_as_of_a_file(bucket, folder):
    buffer = io.BytesIO()
    Image.new("LAB", (8, 12), (120, 3, 4)).save(buffer, "TIFF")
    data = bucket.put("in/lab.tif", buffer.getvalue())
    (folder / "lab.tif").write_bytes(data)
    text = bucket.recipe(f"'{bucket.url('in/lab.tif')}'")
    wanted = plan_text(bucket.recipe("lab.tif"), folder).digest
    for _ in range(2):  # read, and known from before
        planned = plan(bucket, text, folder)
        (ref,) = sources(planned).values()
        assert (ref.reading, ref.size) == (2, (8, 12))
        assert planned.digest == wanted
    index = bucket.cache / "index" / identity(ref.path)
    index.write_text(ref.digest)  # as an earlier release remembered it
    assert plan(bucket, text, folder).digest == wanted


def test_a_cache_that_cannot_be_written_is_no_mistake(bucket, products, folder):
    bucket.cache.write_text("a file in its place")
    (ref,) = sources(plan(bucket, bucket.recipe(f"'{bucket.url('in/shoe.png')}'"), folder)).values()
    assert ref.digest == hashlib.sha256(products["shoe"]).hexdigest()
    assert open_source(ref).size == (8, 8)


def test_many_processes_share_one_cache(bucket, products, folder):
    settings = bucket.settings()
    found = find_objects(bucket.url("in/*.png"), settings, SUFFIXES)[0]
    with multiprocessing.get_context("fork").Pool(4) as pool:
        answers = pool.map(read_all, [found] * 12, chunksize=1)
    expected = {item: Seen.of(products[item.stem]) for item in found}
    assert answers == [(expected, {})] * 12
    kept = ContentCache.of(found[0])
    assert all(kept.read(seen.digest) == products[item.stem] for item, seen in expected.items())
    assert not [p for p in bucket.cache.rglob("*") if p.name.endswith(".part")]


# An outage


def many(bucket, count: int, **s3) -> list[S3Object]:
    settings = bucket.settings(s3=s3)
    return [S3Object("bucket", f"{index}.png", "v", 1, settings) for index in range(count)]


def refusing(monkeypatch, slow: bool) -> list[S3Settings]:
    """A server that answers no request, or refuses each at once; how each was asked."""
    asked: list[S3Settings] = []

    class Away:
        def __init__(self, bucket, server) -> None:
            self.server = server

        def get(self, name):
            asked.append(self.server)
            if slow:
                time.sleep(self.server.patience)
            raise StoreError("no answer")

    monkeypatch.setattr(remote, "open_bucket", Away)
    return asked


def test_in_an_outage_patience_is_spent_once_and_all_are_told(bucket, monkeypatch):
    asked = refusing(monkeypatch, slow=True)
    wanted = many(bucket, 100, patience=0.2, attempts=5)
    digests, failures = read_all(wanted)
    assert (digests, list(failures)) == ({}, wanted)
    assert all("no answer" in line for line in failures.values())
    patient = [server for server in asked if server.patience]
    assert 1 <= len(patient) <= remote.READERS
    assert {(server.attempts, server.patience) for server in asked} == {(5, 0.2), (1, 0.0)}


def test_an_object_that_is_refused_at_once_hurries_no_other(bucket, monkeypatch):
    asked = refusing(monkeypatch, slow=False)
    read_all(many(bucket, 20, patience=60.0))
    assert {server.patience for server in asked} == {60.0}


# Between plan and run


@pytest.fixture
def planned_shoe(bucket, products, folder) -> SourceImage:
    (ref,) = sources(plan(bucket, bucket.recipe(f"'{bucket.url('in/shoe.png')}'"), folder)).values()
    return ref


@pytest.mark.parametrize(
    ("colour", "why"),
    [
        (None, "the object is gone; put it back, then run again"),
        ("red", "the object changed while the run was going on; run again to use it as it is now"),
    ],
)
def test_an_object_that_is_another_is_told_as_a_file_is(colour, why, bucket, planned_shoe):
    bucket.remove("in/shoe.png")
    if colour is not None:
        bucket.put("in/shoe.png", picture(colour))
    with pytest.raises(PictureError) as error:
        open_source(planned_shoe)
    assert str(error.value) == f"shoe.png (input 'p'): {why}"


def test_an_object_written_anew_with_the_same_bytes_has_not_changed(bucket, products, planned_shoe):
    bucket.remove("in/shoe.png")
    bucket.put("in/shoe.png", products["shoe"])
    assert open_source(planned_shoe).size == (8, 8)


def away(ref: SourceImage, bucket) -> SourceImage:
    nowhere = bucket.settings(s3={"endpoint_url": "http://127.0.0.1:9", "connect_timeout": 0.5})
    was = ref.path
    there = S3Object(was.bucket, was.key, was.version, was.size, nowhere)
    return SourceImage(ref.input, there, ref.digest)


def test_while_the_server_is_away_what_was_read_before_will_do(bucket, planned_shoe):
    assert open_source(away(planned_shoe, bucket)).size == (8, 8)
    (bucket.cache / "content" / planned_shoe.digest).unlink()
    with pytest.raises(PictureError, match=r"^shoe\.png \(input 'p'\): cannot be read \("):
        open_source(away(planned_shoe, bucket))


# Limits


def test_an_object_that_is_too_large_is_refused_unread(bucket, products, folder, requests):
    size = len(bucket.put("in/big.png", picture(size=600)))
    text = bucket.recipe("samples/shoe.png", f"'{bucket.url('in/b*.png')}'")
    assert wrong(bucket, text, folder, max_bytes=500) == [
        f"r.yaml:5:7: '{bucket.url('in/big.png')}' has {size:,} bytes; expected at most 500 "
        "(inputs.max_bytes); scale it down or raise the limit"
    ]
    assert [method for method, _ in requests] == ["list"]


@pytest.mark.parametrize(
    ("store", "buckets", "pattern", "allowed"),
    [
        ("s3://kontext-tests/x", (), "s3://kontext-tests/y/*.png", True),
        ("out", (), "s3://kontext-tests/y/*.png", False),
        ("out", ("kontext-tests",), "s3://kontext-tests/y/*.png", True),
        ("out", ("kontext-tests/y",), "s3://kontext-tests/y/*.png", True),
        ("out", ("kontext-tests/y",), "s3://kontext-tests/y2/*.png", False),
        ("out", ("kontext-tests/y",), "s3://kontext-tests/y*/*.png", False),
        ("out", ("kontext-tests/y",), "s3://kontext-tests/**/y/*.png", False),
        ("out", ("kontext-test",), "s3://kontext-tests/y/*.png", False),
        ("s3://other/x", (), "s3://kontext-tests/y/*.png", False),
    ],
)
def test_only_allowed_buckets_are_asked(store, buckets, pattern, allowed, bucket, folder, requests):
    settings = bucket.settings(store=store, buckets=buckets)
    with pytest.raises(RecipeError) as error:
        plan_text(bucket.recipe(f"'{pattern}'"), folder, settings=settings)
    if allowed:
        assert "no picture matches" in str(error.value)
        assert [method for method, _ in requests] == ["list"]
    else:
        assert f"'{pattern}' lies where recipes may not read; expected" in str(error.value)
        assert requests == []


def test_schemes_that_are_not_allowed(bucket, products, folder, requests):
    text = bucket.recipe(f"'{bucket.url('in/shoe.png')}'", "samples/camera.png")
    assert wrong(bucket, text, folder, schemes=("file",)) == [
        "r.yaml:4:7: 's3://' is not among inputs.schemes; expected a file; download it first or "
        "allow it in kontext.toml"
    ]
    assert requests == []
    assert wrong(bucket, text, folder, schemes=("s3",)) == [
        "r.yaml:5:7: 'samples/camera.png' is a file, and 'file' is not among inputs.schemes; "
        "expected s3://bucket/key; upload it first or allow it in kontext.toml"
    ]


def test_a_further_root_may_be_read(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("shared")
    (other / "hat.png").write_bytes(picture())
    text = HEAD + f"  p: '{other}/*.png'\n" + STEP
    settings = Settings(inputs=InputSettings(roots=(other,)))
    assert [v.id for v in plan_text(text, folder, settings=settings).variants] == ["hat"]
    with pytest.raises(RecipeError, match="lies outside the recipe's folder"):
        plan_text(text, folder, settings=Settings())


# What is told


def test_an_object_that_is_not_there_is_told_at_its_line(bucket, products, folder):
    text = bucket.recipe(
        "samples/shoe.png", f"{{name: x, file: '{bucket.url('in/shoo.png')}'}}",
        f"'{bucket.url('nowhere/y.png')}'", f"'{bucket.url('in/*.webp')}'",
    )  # fmt: skip
    assert wrong(bucket, text, folder) == [
        f"r.yaml:5:23: no object '{bucket.url('in/shoo.png')}': did you mean "
        f"'{bucket.url('in/shoe.png')}'?",
        f"r.yaml:6:7: no object '{bucket.url('nowhere/y.png')}'; expected a picture; check the "
        "address",
        f"r.yaml:7:7: no picture matches '{bucket.url('in/*.webp')}'; expected at least one; check "
        "the pattern",
    ]


@pytest.fixture
def as_nobody(monkeypatch, s3_environment):
    boto.forget_clients()
    for name, value in NOBODY.environment.items():
        monkeypatch.setenv(name, value)
    yield
    boto.forget_clients()


def test_what_the_credentials_may_not_read_is_told_at_its_line(bucket, products, folder, as_nobody):
    text = bucket.recipe("samples/shoe.png", f"'{bucket.url('in/*.png')}'")
    (line,) = wrong(bucket, text, folder)
    assert line.startswith(f"r.yaml:5:7: '{bucket.url('in/*.png')}' cannot be read (")
    assert NOBODY.key not in line
    assert NOBODY.secret not in line


def test_a_picture_that_is_damaged_fails_at_run_time_only(bucket, folder):
    bucket.put("in/bad.png", b"no picture")
    (ref,) = sources(plan(bucket, bucket.recipe(f"'{bucket.url('in/bad.png')}'"), folder)).values()
    with pytest.raises(PictureError, match=r"^bad\.png \(input 'p'\): not a picture"):
        open_source(ref)


# No secret anywhere


def test_no_secret_is_in_anything_that_a_run_writes_or_says(bucket, products, s3_place, folder):
    """Secrets: the credentials in use, those of a profile, and one in a wrong address."""
    home = folder / "home"
    (home / ".aws").mkdir(parents=True)
    (home / ".aws" / "credentials").write_text(
        "[default]\naws_access_key_id = AKIAPROFILEHUSH00001\n"
        "aws_secret_access_key = hush-profile\n"
    )
    (folder / "run.yaml").write_text(bucket.recipe(f"'{bucket.url('in/*.png')}'"))
    leaky = bucket.recipe("'s3://AKIAINRECIPEHUSH0001:hush-recipe@bucket/x.png'")
    (folder / "leaky.yaml").write_text(leaky)
    (folder / "bad.yaml").write_text(bucket.recipe("s3://kontext-other/x.png"))
    used = dict(s3_place.environment)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("KONTEXT_")},
        **used,
        "HOME": str(home),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / ".aws" / "credentials"),
        "AWS_SESSION_TOKEN": "",
        "KONTEXT_INPUTS__CACHE": str(folder / "cache"),
        "KONTEXT_INPUTS__BUCKETS": f"{s3_place.bucket},kontext-other",
        "KONTEXT_S3__ATTEMPTS": "2",
        "KONTEXT_S3__PATIENCE": "0",
    }
    said = ""
    for expected, variables, *arguments in (
        (0, {}, "run", "run.yaml", "--out", "out"),
        (0, {}, "config"),
        (0, {}, "plan", "run.yaml", "--out", "out", "--json"),
        (2, {}, "check", "leaky.yaml"),
        (2, {}, "check", "bad.yaml"),
        (2, {"AWS_SECRET_ACCESS_KEY": "hush-wrong-secret", "KONTEXT_INPUTS__CACHE": "none"},
         "check", "run.yaml"),
        (2, {"KONTEXT_S3__ENDPOINT_URL": "http://u:hush-endpoint@127.0.0.1:9"}, "check",
         "run.yaml"),
        (2, {"KONTEXT_S3__SECRET_ACCESS_KEY": "hush-variable"}, "config"),
    ):  # fmt: skip
        done = subprocess.run(
            [sys.executable, str(SCRIPT), "0", *arguments],
            cwd=folder,
            env=environment | variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == expected, done.stderr
        said += done.stdout + done.stderr
    secrets = [
        used["AWS_SECRET_ACCESS_KEY"], used["AWS_ACCESS_KEY_ID"], "AKIAPROFILEHUSH00001", "hush-",
        "AKIAINRECIPEHUSH0001", "Signature",
    ]  # fmt: skip
    ours = {folder / "leaky.yaml", home / ".aws" / "credentials"}
    files = [path for path in folder.rglob("*") if path.is_file() and path not in ours]
    assert any(path.name == "report.html" for path in files)
    assert any(path.name == "manifest.json" for path in files)
    for secret in secrets:
        assert secret not in said
        assert [path for path in files if secret.encode() in path.read_bytes()] == []


def test_planning_without_s3_inputs_imports_no_boto3(folder):
    (folder / "r.yaml").write_text(HEAD + "  p: samples/shoe.png\n" + STEP)
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.recipe.workspace import plan_file\n"
        "plan_file(Path('r.yaml')); print('boto3' in sys.modules)"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={"PYTHONPATH": root, "PATH": "/usr/bin:/bin", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"


def test_one_version_of_one_object_has_one_identity():
    def named(**changes):
        values = {"bucket": "b", "key": "k.png", "version": "v", "size": 1} | changes
        server = values.pop("server", "https://one")
        settings = Settings(s3=S3Settings(endpoint_url=server))
        return identity(S3Object(**values, settings=settings))

    others = [{"bucket": "c"}, {"key": "l.png"}, {"version": "w"}, {"size": 2}]
    names = {named(**change) for change in ({}, *others, {"server": "https://two"})}
    assert len(names) == 6
