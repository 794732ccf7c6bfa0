"""``python -m tests.pictures [--to FOLDER] [--former MODEL] [NAME …]``: what the shipped miniature
makes, as the docs show it.

Recipes run as anybody runs them, in a process of their own; what comes out is laid side by side.
``--former`` is the folder of earlier weights: then the storyboard stands above by those, below by
the shipped ones. The dashboard's pictures are made by ``python -m tests.up.browser``.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from kontext_engine.api import EngineOptions
from kontext_engine.catalogue import resolve_model
from kontext_engine.engine import KontextEngine
from kontext_engine.training.cutouts import read_set
from kontext_engine.training.grid import cell_size, draw_grid, held_out_items, sheet_of
from tests.dashboard import browsing

ROOT = Path(__file__).resolve().parents[1]
RECIPES = ROOT / "recipes"
GAP = 6
HIGH = 128  # pixels of a picture in a row of many
SHOWN = 240  # of one that is shown enlarged
UNCOVERED = (4, 8, 16, 20)  # of the grid


class Studio:
    """Runs recipes into a folder that is thrown away."""

    def __init__(self, folder: Path, former: str) -> None:
        self.folder, self.former = folder, former

    def outputs(self, recipe: str, model: str = "") -> Path:
        """The folder of a finished run."""
        out = self.folder / f"{recipe.replace('/', '-')}{'-former' if model else ''}"
        if not out.exists():
            asked = ["--set", f"model={model}"] if model else []
            command = [Path(sys.executable).with_name("kontext"), "run"]
            subprocess.run(
                [*command, RECIPES / f"{recipe}.yaml", "--out", out, *asked],
                check=True, stdout=subprocess.DEVNULL,
            )  # fmt: skip
        (run,) = (out / "runs").iterdir()
        return run


def read(path: Path, edge: int = 0) -> Image.Image:
    """A picture, ``edge`` pixels high where that is given."""
    with Image.open(path) as opened:
        found = opened.convert("RGB")
    if not edge:
        return found
    width = round(found.width * edge / found.height)
    return found.resize((width, edge), Image.Resampling.BICUBIC)


def laid(rows: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """Rows of pictures on white, as wide as the widest."""
    widths = [sum(one.width + GAP for one in row) - GAP for row in rows]
    heights = [max(one.height for one in row) for row in rows]
    sheet = Image.new("RGB", (max(widths), sum(heights) + GAP * (len(rows) - 1)), "white")
    top = 0
    for row, height in zip(rows, heights, strict=True):
        left = 0
        for one in row:
            sheet.paste(one, (left, top))
            left += one.width + GAP
        top += height + GAP
    return sheet


def paired(rows: Sequence[list[Image.Image]]) -> list[list[Image.Image]]:
    """Two rows as one."""
    return [a + b for a, b in zip(rows[::2], rows[1::2], strict=True)]


def told(run: Path, source: Path) -> list[Image.Image]:
    """A picture, and all that a run made of it in the order of their names."""
    # A recipe may call a subject by the first word of its file's name.
    (folder,) = (one for one in run.iterdir() if one.is_dir() and source.stem.startswith(one.name))
    made = sorted(folder.glob("*.png"))
    return [read(one, HIGH) for one in (source, *made)]


def products(studio: Studio) -> Image.Image:
    run = studio.outputs("product-backgrounds")
    made = ("beach", "marble", "forest", "sunset", "campaign-gold")
    sources = sorted((RECIPES / "samples" / "products").glob("*.png"))
    return laid(
        paired(
            [
                [read(s, HIGH), *(read(run / s.stem / f"{name}.png", HIGH) for name in made)]
                for s in sources
            ]
        )
    )


def journey(studio: Studio) -> Image.Image:
    run = studio.outputs("journey")
    sources = sorted((RECIPES / "samples" / "actors").glob("*.png"))
    return laid([told(run, s) for s in sources])


def storyboard(studio: Studio) -> Image.Image:
    sources = sorted((RECIPES / "samples" / "characters").glob("*.png"))
    rows: list[list[Image.Image]] = []
    for model in [studio.former, ""] if studio.former else [""]:
        run = studio.outputs("storyboard", model)
        if rows:
            rows.append([Image.new("RGB", (1, 2 * GAP), "white")])
        rows += paired([told(run, s) for s in sources])
    return laid(rows)


def exact_product(studio: Studio) -> Image.Image:
    run = studio.outputs("briefs/exact-product")
    names = ("top-hat", "backpack", "cup-with-straw", "t-shirt")
    given = [read(RECIPES / "briefs" / "exact" / f"{name}.png", SHOWN) for name in names]
    return laid([given, [read(run / f"{name}.png", SHOWN) for name in names]])


def red_box(studio: Studio) -> Image.Image:
    run = studio.outputs("briefs/red-box")
    made = [read(run / f"{name}.png", SHOWN) for name in ("cactus", "candle", "teddy-bear")]
    return laid([[read(RECIPES / "briefs" / "red-box.png", SHOWN), *made]])


def sheet(studio: Studio) -> Image.Image:
    run = studio.outputs("social-pack")
    page = studio.folder / "page"
    command = ["pdftoppm", "-r", "90", "-png", "-singlefile", run / "social-pack.pdf", page]
    subprocess.run(command, check=True)
    whole = read(page.with_suffix(".png"))
    return whole.crop((0, 0, whole.width, 340))


def report(studio: Studio) -> Image.Image:
    run = studio.outputs("product-backgrounds")
    with browsing(800, 1000) as page:
        page.goto((run / "report.html").as_uri())
        page.wait_for_timeout(1000)
        with Image.open(io.BytesIO(page.screenshot())) as shot:
            return shot.convert("RGB")


def grid(studio: Studio) -> Image.Image:
    path = studio.folder / "grid.png"
    if not path.exists():
        engine = KontextEngine.load(resolve_model("kontext-mini"), EngineOptions())
        draw_grid(engine, held_out_items(read_set(ROOT / "tests" / "data" / "cutouts")), path)
    return read(path)


def uncover(studio: Studio) -> Image.Image:
    whole = grid(studio)
    width, height = cell_size()
    corners = [divmod(number - 1, whole.width // width) for number in UNCOVERED]
    cells = [
        whole.crop((x * width, y * height, (x + 1) * width, (y + 1) * height)) for y, x in corners
    ]
    return sheet_of(cells, columns=2)


DRAWN: dict[str, Callable[[Studio], Image.Image]] = {
    "products": products, "journey": journey, "storyboard": storyboard, "report": report,
    "exact-product": exact_product, "red-box": red_box, "sheet": sheet, "grid": grid,
    "uncover": uncover,
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--former", default="", help="the folder of earlier weights")
    parser.add_argument("names", nargs="*", default=list(DRAWN), metavar="NAME")
    given = parser.parse_args()
    if wrong := [name for name in given.names if name not in DRAWN]:
        parser.error(f"no picture {wrong[0]!r}; expected one of {', '.join(DRAWN)}")
    given.to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kontext-pictures-") as folder:
        studio = Studio(Path(folder), given.former)
        for name in given.names:
            DRAWN[name](studio).save(given.to / f"{name}.jpg", quality=90)
            sys.stdout.write(f"{name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
