"""A folder with sample inputs, a model spec built by hand, and short ways to plan in it."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

from flows.plan.plan import make_plan
from flows.plan.step import Plan
from flows.recipe.recipe import load_recipe, parse_recipe
from kontext_engine.geometry import Size
from kontext_engine.spec import ModelSpec

ROOT = Path(__file__).parents[2]
MODEL = ModelSpec(
    name="kontext-mini",
    source="/nowhere",
    digest="ab" * 32,
    pixel_area=128 * 128,
    default_size=Size(128, 128),
    sizes=(Size(128, 128),),
    text_tokens=77,
    default_steps=16,
    default_guidance=2.5,
    guidance_embedded=True,
    max_contexts=2,
)
# A text with its mistakes: whole, with whole messages that begin with its file; or what stands
# between "version: 1" and a step that is put at the end, with messages that begin with the place.
Wrong = tuple[str | bytes, str] | tuple[str, list[str]]
PRODUCTS = ("camera", "handbag", "shoe")


def make_samples(folder: Path) -> None:
    """``samples/{camera,handbag,shoe}.png`` of different colours, and what is no picture."""
    samples = folder / "samples"
    samples.mkdir(parents=True)
    for index, name in enumerate(PRODUCTS):
        Image.new("RGB", (8, 8), (index, 100, 200)).save(samples / f"{name}.png")
    (samples / "notes.txt").write_text("no picture")
    (folder / "masks").mkdir()
    Image.new("L", (8, 8), 255).save(folder / "masks" / "shoe.png")
    Image.new("L", (4, 8), 255).save(folder / "small.png")
    Image.new("L", (8, 8)).save(folder / "none.png")
    half = Image.new("L", (8, 8))
    half.paste(255, (0, 0, 4, 8))
    half.save(folder / "half.png")
    Image.new("RGB", (8, 8), "red").save(folder / "other.png")
    (folder / "other").mkdir()
    Image.new("RGB", (8, 8), "white").save(folder / "other" / "shoe.png")


def plan_text(text: str, folder: Path, **options: object) -> Plan:
    """Plan a recipe given as text, as if it lay in ``folder``."""
    sets = options.pop("sets", ())
    options.setdefault("model", MODEL)
    recipe = parse_recipe(text, folder / "r.yaml", sets)  # type: ignore[arg-type]
    return make_plan(recipe, **options)  # type: ignore[arg-type]


def plan_file(path: Path, **options: object) -> Plan:
    """Plan a recipe file with the hand-built model."""
    options.setdefault("model", MODEL)
    return make_plan(load_recipe(path), **options)  # type: ignore[arg-type]


def wrong_file(case: Wrong) -> tuple[bytes, list[str]]:
    """The bytes of a wrong recipe, and what is to be told of it as ``r.yaml``."""
    text, told = case
    lines = [told] if isinstance(told, str) else told
    if isinstance(text, bytes) or lines[0].startswith("r.yaml:"):
        return text.encode() if isinstance(text, str) else text, lines
    if not re.search(r"^steps:", text, re.MULTILINE):
        op = "op: edit, image: p" if re.search(r"^inputs:", text, re.MULTILINE) else "op: generate"
        text += f"steps:\n  s: {{{op}, prompt: hi}}\n"
    return f"version: 1\n{text}".encode(), [f"r.yaml:{line}" for line in lines]
