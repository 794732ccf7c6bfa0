"""The Prefect side: three flows, the worker type that carries them out, their deployments.

Prefect schedules, and is imported in this folder alone. Who lives is told by leases in the store
(``flows.store.leases``), what is done by its records and verdicts; so every body here may be killed
anywhere and carried out again.
"""

import os
from pathlib import Path

# Before Prefect is imported, which reads its settings then; what people have set stays.
_STATE = os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
for _name, _value in {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # Results are one word each, and never read.
    "PREFECT_LOCAL_STORAGE_PATH": f"{_STATE}/kontext/results",
    # Own loops ask again; with five retries waiting callers move half a minute after the return.
    "PREFECT_CLIENT_MAX_RETRIES": "2",
    "PREFECT_API_REQUEST_TIMEOUT": "15",
}.items():
    os.environ.setdefault(_name, _value)
