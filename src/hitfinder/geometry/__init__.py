"""Detector panels, pixel positions and CrystFEL geometry files."""
