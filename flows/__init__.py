"""Recipe in, report out: recipes, plans, the store, runs and their reports. Never imports torch."""
