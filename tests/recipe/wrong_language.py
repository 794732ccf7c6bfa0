"""Recipes whose axes, settings per value, takes, parameters or bases are wrong, with the messages."""

# ruff: noqa: E501 - a message is one line

from __future__ import annotations

from tests.recipe.workspace import Wrong

WRONG: dict[str, Wrong] = {
    "zip-lengths": (
        "matrix:\n  a: [x, y]\n  b: [u, v, w]\nzip: [a, b]\n",
        [
            "5:6: values that run side by side differ in number: 2 of 'a' and 3 of 'b'; expected as many of each; add or remove some"
        ],
    ),
    "zip-unknown": (
        "matrix:\n  a: [x, y]\n  b: [u, v]\nzip: [a, c]\n",
        ["5:10: unknown axis 'c' in zip; expected 'a' or 'b'; write one of these"],
    ),
    "zip-twice": (
        "matrix:\n  a: [x]\n  b: [u]\n  c: [v]\nzip: [[a, b], [b, c]]\n",
        [
            "6:11: 'b' is zipped twice; expected each axis once; remove one",
            "6:16: 'b' is zipped twice; expected each axis once; remove one",
        ],
    ),
    "zip-one": (
        "matrix:\n  a: [x]\nzip: [a]\n",
        ["4:7: entry 1 of 'zip' is too short; expected at least 2; add more"],
    ),
    "zip-not-a-list": (
        "matrix:\n  a: [x]\nzip: a\n",
        ["4:6: 'zip' is the text 'a'; expected a list; write each entry as '- ...'"],
    ),
    "zip-in-matrix-of-unknown-kind": (
        "matrix:\n  a: [x]\n  b: [y]\nzip: [{a: b}]\n",
        ["5:7: entry 1 of 'zip' is a mapping; expected a list; write each entry as '- ...'"],
    ),
    "setting-not-a-number": (
        "matrix:\n  shot: [{name: s1, steps: 4}, {name: s2, steps: many}]\nsteps:\n  s: {op: generate, prompt: '{shot}', steps: '{shot.steps}'}\n",
        ["5:46: 'steps' is the text 'many'; expected a whole number; write a number (s[shot=s2])"],
    ),
    "setting-out-of-range": (
        "matrix:\n  shot: [{name: s1, g: 99}]\nsteps:\n  s: {op: generate, prompt: '{shot}', guidance: '{shot.g}'}\n",
        [
            "5:49: 'guidance' is the number 99; expected at most 30; choose a number in the range (s[shot=s1])"
        ],
    ),
    "setting-size-unreadable": (
        "matrix:\n  shot: [{name: s1, size: wide}]\nsteps:\n  s: {op: generate, prompt: '{shot}', size: '{shot.size}'}\n",
        [
            "5:45: size 'wide' cannot be read; expected 'match', '128x128' or {width: 128, height: 128}; write one of these (s[shot=s1])"
        ],
    ),
    "setting-size-multiple": (
        "matrix:\n  shot: [{name: s1, size: 100x100}]\nsteps:\n  s: {op: generate, prompt: '{shot}', size: '{shot.size}'}\n",
        [
            "5:45: size 100x100: both sides must be multiples of 16; the nearest is 96x96 (s[shot=s1])"
        ],
    ),
    "setting-size-match": (
        "matrix:\n  shot: [{name: s1, size: match}]\nsteps:\n  s: {op: generate, prompt: '{shot}', size: '{shot.size}'}\n",
        ["5:45: size 'match' has no image to match; expected such as 128x128 (s[shot=s1])"],
    ),
    "setting-fit": (
        "inputs: {p: samples/*.png}\nmatrix:\n  shot: [{name: s1, fit: corp}]\nsteps:\n  s: {op: edit, image: p, prompt: '{shot}', fit: '{shot.fit}'}\n",
        [
            "6:50: 'fit' is the text 'corp'; expected 'crop', 'pad', 'stretch' or 'whole'; did you mean 'crop'? (s[p=camera,shot=s1])"
        ],
    ),
    "setting-seed-negative": (
        "matrix:\n  shot: [{name: s1, seed: -1}]\nsteps:\n  s: {op: generate, prompt: '{shot}', seed: '{shot.seed}'}\n",
        [
            "5:45: 'seed' is the number -1; expected at least 0; choose a number in the range (s[shot=s1])"
        ],
    ),
    "setting-of-defaults": (
        "matrix:\n  shot: [{name: s1, cfg: 50}]\ndefaults: {true_cfg: '{shot.cfg}'}\nsteps:\n  s: {op: generate, prompt: '{shot}'}\n",
        [
            "4:22: 'true_cfg' is the number 50; expected at most 20; choose a number in the range (s[shot=s1])"
        ],
    ),
    "setting-unknown-variable": (
        "matrix:\n  shot: [s1]\nsteps:\n  s: {op: generate, prompt: '{shot}', steps: '{shot.stpes}'}\n",
        [
            "5:47: 'shot' has no '.stpes' for 's1' in steps; expected it for every value; write {name: s1, stpes: ...}"
        ],
    ),
    "setting-unpaired-brace": (
        "steps:\n  s: {op: generate, prompt: hi, steps: '{shot'}\n",
        [
            "3:41: a '{' has no partner; expected a '}' that closes it; write '{{' for a brace itself"
        ],
    ),
    "image-of-a-value-unknown": (
        "inputs: {one: samples/shoe.png, two: samples/camera.png}\nmatrix:\n  shot: [{name: a, from: one}, {name: b, from: tow}]\nsteps:\n  s: {op: edit, image: '{shot.from}', prompt: '{shot}'}\n",
        ["6:24: unknown step or input 'tow' in image: did you mean 'two'?"],
    ),
    "image-of-a-value-itself": (
        "matrix:\n  shot: [{name: a, from: s}]\nsteps:\n  s: {op: edit, image: '{shot.from}', prompt: '{shot}'}\n",
        [
            "5:24: step 's' edits its own picture; expected an input or another step; name one of them"
        ],
    ),
    "image-of-a-value-circle": (
        "inputs: {one: samples/shoe.png}\nmatrix:\n  shot: [{name: a, from: one}, {name: b, from: t}]\nsteps:\n  s: {op: edit, image: '{shot.from}', prompt: '{shot}'}\n  t: {op: edit, image: s, prompt: hi}\n",
        [
            "6:24: the steps s <- t <- s need each other; expected each to use only pictures that can be made before it; change one 'image'"
        ],
    ),
    "model-of-a-value": (
        "matrix:\n  m: [kontext-mini]\nmodel: '{m}'\nsteps:\n  s: {op: generate, prompt: '{m}'}\n",
        [
            "4:8: '{m}' holds what is no variable; expected one model for the whole recipe; name it, or write a variable or a parameter"
        ],
    ),
    "takes-zero": (
        "steps:\n  s: {op: generate, prompt: hi, takes: 0}\n",
        ["3:40: 'takes' is the number 0; expected at least 1; choose a number in the range"],
    ),
    "takes-many": (
        "steps:\n  s: {op: generate, prompt: hi, takes: 65}\n",
        ["3:40: 'takes' is the number 65; expected at most 64; choose a number in the range"],
    ),
    "takes-text": (
        "steps:\n  s: {op: generate, prompt: hi, takes: three}\n",
        ["3:40: 'takes' is the text 'three'; expected a whole number; write a number"],
    ),
    "takes-in-defaults": (
        "defaults: {takes: 3}\n",
        [
            "2:12: unknown key 'takes' in 'defaults'; expected 'steps', 'guidance', 'true_cfg', 'negative_prompt', 'seed', 'size' or 'fit'; remove or rename it"
        ],
    ),
    "takes-of-takes": (
        "steps:\n  s: {op: generate, prompt: hi, takes: 2}\n  t: {op: edit, image: s, prompt: hi, takes: 2}\n",
        [
            "4:46: step 't' has takes, and reads 's', which has some; expected one of them; remove one 'takes'"
        ],
    ),
    "takes-of-two-steps": (
        "steps:\n  s: {op: generate, prompt: hi, takes: 2}\n  t: {op: generate, prompt: ho, takes: 3}\n  u: {op: edit, image: [s, t], prompt: hi}\n",
        ["5:24: step 'u' reads takes of 's' and 't'; expected takes of one step; remove a 'takes'"],
    ),
    "takes-without-name": (
        "matrix: {a: [x, y]}\nsteps:\n  s: {op: generate, prompt: 'hi {a}', takes: 2}\noutputs: [{step: s, name: '{a}'}]\n",
        [
            "5:27: the 2 takes of 's' are all written to 'x.png'; expected a name for each; add {take} to the name"
        ],
    ),
    "take-without-takes": (
        "steps:\n  s: {op: generate, prompt: hi}\noutputs: [{step: s, name: 's-{take}'}]\n",
        [
            "4:30: unknown variable 'take' in name; expected 'step', 'variant' or 'recipe'; declare it under 'variables:'"
        ],
    ),
    "take-in-a-prompt": (
        "steps:\n  s: {op: generate, prompt: 'hi {take}', takes: 2}\n",
        [
            "3:33: unknown variable 'take' in prompt; there is none yet; declare it under 'variables:'"
        ],
    ),
    "axis-named-take": (
        "matrix: {take: [a, b]}\nsteps:\n  s: {op: generate, prompt: 'hi {take}', takes: 2}\n",
        [
            "2:10: an axis is named 'take', which steps with 'takes' keep for themselves; expected another name; rename it"
        ],
    ),
    "parameter-unknown-type": (
        "parameters: {a: {type: int}}\n",
        [
            "2:24: 'type' is the text 'int'; expected 'text', 'number', 'choice', 'boolean', 'file' or 'list'; write one of these"
        ],
    ),
    "parameter-without-type": (
        "parameters: {a: {default: b}}\n",
        [
            "2:14: 'a' has no 'type'; expected 'text', 'number' (with 'min' and 'max'), 'choice' (of 'choices'), 'boolean' (true or false), 'file' (a path from the recipe's folder) or 'list' (of texts); add 'type: ...'"
        ],
    ),
    "parameter-not-a-mapping": (
        "parameters: {a: b}\n",
        [
            "2:17: 'a' is the text 'b'; expected a mapping of names to values; write 'name: value' under it"
        ],
    ),
    "parameter-without-choices": (
        "parameters: {a: {type: choice, default: b}}\n",
        ["2:17: a choice has no 'choices'; expected a list of them; add 'choices: [...]'"],
    ),
    "parameter-default-no-choice": (
        "parameters: {a: {type: choice, choices: [red, blue], default: bleu}}\n",
        ["2:63: 'default' is 'bleu'; expected 'red' or 'blue'; did you mean 'blue'?"],
    ),
    "parameter-default-no-number": (
        "parameters: {a: {type: number, default: many}}\n",
        ["2:41: 'default' is 'many'; expected a number; write one"],
    ),
    "parameter-default-out-of-bounds": (
        "parameters: {a: {type: number, min: 1, max: 5, default: 7}}\n",
        ["2:57: 'default' is 7; expected at least 1 and at most 5; choose one in the range"],
    ),
    "parameter-min-above-max": (
        "parameters: {a: {type: number, min: 5, max: 1}}\n",
        ["2:17: 'min' 5 is above 'max' 1; expected less; mend one"],
    ),
    "parameter-min-of-a-text": (
        "parameters: {a: {type: text, min: 5}}\n",
        ["2:35: 'min' has no meaning for a text; expected 'default' or 'description'; remove it"],
    ),
    "parameter-default-no-boolean": (
        "parameters: {a: {type: boolean, default: perhaps}}\n",
        ["2:42: 'default' is 'perhaps'; expected true or false; write one of these"],
    ),
    "parameter-default-list-of-a-text": (
        "parameters: {a: {type: text, default: [b, c]}}\n",
        ["2:39: 'default' is a list; expected one text; write a single value"],
    ),
    "parameter-choices-of-a-list": (
        "parameters: {a: {type: list, choices: [x, y], default: [x, z]}}\n",
        ["2:56: 'default' is 'z'; expected 'x' or 'y'; write one of these"],
    ),
    "parameter-without-default": (
        "parameters: {a: {type: text}}\n",
        ["2:14: parameter 'a' has no value; expected a default or --set; add --set a=..."],
    ),
    "parameter-like-a-variable": (
        "variables: {a: x}\nparameters: {a: {type: text, default: y}}\nsteps:\n  s: {op: generate, prompt: '{a}'}\n",
        [
            "3:14: a parameter is named 'a' like a variable; expected a name of its own; rename one of them"
        ],
    ),
    "parameter-unknown-key": (
        "parameters: {a: {type: text, defualt: y}}\n",
        ["2:30: unknown key 'defualt' in 'a': did you mean 'default'?"],
    ),
    "parameter-bad-name": (
        "parameters: {a b: {type: text}}\n",
        [
            "2:14: 'a b' cannot be a name; expected letters, digits, '-' and '_', beginning with a letter, at most 40; rename it"
        ],
    ),
    "list-parameter-not-one": (
        "parameters: {a: {type: text, default: y}}\nmatrix: {b: '{a}'}\n",
        ["3:13: 'b' is the text 'y'; expected a list; write each entry as '- ...'"],
    ),
    "variables-in-a-circle": (
        "variables: {a: 'x {b}', b: 'y {c}', c: 'z {a}'}\n",
        [
            "2:16: the variables a <- b <- c <- a hold each other; expected each to hold only others; change one"
        ],
    ),
    "variable-in-itself": (
        "variables: {a: 'x {a}'}\n",
        [
            "2:16: the variables a <- a hold each other; expected each to hold only others; change one"
        ],
    ),
    "unknown-key-x": (
        "y-anchors: {a: b}\n",
        [
            "2:1: unknown key 'y-anchors' in the recipe; expected 'version', 'extends', 'name', 'description', 'model', 'variables', 'parameters', 'inputs', 'matrix', 'zip', 'defaults', 'steps' or 1 more; remove or rename it"
        ],
    ),
    "extends-itself": (
        "extends: r.yaml\n",
        ["2:10: 'r.yaml' extends this file in turn; expected a file of its own; end the circle"],
    ),
    "extends-nothing": (
        "extends: nil.yaml\n",
        ["2:10: no file 'nil.yaml': did you mean 'r.yaml'?"],
    ),
    "extends-another-kind": (
        "extends: samples/shoe.png\n",
        ["2:10: 'samples/shoe.png' is no recipe; expected .yaml or .yml; save it as one of these"],
    ),
    "extends-outside": (
        "extends: ../r.yaml\n",
        [
            "2:10: '../r.yaml' lies outside the recipe's folder and the current folder; expected a file below one of them; move it there or start from a folder above it"
        ],
    ),
    "extends-remote": (
        "extends: s3://b/r.yaml\n",
        ["2:10: 's3://b/r.yaml' is no file; expected a recipe beside this one; download it first"],
    ),
    "extends-a-list": (
        "extends: [a.yaml]\n",
        ["2:10: 'extends' is a list; expected a file; write 'extends: style.yaml'"],
    ),
    "extends-empty": (
        "extends: ''\n",
        ["2:10: '' is no recipe; expected .yaml or .yml; save it as one of these"],
    ),
}
