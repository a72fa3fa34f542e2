"""Results that merge, the store of a job, and finished runs."""
