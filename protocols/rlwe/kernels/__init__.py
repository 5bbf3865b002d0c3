"""Compiled loops of RLWE products."""
