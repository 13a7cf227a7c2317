"""What a bench is, what limits it, and how well a model matches it."""
