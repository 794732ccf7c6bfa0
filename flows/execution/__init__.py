"""Carrying out a plan: what happens (events), what came of it (outcome), and the doing itself."""
