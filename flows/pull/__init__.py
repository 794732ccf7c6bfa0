"""The way out: the runs of a store (``listing``), and bringing their outputs home (``pull``)."""
