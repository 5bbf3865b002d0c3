"""Faults at random moments of a running service: who else is hurt, whether the next session works, and what
is left over. `--help` says which there are."""
