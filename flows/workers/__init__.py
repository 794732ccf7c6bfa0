"""A worker's own parts, all without Prefect: its engines, the machine's GPUs, its name and health.

``flows.scheduling.running`` puts them together.
"""
