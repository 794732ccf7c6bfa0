"""Where a source picture is (``place``, ``remote``) and what was learnt of it (``cache``)."""
