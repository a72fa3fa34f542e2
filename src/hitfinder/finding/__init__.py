"""From counts to peaks: background, candidates, peaks, and the score of a frame."""
