"""CrypTen 0.4.1 over our links, randomness and dealer. `import crypten` still means the library."""
