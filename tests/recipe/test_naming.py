"""Names: safe everywhere, different where what they name differs, text or told."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from flows.recipe.naming import (
    MAX_BYTES,
    MAX_NAME,
    is_reserved,
    name_files,
    name_texts,
    run_slug,
    slug,
)
from tests.recipe.workspace import plan_text
from tests.shell import kontext


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("beach", "beach"),
        ("on a sunny beach", "on-a-sunny-beach"),
        ("../../etc/passwd", "etc-passwd"),
        ("a/b\\c:d", "a-b-c-d"),
        ("Crème brûlée", "Crème-brûlée"),
        ("日本", "日本"),
        ("की", "की"),
        ("का", "का"),
        ("e\u0301", "é"),
        ("❤\ufe0f ok\ufe0f", "ok"),
        ("a ́b", "a-b"),
        ("mug 🎃", "mug"),
        ("v1.5", "v1.5"),
    ],
)
def test_slug(text: str, name: str) -> None:
    assert slug(text) == name
    assert slug(name) == name


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("..", "[0-9a-f]{8}"),
        ("", "[0-9a-f]{8}"),
        ("///", "[0-9a-f]{8}"),
        ("con", "con-[0-9a-f]{8}"),
        ("con.png.x", "con-png-x-[0-9a-f]{8}"),
        ("🎃", "[0-9a-f]{8}"),
    ],
)
def test_what_makes_no_name_gets_a_digest(text: str, pattern: str) -> None:
    assert re.fullmatch(pattern, slug(text))


def test_long_texts_keep_two_names() -> None:
    one, other = slug("x" * 100), slug("x" * 101)
    assert len(one) == len(other) == 60
    assert one != other


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.text(), st.text(alphabet="ab.-_ /कीा\u0301\ufe0f🎃é日\udce9", max_size=90)))
def test_a_slug_is_its_own_slug_and_a_name_on_every_system(text: str) -> None:
    name = slug(text)
    assert slug(name) == name
    assert 0 < len(name) <= MAX_NAME
    assert len(name.encode()) <= MAX_BYTES
    assert name == name.strip("-. ")
    assert name.isprintable()
    assert not is_reserved(name)
    assert not set(name) & set('<>:"/\\|?*,=[]{}')
    assert run_slug(name) == run_slug(text)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(alphabet="a+#-. 🎃🎄", min_size=1, max_size=4), unique=True, max_size=8))
def test_different_texts_have_different_names_in_any_order(texts: list[str]) -> None:
    names = dict(zip(texts, name_texts(texts), strict=True))
    assert len(set(names.values())) == len(texts)
    assert dict(zip(texts[::-1], name_texts(texts[::-1]), strict=True)) == names


D = "[0-9a-f]{8}"


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["a/shoe.png", "a/mug.png"], ["shoe", "mug"]),
        (["a/C++.png", "a/C#.png"], [f"C-{D}", f"C-{D}"]),
        (["a/C.png", "a/C#.png"], ["C", f"C-{D}"]),
        (["hi/का.png", "hi/की.png"], ["का", "की"]),
        (["e/mug 🎃.png", "e/mug 🎄.png"], [f"mug-{D}", f"mug-{D}"]),
        (["s/red shoe.png", "s/red-shoe.png"], [f"red-shoe-{D}", "red-shoe"]),
        (["sku/A1/front.png", "sku/A2/front.png"], ["A1-front", "A2-front"]),
        (["ext/shoe.png", "ext/shoe.bmp"], ["shoe-png", "shoe-bmp"]),
        (["x/sku/front.png", "y/sku/front.png"], [f"front-{D}", f"front-{D}"]),
        (["C+/front.png", "C#/front.png"], [f"C-front-{D}", f"C-front-{D}"]),
        (["a/caf\u00e9.png", "a/cafe\u0301.png"], ["café", f"café-{D}"]),
    ],
)
def test_files_are_told_apart_by_the_first_that_differs(files: list[str], names: list[str]) -> None:
    found = name_files([PurePath(file) for file in files])
    assert len(set(found)) == len(found)
    assert all(re.fullmatch(name, one) for name, one in zip(names, found, strict=True)), found
    assert name_files([PurePath(file) for file in files[::-1]]) == found[::-1]


def test_a_name_that_is_given_is_no_files() -> None:
    assert name_files([PurePath("a/shoe.png")], ["shoe"]) == ["a-shoe"]


ODD = ["hindi/का", "hindi/की", "emoji/mug 🎃", "emoji/mug 🎄", "plus/C++", "plus/C#"]


def test_a_glob_over_odd_names_is_planned_with_a_name_for_each(folder: Path) -> None:
    for name in [*ODD, "sku/A1/front", "sku/A2/front"]:
        path = folder / f"in/{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), "white").save(path)
    text = """\
