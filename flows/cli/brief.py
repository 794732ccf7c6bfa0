"""How a verb runs that ends at once: half of its time is that of its imports."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

_OBJECTS = 100_000  # made before garbage is looked for among them
_PLUGINS = "PYDANTIC_DISABLE_PLUGINS"


@contextmanager
def in_brief() -> Iterator[None]:
    """Without what a process that stays needs, and one that ends at once only waits for.

    Imports make a hundred thousand objects that stay: looking for garbage among them takes a tenth
    of the time. And pydantic looks through all that is installed for plugins of its own.
    """
    usual, named = gc.get_threshold(), os.environ.get(_PLUGINS)
    gc.set_threshold(_OBJECTS)
    os.environ[_PLUGINS] = "__all__"
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        if named is None:
            del os.environ[_PLUGINS]
        else:
            os.environ[_PLUGINS] = named
