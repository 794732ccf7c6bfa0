"""Nothing is silent: what has no effect, or another than it seems, is noted at its place."""

# ruff: noqa: E501 - a note is one line

from __future__ import annotations

from pathlib import Path

import pytest

from flows.plan.plan import make_plan
from flows.recipe.errors import RecipeError
from flows.recipe.recipe import parse_recipe
from tests.recipe.workspace import plan_text

STEP = "steps:\n  s: {op: generate, prompt: hi}\n"
NOTED = {
    "unused variable": (
        "variables: {a: x, b: '{a}'}\n" + STEP,
        ["2:19: nothing uses the variable 'b'"],
    ),
    "unused parameter": (
        "parameters: {a: {type: text, default: x}}\n" + STEP,
        ["2:14: nothing uses the parameter 'a'"],
    ),
    "a brace in a variable": (
        "variables: {season: x, a: 'y {saeson}'}\nsteps:\n  s: {op: generate, prompt: '{a} {season}'}\n",
        ["2:27: '{saeson}' stays as it is: did you mean 'season'?"],
    ),
    "a brace in a value": (
        "matrix: {a: [{name: x, words: 'of {a}'}]}\nsteps:\n  s: {op: generate, prompt: '{a.words}'}\n",
        ["2:31: '{a}' stays as it is: only variables are filled in here"],
    ),
    "doubled braces": (
        "variables: {a: x}\nsteps:\n  s: {op: generate, prompt: '{a} and {{ a }}'}\n",
        ["4:29: '{{ a }}' stays as { a }, in braces; write { a } to fill it in"],
    ),
    "a dollar": (
        "variables: {a: x}\nsteps:\n  s: {op: generate, prompt: 'hi ${a}'}\n",
        ["4:29: the '$' of '${a}' stays in the text; write {a} without it"],
    ),
    "an empty value": (
        "matrix: {a: [{name: x, value: ''}]}\nsteps:\n  s: {op: generate, prompt: '{a}'}\n",
        ["2:31: 'value' is empty, so {a} stands for the name"],
    ),
    "fit of what is drawn": (
        "steps:\n  s: {op: generate, prompt: hi, fit: pad}\n",
        ["3:33: 'fit' has no effect where nothing is edited"],
    ),
    "a fit that every edit has": (
        "inputs: {p: other.png}\ndefaults: {fit: pad}\nsteps:\n  s: {op: generate, prompt: hi}\n"
        "  t: {op: edit, image: p, prompt: hi, size: 128x128, fit: crop}\n",
        ["3:12: every step has its own 'fit', so this has no effect"],
    ),
    "a negative prompt that nobody reads": (
        "steps:\n  s: {op: generate, prompt: hi, negative_prompt: no, true_cfg: 1}\n",
        ["3:33: 'negative_prompt' has no effect with 'true_cfg: 1'; write one above 1"],
    ),
    "a prompt that becomes empty": (
        "matrix: {a: [{name: x, words: ''}, {name: y, words: ' '}, {name: z, words: b}]}\n"
        "steps:\n  s: {op: generate, prompt: '{a.words}'}\n",
        ["4:29: the prompt is empty (s[a=x], and 1 more); write what to make or to change"],
    ),
    "a default that nobody has": (
        "defaults: {steps: 4}\nsteps:\n  s: {op: generate, prompt: hi, steps: 5}\n",
        ["2:12: every step has its own 'steps', so this has no effect"],
    ),
    "an extension of no format": (
        STEP + "outputs: [{step: s, name: a.psd}]\n",
        [
            "4:27: '.psd' is no format of outputs: the file ends in '.png' after it; write '.png' or add 'format'"
        ],
    ),
    "an axis that nothing mentions": (
        "matrix: {a: [x]}\n" + STEP,
        ["2:10: no step uses 'a'; its values change no picture"],
    ),
    "braces that are meant": (
        "variables: {a: x}\nsteps:\n  s: {op: generate, prompt: '{a} {{b}}'}\n",
        [],
    ),
}


@pytest.mark.parametrize("name", NOTED)
def test_it_is_noted(name: str, folder: Path) -> None:
    text, told = NOTED[name]
    found = plan_text(f"version: 1\n{text}", folder).warnings
    assert [line.removeprefix(f"{folder}/r.yaml:") for line in found] == told


def test_a_variable_in_a_tables_cells_is_told_once(folder: Path) -> None:
    (folder / "t.csv").write_text("name,words\na,{x} {y}\nb,{{x}}\nc,${x}\n")
    text = "variables: {x: hi}\nmatrix: {a: {table: t.csv}}\nsteps:\n"
    text += "  s: {op: generate, prompt: '{x} {a.words}'}\n"
    (note,) = plan_text(f"version: 1\n{text}", folder).warnings
    assert note == (
        f"{folder}/t.csv:2:1: '{{x}}' stays as it is, here and in 1 more: cells of a table are not "
        "filled in; write it where the column is used"
    )


def test_a_prompt_longer_than_the_model_reads_is_told_once_for_its_step(folder: Path) -> None:
    words = "make it as green as grass on a hill in the rain " * 3
    text = (
        "version: 1\nmatrix: {a: [one, two, three]}\nsteps:\n"
        f"  s: {{op: generate, prompt: '{words}{{a}}'}}\n  t: {{op: generate, prompt: 'hi {{a}}'}}\n"
    )
    (note,) = make_plan(parse_recipe(text, folder / "r.yaml")).warnings
    assert "r.yaml:4:29: the prompt has 50 tokens (s[a=" in note
    assert note.endswith(", and 2 more), of which model 'kontext-mini' reads 32; shorten it")


def test_one_cause_is_one_line_and_nobody_reads_hundreds(folder: Path) -> None:
    shots = ", ".join(f"{{name: s{n}, steps: many}}" for n in range(40))
    text = (
        f"version: 1\nmatrix: {{shot: [{shots}]}}\n"
        "steps:\n  s: {op: generate, prompt: '{shot}', steps: '{shot.steps}'}\n"
    )
    with pytest.raises(RecipeError) as error:
        plan_text(text, folder)
    (line,) = str(error.value).splitlines()
    assert line.endswith("write a number (s[shot=s0])")

    files = "\n".join(f"  i{n}: none{n}.png" for n in range(30))
    with pytest.raises(RecipeError) as error:
        plan_text(f"version: 1\ninputs:\n{files}\n{STEP}", folder)
    lines = str(error.value).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "… and 10 more"
