"""The keys of all shipped recipes, frozen: ``python -m tests.recipe.frozen`` writes them anew.

They move only by a model's stated defaults or by a change that was announced: what studios have
made so far would be made again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from flows.plan.step import Plan
from kontext_engine.spec import NumericsProfile
from tests.recipe.workspace import plan_file

ROOT = Path(__file__).parents[2]
TABLE = Path(__file__).with_name("frozen.json")
RECIPES = ("journey", "packshots", "product-backgrounds", "seasons", "storyboard", "style-series",
           "text-to-image-set")  # fmt: skip


def planned(name: str) -> Plan:
    """A shipped recipe with the hand-built model, whose weights have a fixed digest."""
    return plan_file(ROOT / "recipes" / f"{name}.yaml", numerics=NumericsProfile())


def keys_of(plan: Plan) -> Mapping[str, str]:
    """Each label's key, and under ``outputs`` what names the run: keys and files together."""
    return {**plan.labels, "outputs": plan.digest}


def main() -> int:
    table = {name: keys_of(planned(name)) for name in RECIPES}
    TABLE.write_text(json.dumps(table, indent=0) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
