"""A finder, a reader, an output and a network for hitfinder, to copy and change."""
