"""For PYTHONPATH: in that process nothing of the extra ``engine`` can be imported."""

import re
import sys
import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))[
    "project"
]
REFUSED = {re.split(r"\W", line)[0] for line in PROJECT["optional-dependencies"]["engine"]}


class Refusing:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in REFUSED:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)


sys.meta_path.insert(0, Refusing)
