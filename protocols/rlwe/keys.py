"""Keys: the secret, and what the other party needs to add encryptions of zero and to pack answers.

The holder of the secret sends, once a session, a seed and the halves that are not drawn from it: an
encryption of zero, and for each automorphism X -> X^(N / s + 1), s = 1, 2, ..., K / 2, encryptions of
q / Q_d times the image of the secret, d < D, Q_d being a product of up to `digit_primes` primes. (Chen, Dai,
Kim, Song, "Efficient Homomorphic Conversion Between (Ring) LWE Ciphertexts", ACNS 2021; digits of q / Q_d in
place of a special modulus, as in Han and Ki, "Better Bootstrapping for Approximate Homomorphic Encryption",
CT-RSA 2020.)

That encryptions of the secret's own images hide it is assumed, as in all of homomorphic encryption (circular
security).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from parties.errors import MalformedFrame
from parties.link import Link
from parties.randomness import KEY_BYTES, AesCtrStream, Randomness
from parties.wire import RingArray, spec_of
from protocols.labels import labelled
from protocols.rlwe.kernels.residues import minus_products
from protocols.rlwe.kernels.transforms import Residues, Small, Transform, to_points, transform_of
from protocols.rlwe.kernels.words import PRIME_BITS
from protocols.rlwe.parameters import ROWS, RingParameters
from protocols.rlwe.reasons import KEYS
from protocols.rlwe.sampling import errors, ternary, to_residues, uniform_residues

P = TypeVar("P", bound=RingParameters)


def transform_for(degree: int, primes: tuple[int, ...]) -> Transform:
    """The order of points in which keys are kept, and the numbers of vectors."""
    return transform_of(degree, degree // ROWS, primes)


def key_transform(parameters: RingParameters, primes: int | None = None) -> Transform:
    """The same for the parameters' primes, or the first so many."""
    return transform_for(parameters.degree, parameters.primes[:primes])


@dataclass(frozen=True, eq=False)
class SecretKey(Generic[P]):
    """The holder's; never sent.

    Attributes:
        secret: [N], ternary.
        points: [L, N], the secret's values in the order of `key_transform`.
    """

    parameters: P
    secret: Small
    points: Residues


@dataclass(frozen=True, eq=False)
class EvaluationKeys(Generic[P]):
    """What the other party has, all values in the order of `key_transform`.

    Attributes:
        zero: [2, L, N], halves of an encryption of zero, the uniform one first.
        packing: [levels, 2, D, L, N], by automorphism, half, digit and prime.
    """

    parameters: P
    zero: Residues
    packing: Residues


def new_secret(parameters: P, stream: Randomness) -> SecretKey[P]:
    """A ternary secret; one with far more non-zero coefficients than most is drawn anew."""
    while True:
        secret = ternary(stream, parameters.degree)
        if np.count_nonzero(secret) <= parameters.most_secret_weight:
            points = to_points(key_transform(parameters), to_residues(secret, parameters.primes))
            return SecretKey(parameters, secret, points)


def send_keys(link: Link, parameters: P, stream: Randomness) -> SecretKey[P]:
    """Makes a secret and sends the keys that belong to it: `costs.key_bytes`."""
    key = new_secret(parameters, stream)
    seed = stream.draw_bytes(KEY_BYTES)
    uniform = _uniform(parameters, seed)
    images = [_image(key.secret, level) for level in range(parameters.packing_levels)]
    primes = parameters.primes
    second = np.empty_like(uniform)
    for index, first in enumerate(uniform):
        noise = to_points(key_transform(parameters), to_residues(errors(stream, parameters.degree), primes))
        second[index] = minus_product(key_transform(parameters), first, key.points, noise)
        if index:
            level, digit = divmod(index - 1, parameters.digits)
            image = to_points(key_transform(parameters), to_residues(images[level], primes))
            first_prime, end, rest = digit_span(parameters, digit)
            for j in range(first_prime, end):  # modulo the other primes it is zero
                scaled = second[index, j] + image[j].astype(np.uint64) * np.uint64(rest % primes[j])
                second[index, j] = scaled % np.uint64(primes[j])
    send_residues(link, seed, second, KEYS)
    return key


def digit_span(parameters: RingParameters, digit: int) -> tuple[int, int, int]:
    """A digit's first prime and the one after its last, by place, and q divided by all of its primes."""
    width = -(-len(parameters.primes) // parameters.digits)
    first, end = digit * width, min((digit + 1) * width, len(parameters.primes))
    return first, end, parameters.modulus // math.prod(parameters.primes[first:end])


def receive_keys(link: Link, parameters: P) -> EvaluationKeys[P]:
    """What `send_keys` sends.

    Raises:
        MalformedFrame: a coefficient that is not below its prime.
        PeerError: see `Link.recv`.
    """
    levels, digits, primes = parameters.packing_levels, parameters.digits, len(parameters.primes)
    seed, second = receive_residues(link, parameters, 1 + levels * digits, KEYS)
    both = np.stack([_uniform(parameters, seed), second], 1)
    packing = both[1:].reshape(levels, digits, 2, primes, parameters.degree)
    return EvaluationKeys(parameters, both[0].copy(), np.ascontiguousarray(packing.swapaxes(1, 2)))


def send_residues(link: Link, seed: bytes, second: Residues, reason: str) -> None:
    """A seed, and the halves that are not drawn from it, packed to the primes' width."""
    link.send([np.frombuffer(seed, np.uint8), second], (8, PRIME_BITS), labelled(link, reason))


def receive_residues(
    link: Link, parameters: RingParameters, count: int, reason: str
) -> tuple[bytes, Residues]:
    """What `send_residues` sends: [count, L, N].

    Raises:
        MalformedFrame: a coefficient that is not below its prime.
        PeerError: see `Link.recv`.
    """
    shape = (count, len(parameters.primes), parameters.degree)
    specs = [spec_of(8, (KEY_BYTES,)), spec_of(PRIME_BITS, shape)]
    seed, second = link.recv(specs, labelled(link, reason))
    check_residues(second, parameters.primes)
    return seed.tobytes(), second.astype(np.uint32, copy=False)


def check_residues(values: RingArray, primes: tuple[int, ...]) -> None:
    """Refuses values [..., L, N] that are not below their primes."""
    if (values >= np.array(primes, np.uint32)[:, None]).any():
        raise MalformedFrame("a ciphertext's coefficient is not below its modulus")


def minus_product(t: Transform, first: Residues, secret: Residues, noise: Residues) -> Residues:
    """noise - first secret, point by point, all [L, N], modulo the primes of a transform."""
    out = np.empty_like(first)
    minus_products(first, secret, noise, t.primes, t.folds, t.reciprocals, out)
    return out


def _uniform(parameters: RingParameters, seed: bytes) -> Residues:
    count = 1 + parameters.packing_levels * parameters.digits
    return uniform_residues(AesCtrStream(seed), count, parameters.degree, parameters.primes)


def _image(secret: Small, level: int) -> Small:
    """The secret under X -> X^(N / 2^level + 1)."""
    degree = secret.size
    powers = np.arange(degree) * ((degree >> level) + 1) % (2 * degree)
    image = np.empty_like(secret)
    image[powers % degree] = np.where(powers < degree, secret, -secret)
    return image
