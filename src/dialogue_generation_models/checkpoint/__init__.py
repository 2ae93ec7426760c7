"""Model folders on disk, and weights in released formats."""
