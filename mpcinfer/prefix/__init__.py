"""Prefix adapters: what attention is to see besides a prompt, as two sums a head, fitted or trained."""
