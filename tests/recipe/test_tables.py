"""Tables in the place of lists: all kinds read alike, cells stay texts, rows are chosen, joined."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.recipe.tables import read_table
from flows.recipe.where import read_where
from tests.recipe.workspace import plan_text

ROWS = [("007", "On a beach, at night", "=SUM(A1)"), ("1.50", 'so "called"', "")]
HEADER = ("sku", "Product name", "note")
WRITTEN = {
    "t.csv": '\ufeffsku,Product name,note\r\n007,"On a beach, at night",=SUM(A1)\r\n\r\n'
    '1.50,"so ""called""",\r\n',
    "semicolons.csv": "sku;Product name;note\n"
    '007;On a beach, at night;=SUM(A1)\n1.50;"so ""called""";\n',
    "t.tsv": "sku\tProduct name\tnote\n"
    '007\tOn a beach, at night\t=SUM(A1)\n1.50\t"so ""called"""\t\n',
    "t.yaml": "- {sku: 007, Product name: 'On a beach, at night', note: =SUM(A1)}\n"
    "- sku: 1.50\n  Product name: so \"called\"\n  note: ''\n",
    "t.json": json.dumps([dict(zip(HEADER, row, strict=True)) for row in ROWS], indent="\t"),
    "t.jsonl": '{"sku": "007", "Product name": "On a beach, at night", "note": "=SUM(A1)"}\n\n'
    '{"sku": 1.50, "Product name": "so \\"called\\"", "note": null}\n',
}


@pytest.mark.parametrize("name", WRITTEN)
def test_every_kind_of_table_is_read_to_the_same_rows(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(WRITTEN[name].encode())
    table = read_table(path, name)
    assert [tuple(row.cells.values()) for row in table.rows] == ROWS
    assert list(table.columns.values()) == ["sku", "Product_name", "note"]
    lines = {"t.csv": [2, 4], "t.yaml": [1, 2], "t.json": [2, 7], "t.jsonl": [1, 3]}
    assert [row.line for row in table.rows] == lines.get(name, [2, 3])


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("tier <= 2", "ab"),
        ("1 < tier <= 3", "bc"),
        ("tier == 1.0", "a"),
        ("tier == '01'", "a"),
        ("status != 'sold out' and tier >= 2", "c"),
        ("not (status == 'live' or tier == 2)", ""),
        ("status in ['sold out', 'gone']", "b"),
        ("tier not in (1, 2)", "c"),
        ("'out' in status", "b"),
        ("status == size", ""),
        ("tier > -1 and tier < 1e1", "abc"),
        ("size < tier", "c"),
    ],
)
def test_conditions(text: str, kept: str) -> None:
    rows = {
        "a": {"tier": "01", "status": "live", "size": "5"},
        "b": {"tier": "2", "status": "sold out", "size": "5"},
        "c": {"tier": "3", "status": "live", "size": "2.5"},
    }
    test = read_where(text, {name: name for name in rows["a"]})
    assert "".join(name for name, cells in rows.items() if test(cells)) == kept


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_a_catalogue_with_scenes_of_its_categories(folder: Path) -> None:
    write(
        folder,
        products__csv="sku,name,kind,photo,tier\n001,Red shoe,shoes,shoe,1\n"
        "002,Bag,bags,handbag,2\n003,Old bag,bags,handbag,9\n",
        scenes__yaml="- {name: street, kind: shoes, words: a street}\n"
        "- {name: gym, kind: shoes, words: a gym}\n- {name: table, kind: bags, words: a table}\n"
        "- {name: beach, kind: hats, words: a beach}\n",
    )
    plan = plan_text(
        """\
version: 1
variables: {most: 2}
inputs:
  product: {table: products.csv, name: sku, file: "samples/{photo}.png", where: "tier <= {most}"}
matrix:
  scene: {table: scenes.yaml, join: {kind: product.kind}}
steps:
  s: {op: edit, image: product, prompt: "the {product.name_column} on {scene.words}"}
""",
        folder,
    )
    assert [step.params.prompt for step in plan.steps.values()] == [
        "the Red shoe on a street",
        "the Red shoe on a gym",
        "the Bag on a table",
    ]
    assert [variant.id for variant in plan.variants] == ["001,street", "001,gym", "002,table"]
    assert plan.variants[0].details["product.kind"] == "shoes"
    assert plan.warnings == (
        f"{folder}/r.yaml:6:44: 1 of 4 values of 'scene' match no 'product' and are not used "
        f"({folder}/scenes.yaml line 4)",
    )


def test_axes_side_by_side(folder: Path) -> None:
    text = """\
version: 1
matrix:
  a: [a1, a2]
  b: [b1, b2]
  c: [c1, c2]
  exclude: [{a: a2, c: c1}]
  include: [{a: a1, b: b2, c: c1}]
zip: [a, c]
steps:
  s: {op: generate, prompt: "{a} {b} {c}"}
"""
    ids = [variant.id for variant in plan_text(text, folder).variants]
    assert ids == ["a1,b1,c1", "a1,b2,c1", "a2,b1,c2", "a2,b2,c2"]
    one = text.replace("{a: a1, b: b2, c: c1}", "{a: a2}").replace("{a: a2, c: c1}", "{a: a2}")
    assert [variant.id for variant in plan_text(one, folder).variants] == ids


def test_a_picture_its_mask_and_its_words_from_one_table(folder: Path) -> None:
    write(folder, t__csv="name,photo,mask,words\nx,shoe,camera,one\ny,handbag,shoe,two\n")
    plan = plan_text(
        """\
version: 1
inputs:
  photo: {table: t.csv, file: "samples/{photo}.png"}
  mask: {table: t.csv, file: "samples/{mask}.png"}
matrix: {words: {table: t.csv, value: words}}
zip: [photo, mask, words]
steps:
  s: {op: edit, image: [photo, mask], prompt: "{words}"}
""",
        folder,
    )
    found = [(s.params.prompt, [c.path.name for c in s.contexts]) for s in plan.steps.values()]
    assert found == [("one", ["shoe.png", "camera.png"]), ("two", ["handbag.png", "shoe.png"])]


def test_the_cap_counts_what_is_left(folder: Path) -> None:
    numbers = ", ".join(map(str, range(300)))
    text = (
        f"version: 1\nmatrix:\n  a: [{numbers}]\n  b: [{numbers}]\n"
        f"  exclude: [{{b: [{', '.join(map(str, range(1, 300)))}]}}]\n"
        "steps:\n  s: {op: generate, prompt: '{a} {b}'}\n"
    )
    assert len(plan_text(text, folder).variants) == 300
