"""Recipes whose outputs are wrong, or whose model is. Each with its whole message."""

# ruff: noqa: E501 - a message is one line

from __future__ import annotations

from tests.recipe.workspace import Wrong

WRONG: dict[str, Wrong] = {
    "output-unknown-step": (
        """\
steps:
  s: {op: generate, prompt: hi}
outputs:
  - step: t
""",
        "5:11: unknown step 't' in outputs; expected 's'; write one of these",
    ),
    "output-parent": (
        """\
steps:
  s: {op: generate, prompt: hi}
outputs:
  - {step: s, name: ../out}
""",
        "5:21: '../out' leaves its folder by '..'; expected a name inside the run's folder; remove the '..'",
    ),
    "output-parent-inside": (
        """\
steps:
  s: {op: generate, prompt: hi}
outputs:
  - {step: s, name: a/../../b}
""",
        "5:21: 'a/../../b' leaves its folder by '..'; expected a name inside the run's folder; remove the '..'",
    ),
    "output-absolute": (
        """\
steps:
  s: {op: generate, prompt: hi}
outputs:
  - {step: s, name: /tmp/x}
""",
        "5:21: '/tmp/x' is an absolute path; expected a name inside the run's folder; begin with a folder's or a file's name",
    ),
    "output-drive": (
        """\
steps:
  s: {op: generate, prompt: hi}
outputs:
  - {step: s, name: 'C:\\x'}
""",
        "5:21: 'C:\\x' is an absolute path; expected a name inside the run's folder; begin with a folder's or a file's name",
    ),
    "output-backslash": (
        """\
steps:
  s: {op: generate, prompt: hi}
outputs:
  - {step: s, name: 'a\\..\\b'}
""",
        "5:21: '\\\\' cannot be in a file name; expected letters, digits, '-', '_'; remove it",
    ),
    "output-control": (
        """\
steps:
  s: {op: generate, prompt: hi}
outputs:
  - {step: s, name: "a\\nb"}
""",
        "5:21: '\\n' cannot be in a file name; expected letters, digits, '-', '_'; remove it",
    ),
    "output-nul": (
        """\
steps:
  s: {op: generate, prompt: hi}
outputs:
  - {step: s, name: "a\\0b"}
""",
        "5:21: '\\x00' cannot be in a file name; expected letters, digits, '-', '_'; remove it",
    ),
    "output-reserved": (
        """\
steps:
  s: {op: generate, prompt: hi}
outputs:
  - {step: s, name: con}
""",
        "5:21: 'con' is no file name on every system; expected another; rename it",
    ),
    "output-run-file": (
        """\
steps:
  s: {op: generate, prompt: hi}
outputs:
  - {step: s, name: thumbs/x}
""",
        "5:21: 'thumbs' is the run's own; expected another name; rename it",
    ),
    "output-empty-part": (
        """\
steps:
  s: {op: generate, prompt: hi}
outputs:
  - {step: s, name: a//b}
""",
        "5:21: 'a//b' has an empty part; expected a name on each side of '/'; remove one '/'",
    ),
    "output-long": (
        """\
steps:
  s: {op: generate, prompt: hi}
outputs:
  - {step: s, name: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx}
""",
        "5:21: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...' is longer than 200 bytes; expected a shorter name; use names of values instead of their texts",
    ),
    "output-collision": (
        """\
matrix:
  scene: [beach, snow]
steps:
  s: {op: generate, prompt: 'a {scene}'}
outputs:
  - step: s
    name: picture
""",
        "8:11: variants 'beach' and 'snow' are both written to 'picture.png'; expected a name for each; add {scene} to the name",
    ),
    "output-case-collision": (
        """\
steps:
  s: {op: generate, prompt: hi}
  t: {op: generate, prompt: ho}
outputs:
  - {step: s, name: A}
  - {step: t, name: a}
""",
        "7:21: 'A.png' and 'a.png' are one file on some systems; expected names that differ in more than case; rename one",
    ),
    "output-file-and-folder": (
        """\
steps:
  s: {op: generate, prompt: hi}
  t: {op: generate, prompt: ho}
outputs:
  - {step: s, name: a}
  - {step: t, name: a.png/b}
""",
        "7:21: 'a.png' is both a picture and a folder; expected one of them; rename one",
    ),
    "output-variable": (
        """\
steps:
  s: {op: generate, prompt: hi}
outputs:
  - {step: s, name: '{setp}'}
""",
        "5:22: unknown variable 'setp' in name: did you mean 'step'?",
    ),
    "output-format": (
        """\
steps:
  s: {op: generate, prompt: hi}
outputs:
  - {step: s, format: jpg}
""",
        "5:23: 'format' is the text 'jpg'; expected 'png', 'jpeg', 'webp', 'avif' or 'tiff'; did you mean 'jpeg'?",
    ),
    "output-two-formats": (
        """\
steps:
  s: {op: generate, prompt: hi}
outputs:
  - {step: s, name: a.jpg, format: png}
""",
        "5:36: the name ends in '.jpg' but the format is 'png'; expected one of them to decide; remove the other",
    ),
    "output-png-quality": (
        """\
steps:
  s: {op: generate, prompt: hi}
outputs:
  - {step: s, quality: 80}
""",
        "5:15: 'quality' has no effect on png; expected jpeg, webp or avif; remove it or add a 'format'",
    ),
    "unknown-model": (
        "model: kontext-mni\n",
        "2:8: no model 'kontext-mni': neither a known name nor a folder here; did you mean 'kontext-mini'?",
    ),
    "output-fit-alone": (
        "steps: {s: {op: generate, prompt: hi}}\noutputs:\n  - {step: s, name: a.jpg, fit: pad}\n",
        "4:28: 'fit' has no effect without 'size'; expected both; add 'size: ...'",
    ),
    "output-ground-crop": (
        "steps: {s: {op: generate, prompt: hi}}\noutputs:\n  - {step: s, name: a.jpg, size: 9x9, fit: crop, ground: blur}\n",
        "4:50: 'ground' has no effect with fit 'crop'; expected 'fit: pad'; remove it",
    ),
    "output-ground-odd": (
        "steps: {s: {op: generate, prompt: hi}}\noutputs:\n  - {step: s, name: a.jpg, size: 9x9, fit: pad, ground: greyish}\n",
        "4:57: 'greyish' is no colour; expected one like white or '#f4f2ee', or 'blur'; write one",
    ),
    "output-size-match": (
        "steps: {s: {op: generate, prompt: hi}}\noutputs:\n  - {step: s, name: a.jpg, size: match}\n",
        "4:34: size 'match' is no size of a file; expected '1080x1350' or {width: 1080, height: 1350}; write one of these",
    ),
    "output-size-unreadable": (
        "steps:\n  s: {op: generate, prompt: hi}\noutputs: [{step: s, size: 10}]\n",
        "4:27: size '10' cannot be read; expected '1080x1350' or {width: 1080, height: 1350}; write one of these",
    ),
    "output-size-huge": (
        "steps:\n  s: {op: generate, prompt: hi}\noutputs: [{step: s, size: 100000x100000}]\n",
        "4:27: size 100000x100000: expected sides of 1 to 16383 pixels; choose another",
    ),
    "output-ground-is-a-comment": (
        """\
steps:
  s: {op: generate, prompt: hi}
outputs:
  - step: s
    size: 100x100
    ground: #f4f2ee
    name: # none yet
""",
        [
            "7:5: '#f4f2ee' is read as a comment, so 'ground' is empty; expected a value; put it in quotes",
            "8:5: 'name' is empty; expected a value; give it one or remove it",
        ],
    ),
    "output-size-zero": (
        "steps: {s: {op: generate, prompt: hi}}\noutputs:\n  - {step: s, name: a.jpg, size: 20000x9}\n",
        "4:34: size 20000x9: expected sides of 1 to 16383 pixels; choose another",
    ),
    "output-max-png": (
        "steps: {s: {op: generate, prompt: hi}}\noutputs:\n  - {step: s, name: a.png, max_kb: 9}\n",
        "4:28: 'max_kb' has no effect on png; expected jpeg, webp or avif; remove it or add a 'format'",
    ),
    "output-preset-unknown": (
        "steps: {s: {op: generate, prompt: hi}}\noutputs:\n  - {step: s, name: a.jpg, preset: instagram-stroy}\n",
        "4:36: unknown preset 'instagram-stroy' in outputs: did you mean 'instagram-story'?",
    ),
    "output-lossless-jpeg": (
        "steps: {s: {op: generate, prompt: hi}}\noutputs:\n  - {step: s, name: a.jpg, lossless: true}\n",
        "4:28: 'lossless' has no effect on jpeg; expected webp; remove it or add a 'format'",
    ),
    "output-lossless-quality": (
        "steps: {s: {op: generate, prompt: hi}}\noutputs:\n  - {step: s, name: a.webp, lossless: true, max_kb: 9}\n",
        "4:45: 'max_kb' has no effect on a lossless file; expected one of them; remove one",
    ),
    "output-chroma-webp": (
        "steps: {s: {op: generate, prompt: hi}}\noutputs:\n  - {step: s, name: a.webp, chroma: 4:4:4}\n",
        "4:29: 'chroma' has no effect on webp; expected jpeg or avif; remove it or add a 'format'",
    ),
    "output-alpha-jpeg": (
        "inputs: {p: samples/shoe.png}\nsteps: {s: {op: generate, prompt: hi}, c: {op: cutout, image: p}}\noutputs:\n  - {step: s, name: a.jpg, alpha: c}\n",
        "5:28: 'alpha' has no effect on jpeg, which has none; expected png, webp, avif or tiff; remove it or write another 'format'",
    ),
    "output-alpha-unknown": (
        "steps: {s: {op: generate, prompt: hi}}\noutputs:\n  - {step: s, alpha: cut}\n",
        "4:22: unknown step 'cut' in alpha; expected 's'; write one of these",
    ),
    "output-alpha-takes": (
        "steps: {s: {op: generate, prompt: hi, takes: 2}, t: {op: generate, prompt: ho, takes: 3}}\noutputs:\n  - {step: s, name: '{take}', alpha: t}\n",
        "4:38: 't' has 3 takes and 's' 2; expected one, or as many; name another step",
    ),
    "sheet-unknown-step": (
        "steps: {s: {op: generate, prompt: hi}}\noutputs:\n  - {sheet: t}\n",
        "4:13: unknown step 't' in outputs; expected 's'; write one of these",
    ),
    "sheet-key": (
        "steps: {s: {op: generate, prompt: hi}}\noutputs:\n  - {sheet: s, colums: 3}\n",
        "4:16: unknown key 'colums' in output 1: did you mean 'columns'?",
    ),
    "sheet-columns": (
        "steps: {s: {op: generate, prompt: hi}}\noutputs:\n  - {sheet: s, columns: 21}\n",
        "4:25: 'columns' is the number 21; expected at most 20; choose a number in the range",
    ),
    "sheet-ending": (
        "steps: {s: {op: generate, prompt: hi}}\noutputs:\n  - {sheet: s, name: a.jpg}\n",
        "4:22: 'a.jpg' is no contact sheet; expected a name that ends in .pdf, .png or .html; add one of these",
    ),
    "sheet-page-png": (
        "steps: {s: {op: generate, prompt: hi}}\noutputs:\n  - {sheet: s, name: a.png, page: a4}\n",
        "4:29: 'page' has no effect on png; expected pdf; remove it",
    ),
    "sheet-font-html": (
        "steps: {s: {op: generate, prompt: hi}}\noutputs:\n  - {sheet: s, name: a.html, font: a.ttf}\n",
        "4:30: 'font' has no effect on html; expected pdf or png; remove it",
    ),
    "sheet-font-folder": (
        "steps: {s: {op: generate, prompt: hi}}\noutputs:\n  - {sheet: s, font: samples}\n",
        "4:22: 'samples' is a folder; expected a font; name a file in it",
    ),
    "sheet-font-none": (
        "steps: {s: {op: generate, prompt: hi}}\noutputs:\n  - {sheet: s, font: samples/shoe.png}\n",
        "4:22: 'shoe.png' is no font to write with (not a recognized TrueType font: version=0x89504E47); expected a TrueType file (.ttf); name another",
    ),
    "sheet-order": (
        "matrix: {shot: [a, b]}\nsteps: {s: {op: generate, prompt: '{shot}'}}\noutputs:\n  - {sheet: s, order: shto}\n",
        "5:23: unknown axis 'shto' in order: did you mean 'shot'?",
    ),
    "sheet-order-variable": (
        "matrix: {shot: [{name: a, n: 1}, b]}\nsteps: {s: {op: generate, prompt: '{shot}'}}\noutputs:\n  - {sheet: s, order: shot.n}\n",
        "5:23: 'shot' has no '.n' for 'b' in order; expected it for every value; add it",
    ),
    "sheet-caption": (
        "steps: {s: {op: generate, prompt: hi}}\noutputs:\n  - {sheet: s, caption: '{shot}'}\n",
        "4:26: unknown variable 'shot' in caption; expected 'step', 'variant' or 'recipe'; declare it under 'variables:'",
    ),
    "sheet-and-file": (
        "steps: {s: {op: generate, prompt: hi}}\noutputs:\n  - {step: s, name: a.png}\n  - {sheet: s, name: A.png}\n",
        "5:22: two outputs are written to 'A.png'; expected a name for each; make the names differ",
    ),
    "output-neither": (
        "steps: {s: {op: generate, prompt: hi}}\noutputs:\n  - {name: a.png}\n",
        "4:5: output 1 has no 'step'; expected the step whose pictures these are; add 'step: ...'",
    ),
}
