"""Silent extension: many correlated OTs from few, with traffic for the trees alone.

Yang, Weng, Lan, Zhang, Wang, "Ferret: Fast Extension for Correlated OT with Small Communication" (CCS 2020),
for parties that follow the protocol, with regular noise and a code of ten entries a row; its trees are those
of Guo et al., "Half-Tree" (EUROCRYPT 2023), whose levels XOR to the offset D, so that neither a leaf's hash
nor a last message is needed. Secure when H is circular correlation robust (`protocols.kernels.aes`) and
learning parity with noise is hard at the sizes of `stages.py`.

Of the COTs (q, c, t) that are taken, the first k are the secret of the code; the rest give the trees: for
tree i and level l, c says on which side the receiver gets the XOR of the level, t masks it. Level 1 begins
with q itself, so that nothing is sent for it. The receiver's missing leaf is replaced by the XOR of all
others, which is that leaf xor D. Then y = leaf xor A s on both sides, and lowest bits stay choices.
"""

from __future__ import annotations

import hashlib
from typing import cast

import numpy as np
from numpy.typing import NDArray

from parties.link import Link
from parties.wire import spec_of
from protocols.kernels.aes import KEY_BYTES, Hash
from protocols.kernels.correlated_tree import grow, regrow
from protocols.kernels.local_code import add_products
from protocols.labels import labelled
from protocols.two_party.ot.stages import Stage
from protocols.two_party.reasons import TREES

Words = NDArray[np.uint64]
WORD_BITS = 64
_ONE = np.uint64(1)


class SilentKeys:
    """The public keys of one direction's trees and code, from a digest that both parties know.

    Trees of every extension have a key of their own. The receiver knows a hash of each node on a missing
    path, which is a block that it knows xor D: so a guess at D is compared with all nodes under one key, and
    N nodes leave 127 - log2 N bits, 113 with the trees of the largest stage, however many extensions there
    are.

    Attributes:
        code: names the matrix of all extensions.
    """

    def __init__(self, digest: bytes) -> None:
        self._digest, self._extensions = digest, 0
        self.code = Hash(public_key(digest, b"code"))

    def next_tree(self) -> Hash:
        """The key of the next extension's trees."""
        self._extensions += 1
        return Hash(public_key(self._digest, b"trees %d" % self._extensions))


def public_key(digest: bytes, purpose: bytes) -> bytes:
    """A public key of AES for one purpose."""
    return hashlib.sha256(b"mpcinfer OT key " + purpose + b" " + digest).digest()[:KEY_BYTES]


def extend_sender(link: Link, keys: SilentKeys, stage: Stage, seeds: Words, delta: Words) -> Words:
    """The sender's blocks.

    Args:
        link: to the receiver; one message is sent, of `stage.sent_bytes`.
        keys: public.
        stage: the size.
        seeds: uint64 [stage.taken, 2], which must be used for nothing else.
        delta: uint64 [2].

    Returns:
        uint64 [stage.made, 2].
    """
    secret, masks = _split(stage, seeds)
    leaves = np.zeros((stage.trees, 1 << stage.depth, 2), np.uint64)
    sums = np.empty((stage.trees, stage.depth - 1, 2), np.uint64)
    grow(keys.next_tree(), np.ascontiguousarray(masks[:, 0]), delta, sums, leaves)
    sums ^= masks[:, 1:]
    link.send([sums], WORD_BITS, labelled(link, TREES))
    out = leaves.reshape(-1, 2)
    add_products(keys.code, secret, out)
    return out


def extend_receiver(link: Link, keys: SilentKeys, stage: Stage, seeds: Words) -> Words:
    """The receiver's blocks; the lowest bit of each is its choice. Arguments as for `extend_sender`."""
    secret, masks = _split(stage, seeds)
    leaves = np.zeros((stage.trees, 1 << stage.depth, 2), np.uint64)
    add_products(keys.code, secret, leaves.reshape(-1, 2))
    received = link.recv([spec_of(WORD_BITS, (stage.trees, stage.depth - 1, 2))], labelled(link, TREES))[0]
    choices = (masks[..., 0] & _ONE).astype(np.uint8)
    known = masks.copy()
    known[:, 1:] ^= cast("Words", received)
    regrow(keys.next_tree(), choices, known, leaves)
    return leaves.reshape(-1, 2)


def _split(stage: Stage, seeds: Words) -> tuple[Words, Words]:
    """The secret [k, 2], and the trees' blocks [t, d, 2]."""
    assert seeds.shape == (stage.taken, 2)
    return seeds[: stage.secret], seeds[stage.secret :].reshape(stage.trees, stage.depth, 2)