version: 1
inputs: {p: in/**/*.png}
matrix: {scene: ["का", "की"], icon: ["a 🎃", "a 🎄"]}
steps: {s: {op: edit, image: p, prompt: "{p.folder} {scene} {icon}"}}
"""
    plan = plan_text(text, folder)
    assert len(plan.variants) == len(plan.outputs) == 8 * 2 * 2
    prompts = {step.params.prompt for step in plan.steps.values() if "A1-front" in step.label}
    assert {prompt.split()[0] for prompt in prompts} == {"A1"}


def test_a_name_that_is_not_utf8_is_one_line_at_check(folder: Path, capsys) -> None:
    image = (folder / "samples" / "shoe.png").read_bytes()
    for name in (b"caf\xe9.png", b"na\xefve.png"):
        (folder / "samples" / os.fsdecode(name)).write_bytes(image)
    text = "version: 1\ninputs: {p: samples/*.png}\nsteps: {s: {op: edit, image: p, prompt: hi}}\n"
    (folder / "r.yaml").write_text(text)
    assert kontext(capsys, "check", "r.yaml") == (
        0,
        "r.yaml: ok, 5 variants, 5 steps, 5 outputs with kontext-mini\n",
        "note: r.yaml:2:13: names that are not UTF-8 are spelt by their bytes: 'caf\\udce9.png' "
        "and 1 more; expected UTF-8; rename the files\n",
    )
    odd = os.fsdecode(b"r\xe9.yaml")
    (folder / odd).write_text(text)
    code, shown, told = kontext(capsys, "check", odd)
    assert (code, shown) == (2, "")
    assert told == (
        "r\\udce9.yaml: the path is not UTF-8; expected names in UTF-8; rename the file or its "
        "folders\n"
    )


def test_what_a_glob_passes_over_is_told(folder: Path) -> None:
    for name in ("a.dng", "b.dng", "c.psd", "README", ".hidden"):
        (folder / "samples" / name).write_bytes(b"x")
    text = "version: 1\ninputs: {p: samples/*}\nsteps: {s: {op: edit, image: p, prompt: hi}}\n"
    plan = plan_text(text, folder)
    assert len(plan.variants) == 3
    (note,) = plan.warnings
    told = "'samples/*': 5 files passed over: .dng 2, .psd 1, without an ending 1, .txt 1"
    assert sorted(note.partition("r.yaml:2:13: ")[2].split(", ")) == sorted(told.split(", "))


@pytest.mark.parametrize(
    ("prompt", "note"),
    [
        ("make the sofa #ff0000 red", "'#ff0000 red' is a comment"),
        ("make the sofa red  # as the client asked", "'# as the client asked' is a comment"),
        ('"make the sofa #ff0000 red"', None),
        ('"make the sofa red"  # as the client asked', None),
        ("make the sofa#ff0000 red", None),
        ("make the sofa red", None),
    ],
)
def test_a_comment_that_cuts_a_plain_prompt_is_noted(prompt: str, note: str | None, folder) -> None:
    text = f"version: 1\nsteps:\n  s:\n    op: generate\n    prompt: {prompt}\n    steps: 4\n"
    plan = plan_text(text, folder)
    assert [f"r.yaml:5:13: {note}" in one for one in plan.warnings] == ([True] if note else [])
