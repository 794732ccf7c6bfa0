"""The report: a run's manifest as one page, beside its pictures."""
