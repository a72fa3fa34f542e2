"""A run's crystals: orientations, intensities, and hits that they decide."""
