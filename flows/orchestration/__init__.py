"""What the coordinator and ``kontext deploy`` say to Prefect; ``names`` alone is free of it."""
