"""Compiled for a processor without AVX-512, the same seeds give the same shares."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from protocols.rlwe.elementwise import evaluator_products, holder_products
from protocols.rlwe.keys import receive_keys, send_keys
from protocols.rlwe.matrix_evaluator import evaluator_product
from protocols.rlwe.matrix_holder import holder_product
from protocols.rlwe.parameters import matrix_parameters, private_norm
from protocols.rlwe.slot_parameters import slot_parameters
from tests.protocols.rlwe.sessions import both

ROOT = Path(__file__).parents[4]


def shares_digest() -> str:
    """Of both parties' shares of one product of matrices and one of vectors, for fixed seeds."""
    p, v = matrix_parameters(37, private_norm(37, 70)), slot_parameters(20)
    draw = np.random.default_rng(8)
    left = draw.integers(0, 1 << 37, (1, 128, 70)).astype(np.uint64)
    right = draw.integers(-(1 << 36), 1 << 36, (1, 70, 9))
    x, y = draw.integers(0, 1 << 20, (2, 40)).astype(np.uint64)
    matrices = both(
        lambda link, stream: holder_product(link, send_keys(link, p, stream), left, 9, stream),
        lambda link, stream: evaluator_product(link, receive_keys(link, p), right, 128, stream),
    )
    vectors = both(
        lambda link, stream: holder_products(link, send_keys(link, v, stream), x, stream),
        lambda link, stream: evaluator_products(link, receive_keys(link, v), y, stream),
    )
    arrays = (*matrices[:2], *vectors[:2])
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or os.uname().machine != "x86_64", reason="names Intel's")
def test_avx2_gives_the_same_shares() -> None:
    environment = os.environ | {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2"}
    module = "tests.protocols.rlwe.test_instructions"
    code = f"from {module} import shares_digest; print(shares_digest())"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    assert run.stdout.strip() == shares_digest()
