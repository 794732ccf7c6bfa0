"""The whole thing on real processes, started as an operator starts them, and struck at random."""
