"""A worker's own parts, all without Prefect: what it has in hand, its engines, name and health.

``flows.worker`` alone speaks to Prefect, and hands each flow run to ``Workshop.carry_out``.
"""
