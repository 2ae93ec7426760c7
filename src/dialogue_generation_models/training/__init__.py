"""Training: one loop for all architectures, and the runs that recipes describe."""
