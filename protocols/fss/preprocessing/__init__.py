"""Preprocessing: the correlations that gates take, and their way from the dealer to a party."""
