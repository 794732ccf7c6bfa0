"""A worker's own parts, without Prefect: how many engines, GPUs, its name, health and metrics.

``flows.scheduling.running`` puts them together.
"""
