"""Networks, their attribute configurations, and trained bundles."""
