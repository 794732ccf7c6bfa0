"""Runs across many workers: chunks, attempts under leases, and the conductor. No Prefect here."""
