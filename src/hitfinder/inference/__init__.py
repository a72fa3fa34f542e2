"""Background, candidate peaks, frame scores, and the pipeline."""
