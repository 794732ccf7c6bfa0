"""Settings: which source wins, where each value came from, and what is told of a wrong one."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import get_args

import pytest
import typer.main

from flows.cli import build_app
from flows.cli.options import LinkKind
from flows.scheduling.workers.name import NoNameError
from flows.settings import InputSettings, S3Settings, Settings, SettingsError, resident
from flows.settings.load import effective_settings, flag, leaves, load_settings, variable
from flows.settings.secrecy import masked
from kontext_engine.numerics import Device
from tests.settings_table import table
from tests.shell import kontext

PAGE = (Path(__file__).parents[1] / "docs" / "settings.md").read_text("utf-8")
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


@pytest.mark.parametrize(
    ("file", "variables", "expected"),
    [
        ("", {}, Settings()),
        ("batch = 3", {"BATCH": ""}, Settings(batch=3)),  # empty counts as not set
        ("batch = 3", {"BATCH": "5"}, Settings(batch=5)),
        (
            "links = 'presigned'\n[s3]\nattempts = 4\nregion = 'file'",
            {"S3__REGION": "variable"},
            Settings(links="presigned", s3=S3Settings(attempts=4, region="variable")),
        ),
        (
            "store = 's3://bucket/prefix'",
            {"INPUTS__BUCKETS": "shoes, s3://hats/felt/"},
            Settings(
                store="s3://bucket/prefix", inputs=InputSettings(buckets=("shoes", "hats/felt"))
            ),
        ),
    ],
)
def test_variables_win_over_the_file_which_wins_over_the_defaults(
    file, variables, expected, monkeypatch
):
    if file:
        write(file)
    for name, value in variables.items():
        monkeypatch.setenv(f"KONTEXT_{name}", value)
    assert load_settings() == expected


def test_the_command_line_wins_over_all(monkeypatch):
    monkeypatch.setenv("KONTEXT_BATCH", "5")
    found = load_settings().given(batch=7, store=None, device="cuda")
    assert (found.batch, found.store, found.device) == (7, "out", Device.CUDA)
    with pytest.raises(SettingsError) as error:
        found.given(batch=0, store="gs://bucket")
    assert str(error.value).splitlines() == [
        "--batch: is the number 0; expected at least 1; choose a number in the range",
        "--store: is no place for pictures; expected a folder or s3://bucket/prefix",
    ]


def test_every_setting_is_on_the_page_and_is_the_same_in_file_and_variable(monkeypatch):
    page = write(re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)[1])
    by_file = effective_settings()
    assert {origin.partition(":")[0] for origin in by_file.origins.values()} == {"kontext.toml"}
    page.unlink()
    for names in by_file.origins:
        value = by_file.settings
        for name in names:
            value = getattr(value, name)
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        monkeypatch.setenv(f"KONTEXT_{'__'.join(names).upper()}", text)
    assert load_settings() == by_file.settings != Settings()


def test_the_table_on_the_page_has_every_setting_its_variable_and_its_flag():
    assert table() in PAGE


# Options that say what no setting does: what is asked for once, and what only trials need.
UNSET = {"engine", "tempo"}


def test_every_flag_of_a_setting_is_an_option_and_sets_it(monkeypatch):
    """Of the verbs that stay every option is a setting, so that a variable can say it, too."""
    verbs = typer.main.get_command(build_app()).commands
    options = {text for verb in verbs.values() for one in verb.params for text in one.opts}
    flags = {flag(names): names for names, _ in leaves() if flag(names)}
    assert set(flags) <= options
    for verb in ("worker",):
        for one in verbs[verb].params:
            assert one.name in UNSET or set(one.opts) & set(flags), one.name
    assert Settings.model_fields["links"].annotation | None == get_args(LinkKind)[0]
    assert Settings.model_fields["device"].annotation is Device


def test_a_flag_wins_over_the_variable_in_what_a_worker_is_started_with(monkeypatch, capsys):
    """Each of its options, said with another value than the variable's."""
    said = {
        "--serve": ("chunks", "parents"), "--store": ("s3://one", "s3://two"),
        "--recipes": ("r1", "r2"), "--model": ("m1", "m2"), "--engines": ("2", "3"),
        "--threads": ("2", "3"), "--batch": ("2", "3"), "--metrics-host": ("::1", "::"),
        "--metrics-port": ("1", "2"), "--log-format": ("json", "text"),
        "--log-level": ("debug", "error"), "--name": ("n1", "n2"),
    }  # fmt: skip
    started = []
    monkeypatch.setattr("flows.cli.worker.begin_log", started.append)
    monkeypatch.setattr("flows.scheduling.running.run_worker", lambda *_: os._exit(9))
    monkeypatch.setattr("flows.scheduling.workers.name.claim_name", _no_name)
    names = {flag(names): names for names, _ in leaves()}
    for option, (by_variable, _) in said.items():
        monkeypatch.setenv(variable(names[option]), by_variable)
    assert kontext(capsys, "worker")[0] == 2
    options = [part for option, (_, by_flag) in said.items() for part in (option, by_flag)]
    assert kontext(capsys, "worker", *options)[0] == 2
    for found, place in zip(started, (0, 1), strict=True):
        for option, values in said.items():
            value = found
            for name in names[option]:
                value = getattr(value, name)
            assert str(value[0] if isinstance(value, tuple) else value) == values[place], option
    wrong = kontext(capsys, "worker", "--engines", "0")
    assert wrong == (
        2, "", "--engines: is the number 0; expected at least 1; choose a number in the range\n"
    )  # fmt: skip


