from __future__ import annotations

import pytest

from flows.recipe.template import TemplateError, parse_template


def render(text: str) -> str:
    return parse_template(text).render(lambda item: f"<{item.name}.{item.attribute}>")


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain", "plain"),
        ("a {b} c", "a <b.None> c"),
        ("{a}{b.c}", "<a.None><b.c>"),
        ("{ a.b }", "<a.b>"),
        ("{{a}} and {{{b}}}", "{a} and {<b.None>}"),
        ("100 % {a-b}", "100 % <a-b.None>"),
        ("", ""),
    ],
)
def test_render(text: str, result: str) -> None:
    assert render(text) == result


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("a {b", "{b"),
        ("a {b\nmore}", "{b\nmore}"),
        ("a} b\nc", "} b"),
        ("{}", "{}"),
        ("{a.b.c}", "{a.b.c}"),
        ("{a!r}", "{a!r}"),
        ("{a:>9}", "{a:>9}"),
        ("{a[0]}", "{a[0]}"),
        ("{1}", "{1}"),
        ("{a {b} }", "{a {b} }"),
    ],
)
def test_what_is_no_template_names_the_piece(text: str, token: str) -> None:
    with pytest.raises(TemplateError) as error:
        parse_template(text)
    assert error.value.token == token
