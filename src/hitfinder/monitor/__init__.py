"""The page of a run: what was found, frame by frame and over time, in a browser."""