def _no_name(wanted):
    raise NoNameError(wanted)


def test_a_process_that_stays_has_more_patience_unless_it_was_told_how_much(monkeypatch):
    write("batch = 3\n[s3]\nattempts = 4\n")
    found = load_settings()
    stays = resident(found)
    assert (found.s3.patience, stays.s3.patience) == (90.0, 1800.0)
    assert (stays.batch, stays.s3.attempts) == (3, 4)
    assert stays.given(batch=5).s3.patience == 1800.0
    assert resident(found.given(batch=5)).s3.patience == 1800.0
    monkeypatch.setenv("KONTEXT_S3__PATIENCE", "90")  # the default, but said
    assert resident(resident(load_settings())).s3.patience == 90.0


# Where the file is


def test_the_nearest_parents_file_holds_and_its_paths_begin_there(nothing_set, monkeypatch):
    write("batch = 2\n", "../kontext.toml")
    write("store = 'out'\n[inputs]\nroots = ['pictures', '/abs', 's3://b']\ncache = '~/kept'\n")
    (nothing_set / "a" / "b").mkdir(parents=True)
    assert load_settings().store == "out"
    monkeypatch.chdir("a/b")
    found = load_settings()
    assert found.batch == 8
    assert found.store == str(nothing_set / "out")
    assert found.inputs.roots == (nothing_set / "pictures", Path("/abs"), Path("s3://b"))
    assert found.inputs.cache == nothing_set.parent / "kept"


def test_the_search_ends_at_the_repository_and_at_home(nothing_set, monkeypatch):
    inner = nothing_set / "inner"
    inner.mkdir()
    write("batch = 2\n")
    monkeypatch.chdir(inner)
    # What it does not say of the store means the one beside it.
    assert (load_settings().batch, load_settings().store) == (2, str(nothing_set / "out"))
    with monkeypatch.context() as at_home:
        at_home.setenv("HOME", str(inner))
        assert effective_settings().file is None
    (inner / ".git").mkdir()
    assert effective_settings().file is None


def test_a_parents_file_of_another_user_is_refused(nothing_set, monkeypatch):
    write("batch = 2\n")
    (nothing_set / "a").mkdir()
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    if nothing_set.stat().st_uid == 0:
        os.chown("kontext.toml", 54321, -1)
    monkeypatch.chdir("a")
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

# What a file says, then what is told of it; a line that goes on begins with ">>".
WRONG = r'''
bach = 3
batch = 'x'
links = 'presined'
s3 = {region = 'attempts = 1', attempts = 0}
inputs.schemes = [
  'file',  # [one]
  'http',
]
inputs.max_bytes = true
[gcc]
x = 3
[gc]
  grace_hours = 1
zzz = 3
> 1:1: unknown setting 'bach': did you mean 'batch'?
> 2:9: 'batch' is the text 'x'; expected a whole number; write one
> 3:9: 'links' is the text 'presined'; expected 'relative' or 'presigned'; did you mean
>> 'presigned'?
> 4:43: 's3.attempts' is the number 0; expected at least 1; choose a number in the range
> 5:18: 'inputs.schemes' is the text 'http'; expected 'file' or 's3'; write one of these
> 9:20: 'inputs.max_bytes' is true; expected a number, a text or a list; write one
> 10:1: unknown setting 'gcc': did you mean 'gc'?
> 13:17: 'gc.grace_hours' is the number 1; expected at least 2; choose a number in the range
> 14:1: unknown setting in [gc] 'zzz'; expected 'grace_hours'; remove or rename it

store = """s3://me:hush@bucket
[s3]
x = 3"""  # holds lines
s3.endpoint_url = 'https://me:hush@host:9000'
s3.aws_secret_access_key = 'hush'
> 1:9: 'store' holds credentials or a signature; {CREDENTIALS}
> 4:19: 's3.endpoint_url' holds credentials or a signature; {CREDENTIALS}
> 5:1: 'aws_secret_access_key' looks like a credential, which no setting holds; {CREDENTIALS}

store = 's3://me:hush/x'
s3.endpoint_url = 'https://host/?X-Amz-Signature=hush'
> 1:9: 'store' is no address of a store: 's3://…' holds more than a bucket and a prefix;
>> credentials belong into the environment, a profile or a role; mend it
> 2:19: 's3.endpoint_url' holds credentials or a signature; {CREDENTIALS}

store = 's3://b/x'
s3.endpoint_url = 'localhost:9000'
> 1:9: 'store' is no address of a store: 'b' cannot be a bucket; expected s3://bucket/prefix with
>> 3 to 63 letters, digits, '.' and '-'; mend it
> 2:19: 's3.endpoint_url' is no web address; expected https://host or https://host:port; mend it

store = 's3://bucket/a/../b'
s3 = 3
> 1:9: 'store' is no address of a store: 'a/../b' cannot be a prefix; expected at most 100 bytes of
>> plain parts between slashes, none of them '.' or '..'; mend it
> 2:6: 's3' is the number 3; expected a table of settings; write one

[s3]
encryption = 'AES256'
kms_key = 'k'
> 3:11: 's3.kms_key' is given without KMS; expected encryption = 'aws:kms' beside it; add it

batch = 3
[s3]
attempts 4
> 3:10: not valid TOML (expected '=' after a key in a key/value pair); expected name = value;
>> mend it

batch = 3
batch = 4
> 2:10: not valid TOML (cannot overwrite a value); expected name = value; mend it

batch = [3,
> 2:1: not valid TOML (invalid value); expected name = value; mend it
'''


