"""A server or a dealer that serves many clients at once and can be left running."""
