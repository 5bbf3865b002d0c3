"""Products of one party's private numbers with the other's, by ring learning with errors (RLWE)."""
