"""The hitfinder command."""
