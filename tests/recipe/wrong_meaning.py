"""Recipes whose steps, templates and sizes make no sense. Each with its whole message."""

# ruff: noqa: E501 - a message is one line

from __future__ import annotations

from tests.recipe.workspace import Wrong

WRONG: dict[str, Wrong] = {
    # What can be known at once is told at once, and nothing that follows from another mistake.
    "of-every-kind": (
        """\
inputs: {p: samples/shoe.png}
matrix: {shot: [a, b]}
steps:
  s: {op: edit, image: p, promt: "a {shot}", stps: 3}
  after: {op: edit, image: s, prompt: "{nothing}"}
  g: {op: generate, prompt: "{shto}"}
  h: {op: edit, image: pp, prompt: "{shot}"}
  k: {op: edit, image: p, prompt: "{shot}", region: {box: [0, 0, 9, 9]}}
  m: {op: edit, image: p, prompt: "{shot}"}
outputs:
  - {step: ss, name: "{shot}.jpg"}
  - {step: s, name: "{sht}.jpg"}
  - {step: m, name: "{sht}.jpg"}
  - {step: m, name: a, qualty: 9}
  - {step: m, name: b}
""",
        [
            "5:27: unknown key 'promt' in step 's': did you mean 'prompt'?",
            "5:46: unknown key 'stps' in step 's': did you mean 'steps'?",
            "7:30: unknown variable 'shto' in prompt: did you mean 'shot'?",
            "8:24: unknown step or input 'pp' in image: did you mean 'p'?",
            "9:59: the box [0, 0, 9, 9] is empty or reaches outside the picture (8x8); expected left, top, right, bottom inside it; mend it",
            "12:12: unknown step 'ss' in outputs: did you mean 's'?",
            "14:22: unknown variable 'sht' in name: did you mean 'shot'?",
            "15:24: unknown key 'qualty' in output 4: did you mean 'quality'?",
            "16:21: variants 'a' and 'b' are both written to 'b.png'; expected a name for each; add {shot} to the name",
        ],
    ),
    "size-unreadable": (
        "steps:\n  s: {op: generate, prompt: hi, size: big}\n",
        "3:39: size 'big' cannot be read; expected 'match', '128x128' or {width: 128, height: 128}; write one of these",
    ),
    "size-multiple": (
        """\
steps:
  s:
    op: generate
    prompt: hi
    size: 100x128
""",
        "6:11: size 100x128: both sides must be multiples of 16; the nearest is 96x128 (model 'kontext-mini')",
    ),
    "size-large": (
        "defaults:\n  size: {width: 1024, height: 1024}\n",
        "3:9: size 1024x1024: 1048576 pixels are more than 4 times the 16384 that this model was trained at; ask for 128x128 and enlarge the picture afterwards (model 'kontext-mini')",
    ),
    "size-aspect": (
        "defaults: {size: 512x16}\n",
        "2:18: the size asked for is 512x16: sides differ by more than 8 to 1, which the model cannot place; crop it first (model 'kontext-mini')",
    ),
    "size-match-generate": (
        "steps:\n  s: {op: generate, prompt: hi, size: match}\n",
        "3:39: step 's' has no image to match; expected a size like 128x128; write one or remove 'size'",
    ),
    "unknown-image": (
        """\
steps:
  hero: {op: generate, prompt: hi}
  s:
    op: edit
    image: hreo
    prompt: hi
""",
        "6:12: unknown step or input 'hreo' in image: did you mean 'hero'?",
    ),
    "unknown-image-is-a-file": (
        "inputs: {p: samples/shoe.png}\nsteps:\n  s: {op: edit, image: photo.jpg, prompt: hi}\n",
        "4:24: unknown step or input 'photo.jpg' in image; expected 'p'; declare it under 'inputs:'",
    ),
    "unknown-image-and-no-other": (
        "steps:\n  s: {op: edit, image: photo.jpg, prompt: hi}\n",
        "3:24: unknown step or input 'photo.jpg' in image; there is none yet; declare it under 'inputs:'",
    ),
    "unknown-image-far": (
        """\
steps:
  hero: {op: generate, prompt: hi}
  s: {op: edit, image: [hero, zzz], prompt: hi}
""",
        "4:31: unknown step or input 'zzz' in image; expected 'hero'; write one of these",
    ),
    "self-reference": (
        "steps:\n  s: {op: edit, image: s, prompt: hi}\n",
        "3:24: step 's' edits its own picture; expected an input or another step; name one of them",
    ),
    "cycle": (
        """\
steps:
  a: {op: edit, image: c, prompt: x}
  b: {op: edit, image: a, prompt: x}
  c: {op: edit, image: b, prompt: x}
""",
        "3:24: the steps a <- c <- b <- a need each other; expected each to use only pictures that can be made before it; change one 'image'",
    ),
    "edit-without-image": (
        """\
steps:
  s:
    op: edit
    prompt: hi
""",
        "3:3: step 's' edits but has no image; expected an input or a step; add 'image: ...'",
    ),
    "generate-with-image": (
        """\
inputs: {p: samples/shoe.png}
steps:
  s: {op: generate, image: p, prompt: hi}
""",
        "4:21: step 's' generates from text but has an image; expected none; write 'op: edit'",
    ),
    "too-many-images": (
        """\
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
        "9:9: step 's' uses 3 images; expected at most 2 for model 'kontext-mini'; remove some or name another model",
    ),
    "step-like-input": (
        """\
inputs: {p: samples/shoe.png}
steps:
  p: {op: edit, image: p, prompt: hi}
""",
        "4:3: a step is named 'p' like an input; expected a name of its own; rename one of them",
    ),
    "reserved-axis": (
        "matrix: {variant: [a]}\n",
        "2:10: an axis is named 'variant', which file names keep for themselves; expected another name; rename it",
    ),
    "negative-without-cfg": (
        "defaults:\n  negative_prompt: ugly\n",
        "3:3: 'negative_prompt' has no effect; expected 'true_cfg' above 1; add 'true_cfg: 2'",
    ),
    "missing-variable": (
        "steps:\n  s: {op: generate, prompt: 'a {noun} on a table'}\n",
        "3:32: unknown variable 'noun' in prompt; there is none yet; declare it under 'variables:'",
    ),
    "misspelt-attribute": (
        """\
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
        "10:7: 'scene' has no '.wrods' for 'beach' in prompt: did you mean 'words'?",
    ),
    "attribute-for-some": (
        """\
inputs:
  p:
    - {file: samples/shoe.png, noun: shoe}
    - samples/*.png
steps:
  s: {op: edit, image: p, prompt: 'a {p.noun}'}
""",
        "7:38: 'p' has no '.noun' for 'camera' in prompt; expected it for every value; write {name: camera, noun: ...}",
    ),
    "unclosed-brace": (
        """\
matrix: {scene: [a]}
steps:
  s:
    op: generate
    prompt: a bag {scene on it
""",
        "6:19: a '{' has no partner; expected a '}' that closes it; write '{{' for a brace itself",
    ),
    "stray-brace": (
        "steps:\n  s: {op: generate, prompt: 'a bag} here'}\n",
        "3:35: a '}' has no partner; expected a '{' that opens it; write '}}' for a brace itself",
    ),
    "expression": (
        """\
variables: {x: a}
steps:
  s: {op: generate, prompt: 'a {x.__class__.y}'}
""",
        "4:32: '{x.__class__.y}' is no variable; expected {name} or {name.variable}; write {{ and }} for braces that are meant as such",
    ),
    "step-in-prompt": (
        """\
steps:
  hero: {op: generate, prompt: hi}
  s: {op: edit, image: hero, prompt: 'like {hero}'}
""",
        "4:44: 'hero' in prompt is a step, a picture; expected the name of a text; name the step in 'image'",
    ),
    "variable-unset": (
        """\
variables:
  season:
steps:
  s: {op: generate, prompt: '{season}'}
""",
        "3:3: variable 'season' has no value; expected a default or --set; add --set season=...",
    ),
}