@pytest.mark.parametrize("block", WRONG.strip().split("\n\n"))
def test_a_wrong_file_is_told_with_line_and_column(block):
    text, *told = block.replace("\n>> ", " ").split("\n> ")
    write(text + "\n")
    assert problems() == [
        f"kontext.toml:{line.replace('{CREDENTIALS}', CREDENTIALS)}" for line in told
    ]
    assert "hush" not in "".join(told)


def test_wrong_variables_are_told_by_their_names_all_at_once(monkeypatch):
    wrong = {
        ("BACH", "3"): "unknown variable 'KONTEXT_BACH': did you mean 'KONTEXT_BATCH'?",
        ("INPUTS__BUCKETS", "a*"): "has no bucket's name in it; expected BUCKET or BUCKET/PREFIX; "
        "mend it",
        ("S3__ATEMPTS", "3"): "unknown variable 'KONTEXT_S3__ATEMPTS': did you mean "
        "'KONTEXT_S3__ATTEMPTS'?",
        ("S3__ATTEMPTS", "many"): "is the text 'many'; expected a whole number; write one",
        ("S3__ENDPOINT_URL", "http://hush@h"): f"holds credentials or a signature; {CREDENTIALS}",
        ("S3__SECRET_KEY", "hush"): "'KONTEXT_S3__SECRET_KEY' looks like a credential, which no "
        f"setting holds; {CREDENTIALS}",
        ("STORE", "gs://b"): "is no place for pictures; expected a folder or s3://bucket/prefix",
    }
    write("bach = 3\n")
    for name, value in wrong:
        monkeypatch.setenv(f"KONTEXT_{name}", value)
    assert problems() == [
        *(f"KONTEXT_{name}: {text}" for (name, _), text in wrong.items()),
        "kontext.toml:1:1: unknown setting 'bach': did you mean 'batch'?",
    ]


def test_a_wrong_variable_in_a_section_that_is_right_otherwise(monkeypatch):
    monkeypatch.setenv("KONTEXT_S3__KMS_KEY", "k")
    text = "is given without KMS; expected encryption = 'aws:kms' beside it; add it"
    assert problems() == [f"KONTEXT_S3__KMS_KEY: {text}"]


def test_a_file_that_is_no_text_or_too_large():
    Path("kontext.toml").write_bytes(b"store = '\xff'\n")
    assert problems() == ["kontext.toml: is not UTF-8; expected a TOML file; save it as UTF-8"]
    Path("kontext.toml").write_bytes(b"#" * 70_000)
    assert problems() == ["kontext.toml: is larger than 64 KiB; expected settings only; shorten it"]


# kontext config


def test_config_tells_each_value_and_its_origin(monkeypatch, capsys):
    write("# ours\nbatch = 3\n\n[inputs]\nbuckets = ['a', 'b']\n")
    monkeypatch.setenv("KONTEXT_S3__ENDPOINT_URL", "https://host:9000")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAHUSHHUSHHUSHHUSH")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush" * 10)
    code, shown, _ = kontext(capsys, "config")
    lines = {line.split()[0]: line.split()[1:] for line in shown.splitlines()}
    assert code == 0
    assert lines["batch"] == ["3", "kontext.toml:2"]
    assert lines["inputs.buckets"] == ["a,", "b", "kontext.toml:5"]
    assert lines["s3.endpoint_url"] == ["https://host:9000", "KONTEXT_S3__ENDPOINT_URL"]
    assert lines["gc.grace_hours"] == ["72", "default"]
    assert lines["AWS"] == ["credentials", "environment"]
    assert "hush" not in shown.lower()
    told = json.loads(kontext(capsys, "config", "--json")[1])
    assert (told["file"], told["credentials"]) == ("kontext.toml", "environment")
    assert told["settings"]["batch"] == {"value": 3, "from": "kontext.toml:2"}
    assert list(told["settings"]) == [".".join(names) for names, _ in leaves()]


def test_a_wrong_setting_ends_any_verb_with_its_line(capsys):
    write("batch = 0\n")
    write("version: 1\nsteps:\n  s: {op: generate, prompt: hi}\n", "r.yaml")
    for verb in (["config"], ["check", "r.yaml"]):
        code, _, told = kontext(capsys, *verb)
        assert code == 2
        assert told.startswith("kontext.toml:1:9: 'batch' is the number 0;")


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
