"""A job: settings, chunks, what is static, outputs, live runs, and indexing."""
