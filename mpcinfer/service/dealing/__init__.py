"""Correlations that a dealer deals ahead of time, for many pairs: each used once, within a budget."""
