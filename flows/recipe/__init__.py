"""A YAML recipe becomes a plan: source -> schema -> matrix -> plan."""
