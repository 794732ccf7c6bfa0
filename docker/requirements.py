"""Print what pyproject.toml asks for, and what the extras named as arguments ask for besides."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
extras = project["optional-dependencies"]
print(
    "\n".join([*project["dependencies"], *(line for name in sys.argv[1:] for line in extras[name])])
)
