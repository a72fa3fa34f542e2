"""A job: settings, chunks, what is static, outputs."""
