"""Unit cells, structure factors and the packaged crystal."""
