"""Runs on frames that are still coming: `hitfinder live`."""
