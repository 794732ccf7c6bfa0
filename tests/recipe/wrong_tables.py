"""Wrong tables, and recipes that ask them for what they lack: files, recipe, messages."""

# ruff: noqa: E501 - a message is one line

from __future__ import annotations

WRONG: dict[str, tuple[dict[str, str | bytes], str, list[str]]] = {
    "no-such-table": (
        {"scenes.csv": "name\na\n"},
        "matrix:\n  scene: {table: scense.csv}\n",
        ["r.yaml:3:18: no file 'scense.csv': did you mean 'scenes.csv'?"],
    ),
    "table-of-another-kind": (
        {"t.xlsx": b"PK"},
        "matrix:\n  scene: {table: t.xlsx}\n",
        [
            "r.yaml:3:18: 't.xlsx' is no table; expected .csv, .tsv, .yaml, .yml, .json, .jsonl or .ndjson; save it as one of these"
        ],
    ),
    "table-outside": (
        {},
        "matrix:\n  scene: {table: ../t.csv}\n",
        [
            "r.yaml:3:18: '../t.csv' lies outside the recipe's folder and the current folder; expected a file below one of them; move it there or start from a folder above it"
        ],
    ),
    "table-remote": (
        {},
        'matrix:\n  scene: {table: "s3://b/t.csv"}\n',
        [
            "r.yaml:3:18: 's3://b/t.csv' is no file; expected a table beside this one; download it first"
        ],
    ),
    "table-latin-1": (
        {"t.csv": b"name,words\na,caf\xe9\n"},
        "matrix:\n  scene: {table: t.csv}\n",
        ["t.csv:2:1: not UTF-8; expected UTF-8; save it again as UTF-8"],
    ),
    "table-utf-16": (
        {"t.csv": b"\xff\xfen\x00a\x00m\x00e\x00\n\x00a\x00\n\x00"},
        "matrix:\n  scene: {table: t.csv}\n",
        ["t.csv:1:1: the table is UTF-16; expected UTF-8; save it again as UTF-8"],
    ),
    "table-binary": (
        {"t.csv": b"name\na\x00b\n"},
        "matrix:\n  scene: {table: t.csv}\n",
        ["t.csv:2:1: the table is binary; expected text; name another file"],
    ),
    "two-columns": (
        {"t.csv": "name,words,words\na,b,c\n"},
        "matrix:\n  scene: {table: t.csv}\n",
        ["t.csv:1:1: two columns are named 'words'; expected one; rename one"],
    ),
    "two-columns-when-made-names": (
        {"t.csv": "name,Product name,Product_name\na,b,c\n"},
        "matrix:\n  scene: {table: t.csv}\n",
        ["t.csv:1:1: two columns are named 'Product_name'; expected one; rename one"],
    ),
    "column-without-name": (
        {"t.csv": "name,,words\na,b,c\n"},
        "matrix:\n  scene: {table: t.csv}\n",
        ["t.csv:1:1: column 2 has no name; expected one for each; write it"],
    ),
    "two-rows": (
        {"t.csv": "name\na\nb\na\n"},
        "matrix:\n  scene: {table: t.csv}\n",
        ["t.csv:4:1: two rows are named 'a' (lines 2 and 4); expected different names; rename one"],
    ),
    "ragged-row": (
        {"t.csv": "name,words\na,b\nc\n"},
        "matrix:\n  scene: {table: t.csv}\n",
        [
            "t.csv:3:1: this row has 1 cell; expected 2, as the header has; mend the row, or quote what holds the separator"
        ],
    ),
    "comma-unquoted": (
        {"t.csv": "name,words\na,on a beach, at night\n"},
        "matrix:\n  scene: {table: t.csv}\n",
        [
            "t.csv:2:1: this row has 3 cells; expected 2, as the header has; mend the row, or quote what holds the separator"
        ],
    ),
    "ragged-mapping": (
        {"t.yaml": "- {name: a, words: x}\n- {name: b}\n"},
        "matrix:\n  scene: {table: t.yaml}\n",
        [
            "t.yaml:2:1: this row lacks 'words'; expected the columns of the first row; give all rows the same"
        ],
    ),
    "ragged-lines": (
        {"t.jsonl": '{"name": "a"}\n\n{"name": "b", "words": "x"}\n'},
        "matrix:\n  scene: {table: t.jsonl}\n",
        [
            "t.jsonl:3:1: this row has 'words'; expected the columns of the first row; give all rows the same"
        ],
    ),
    "empty-table": (
        {"t.csv": ""},
        "matrix:\n  scene: {table: t.csv}\n",
        ["t.csv:1:1: the table has no rows; expected at least one; add it"],
    ),
    "only-a-header": (
        {"t.csv": "name,words\n"},
        "matrix:\n  scene: {table: t.csv}\n",
        ["t.csv:1:1: the table has no rows; expected at least one; add it"],
    ),
    "empty-json": (
        {"t.json": "[]"},
        "matrix:\n  scene: {table: t.json}\n",
        ["t.json:1:1: the table has no rows; expected at least one; add it"],
    ),
    "open-quote": (
        {"t.csv": 'name,words\na,"b\nc,d\n'},
        "matrix:\n  scene: {table: t.csv}\n",
        [
            "t.csv:3:1: not valid CSV (unexpected end of data); expected cells between ','; mend the quotes"
        ],
    ),
    "json-no-list": (
        {"t.json": '{"name": "a"}'},
        "matrix:\n  scene: {table: t.json}\n",
        ["t.json:1:1: the table is no list; expected a list of rows; write [{...}, {...}]"],
    ),
    "json-broken": (
        {"t.json": '[{"name": "a"},\n {"name": }]'},
        "matrix:\n  scene: {table: t.json}\n",
        ["t.json:2:1: not valid JSON (expecting value); expected a row {...}; mend it"],
    ),
    "json-broken-lines": (
        {"t.jsonl": '{"name": "a"}\n{"name" "b"}\n'},
        "matrix:\n  scene: {table: t.jsonl}\n",
        ["t.jsonl:2:1: not valid JSON (expecting ':' delimiter); expected a row {...}; mend it"],
    ),
    "json-nested": (
        {"t.json": '[{"name": "a", "words": ["x"]}]'},
        "matrix:\n  scene: {table: t.json}\n",
        ["t.json:1:1: 'words' holds more than one value; expected a text or a number; write one"],
    ),
    "json-column-twice": (
        {"t.json": '[{"name": "a", "name": "b"}]'},
        "matrix:\n  scene: {table: t.json}\n",
        ["t.json:1:1: two columns are named 'name'; expected one; rename one"],
    ),
    "yaml-no-list": (
        {"t.yaml": "name: a\n"},
        "matrix:\n  scene: {table: t.yaml}\n",
        ["t.yaml:1:1: the table is a mapping; expected a list of rows; write each row as '- ...'"],
    ),
    "yaml-row-no-mapping": (
        {"t.yaml": "- {name: a}\n- b\n"},
        "matrix:\n  scene: {table: t.yaml}\n",
        ["t.yaml:2:1: this row is no mapping; expected {column: value, ...}; write one"],
    ),
    "yaml-broken": (
        {"t.yaml": "- {name: a\n"},
        "matrix:\n  scene: {table: t.yaml}\n",
        [
            "t.yaml:1:3: not valid YAML; what opens here is not closed before the file ends; close it"
        ],
    ),
    "no-name-column": (
        {"t.csv": "title,words\na,b\n"},
        "matrix:\n  scene: {table: t.csv}\n",
        [
            "r.yaml:3:18: t.csv has no column 'name'; expected which column it is; add 'name: COLUMN'"
        ],
    ),
    "unknown-name-column": (
        {"t.csv": "title,words\na,b\n"},
        "matrix:\n  scene: {table: t.csv, name: titel}\n",
        ["r.yaml:3:31: no column 'titel' in t.csv: did you mean 'title'?"],
    ),
    "unknown-column-in-template": (
        {"t.csv": "sku,words\n1,b\n"},
        'matrix:\n  scene: {table: t.csv, name: "p-{skuu}"}\n',
        ["r.yaml:3:34: no column 'skuu' in t.csv: did you mean 'sku'?"],
    ),
    "empty-name-cell": (
        {"t.csv": "name,words\na,b\n,c\n"},
        "matrix:\n  scene: {table: t.csv}\n",
        ["t.csv:3:1: 'name' of this row is empty; expected one; fill in the cell"],
    ),
    "name-that-is-none": (
        {"t.csv": 'name\n"a,b"\n'},
        "matrix:\n  scene: {table: t.csv}\n",
        [
            "t.csv:2:1: 'a,b' cannot be a name; expected at most 60 characters, none of them one of , = [ ] { } / \\ : ; rename it"
        ],
    ),
    "where-unknown-column": (
        {"t.csv": "name,tier\na,1\n"},
        "matrix:\n  scene: {table: t.csv, where: tire <= 2}\n",
        ["r.yaml:3:32: unknown column 'tire' in where: did you mean 'tier'?"],
    ),
    "where-no-condition": (
        {"t.csv": "name,tier\na,1\n"},
        "matrix:\n  scene: {table: t.csv, where: tier is low}\n",
        [
            "r.yaml:3:32: 'tier' is compared by a sign that is not allowed; expected such as \"tier <= 2 and status != 'sold out'\""
        ],
    ),
    "where-call": (
        {"t.csv": "name,tier\na,1\n"},
        "matrix:\n  scene: {table: t.csv, where: \"__import__('os').system('ls')\"}\n",
        [
            "r.yaml:3:33: '__import__('os').system('ls')' is not allowed in a condition; expected such as \"tier <= 2 and status != 'sold out'\""
        ],
    ),
    "where-attribute": (
        {"t.csv": "name,tier\na,1\n"},
        "matrix:\n  scene: {table: t.csv, where: tier.real == 1}\n",
        [
            "r.yaml:3:32: 'tier.real' is not allowed in a condition; expected such as \"tier <= 2 and status != 'sold out'\""
        ],
    ),
    "where-a-column-alone": (
        {"t.csv": "name,live\na,1\n"},
        "matrix:\n  scene: {table: t.csv, where: live}\n",
        ["r.yaml:3:32: 'live' is a column and no condition; write it out, as live == 'yes'"],
    ),
    "where-order-of-texts": (
        {"t.csv": "name,tier\na,1\n"},
        "matrix:\n  scene: {table: t.csv, where: \"tier < 'b'\"}\n",
        ["r.yaml:3:40: 'b' is a text, which has no order; compare it by == or !="],
    ),
    "where-no-number": (
        {"t.csv": "name,tier\na,1\nb,high\n"},
        "matrix:\n  scene: {table: t.csv, where: tier <= 2}\n",
        ["t.csv:3:1: 'tier' is 'high', which is no number; expected one to compare; mend the cell"],
    ),
    "where-quoted-number": (
        {"t.csv": "name,tier\na,1\n"},
        "matrix:\n  scene: {table: t.csv, where: \"tier in [1, '2']\"}\n",
        ["r.yaml:3:41: '[1, '2']' mixes texts and numbers, or is empty; write one kind"],
    ),
    "where-nothing-left": (
        {"t.csv": "name,tier\na,1\n"},
        "matrix:\n  scene: {table: t.csv, where: tier > 2}\n",
        ["r.yaml:3:32: no row of t.csv is left; expected one; mend it"],
    ),
    "where-sum": (
        {"t.csv": "name,tier\na,1\n"},
        "matrix:\n  scene: {table: t.csv, where: tier + 1 > 2}\n",
        [
            "r.yaml:3:32: 'tier + 1' is not allowed in a condition; expected such as \"tier <= 2 and status != 'sold out'\""
        ],
    ),
    "unknown-key-of-a-table": (
        {"t.csv": "name\na\n"},
        "matrix:\n  scene: {table: t.csv, were: a}\n",
        ["r.yaml:3:25: unknown key 'were' in 'scene': did you mean 'where'?"],
    ),
    "join-no-column": (
        {"t.csv": "name,kind\na,b\n"},
        "matrix:\n  p: [x, y]\n  scene: {table: t.csv, join: {knd: p}}\n",
        ["r.yaml:4:32: no column 'knd' in t.csv: did you mean 'kind'?"],
    ),
    "join-no-axis": (
        {"t.csv": "name,kind\na,b\n"},
        "matrix:\n  p: [x, y]\n  scene: {table: t.csv, join: {kind: q.kind}}\n",
        ["r.yaml:4:38: unknown axis 'q' in join; expected 'p'; write 'column: axis.variable'"],
    ),
    "join-no-variable": (
        {"t.csv": "name,kind\na,b\n"},
        "matrix:\n  p: [{name: x, kind: b}]\n  scene: {table: t.csv, join: {kind: p.kindd}}\n",
        ["r.yaml:4:38: unknown variable 'kindd' in 'p': did you mean 'kind'?"],
    ),
    "join-without-match": (
        {"t.csv": "name,kind\na,b\n", "p.csv": "name,kind\nx,b\ny,c\nz,d\n"},
        "matrix:\n  p: {table: p.csv}\n  scene: {table: t.csv, join: {kind: p.kind}}\n",
        [
            "r.yaml:4:38: 2 of 3 values of 'p' match no 'scene' (p.csv lines 3 and 4); expected one for each; add rows, or leave them out by 'where'"
        ],
    ),
    "join-of-values-without-match": (
        {"t.csv": "name,kind\na,b\n"},
        "matrix:\n  p: [x, y]\n  scene: {table: t.csv, join: {kind: p}}\n",
        [
            "r.yaml:4:38: 2 of 2 values of 'p' match no 'scene' ('x', 'y'); expected one for each; add rows, or leave them out by 'where'"
        ],
    ),
    "picture-of-a-row-missing": (
        {"t.csv": "sku\n001\n002\n"},
        'inputs:\n  p: {table: t.csv, name: sku, file: "samples/{sku}.png"}\n',
        [
            "t.csv:2:1: no file 'samples/001.png': did you mean 'samples/shoe.png'?",
            "t.csv:3:1: no file 'samples/002.png': did you mean 'samples/shoe.png'?",
        ],
    ),
    "picture-column-missing": (
        {"t.csv": "sku,photo\n1,samples/shoe.png\n"},
        "inputs:\n  p: {table: t.csv, name: sku}\n",
        [
            "r.yaml:3:14: t.csv has no column 'file'; expected which column it is; add 'file: COLUMN'"
        ],
    ),
    "picture-cell-empty": (
        {"t.csv": "sku,file\n1,samples/shoe.png\n2,\n"},
        "inputs:\n  p: {table: t.csv, name: sku}\n",
        ["t.csv:3:1: 'file' of this row is empty; expected one; fill in the cell"],
    ),
    "picture-outside": (
        {"t.csv": "sku,file\n1,/etc/passwd\n"},
        "inputs:\n  p: {table: t.csv, name: sku}\n",
        [
            "t.csv:2:1: '/etc/passwd' lies outside the recipe's folder and the current folder; expected a file below one of them; move it there or start from a folder above it"
        ],
    ),
}
