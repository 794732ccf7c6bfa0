"""Cleaning a store: what must stay (``roots``), what may go (``mark``), taking it (``sweep``)."""
