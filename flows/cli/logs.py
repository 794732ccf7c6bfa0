"""The log of a process that stays: lines for people, or a JSON object on each.

In JSON what it says of itself is in the log too, and what Prefect writes has the same form.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from flows.settings import Settings

OWN = "flows"  # the logger of this package
# Prefect lets each entry of its own configuration of logging be said by a variable.
PREFECTS = {
    "PREFECT_LOGGING_FORMATTERS_JSON_CLASS": "flows.cli.logs.JsonLines",
    "PREFECT_LOGGING_FORMATTERS_JSON_FORMAT": "%(message)s",  # its own is none of the library's
    "PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER": "json",
}


class JsonLines(logging.Formatter):
    """``time`` (UTC, ISO 8601), ``level``, ``logger``, ``message``, ``flow_run``, ``error``."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; the last two only where there is such a thing."""
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if flow_run := getattr(record, "flow_run_name", None):
            told["flow_run"] = str(flow_run)
        if record.exc_info:
            told["error"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False)


def begin_log(settings: Settings) -> Callable[[str], None]:
    """Log to stderr from now on; what a process says of itself goes to what is returned.

    To be called before Prefect is imported, which reads its own level then.
    """
    level = settings.log_level.upper()
    if settings.log_format == "json":
        os.environ.update(PREFECTS)
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
