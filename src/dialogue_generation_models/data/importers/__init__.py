"""Readers of the formats that dialogues come in."""
