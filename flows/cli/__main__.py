"""``python -m flows.cli``: the same as ``kontext``."""

from flows.cli import main

main()
