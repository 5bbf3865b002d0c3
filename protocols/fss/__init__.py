"""Function secret sharing with a dealer: masked wires, server-known weights, gates of one opening."""
