"""Two parties and no dealer: correlated randomness from what the two send each other."""
