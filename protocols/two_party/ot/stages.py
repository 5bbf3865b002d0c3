"""The sizes of silent extensions, and what each takes and sends.

An extension with noise of t blocks of 2^d samples and a secret of k bits takes k + d t correlated OTs and
makes n = t 2^d. It sends d - 1 blocks of 128 bits a tree, from sender to receiver. `security.py` computes the
bits of security of every stage; a test holds them at 128 and more.

Sizes are chosen so that each stage makes what the next one takes. The depth of the largest is a compromise:
at depth 12 traffic falls from 0.69 to 0.42 bits a COT, and the secret no longer fits the second cache.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocols.two_party.ot.security import Instance

BLOCK_BYTES = 16


@dataclass(frozen=True, slots=True)
class Stage:
    """One size of a silent extension.

    Attributes:
        depth: d, levels of a tree.
        trees: t.
        secret: k, bits of the secret.
    """

    depth: int
    trees: int
    secret: int

    @property
    def made(self) -> int:
        """n, COTs that come out."""
        return self.trees << self.depth

    @property
    def taken(self) -> int:
        """COTs that go in."""
        return self.secret + self.depth * self.trees

    @property
    def sent_bytes(self) -> int:
        """Payload from sender to receiver."""
        return (self.depth - 1) * self.trees * BLOCK_BYTES

    @property
    def instance(self) -> Instance:
        """What has to be hard."""
        return Instance(self.made, self.secret, self.trees)


STAGES = (Stage(8, 256, 18560), Stage(9, 512, 39104), Stage(11, 1024, 172032))
"""From the smallest to the one that repeats."""
