"""The half-tree as its definition reads, one node at a time, blocks as 128-bit integers."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

LOW = (1 << 64) - 1
LEAF, VALUE = 1 << (62 + 64), 1 << (63 + 64)


def slow_hash(key: bytes, block: int) -> int:
    """AES(s(y)) xor s(y), s(low, high) = (low xor high, low)."""
    low, high = block & LOW, block >> 64
    turned = (low ^ high) | low << 64
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return int.from_bytes(encryptor.update(turned.to_bytes(16, "little")), "little") ^ turned


def slow_keys(key: bytes, alpha: int, bits: int, roots: tuple[int, int]) -> tuple[list[int], int]:
    """Correction words from the top level to the leaf, and the sign."""
    nodes = [root & ~1 | rank for rank, root in enumerate(roots)]
    delta = nodes[0] ^ nodes[1]
    words: list[int] = []
    for level in range(bits - 7):
        right = alpha >> (bits - 1 - level) & 1
        hashes = [slow_hash(key, node) for node in nodes]
        words.append(hashes[0] ^ hashes[1] ^ (0 if right else delta))
        left = [h ^ (words[-1] if node & 1 else 0) for h, node in zip(hashes, nodes, strict=True)]
        nodes = [child ^ (node if right else 0) for child, node in zip(left, nodes, strict=True)]
    position = alpha % 128
    words.append(slow_hash(key, nodes[0] ^ LEAF) ^ slow_hash(key, nodes[1] ^ LEAF) ^ 1 << position)
    leaf = slow_hash(key, nodes[0] ^ LEAF) ^ (words[-1] if nodes[0] & 1 else 0)
    return words, 1 if leaf >> position & 1 else -1


def slow_bits(key: bytes, rank: int, bits: int, words: list[int], root: int) -> list[int]:
    """One party's bit at every point."""
    nodes = [root & ~1 | rank]
    for word in words[:-1]:
        children: list[int] = []
        for node in nodes:
            left = slow_hash(key, node) ^ (word if node & 1 else 0)
            children += [left, left ^ node]
        nodes = children
    leaves = [slow_hash(key, node ^ LEAF) ^ (words[-1] if node & 1 else 0) for node in nodes]
    return [leaf >> i & 1 for leaf in leaves for i in range(128)][: 1 << bits]
