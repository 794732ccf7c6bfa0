"""Ten products and a recipe that takes each to a beach, into the night, and another way to red."""

from __future__ import annotations

from pathlib import Path

from tests.oddities import noise

RECIPE = """\
version: 1
name: ten products
model: {model}
inputs:
  product: in/*.png
defaults: {{steps: 1, size: 64x64}}
steps:
  place: {{op: edit, image: product, prompt: put it on a beach}}
  night: {{op: edit, image: place, prompt: make it night}}
  red: {{op: edit, image: product, prompt: make it red}}
"""
STEPS = 30


def write_ten_products(folder: Path, model: Path) -> Path:
    """The recipe's path; its pictures beside it in ``in/``."""
    (folder / "in").mkdir(parents=True)
    for number in range(10):
        noise(number).save(folder / "in" / f"p{number}.png")
    path = folder / "ten.yaml"
    path.write_text(RECIPE.format(model=model))
    return path
