"""Cleaning a store: what is needed (``needs``), what may go (``survey``), taking it (``sweep``)."""
