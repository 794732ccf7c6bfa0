"""Twenty delivered files of the shipped recipes, five of them stripped, made again and compared.

``python -m tests.acceptance.remade [FOLDER]`` makes them with ``kontext-mini`` (minutes), strips
five with exiftool, and has ``kontext remake --anew`` compute each from its sources. It ends with 1
if one picture is not the same in every pixel.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from flows.cli import main as kontext
from flows.plan.plan import make_plan
from flows.recipe.recipe import load_recipe
from flows.run.pipeline import RunRequest, plan_recipe, run_recipe

ROOT = Path(__file__).parents[2]
FILES, STRIPPED = 20, 5


def chosen(recipe: Path, count: int) -> list[str]:
    """Labels of steps that are handed out, spread over the recipe."""
    plan = make_plan(load_recipe(recipe))
    labels = [plan.steps[output.key].label for output in plan.outputs]
    return [labels[at * len(labels) // count] for at in range(count)]


def delivered(store: Path) -> list[Path]:
    """Files of all shipped recipes, as many of each as it takes."""
    recipes = sorted((ROOT / "recipes").glob("*.yaml"))
    found: list[Path] = []
    for number, recipe in enumerate(recipes):
        count = FILES * (number + 1) // len(recipes) - FILES * number // len(recipes)
        request = RunRequest(recipe, store, only=tuple(chosen(recipe, count)))
        finished = run_recipe(plan_recipe(request), request)
        assert finished.manifest.whole, finished.manifest.why
        wanted = set(request.only)
        by_key = {step.key: step.label for step in finished.manifest.steps}
        own = [one for one in finished.manifest.outputs if by_key.get(one.key) in wanted]
        each = {one.key: Path(finished.folder) / one.path for one in own}
        found += list(each.values())[:count]
    return found


def remade(file: Path, store: Path, target: Path) -> tuple[int, str]:
    """What ``kontext remake`` ends with, and says."""
    out, err = io.StringIO(), io.StringIO()
    command = ["remake", str(file), "--anew", "--to", str(target), "--store", str(store)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            kontext([*command, "--source", str(ROOT / "recipes" / "samples")])
    except SystemExit as end:
        return int(end.code or 0), (out.getvalue() + err.getvalue()).strip()


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    store = folder.resolve() / "out"
    files = delivered(store)
    os.chdir(folder)
    same = 0
    for number, whole in enumerate(files):
        stripped = number % (FILES // STRIPPED) == 0
        file = Path(f"{number}{whole.suffix}")
        shutil.copy(whole, file)
        if stripped:
            subprocess.run(["exiftool", "-q", "-overwrite_original", "-all=", file], check=True)
        code, told = remade(file, store, Path(f"{number}-again{file.suffix}"))
        same += code == 0
        sys.stdout.write(f"{'stripped' if stripped else 'whole':<9}{told}\n")
    sys.stdout.write(f"{same} of {len(files)} the same in every pixel\n")
    return 0 if same == len(files) == FILES else 1


if __name__ == "__main__":
    sys.exit(main())
