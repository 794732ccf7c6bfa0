"""Recipes whose steps, templates and sizes make no sense. Each with its whole message."""

# ruff: noqa: E501 - a message is one line

from __future__ import annotations

WRONG: dict[str, tuple[str | bytes, list[str]]] = {
    "size-unreadable": (
        """\
version: 1
steps:
  s: {op: generate, prompt: hi, size: big}
""",
        [
            "r.yaml:3:39: size 'big' cannot be read; expected 'match', '128x128' or {width: 128, height: 128}; write one of these"
        ],
    ),
    "size-multiple": (
        """\
version: 1
steps:
  s:
    op: generate
    prompt: hi
    size: 100x128
""",
        [
            "r.yaml:6:11: size 100x128: both sides must be multiples of 16; the nearest is 96x128 (model 'kontext-mini')"
        ],
    ),
    "size-large": (
        """\
version: 1
defaults:
  size: {width: 1024, height: 1024}
steps:
  s: {op: generate, prompt: hi}
""",
        [
            "r.yaml:3:9: size 1024x1024: 1048576 pixels are more than 4 times the 16384 that this model was trained at; ask for 128x128 and enlarge the picture afterwards (model 'kontext-mini')"
        ],
    ),
    "size-aspect": (
        """\
version: 1
defaults: {size: 512x16}
steps:
  s: {op: generate, prompt: hi}
""",
        [
            "r.yaml:2:18: the size asked for is 512x16: sides differ by more than 8 to 1, which the model cannot place; crop it first (model 'kontext-mini')"
        ],
    ),
    "size-match-generate": (
        """\
version: 1
steps:
  s: {op: generate, prompt: hi, size: match}
""",
        [
            "r.yaml:3:39: step 's' has no image to match; expected a size like 128x128; write one or remove 'size'"
        ],
    ),
    "unknown-image": (
        """\
version: 1
steps:
  hero: {op: generate, prompt: hi}
  s:
    op: edit
    image: hreo
    prompt: hi
""",
        ["r.yaml:6:12: unknown step or input 'hreo' in image: did you mean 'hero'?"],
    ),
    "unknown-image-far": (
        """\
version: 1
steps:
  hero: {op: generate, prompt: hi}
  s: {op: edit, image: [hero, zzz], prompt: hi}
""",
        ["r.yaml:4:31: unknown step or input 'zzz' in image; expected 'hero'; write one of these"],
    ),
    "self-reference": (
        """\
version: 1
steps:
  s: {op: edit, image: s, prompt: hi}
""",
        [
            "r.yaml:3:24: step 's' edits its own picture; expected an input or another step; name one of them"
        ],
    ),
    "cycle": (
        """\
version: 1
steps:
  a: {op: edit, image: c, prompt: x}
  b: {op: edit, image: a, prompt: x}
  c: {op: edit, image: b, prompt: x}
""",
        [
            "r.yaml:3:24: the steps a <- c <- b <- a need each other; expected each to use only pictures that can be made before it; change one 'image'"
        ],
    ),
    "edit-without-image": (
        """\
version: 1
steps:
  s:
    op: edit
    prompt: hi
""",
        [
            "r.yaml:3:3: step 's' edits but has no image; expected an input or a step; add 'image: ...'"
        ],
    ),
    "generate-with-image": (
        """\
version: 1
inputs: {p: samples/shoe.png}
steps:
  s: {op: generate, image: p, prompt: hi}
""",
        [
            "r.yaml:4:21: step 's' generates from text but has an image; expected none; write 'op: edit'"
        ],
    ),
    "too-many-images": (
        """\
version: 1
inputs: {a: samples/shoe.png, b: samples/camera.png, c: samples/handbag.png}
steps:
  s:
    op: edit
    image:
      - a
      - b
      - c
    prompt: hi
""",
        [
            "r.yaml:9:9: step 's' uses 3 images; expected at most 2 for model 'kontext-mini'; remove some or name another model"
        ],
    ),
    "step-like-input": (
        """\
version: 1
inputs: {p: samples/shoe.png}
steps:
  p: {op: edit, image: p, prompt: hi}
""",
        [
            "r.yaml:4:3: a step is named 'p' like an input; expected a name of its own; rename one of them"
        ],
    ),
    "reserved-axis": (
        """\
version: 1
matrix: {variant: [a]}
steps:
  s: {op: generate, prompt: hi}
""",
        [
            "r.yaml:2:10: an axis is named 'variant', which file names keep for themselves; expected another name; rename it"
        ],
    ),
    "negative-without-cfg": (
        """\
version: 1
defaults:
  negative_prompt: ugly
steps:
  s: {op: generate, prompt: hi}
""",
        [
            "r.yaml:3:3: 'negative_prompt' has no effect; expected 'true_cfg' above 1; add 'true_cfg: 2'"
        ],
    ),
    "missing-variable": (
        """\
version: 1
steps:
  s: {op: generate, prompt: 'a {noun} on a table'}
""",
        [
            "r.yaml:3:32: unknown variable 'noun' in prompt; there is none yet; declare it under 'variables:'"
        ],
    ),
    "misspelt-attribute": (
        """\
version: 1
matrix:
  scene:
    - {name: beach, words: on a beach}
steps:
  s:
    op: generate
    prompt: |
      a bag
      {scene.wrods} please
""",
        ["r.yaml:10:7: 'scene' has no '.wrods' for 'beach' in prompt: did you mean 'words'?"],
    ),
    "attribute-for-some": (
        """\
version: 1
inputs:
  p:
    - {file: samples/shoe.png, noun: shoe}
    - samples/*.png
steps:
  s: {op: edit, image: p, prompt: 'a {p.noun}'}
""",
        [
            "r.yaml:7:38: 'p' has no '.noun' for 'camera' in prompt; expected it for every value; write {name: camera, noun: ...}"
        ],
    ),
    "unclosed-brace": (
        """\
version: 1
matrix: {scene: [a]}
steps:
  s:
    op: generate
    prompt: a bag {scene on it
""",
        [
            "r.yaml:6:19: a '{' has no partner; expected a '}' that closes it; write '{{' for a brace itself"
        ],
    ),
    "stray-brace": (
        """\
version: 1
steps:
  s: {op: generate, prompt: 'a bag} here'}
""",
        [
            "r.yaml:3:35: a '}' has no partner; expected a '{' that opens it; write '}}' for a brace itself"
        ],
    ),
    "expression": (
        """\
version: 1
variables: {x: a}
steps:
  s: {op: generate, prompt: 'a {x.__class__.y}'}
""",
        [
            "r.yaml:4:32: '{x.__class__.y}' is no variable; expected {name} or {name.variable}; write {{ and }} for braces that are meant as such"
        ],
    ),
    "step-in-prompt": (
        """\
version: 1
steps:
  hero: {op: generate, prompt: hi}
  s: {op: edit, image: hero, prompt: 'like {hero}'}
""",
        [
            "r.yaml:4:44: 'hero' in prompt is a step, a picture; expected the name of a text; name the step in 'image'"
        ],
    ),
    "variable-unset": (
        """\
version: 1
variables:
  season:
steps:
  s: {op: generate, prompt: '{season}'}
""",
        [
            "r.yaml:3:3: variable 'season' has no value; expected a default or --set; add --set season=..."
        ],
    ),
}
