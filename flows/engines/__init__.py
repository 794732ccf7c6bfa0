"""Engine processes that stay: each holds a model, several threads borrow them, one at a time.

``EnginePool`` -> ``PooledEngine`` (one per run of a plan) -> ``EngineSupervisor`` (one per engine,
through all its processes) -> ``messages`` over a pipe -> ``child`` (a process; the only one that
loads torch).
"""
