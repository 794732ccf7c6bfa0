"""Everything on one machine, without containers: the processes of ``kontext up`` and their folder.

Supervisor keeps them; this room writes its configuration and asks it. It knows no Prefect but as a
program that is started.
"""

from __future__ import annotations


class UpError(Exception):
    """It cannot be started, or not gone on with; the message says why and what to do."""
