"""Function secret sharing with a dealer: masked values, weights that the server knows, gates of one
opening."""
