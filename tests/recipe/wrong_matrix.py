"""Recipes whose matrix or inputs are wrong. Each with its whole message."""

# ruff: noqa: E501 - a message is one line

from __future__ import annotations

from tests.recipe.workspace import Wrong

WRONG: dict[str, Wrong] = {
    "axis-not-list": (
        "matrix:\n  scene: beach\n",
        "3:10: 'scene' is the text 'beach'; expected a list; write each entry as '- ...'",
    ),
    "axis-empty": (
        "matrix:\n  scene: []\n",
        "3:10: 'scene' is empty; expected at least one; add it",
    ),
    "value-twice": (
        """\
matrix:
  scene:
    - beach
    - {name: beach, words: x}
""",
        "5:7: two values of 'scene' are named 'beach' (entries 1 and 2); expected different names; rename one",
    ),
    "value-without-name": (
        """\
matrix:
  scene:
    - {words: on a beach}
""",
        "4:7: this value has no 'name' and no 'value'; expected one of them; add 'name: ...'",
    ),
    "value-bad-name": (
        """\
matrix:
  scene:
    - {name: 'a,b'}
""",
        "4:14: 'a,b' cannot be a name; expected at most 60 characters, none of them one of , = [ ] { } / \\ : ; rename it",
    ),
    "exclude-unknown-axis": (
        """\
matrix:
  scene: [a, b]
  exclude:
    - {scnee: a}
""",
        "5:8: unknown axis 'scnee' in exclude: did you mean 'scene'?",
    ),
    "exclude-unknown-value": (
        """\
matrix:
  scene: [beach, snow]
  exclude:
    - scene: baech
""",
        "5:14: unknown value 'baech' in exclude for 'scene': did you mean 'beach'?",
    ),
    "exclude-all": (
        """\
matrix:
  scene: [a]
  exclude: [{scene: a}]
""",
        "4:3: every combination is excluded; expected at least one variant; remove an entry",
    ),
    "include-unknown-value": (
        """\
matrix:
  scene: [beach, snow]
  include: [{scene: night}]
""",
        "4:21: unknown value 'night' in include for 'scene'; expected 'beach' or 'snow'; write one of these or define a new one: {name: ..., ...}",
    ),
    "include-known-as-new": (
        """\
matrix:
  scene: [beach, snow]
  include: [{scene: {name: snow, value: x}}]
""",
        "4:21: 'snow' is a value of 'scene' already; expected a new one; write its name only",
    ),
    "include-list": (
        """\
matrix:
  scene: [beach, snow]
  include: [{scene: [beach]}]
""",
        "4:21: cannot be read as a value of this axis; expected its name, or a mapping that defines a new one; write {name: ..., ...}",
    ),
    "too-many-combinations-before-any-is-left-out": (
        "matrix:\n"
        + "".join(f"  {axis}: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\n" for axis in "abcdef")
        + "  exclude: [{a: [1, 2, 3, 4, 5, 6, 7, 8, 9]}]\n",
        [
            "2:1: the matrix has more than 200000 combinations, before 'exclude' (10 a x 10 b x 10 c x 10 d x 10 e x 10 f); expected at most 200000; split the recipe or remove values"
        ],
    ),
    "too-many-variants": (
        """\
matrix:
  a: [0,1,2,3,4,5,6,7,8,9]
  b: [0,1,2,3,4,5,6,7,8,9]
  c: [0,1,2,3,4,5,6,7,8,9]
  d: [0,1,2,3,4,5,6,7,8,9]
  e: [0,1,2,3,4,5,6,7,8,9]
""",
        "2:1: the matrix has 100000 variants (10 a x 10 b x 10 c x 10 d x 10 e); expected at most 10000; split the recipe or remove values",
    ),
    "missing-file": (
        "inputs:\n  p: samples/sheo.png\n",
        "3:6: no file 'samples/sheo.png': did you mean 'samples/shoe.png'?",
    ),
    "missing-file-far": (
        """\
inputs:
  p:
    - samples/shoe.png
    - {file: nowhere/zzz.png, noun: x}
""",
        "5:14: no file 'nowhere/zzz.png'; expected a picture in 'nowhere'; check the path",
    ),
    "input-is-folder": (
        "inputs: {p: samples}\n",
        "2:13: 'samples' is a folder; expected a picture; write 'samples/*' for all in it",
    ),
    "glob-matches-nothing": (
        "inputs:\n  p: samples/*.jpg\n",
        "3:6: no picture matches 'samples/*.jpg'; expected at least one; check the pattern",
    ),
    "input-outside": (
        "inputs: {p: ../../etc/passwd}\n",
        "2:13: '../../etc/passwd' lies outside the recipe's folder and the current folder; expected a file below one of them; move it there or start from a folder above it",
    ),
    "input-absolute": (
        "inputs: {p: /etc/passwd}\n",
        "2:13: '/etc/passwd' lies outside the recipe's folder and the current folder; expected a file below one of them; move it there or start from a folder above it",
    ),
    "input-too-long": (
        "inputs:\n  p: " + "x" * 300 + "\n",
        "3:6: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\u2026' cannot be read (file name too long); expected a picture; check the path",
    ),
    "input-nul": (
        'inputs:\n  p: "a\\0*"\n',
        "3:6: 'a\\x00*' holds a control character; expected a path; remove the character",
    ),
    "input-s3": (
        "inputs: {p: 's3://bucket/x.png'}\n",
        "2:13: 's3://bucket/x.png' lies where recipes may not read; expected the store's bucket or one of inputs.buckets (none yet); add 'bucket' there if this recipe is to be trusted with it",
    ),
    "input-s3-secret": (
        "inputs: {p: 's3://AKIAIOSFODNN7EXAMPLE:hush@bucket/x.png'}\n",
        "2:13: this address holds more than a bucket and a key; expected s3://bucket/key; credentials belong into the environment, a profile or a role",
    ),
    "input-s3-folder": (
        "inputs: {p: 's3://bucket/shoes/'}\n",
        "2:13: 's3://bucket/shoes/' is a folder; expected a picture; write 's3://bucket/shoes/*' for all in it",
    ),
    "input-s3-leaves": (
        """\
inputs:
  p:
    - s3://bucket/shoes/../hats/*.png
""",
        "4:7: 's3://bucket/shoes/../hats/*.png' is no address of an object; expected s3://bucket/key without '.', '..' or empty parts; mend it",
    ),
    "input-s3-bad-bucket": (
        "inputs: {p: 's3://b/x.png'}\n",
        "2:13: 'b' cannot be a bucket; expected s3://bucket/prefix with 3 to 63 letters, digits, '.' and '-'; mend the address",
    ),
    "input-https": (
        "inputs: {p: 'https://host/x.png?X-Amz-Signature=hush'}\n",
        "2:13: 'https://' is not read in version 1; expected a file or s3://bucket/key; download it first",
    ),
    "input-names-clash": (
        "inputs:\n  p: [{file: samples/shoe.png, name: a}, {file: other/shoe.png, name: a}]\n",
        "3:42: two files of 'p' are named 'a'; expected different names; give one of them a 'name'",
    ),
    "input-file-twice": (
        "inputs:\n  p: [samples/shoe.png, other/../samples/shoe.png]\n",
        "3:25: two files of 'p' are named 'shoe'; expected different names; give one of them a 'name'",
    ),
    "input-named-glob": (
        "inputs:\n  p: {file: samples/*.png, name: x}\n",
        "3:13: 'samples/*.png' matches 3 files that would all be named 'x'; expected one; remove 'name' or name the file",
    ),
    "input-number": (
        """\
inputs:
  p:
    - {file: samples/shoe.png, tags: [a, b]}
""",
        "4:38: 'tags' is a list; expected text; put it in quotes",
    ),
}
