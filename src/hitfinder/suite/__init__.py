"""Finders judged beside one another on the same frames, with known truth."""
