"""Labelled diffraction frames."""
