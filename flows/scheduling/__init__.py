"""The Prefect side: three flows, the worker type that carries them out, their deployments.

Prefect schedules, and is imported in this folder alone. Who lives is told by leases in the store
(``flows.store.leases``), what is done by its records and verdicts; so every body here may be killed
anywhere and carried out again.
"""
