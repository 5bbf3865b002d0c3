"""Gates: one interactive step each, as a party, the dealer, the reference and the bill see it."""
