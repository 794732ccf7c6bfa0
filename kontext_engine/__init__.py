"""Edit requests in, pictures out: FLUX.1 Kontext inference and training (arXiv 2506.15742).

Knows no recipe, no store and no Prefect; never imports ``flows``.
"""
