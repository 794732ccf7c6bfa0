"""The language: from YAML that people write to variants.

source (YAML text to located nodes) -> validate (to the typed models of ``schema``) -> recipe (with
variables and ``--set``) -> matrix (axes, variants) -> graph (what each step depends on, and what
the model can do). A ``Review`` gathers what is wrong on the way. ``load_recipe(path, sets)`` is the
door; the plan is made in ``flows.plan``, which the language never imports.
"""
