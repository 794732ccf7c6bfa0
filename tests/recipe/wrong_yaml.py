"""Files and YAML that are wrong before any recipe is in sight. Each with its whole message."""

# ruff: noqa: E501 - a message is one line

from __future__ import annotations

WRONG: dict[str, tuple[str | bytes, list[str]]] = {
    "empty": (
        "",
        ["r.yaml:1:1: the file is empty; expected a mapping; begin with 'version: 1'"],
    ),
    "only-comments": (
        """\
# nothing
# here
""",
        ["r.yaml:1:1: the file is empty; expected a mapping; begin with 'version: 1'"],
    ),
    "null-document": (
        """\
---
""",
        ["r.yaml:1:1: the file is empty; expected a mapping; begin with 'version: 1'"],
    ),
    "a-list": (
        """\
- version: 1
""",
        ["r.yaml:1:1: the file is a list; expected a mapping; begin with 'version: 1'"],
    ),
    "a-text": (
        """\
hello
""",
        ["r.yaml:1:1: the file is the text 'hello'; expected a mapping; begin with 'version: 1'"],
    ),
    "nul-byte": (
        b"version: 1\nname: a\x00b\n",
        ["r.yaml:2:8: the file is binary; expected a YAML text; name the recipe itself"],
    ),
    "png": (
        b"\x89PNG\r\n\x1a\n\x00\x00",
        ["r.yaml:3:1: the file is binary; expected a YAML text; name the recipe itself"],
    ),
    "not-utf8": (
        b"version: 1\nname: caf\xe9\n",
        ["r.yaml:2:10: not UTF-8 text; expected UTF-8; save it again as UTF-8"],
    ),
    "utf16": (
        b"\xff\xfe" + "version: 1\n".encode("utf-16-le"),
        ["r.yaml:1:1: the file is UTF-16; expected UTF-8; save it again as UTF-8"],
    ),
    "control-character": (
        "version: 1\nname: a\x07b\n",
        ["r.yaml:2:8: control character U+0007; expected plain text; remove the character"],
    ),
    "too-large": (
        b"# " + b"x" * 300_000,
        ["r.yaml: larger than 256 KiB; expected a recipe; split it"],
    ),
    "two-documents": (
        """\
version: 1
steps:
  s: {op: generate, prompt: hi}
---
version: 1
""",
        ["r.yaml:4:1: a second YAML document begins; expected one per file; remove the '---'"],
    ),
    "tab": (
        "version: 1\nsteps:\n\ts: 1\n",
        [
            "r.yaml:3:1: not valid YAML; found character '\\t' that cannot start any token; indent with spaces, not tabs, and quote text with @, ` or %"
        ],
    ),
    "colon-in-text": (
        """\
version: 1
steps:
  s:
    op: generate
    prompt: a sign: open
""",
        [
            "r.yaml:5:19: not valid YAML; mapping values are not allowed here; quote text that contains ': ', or mend the indentation"
        ],
    ),
    "unclosed-quote": (
        """\
version: 1
name: 'abc
""",
        [
            "r.yaml:2:7: not valid YAML; what opens here is not closed before the file ends; close it"
        ],
    ),
    "unclosed-bracket": (
        """\
version: 1
steps: {s: {op: generate
""",
        [
            "r.yaml:2:12: not valid YAML; what opens here is not closed before the file ends; close it"
        ],
    ),
    "duplicate-key": (
        """\
version: 1
name: a
name: b
steps:
  s: {op: generate, prompt: hi}
""",
        ["r.yaml:3:1: duplicate key 'name'; it is already on line 2; remove or rename one of them"],
    ),
    "duplicate-step": (
        """\
version: 1
steps:
  s: {op: generate, prompt: hi}
  s: {op: generate, prompt: again}
""",
        ["r.yaml:4:3: duplicate key 's'; it is already on line 3; remove or rename one of them"],
    ),
    "python-tag": (
        """\
version: 1
name: !!python/object/apply:os.system ['true']
steps:
  s: {op: generate, prompt: hi}
""",
        [
            "r.yaml:2:7: the tag '!!python/object/apply:os.system' is not allowed; expected plain YAML; remove the tag"
        ],
    ),
    "own-tag": (
        """\
version: 1
name: !secret x
steps:
  s: {op: generate, prompt: hi}
""",
        ["r.yaml:2:7: the tag '!secret' is not allowed; expected plain YAML; remove the tag"],
    ),
    "unknown-alias": (
        """\
version: 1
name: *title
steps:
  s: {op: generate, prompt: hi}
""",
        ["r.yaml:2:7: unknown alias '*title'; expected an anchor above it; define '&title' first"],
    ),
    "self-alias": (
        """\
version: 1
defaults: &d {size: *d}
steps:
  s: {op: generate, prompt: hi}
""",
        ["r.yaml:2:21: alias '*d' contains itself; expected a finite value; write it out"],
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
        [
            "r.yaml:7:14: aliases expand to more than 20000 values; expected a recipe of sane size; write fewer aliases of aliases"
        ],
    ),
    "too-deep": (
        "version: 1\nname: " + "[" * 40 + "]" * 40 + "\n",
        ["r.yaml:2:31: nested more than 24 levels; expected a flat recipe; unnest it"],
    ),
    "bad-merge": (
        """\
version: 1
defaults: {<<: 3}
steps:
  s: {op: generate, prompt: hi}
""",
        [
            "r.yaml:2:12: '<<' merges mappings only; expected an alias of a mapping; write '<<: *name'"
        ],
    ),
    "list-as-key": (
        """\
version: 1
? [a, b]
: 1
steps:
  s: {op: generate, prompt: hi}
""",
        ["r.yaml:2:3: a key is a list; expected text; write a plain name before the colon"],
    ),
}
