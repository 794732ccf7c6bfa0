"""From a recipe to steps that have keys: seeds, keys, outputs, selection, re-rolls, forecast.

``make_plan(recipe)`` is the door; ``planfile`` writes a plan down and reads it again, and
``estimate`` says how long it would take.
"""
