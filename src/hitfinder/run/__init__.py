"""A job: settings, workers, chunks, hot pixels, outputs."""
