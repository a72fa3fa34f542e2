"""Photons of the reflections of a crystal whose orientation is known."""
