"""Settings: which source wins, where each value came from, and what is told of a wrong one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.cli import main
from flows.numerics import Device
from flows.settings import S3Settings, Settings, SettingsError, resident
from flows.settings.load import effective_settings, leaves, load_settings, variable
from flows.settings.secrecy import masked

ROOT = Path(__file__).parents[1]
CREDENTIALS = (
    "expected AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment, a profile in ~/.aws "
    "or a role; remove it here"
)


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch, tmp_path):
    """No variable of ours or of AWS, and an empty folder that no kontext.toml is above."""
    for name in os.environ:
        if name.upper().startswith(("KONTEXT_", "AWS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def write(text: str, path: str = "kontext.toml") -> Path:
    Path(path).write_text(text)
    return Path(path)


def problems() -> list[str]:
    with pytest.raises(SettingsError) as error:
        effective_settings()
    return str(error.value).splitlines()


# Which source wins


def test_without_anything_there_are_the_defaults():
    assert load_settings() == Settings()
    assert (load_settings().store, load_settings().device) == ("out", Device.CPU)


def test_variables_win_over_the_file_which_wins_over_the_defaults(monkeypatch):
    write("batch = 3\nlinks = 'presigned'\n[s3]\nattempts = 4\nregion = 'file'\n")
    monkeypatch.setenv("KONTEXT_S3__REGION", "variable")
    monkeypatch.setenv("KONTEXT_BATCH", "5")
    found = load_settings()
    assert (found.batch, found.links) == (5, "presigned")
    assert found.s3 == S3Settings(attempts=4, region="variable")


def test_the_command_line_wins_over_all(monkeypatch):
    monkeypatch.setenv("KONTEXT_BATCH", "5")
    found = load_settings().given(batch=7, store=None, device="cuda")
    assert (found.batch, found.store, found.device) == (7, "out", Device.CUDA)
    with pytest.raises(SettingsError) as error:
        load_settings().given(batch=0)
    assert str(error.value) == (
        "--batch: is the number 0; expected at least 1; choose a number in the range"
    )


def test_a_process_that_stays_has_more_patience_unless_it_was_told_how_much(monkeypatch):
    write("batch = 3\n[s3]\nattempts = 4\n")
    found = load_settings()
    stays = resident(found)
    assert (found.s3.patience, stays.s3.patience) == (90.0, 1800.0)
    assert (stays.batch, stays.s3.attempts) == (3, 4)
    assert stays.given(batch=5).s3.patience == 1800.0
    assert resident(found.given(batch=5)).s3.patience == 1800.0
    monkeypatch.setenv("KONTEXT_S3__PATIENCE", "90")  # the default, but said
    assert resident(load_settings()).s3.patience == 90.0
    monkeypatch.delenv("KONTEXT_S3__PATIENCE")
    write("[s3]\npatience = 7\n", "other.toml")
    monkeypatch.setenv("KONTEXT_CONFIG", "other.toml")
    assert resident(load_settings()).s3.patience == 7.0
    assert resident(resident(load_settings())).s3.patience == 7.0


def test_an_empty_variable_counts_as_not_set(monkeypatch):
    write("batch = 3\n")
    monkeypatch.setenv("KONTEXT_BATCH", "")
    assert load_settings().batch == 3


def test_a_list_in_a_variable_is_names_between_commas(monkeypatch):
    monkeypatch.setenv("KONTEXT_INPUTS__BUCKETS", "shoes, s3://hats/felt/")
    assert load_settings().inputs.buckets == ("shoes", "hats/felt")


def test_a_change_of_variables_is_seen_in_the_same_process(monkeypatch):
    assert load_settings().batch == 8
    monkeypatch.setenv("KONTEXT_BATCH", "2")
    assert load_settings().batch == 2


# Where the file is


def test_the_nearest_parents_file_holds_and_its_paths_begin_there(nothing_set, monkeypatch):
    write("batch = 2\n", "../kontext.toml")
    write("store = 'out'\n[inputs]\nroots = ['pictures', '/abs']\ncache = '~/kept'\n")
    (nothing_set / "a" / "b").mkdir(parents=True)
    assert load_settings().store == "out"
    monkeypatch.chdir("a/b")
    found = load_settings()
    assert found.batch == 8
    assert found.store == str(nothing_set / "out")
    assert found.inputs.roots == (nothing_set / "pictures", Path("/abs"))
    assert found.inputs.cache == nothing_set.parent / "kept"


def test_an_address_in_the_file_is_no_path(nothing_set, monkeypatch):
    write("store = 's3://bucket/prefix'\n")
    (nothing_set / "a").mkdir()
    monkeypatch.chdir("a")
    assert load_settings().store == "s3://bucket/prefix"


@pytest.mark.parametrize("border", [".git", "home"])
def test_the_search_ends_at_the_repository_and_at_home(border, nothing_set, monkeypatch):
    inner = nothing_set / "inner"
    inner.mkdir()
    write("batch = 2\n")
    monkeypatch.chdir(inner)
    assert load_settings().batch == 2
    if border == ".git":
        (inner / ".git").mkdir()
    else:
        monkeypatch.setenv("HOME", str(inner))
    assert effective_settings().file is None


def test_a_parents_file_of_another_user_is_refused(nothing_set, monkeypatch):
    write("batch = 2\n")
    (nothing_set / "a").mkdir()
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    owner = nothing_set.stat().st_uid
    monkeypatch.chdir("a")
    if owner == 0:
        os.chown(nothing_set / "kontext.toml", 54321, -1)
    assert problems() == [
        "../kontext.toml: belongs to another user; expected a file of your own in a parent folder; "
        "set KONTEXT_CONFIG to it if you trust it"
    ]
    monkeypatch.setenv("KONTEXT_CONFIG", "../kontext.toml")
    assert load_settings().batch == 2


def test_a_variable_names_the_file_or_none(monkeypatch):
    write("batch = 2\n")
    write("batch = 3\n", "other.toml")
    monkeypatch.setenv("KONTEXT_CONFIG", "other.toml")
    assert load_settings().batch == 3
    monkeypatch.setenv("KONTEXT_CONFIG", "")
    assert load_settings().batch == 8
    monkeypatch.setenv("KONTEXT_CONFIG", "nowhere.toml")
    assert problems() == [
        "KONTEXT_CONFIG: nowhere.toml: cannot be read (no such file or directory); expected a TOML "
        "file; check the name"
    ]


# What is wrong

WRONG = {
    "too-small": ("batch = 0\n", ["1:9: 'batch' is the number 0; expected at least 1; choose a "
                                  "number in the range"]),
    "in-a-section": (
        "# of ours\n[s3]\n  attempts = 51\n",
        ["3:14: 's3.attempts' is the number 51; expected at most 50; choose a number in the range"],
    ),
    "dotted": (
        "s3.attempts = 'many'\n",
        ["1:15: 's3.attempts' is the text 'many'; expected a whole number; write one"],
    ),
    "inline": (
        "s3 = {region = 'attempts = 1', attempts = 0}\n",
        ["1:43: 's3.attempts' is the number 0; expected at least 1; choose a number in the range"],
    ),
    "behind-a-text-of-lines": (
        'store = """a\n[s3]\nattempts = 3"""\n[gc]\ngrace_hours = 1\n',
        ["5:15: 'gc.grace_hours' is the number 1; expected at least 2; choose a number in the "
         "range"],
    ),
    "behind-a-list-of-lines": (
        "[inputs]\nbuckets = [\n  'a',  # one\n  'b',\n]\nmax_bytes = true\n",
        ["6:13: 'inputs.max_bytes' is true; expected a number, a text or a list; write one"],
    ),
    "choice": (
        "links = 'presined'\n",
        ["1:9: 'links' is the text 'presined'; expected 'relative' or 'presigned'; did you mean "
         "'presigned'?"],
    ),
    "list-entry": (
        "[inputs]\nschemes = ['file', 'http']\n",
        ["2:11: 'inputs.schemes' is the text 'http'; expected 'file' or 's3'; write one of these"],
    ),
    "no-section": (
        "s3 = 3\n",
        ["1:6: 's3' is the number 3; expected a table of settings; write one"],
    ),
    "unknown": ("bach = 3\n", ["1:1: unknown setting 'bach': did you mean 'batch'?"]),
    "unknown-in-a-section": (
        "[s3]\natempts = 3\n",
        ["2:1: unknown setting in [s3] 'atempts': did you mean 'attempts'?"],
    ),
    "unknown-section": ("[gcc]\nx = 3\n", ["1:1: unknown setting 'gcc': did you mean 'gc'?"]),
    "far-off": (
        "[gc]\nzzz = 3\n",
        ["2:1: unknown setting in [gc] 'zzz'; expected 'grace_hours'; remove or rename it"],
    ),
    "credential": (
        "[s3]\naws_secret_access_key = 'hush'\n",
        [f"2:1: 'aws_secret_access_key' looks like a credential, which no setting holds; "
         f"{CREDENTIALS}"],
    ),
    "credential-in-endpoint": (
        "[s3]\nendpoint_url = 'https://me:hush@host:9000'\n",
        [f"2:16: 's3.endpoint_url' holds credentials or a signature; {CREDENTIALS}"],
    ),
    "signature-in-endpoint": (
        "s3.endpoint_url = 'https://host/?X-Amz-Signature=hush'\n",
        [f"1:19: 's3.endpoint_url' holds credentials or a signature; {CREDENTIALS}"],
    ),
    "credential-in-store": (
        "store = 's3://me:hush@bucket/x'\n",
        [f"1:9: 'store' holds credentials or a signature; {CREDENTIALS}"],
    ),
    "credential-as-bucket": (
        "store = 's3://me:hush/x'\n",
        ["1:9: 'store' is no address of a store: 's3://…' holds more than a bucket and a prefix; "
         "credentials belong into the environment, a profile or a role; mend it"],
    ),
    "bucket": (
        "batch = 3\nstore = 's3://b/x'\n",
        ["2:9: 'store' is no address of a store: 'b' cannot be a bucket; expected "
         "s3://bucket/prefix with 3 to 63 letters, digits, '.' and '-'; mend it"],
    ),
    "endpoint": (
        "s3.endpoint_url = 'localhost:9000'\n",
        ["1:19: 's3.endpoint_url' is no web address; expected https://host or https://host:port; "
         "mend it"],
    ),
    "kms-key-alone": (
        "[s3]\nencryption = 'AES256'\nkms_key = 'k'\n",
        ["3:11: 's3.kms_key' is given without KMS; expected encryption = 'aws:kms' beside it; add "
         "it"],
    ),
    "syntax": (
        "batch = 3\n[s3]\nattempts 4\n",
        ["3:10: not valid TOML (expected '=' after a key in a key/value pair); expected name = "
         "value; mend it"],
    ),
    "twice": (
        "batch = 3\nbatch = 4\n",
        ["2:10: not valid TOML (cannot overwrite a value); expected name = value; mend it"],
    ),
    "unclosed": (
        "batch = [3,\n",
        ["2:1: not valid TOML (invalid value); expected name = value; mend it"],
    ),
    "two-at-once": (
        "bach = 3\nbatch = 'x'\n",
        ["1:1: unknown setting 'bach': did you mean 'batch'?",
         "2:9: 'batch' is the text 'x'; expected a whole number; write one"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_told_with_line_and_column(name):
    text, expected = WRONG[name]
    write(text)
    found = problems()
    assert found == [f"kontext.toml:{line}" for line in expected]
    assert "hush" not in "".join(found)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (
            "KONTEXT_S3__ATTEMPTS",
            "many",
            "is the text 'many'; expected a whole number; write one",
        ),
        (
            "KONTEXT_S3__ATEMPTS",
            "3",
            "unknown variable 'KONTEXT_S3__ATEMPTS': did you mean 'KONTEXT_S3__ATTEMPTS'?",
        ),
        (
            "KONTEXT_S3__SECRET_KEY",
            "hush",
            "'KONTEXT_S3__SECRET_KEY' looks like a credential, which no setting holds; "
            + CREDENTIALS,
        ),
        (
            "KONTEXT_S3__ENDPOINT_URL",
            "http://hush@host",
            f"holds credentials or a signature; {CREDENTIALS}",
        ),
        (
            "KONTEXT_S3__KMS_KEY",
            "k",
            "is given without KMS; expected encryption = 'aws:kms' beside it; add it",
        ),
        (
            "KONTEXT_INPUTS__BUCKETS",
            "a*",
            "has no bucket's name in it; expected BUCKET or BUCKET/PREFIX; mend it",
        ),
        (
            "KONTEXT_STORE",
            "gs://bucket",
            "is no place for pictures; expected a folder or s3://bucket/prefix",
        ),
    ],
)
def test_a_wrong_variable_is_told_by_its_name(name, value, expected, monkeypatch):
    monkeypatch.setenv(name, value)
    assert problems() == [f"{name}: {expected}"]


def test_a_file_that_is_no_text_or_too_large():
    Path("kontext.toml").write_bytes(b"store = '\xff'\n")
    assert problems() == ["kontext.toml: is not UTF-8; expected a TOML file; save it as UTF-8"]
    Path("kontext.toml").write_bytes(b"#" * 70_000)
    assert problems() == ["kontext.toml: is larger than 64 KiB; expected settings only; shorten it"]


# kontext config


def config(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as exit_:
        main(["config", *arguments])
    assert exit_.value.code in {0, None}
    return capsys.readouterr().out


def test_config_tells_each_value_and_its_origin(monkeypatch, capsys):
    write("# ours\nbatch = 3\n\n[inputs]\nbuckets = ['a', 'b']\n")
    monkeypatch.setenv("KONTEXT_S3__ENDPOINT_URL", "https://host:9000")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAHUSHHUSHHUSHHUSH")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush" * 10)
    shown = config(capsys)
    lines = {line.split()[0]: line.split()[1:] for line in shown.splitlines()}
    assert lines["batch"] == ["3", "kontext.toml:2"]
    assert lines["inputs.buckets"] == ["a,", "b", "kontext.toml:5"]
    assert lines["s3.endpoint_url"] == ["https://host:9000", "KONTEXT_S3__ENDPOINT_URL"]
    assert lines["gc.grace_hours"] == ["72", "default"]
    assert shown.splitlines()[-1].split() == ["AWS", "credentials", "environment"]
    assert "hush" not in shown.lower()


def test_config_as_json_has_every_setting(monkeypatch, capsys):
    write("batch = 3\n")
    told = json.loads(config(capsys, "--json"))
    assert told["file"] == "kontext.toml"
    assert told["credentials"] is None
    assert told["settings"]["batch"] == {"value": 3, "from": "kontext.toml:1"}
    assert list(told["settings"]) == [".".join(names) for names, _ in leaves()]
    for names, _ in leaves():  # and each has a variable that pydantic-settings reads
        assert variable(names) == variable(names).upper()
    monkeypatch.setenv("KONTEXT_GC__GRACE_HOURS", "5")
    told = json.loads(config(capsys, "--json"))
    assert told["settings"]["gc.grace_hours"] == {"value": 5, "from": "KONTEXT_GC__GRACE_HOURS"}


def test_a_wrong_setting_ends_any_verb_with_its_line_and_no_traceback(nothing_set):
    write("batch = 0\n")
    write("version: 1\nsteps:\n  s: {op: generate, prompt: hi}\n", "r.yaml")
    for verb in (["config"], ["check", "r.yaml"]):
        done = subprocess.run(
            [sys.executable, "-m", "flows.cli", *verb],
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(nothing_set)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert done.stderr.startswith("kontext.toml:1:9: 'batch' is the number 0;")
        assert "Traceback" not in done.stderr


def test_settings_are_light_to_import():
    code = (
        "import sys; from flows.settings import Settings; Settings()\n"
        "heavy = {'torch', 'boto3', 'prefect', 'pydantic_settings'} & set(sys.modules)\n"
        "from flows.settings.load import load_settings; load_settings()\n"
        "print(heavy, {'torch', 'boto3', 'prefect'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set() set()\n"


# Masks


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:hush@host:9000/x", "https://***@host:9000/x"),
        ("s3://AKIA:hush@bucket", "s3://***@bucket"),
        (
            "GET https://h/b?a=1&X-Amz-Signature=0aF&X-Amz-Date=2",
            "GET https://h/b?a=1&X-Amz-Signature=***&X-Amz-Date=***",
        ),
        ("https://h/?session_token=hush", "https://h/?session_token=***"),
        ("key AKIAIOSFODNN7EXAMPLE is wrong", "key *** is wrong"),
        ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "***"),
        ("s3://bucket/shoes/shoe@2x.png", "s3://bucket/shoes/shoe@2x.png"),
        ("ab" * 32, "ab" * 32),
        ("out/runs/2024-01-01-autumn-0123abcd", "out/runs/2024-01-01-autumn-0123abcd"),
    ],
)
def test_what_looks_like_a_secret_is_masked(text, shown):
    assert masked(text) == shown
