"""Figures about a model: perplexity, ranking, diversity, a trigram baseline, and the model card."""
