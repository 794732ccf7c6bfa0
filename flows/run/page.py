"""Pages' templates: how they are read, whoever writes one."""

from __future__ import annotations

import functools

from jinja2 import Environment, PackageLoader, StrictUndefined


@functools.cache  # to compile a template takes a quarter of a second
def templates(package: str) -> Environment:
    """The templates beside a package's modules; whatever is filled in is escaped."""
    return Environment(
        loader=PackageLoader(package, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
