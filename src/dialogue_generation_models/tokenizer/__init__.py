"""Text to token ids and back, and the layout of a dialogue as ids."""
