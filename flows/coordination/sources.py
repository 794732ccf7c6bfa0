"""Where the sources' place in the store is found under its old name."""

from __future__ import annotations

from flows.execution.sources import put_sources, sources_of

__all__ = ["put_sources", "sources_of"]
