"""A finder, a reader and a network for hitfinder, to copy and change."""
