"""The log of a process that stays: lines for people, or a JSON object on each.

In JSON what it says of itself is in the log too, and what Prefect writes has the same form.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from flows.settings import Settings

OWN = "flows"  # the logger of this package
# Prefect lets each entry of its own configuration of logging be said by a variable.
PREFECTS = {
    "PREFECT_LOGGING_FORMATTERS_JSON_CLASS": "flows.settings.logs.JsonLines",
    "PREFECT_LOGGING_FORMATTERS_JSON_FORMAT": "%(message)s",  # its own is none of the library's
    "PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER": "json",
}


def begin_log(settings: Settings) -> Callable[[str], None]:
    """Log to stderr from now on; what a process says of itself goes to what is returned.

    To be called before Prefect is imported, which reads its own level then.
    """
    from flows.settings.load import variable
    from flows.settings.logs import JsonLines

    level = settings.log_level.upper()
    if settings.log_format == "json":
        os.environ.update(PREFECTS)
    os.environ[variable(("log_format",))] = settings.log_format  # engines' processes go by it
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", level)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger(OWN)
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False  # Prefect has a handler of its own on the root
    if settings.log_format == "text":
        return typer.echo
    handler.setFormatter(JsonLines())
    return logging.getLogger(f"{OWN}.worker").info
