"""Pages, charts and pictures of a run."""
