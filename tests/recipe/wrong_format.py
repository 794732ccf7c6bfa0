"""Recipes with wrong keys, types and ranges. Each with its whole message."""

# ruff: noqa: E501 - a message is one line

from __future__ import annotations

from tests.recipe.workspace import Wrong

WRONG: dict[str, Wrong] = {
    "unknown-top-key": (
        "stpes: {}\n",
        "2:1: unknown key 'stpes' in the recipe: did you mean 'steps'?",
    ),
    "unknown-key-far": (
        "zebra: 1\n",
        "2:1: unknown key 'zebra' in the recipe; expected 'version', 'extends', 'name', 'description', 'model', 'variables', 'parameters', 'inputs', 'matrix', 'zip', 'defaults', 'steps' or 1 more; remove or rename it",
    ),
    "empty-steps": ("steps: {}\n", "2:8: 'steps' is empty; expected at least one; add it"),
    "steps-null": ("steps:\n", "2:1: 'steps' is empty; expected a value; give it one or remove it"),
    "steps-list": (
        """\
steps:
  - op: generate
    prompt: hi
""",
        "3:3: 'steps' is a list; expected a mapping of names to values; write 'name: value' under it",
    ),
    "unknown-step-key": (
        """\
steps:
  s:
    op: generate
    promt: hi
    prompt: hi
""",
        "5:5: unknown key 'promt' in step 's': did you mean 'prompt'?",
    ),
    "missing-prompt": (
        """\
steps:
  s:
    op: generate
""",
        "3:3: step 's' has no 'prompt'; expected what to make or to change; add 'prompt: ...'",
    ),
    "missing-op": (
        """\
steps:
  s:
    prompt: hi
""",
        "3:3: step 's' has no 'op'; expected 'generate' (a picture from the prompt alone), 'edit' (a picture changed), 'cutout' (a picture's subject, on nothing) or 'pick' (one of several pictures); add 'op: ...'",
    ),
    "bad-op": (
        "steps:\n  s: {op: genrate, prompt: hi}\n",
        "3:11: 'op' is the text 'genrate'; expected 'generate', 'edit', 'cutout' or 'pick'; did you mean 'generate'?",
    ),
    "quoted-int": (
        'defaults:\n  steps: "8"\n',
        "3:10: 'steps' is the text '8'; expected a whole number; remove the quotes",
    ),
    "bool-int": (
        "defaults: {steps: true}\n",
        "2:19: 'steps' is true; expected a whole number; write a number",
    ),
    "float-int": (
        "defaults: {steps: 8.5}\n",
        "2:19: 'steps' is the number 8.5; expected a whole number; write a number",
    ),
    "steps-zero": (
        "defaults: {steps: 0}\n",
        "2:19: 'steps' is the number 0; expected at least 1; choose a number in the range",
    ),
    "steps-many": (
        "defaults: {steps: 1000}\n",
        "2:19: 'steps' is the number 1000; expected at most 200; choose a number in the range",
    ),
    "guidance-text": (
        "defaults: {guidance: strong}\n",
        "2:22: 'guidance' is the text 'strong'; expected a number; write a number",
    ),
    "guidance-nan": (
        "defaults: {guidance: .nan}\n",
        "2:22: 'guidance' is the number .nan; expected a finite number; write one",
    ),
    "guidance-range": (
        "defaults: {guidance: -1}\n",
        "2:22: 'guidance' is the number -1; expected at least 0; choose a number in the range",
    ),
    "negative-seed": (
        "steps:\n  s: {op: generate, prompt: hi, seed: -7}\n",
        "3:39: 'seed' is the number -7; expected at least 0; choose a number in the range",
    ),
    "prompt-number": (
        "steps:\n  s: {op: generate, prompt: 42}\n",
        "3:29: 'prompt' is the number 42; expected text; put it in quotes",
    ),
    "prompt-braces": (
        """\
steps:
  s:
    op: generate
    prompt: {scene}
""",
        "5:13: 'prompt' is a mapping; expected text; put quotes around text with braces",
    ),
    "prompt-empty": (
        """\
steps:
  s:
    op: generate
    prompt:
""",
        "5:5: 'prompt' is empty; expected a value; give it one or remove it",
    ),
    "prompt-blank": (
        "steps:\n  s: {op: generate, prompt: '  '}\n",
        "3:29: 'prompt' is empty; expected what to make or to change; write it",
    ),
    "bad-step-name": (
        "steps:\n  my step: {op: generate, prompt: hi}\n",
        "3:3: 'my step' cannot be a name; expected letters, digits, '-' and '_', beginning with a letter, at most 40; rename it",
    ),
    "fit-value": (
        "defaults: {fit: crpo}\n",
        "2:17: 'fit' is the text 'crpo'; expected 'crop', 'pad', 'stretch' or 'whole'; did you mean 'crop'?",
    ),
    "several-at-once": (
        """\
modle: x
defaults: {steps: many}
steps:
  s: {op: generate, prompt: hi, sed: 1}
""",
        [
            "2:1: unknown key 'modle' in the recipe: did you mean 'model'?",
            "3:19: 'steps' is the text 'many'; expected a whole number; write a number",
            "5:33: unknown key 'sed' in step 's': did you mean 'seed'?",
        ],
    ),
    "no-version": (
        "steps:\n  s: {op: generate, prompt: hi}\n",
        "r.yaml:1:1: the recipe has no 'version'; expected 'version: 1'; add that line at the top",
    ),
    "version-2": (
        """\
version: 2
steps:
  s: {op: generate, prompt: hi}
""",
        "r.yaml:1:10: 'version' is the number 2; expected 1; write 1",
    ),
    "version-quoted": (
        """\
version: '1'
steps:
  s: {op: generate, prompt: hi}
""",
        "r.yaml:1:10: 'version' is the text '1'; expected 1; write 1",
    ),
    "no-steps": (
        "version: 1\n",
        "r.yaml:1:1: the recipe has no 'steps'; expected the pictures to make, by name; add 'steps: ...'",
    ),
}
