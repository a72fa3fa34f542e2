"""Orientation of a known crystal from the pixels of a frame, below what single peaks show."""
