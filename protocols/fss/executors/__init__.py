"""Executors: who runs a program of gates, and what a gate has at hand there."""
