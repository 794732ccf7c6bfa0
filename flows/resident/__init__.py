"""Engine processes that stay: each holds a model, several threads borrow them, one at a time.

``EnginePool`` -> ``PooledEngine`` (one per run of a plan) -> ``EngineProcess`` (the parent's side)
-> ``messages`` over a socket -> ``child`` (its own process; the only one that loads torch).
"""
