"""Oblivious transfer: base OTs, extension, silent correlated OTs, and what is made of them."""
