"""Recipe in, plan out: from YAML that people write to steps that have keys.

source (YAML text to located nodes) -> validate (to the typed models of ``schema``) -> recipe
(with variables and ``--set``) -> axes and matrix (variants) -> graph (what each step depends on)
-> limits (what the model can do) -> plan (keys, seeds, outputs). ``select``, ``overrides`` and
``reroll`` are how people name single frames of a plan and change their seeds.

``load_recipe(path, sets)`` and ``make_plan(recipe)`` are the two doors.
"""
