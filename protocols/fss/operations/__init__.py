"""Operations: what a plan can name a protocol for, and the protocols."""
