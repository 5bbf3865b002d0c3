"""Benchmark records as a page, figures and tables."""
