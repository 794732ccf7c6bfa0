"""Recipe in, plan out: from YAML that people write to steps that have keys.

The language: source (YAML text to located nodes) -> validate (to the typed models of ``schema``)
-> recipe (with variables and ``--set``) -> matrix (axes, variants) -> graph (what each step
depends on, and what the model can do). A ``Review`` gathers what is wrong on the way. The plan,
which the language never imports: plan (keys, seeds, outputs), ``select`` and ``reroll``, planfile.
Sources, which both import: place, remote, cache.

``load_recipe(path, sets)`` and ``make_plan(recipe)`` are the two doors.
"""
