"""Recipes whose outputs are wrong, or whose model is. Each with its whole message."""

# ruff: noqa: E501 - a message is one line

from __future__ import annotations

WRONG: dict[str, tuple[str | bytes, list[str]]] = {
    "output-unknown-step": (
        """\
version: 1
steps:
  s: {op: generate, prompt: hi}
outputs:
  - step: t
""",
        ["r.yaml:5:11: unknown step 't' in outputs; expected 's'; write one of these"],
    ),
    "output-parent": (
        """\
version: 1
steps:
  s: {op: generate, prompt: hi}
outputs:
  - {step: s, name: ../out}
""",
        [
            "r.yaml:5:21: '../out' leaves its folder by '..'; expected a name inside the run's folder; remove the '..'"
        ],
    ),
    "output-parent-inside": (
        """\
version: 1
steps:
  s: {op: generate, prompt: hi}
outputs:
  - {step: s, name: a/../../b}
""",
        [
            "r.yaml:5:21: 'a/../../b' leaves its folder by '..'; expected a name inside the run's folder; remove the '..'"
        ],
    ),
    "output-absolute": (
        """\
version: 1
steps:
  s: {op: generate, prompt: hi}
outputs:
  - {step: s, name: /tmp/x}
""",
        [
            "r.yaml:5:21: '/tmp/x' is an absolute path; expected a name inside the run's folder; begin with a folder's or a file's name"
        ],
    ),
    "output-drive": (
        """\
version: 1
steps:
  s: {op: generate, prompt: hi}
outputs:
  - {step: s, name: 'C:\\x'}
""",
        [
            "r.yaml:5:21: 'C:\\x' is an absolute path; expected a name inside the run's folder; begin with a folder's or a file's name"
        ],
    ),
    "output-backslash": (
        """\
version: 1
steps:
  s: {op: generate, prompt: hi}
outputs:
  - {step: s, name: 'a\\..\\b'}
""",
        [
            "r.yaml:5:21: '\\\\' cannot be in a file name; expected letters, digits, '-', '_'; remove it"
        ],
    ),
    "output-control": (
        """\
version: 1
steps:
  s: {op: generate, prompt: hi}
outputs:
  - {step: s, name: "a\\nb"}
""",
        [
            "r.yaml:5:21: '\\n' cannot be in a file name; expected letters, digits, '-', '_'; remove it"
        ],
    ),
    "output-nul": (
        """\
version: 1
steps:
  s: {op: generate, prompt: hi}
outputs:
  - {step: s, name: "a\\0b"}
""",
        [
            "r.yaml:5:21: '\\x00' cannot be in a file name; expected letters, digits, '-', '_'; remove it"
        ],
    ),
    "output-reserved": (
        """\
version: 1
steps:
  s: {op: generate, prompt: hi}
outputs:
  - {step: s, name: con}
""",
        ["r.yaml:5:21: 'con' is no file name on every system; expected another; rename it"],
    ),
    "output-run-file": (
        """\
version: 1
steps:
  s: {op: generate, prompt: hi}
outputs:
  - {step: s, name: thumbs/x}
""",
        ["r.yaml:5:21: 'thumbs' is the run's own; expected another name; rename it"],
    ),
    "output-empty-part": (
        """\
version: 1
steps:
  s: {op: generate, prompt: hi}
outputs:
  - {step: s, name: a//b}
""",
        [
            "r.yaml:5:21: 'a//b' has an empty part; expected a name on each side of '/'; remove one '/'"
        ],
    ),
    "output-long": (
        """\
version: 1
steps:
  s: {op: generate, prompt: hi}
outputs:
  - {step: s, name: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx}
""",
        [
            "r.yaml:5:21: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...' is longer than 200 bytes; expected a shorter name; use names of values instead of their texts"
        ],
    ),
    "output-collision": (
        """\
version: 1
matrix:
  scene: [beach, snow]
steps:
  s: {op: generate, prompt: 'a {scene}'}
outputs:
  - step: s
    name: picture
""",
        [
            "r.yaml:8:11: variants 'beach' and 'snow' are both written to 'picture.png'; expected a name for each; add {scene} to the name"
        ],
    ),
    "output-case-collision": (
        """\
version: 1
steps:
  s: {op: generate, prompt: hi}
  t: {op: generate, prompt: ho}
outputs:
  - {step: s, name: A}
  - {step: t, name: a}
""",
        [
            "r.yaml:7:21: 'A.png' and 'a.png' are one file on some systems; expected names that differ in more than case; rename one"
        ],
    ),
    "output-file-and-folder": (
        """\
version: 1
steps:
  s: {op: generate, prompt: hi}
  t: {op: generate, prompt: ho}
outputs:
  - {step: s, name: a}
  - {step: t, name: a.png/b}
""",
        ["r.yaml:7:21: 'a.png' is both a picture and a folder; expected one of them; rename one"],
    ),
    "output-variable": (
        """\
version: 1
steps:
  s: {op: generate, prompt: hi}
outputs:
  - {step: s, name: '{setp}'}
""",
        ["r.yaml:5:22: unknown variable 'setp' in name: did you mean 'step'?"],
    ),
    "output-format": (
        """\
version: 1
steps:
  s: {op: generate, prompt: hi}
outputs:
  - {step: s, format: jpg}
""",
        [
            "r.yaml:5:23: 'format' is the text 'jpg'; expected 'png', 'jpeg' or 'webp'; did you mean 'jpeg'?"
        ],
    ),
    "output-two-formats": (
        """\
version: 1
steps:
  s: {op: generate, prompt: hi}
outputs:
  - {step: s, name: a.jpg, format: png}
""",
        [
            "r.yaml:5:36: the name ends in '.jpg' but the format is 'png'; expected one of them to decide; remove the other"
        ],
    ),
    "output-png-quality": (
        """\
version: 1
steps:
  s: {op: generate, prompt: hi}
outputs:
  - {step: s, quality: 80}
""",
        [
            "r.yaml:5:15: 'quality' has no effect on png; expected jpeg or webp; remove it or add a 'format'"
        ],
    ),
    "unknown-model": (
        """\
version: 1
model: kontext-mni
steps:
  s: {op: generate, prompt: hi}
""",
        [
            "r.yaml:2:8: no model 'kontext-mni': neither a known name nor a folder here; did you mean 'kontext-mini'?"
        ],
    ),
}
