"""Search for replies: pure functions on logits, one loop, and two searches that it drives."""
