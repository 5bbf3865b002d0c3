"""The suite `two-party`: additive shares, oblivious transfer, homomorphic encryption; no dealer."""
