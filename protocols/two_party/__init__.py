"""The suite `two-party`: protocols of two parties alone, without a dealer."""
