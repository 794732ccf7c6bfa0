"""Files and YAML that are wrong before any recipe is in sight. Each with its whole message."""

# ruff: noqa: E501 - a message is one line

from __future__ import annotations

from tests.recipe.workspace import Wrong

WRONG: dict[str, Wrong] = {
    "two-documents": (
        """\
steps:
  s: {op: generate, prompt: hi}
---
version: 1
""",
        "4:1: a second YAML document begins; expected one per file; remove the '---'",
    ),
    "tab": (
        "steps:\n\ts: 1\n",
        "3:1: not valid YAML; found character '\\t' that cannot start any token; indent with spaces, not tabs, and quote text with @, ` or %",
    ),
    "colon-in-text": (
        """\
steps:
  s:
    op: generate
    prompt: a sign: open
""",
        "5:19: not valid YAML; mapping values are not allowed here; quote text that contains ': ', or mend the indentation",
    ),
    "unclosed-bracket": (
        "steps: {s: {op: generate\n",
        "2:12: not valid YAML; what opens here is not closed before the file ends; close it",
    ),
    "text-behind-a-mapping": (
        """\
steps:
  s:
    op: generate
    prompt: {product} on a beach
""",
        "5:23: not valid YAML; expected <block end>, but found '<scalar>'; put quotes around the whole text, as in '{product} on a beach', or indent the entries alike",
    ),
    "text-behind-quotes": (
        """\
steps:
  s:
    op: generate
    prompt: "{product}" on a beach
""",
        "5:25: not valid YAML; expected <block end>, but found '<scalar>'; put quotes around the whole text, as in '{product} on a beach', or indent the entries alike",
    ),
    "text-behind-a-mapping-in-braces": (
        "steps: {s: {op: generate, prompt: {product} on a beach}}\n",
        "2:45: not valid YAML; expected ',' or '}', but got '<scalar>'; put quotes around the whole text, as in '{product} on a beach', or put commas between entries",
    ),
    "colon-in-text-in-braces": (
        "steps: {s: {op: generate, prompt: make it: blue}}\n",
        "2:42: not valid YAML; expected ',' or '}', but got ':'; quote text that contains ': ', or put commas between entries",
    ),
    "text-that-begins-with-a-star": (
        "inputs: {p: **/*.png}\n",
        "2:14: not valid YAML; expected alphabetic or numeric character, but found '*'; quote text that begins with '*' or '&'",
    ),
    "brace-behind-a-comment": (
        """\
steps:
  s: {op: generate,
      prompt: give it number #1}
""",
        "3:6: not valid YAML; what opens here is not closed before the file ends; its end in line 4 stands behind '#', as a comment: quote that text",
    ),
    "unclosed-above-a-comment": (
        """\
steps:
  s: {op: generate,  # of the sky
      prompt: give it  # more
""",
        "3:6: not valid YAML; what opens here is not closed before the file ends; close it",
    ),
    "duplicate-key": (
        "name: a\nname: b\n",
        "3:1: duplicate key 'name'; it is already on line 2; remove or rename one of them",
    ),
    "duplicate-step": (
        """\
steps:
  s: {op: generate, prompt: hi}
  s: {op: generate, prompt: again}
""",
        "4:3: duplicate key 's'; it is already on line 3; remove or rename one of them",
    ),
    "python-tag": (
        "name: !!python/object/apply:os.system ['true']\n",
        "2:7: the tag '!!python/object/apply:os.system' is not allowed; expected plain YAML; remove the tag",
    ),
    "own-tag": (
        "name: !secret x\n",
        "2:7: the tag '!secret' is not allowed; expected plain YAML; remove the tag",
    ),
    "unknown-alias": (
        "name: *title\n",
        "2:7: unknown alias '*title'; expected an anchor above it; define '&title' first",
    ),
    "self-alias": (
        "defaults: &d {size: *d}\n",
        "2:21: alias '*d' contains itself; expected a finite value; write it out",
    ),
    "bad-merge": (
        "defaults: {<<: 3}\n",
        "2:12: '<<' merges mappings only; expected an alias of a mapping; write '<<: *name'",
    ),
    "list-as-key": (
        "? [a, b]\n: 1\n",
        "2:3: a key is a list; expected text; write a plain name before the colon",
    ),
    "empty": ("", "r.yaml:1:1: the file is empty; expected a mapping; begin with 'version: 1'"),
    "only-comments": (
        "# nothing\n# here\n",
        "r.yaml:1:1: the file is empty; expected a mapping; begin with 'version: 1'",
    ),
    "null-document": (
        "---\n",
        "r.yaml:1:1: the file is empty; expected a mapping; begin with 'version: 1'",
    ),
    "a-list": (
        "- version: 1\n",
        "r.yaml:1:1: the file is a list; expected a mapping; begin with 'version: 1'",
    ),
    "a-text": (
        "hello\n",
        "r.yaml:1:1: the file is the text 'hello'; expected a mapping; begin with 'version: 1'",
    ),
    "nul-byte": (
        b"version: 1\nname: a\x00b\n",
        "r.yaml:2:8: the file is binary; expected a YAML text; name the recipe itself",
    ),
    "png": (
        b"\x89PNG\r\n\x1a\n\x00\x00",
        "r.yaml:3:1: the file is binary; expected a YAML text; name the recipe itself",
    ),
    "not-utf8": (
        b"version: 1\nname: caf\xe9\n",
        "r.yaml:2:10: not UTF-8 text; expected UTF-8; save it again as UTF-8",
    ),
    "utf16": (
        b"\xff\xfev\x00e\x00r\x00s\x00i\x00o\x00n\x00:\x00 \x001\x00\n\x00",
        "r.yaml:1:1: the file is UTF-16; expected UTF-8; save it again as UTF-8",
    ),
    "control-character": (
        "version: 1\nname: a\x07b\n",
        "r.yaml:2:8: control character U+0007; expected plain text; remove the character",
    ),
    "too-large": (
        b"# " + b"x" * 300_000,
        "r.yaml: larger than 256 KiB; expected a recipe; split it",
    ),
    "unclosed-quote": (
        "version: 1\nname: 'abc\n",
        "r.yaml:2:7: not valid YAML; what opens here is not closed before the file ends; close it",
    ),
    "alias-bomb": (
        """\
version: 1
variables:
  a: &a [x, x, x, x, x, x, x, x, x]
  b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]
  c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]
  d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]
  e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d]
  f: &f [*e, *e, *e, *e, *e, *e, *e, *e, *e]
  g: &g [*f, *f, *f, *f, *f, *f, *f, *f, *f]
  h: &h [*g, *g, *g, *g, *g, *g, *g, *g, *g]
  i: &i [*h, *h, *h, *h, *h, *h, *h, *h, *h]
""",
        "r.yaml:7:14: aliases expand to more than 20000 values; expected a recipe of sane size; write fewer aliases of aliases",
    ),
    "too-deep": (
        "version: 1\nname: " + "[" * 40 + "]" * 40 + "\n",
        "r.yaml:2:31: nested more than 24 levels; expected a flat recipe; unnest it",
    ),
}
