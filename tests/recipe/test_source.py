"""YAML as people expect it: text stays text, aliases work, places are right."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flows.problems import Mark
from flows.recipe.errors import RecipeError
from flows.recipe.node import to_plain
from flows.recipe.recipe import parse_recipe
from flows.recipe.source import MAX_NODES, parse_source, read_source


def plain(text: str) -> object:
    return to_plain(parse_source(text, "r.yaml").root)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((word, word) for word in ("no", "on", "off", "yes", "Y", "NO", "On")),
        *((word, True) for word in ("true", "True", "TRUE")),
        ("false", False),
        ("null", None),
        ("~", None),
        ("8", 8),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("-3", -3),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "2024-01-01"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("1.", 1.0),
        ("1.2.3", "1.2.3"),
        ("'8'", "8"),
        ('"true"', "true"),
        ("=", "="),
        ("9" * 60, 1e60),
    ],
)
def test_scalars_are_of_the_core_schema_of_yaml_1_2(text: str, value: object) -> None:
    assert plain(f"a: {text}\n") == {"a": value}
    assert type(plain(f"a: {text}\n")["a"]) is type(value)  # type: ignore[index]


def test_an_old_yaml_directive_changes_nothing() -> None:
    assert plain("%YAML 1.1\n---\na: on\n") == {"a": "on"}


def test_aliases_and_merge_keys_follow_the_explicit_key() -> None:
    text = """\
base: &base {steps: 4, guidance: 2}
more: &more {steps: 9, fit: pad}
a: {<<: *base, steps: 8}
b:
  <<: [*base, *more]
c: [*base, '<<']
"""
    value = plain(text)
    assert value["a"] == {"steps": 8, "guidance": 2}  # type: ignore[index]
    assert value["b"] == {"steps": 4, "guidance": 2, "fit": "pad"}  # type: ignore[index]
    assert list(value["a"]) == ["steps", "guidance"]  # type: ignore[index]
    assert value["c"] == [{"steps": 4, "guidance": 2}, "<<"]  # type: ignore[index]


def test_an_anchor_may_be_used_again_and_an_alias_be_a_key() -> None:
    text = "a: &x one\nb: *x\nc: &x two\nd: *x\n? *x\n: e\n"
    assert plain(text) == {"a": "one", "b": "one", "c": "two", "d": "two", "two": "e"}


def test_many_aliases_within_the_limit_are_fine() -> None:
    text = f"a: &a [x, y]\nb: [{', '.join(['*a'] * 500)}]\n"
    assert len(plain(text)["b"]) == 500  # type: ignore[index]
    too_many = f"a: &a [x, y]\nb: [{', '.join(['*a'] * MAX_NODES)}]\n"
    with pytest.raises(RecipeError, match="aliases expand to more than"):
        plain(too_many)


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(b"\xef\xbb\xbfversion: 1\r\nname: caf\xc3\xa9\r\n")
    source = read_source(path)
    assert to_plain(source.root) == {"version": 1, "name": "café"}
    assert source.problem(("name",), "x").mark == Mark(2, 7)


def test_places_of_keys_values_and_pieces_of_text() -> None:
    source = parse_source("a:\n  - b: |\n      one\n      two {x}\n", "r.yaml")
    assert source.problem(("a", 0, "b"), "x").mark == Mark(2, 8)
    assert source.problem(("a", 0, "b"), "x", key=True).mark == Mark(2, 5)
    assert source.problem(("a", 0, "b"), "x", find="{x}").mark == Mark(4, 11)
    assert source.problem(("a", 7, "zzz"), "x").mark == Mark(2, 3)


def test_variables_inputs_and_matrix_keep_scalars_as_they_are_written(tmp_path: Path) -> None:
    recipe = parse_recipe(
        """\
version: 1
variables: {country: no, code: 007, price: 1.50, day: 2024-01-01, flag: true}
matrix:
  year: [2024, 0x10]
  size: [{name: s, words: 1e3}]
steps:
  s: {op: generate, prompt: hi}
""",
        tmp_path / "r.yaml",
    )
    assert list(recipe.variables.values()) == ["no", "007", "1.50", "2024-01-01", "true"]
    axes = recipe.document.matrix.__pydantic_extra__ or {}
    assert [entry.value for entry in axes["year"]] == ["2024", "0x10"]
    assert (axes["size"][0].__pydantic_extra__ or {})["words"] == "1e3"


@pytest.mark.parametrize("text", ["{" * 5000, "[" * 5000, "a: " * 3000, "- " * 5000, "? " * 3000])
def test_deep_nesting_ends_in_a_message(text: str) -> None:
    with pytest.raises(RecipeError):
        plain(text)


def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    os.mkfifo(path)
    with pytest.raises(RecipeError, match="is a named pipe; expected a YAML file; write it to one"):
        read_source(path)


def test_what_a_shell_hands_over_is_read() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"version: 1\n")
    os.close(writing)
    try:
        assert to_plain(read_source(Path(f"/dev/fd/{reading}")).root) == {"version": 1}
    finally:
        os.close(reading)
