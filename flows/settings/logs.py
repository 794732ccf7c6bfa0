"""A line of a log as a JSON object, for whatever reads many of them."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime


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
